"""Run one worker: its service, the connections that its parent hands over, and its reports.

It may import `workers.wire` and what the workers may.

The modules::

    __main__.py  the program of a worker's process
    hub.py       sending to many, in all workers
    kept.py      sending to many, while the parent keeps a history
    patience.py  a connection that leaves a worker
    ports.py     a worker's ports: the parent hands their connections over
    presence.py  questions to the parent about presence
    report.py    a worker's reports to its parent
    seats.py     questions to the parent about the connections of one user
    service.py   a worker's service, on its parent's orders
    sketch.py    the number of channels of several workers, without their names
    tickets.py   tickets, claimed from the parent
"""
