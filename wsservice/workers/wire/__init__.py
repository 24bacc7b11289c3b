"""Carry messages, connections and log lines between a parent and a worker.

It may import packages below `workers`, and neither `parent` nor `child`.

The modules::

    bus.py       one end of the connection between parent and worker
    coding.py    messages as classes: JSON, read strictly by the types of their fields
    framing.py   a body with its length before it
    messages.py  publications, and pages of a history
    orders.py    the messages of a parent to its worker
    passing.py   an accepted connection, from one process to another
    records.py   lines of a log, from one process to another
    reports.py   the messages of a worker to its parent
"""
