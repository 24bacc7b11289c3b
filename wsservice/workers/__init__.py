"""One service in several processes: a parent that accepts, and workers that serve.

The parent is the process that was started. It holds the ports, accepts each
connection, and hands it to the worker that has the fewest; what a worker publishes
it passes on to the others, or, where it keeps a history, to all; it restarts a worker
that dies, replaces one that is stuck, and writes their log lines into its own log. It
reads nothing of a peer's.

The map. Imports run one way, downwards in this list::

    cpus.py         how many CPUs this process may use
    messages.py     what parent and worker say to each other            PURE
    bus.py          one end of the connection on which they say it
    passing.py      an accepted connection, from one process to another
    handed.py       a worker's ports: whose connections come from its parent
    hub.py          sending to many, in all workers
    kept.py         the same, where the parent keeps a history
    records.py      lines of a log, from one process to another
    copying.py      the lines of workers, in the log of their parent
    process.py      a worker, as its parent knows it
    keeping.py      the history of all, in the parent
    sharing.py      which worker gets the next connection
    supervisor.py   workers started, restarted, replaced and stopped
    reloading.py    settings read anew in all of them
    sums.py         figures of several, added up                        PURE
    shown.py        what a worker shows of itself
    home.py         a node with workers, as other nodes see it
    overall.py      the admin face: what all workers come to
    parent.py       the service of the parent
"""
