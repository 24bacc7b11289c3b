"""Run the parent: it holds the ports, starts and replaces workers, and adds up what they report.

It may import `workers.child`, `workers.wire` and what the workers may.

The modules::

    admin.py        the admin face over all workers
    destination.py  the message log of the service, and the way of its lines
    history.py      the history of all workers
    home.py         a node with workers, seen by other nodes
    log.py          the log lines of workers, in the parent's log
    output.py       the lines and the end of a worker's process, in words
    people.py       the connections of all workers
    presence.py     the people on a channel, in all workers
    process.py      a worker, seen by its parent
    program.py      the program of the workers, and the open files that each costs
    relay.py        a message, passed to every worker
    requests.py     questions to workers, and reasons for a missing answer
    seats.py        how many connections each user has, in all workers
    service.py      the service of the parent
    sharing.py      the choice of the worker for the next connection
    sums.py         figures of several, added up
    tickets.py      tickets, for workers that claim them
    supervisor.py   workers, started, restarted, replaced and stopped
"""
