"""Handle ports, sockets, TLS and timers, and the process's limits on them.

It may import `log` and what lies below it.

The modules::

    accepting.py     a port that waits while descriptors are short
    activation.py    sockets that systemd hands over
    backoff.py       the time to try again
    certificate.py   the keys and certificates of ports, read again
    cgroups.py       the control groups of Linux that a process is in
    descriptors.py   how many connections the limit on open files leaves room for
    dialing.py       connecting to a host, by every name that DNS may have
    expiry.py        the ends of certificates, told in time
    figures.py       the same, for Prometheus
    gathering.py     the writes of one turn, joined for each connection
    listening.py     ports by their endpoints: opened, renewed
    memory.py        how much memory there is, and how it is managed
    notify.py        messages to the service manager (systemd)
    polling.py       the sockets of a port's connections, polled together
    proxied.py       ports behind a gateway that sends a PROXY header
    proxy_header.py  the PROXY header of a gateway
    server_names.py  the certificate for the name that a client asks for
    timers.py        the timers of all connections on one of the reactor's
    tls.py           TLS with less done for each message
    transports.py    names and abilities of Twisted's transports
    turns.py         the time of the reactor's turns, shared among connections
"""
