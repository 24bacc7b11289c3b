"""List, close, trace and address connections, by id and by channel.

It may import `channels`, `protocol` and what lies below them.

The modules::

    ids.py        ids of connections
    lag.py        how late the reactor is
    listing.py    the list of connections, and closing one
    octets.py     frames, out of the octets that pass
    outcomes.py   what became of a request for one connection
    people.py     the connections of a service, in this process or in others
    presence.py   the channels and users, and the connections of each
    readiness.py  reasons why the service is not ready
    tracing.py    one connection's frames as they happen
    traffic.py    messages and octets of all connections, added up
"""
