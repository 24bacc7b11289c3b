"""Nodes and a Redis under random faults, and a ledger that holds them to what is promised.

`make chaos SECONDS=600 SEED=1` runs it; `test_chaos.py` runs it for a few seconds. The map.
Imports run one way, downwards in this list::

    schedule.py     the topology and the faults that follow from a seed          PURE
    ledger.py       the published messages, their fate, and every broken promise  PURE
    report.py       the report printed at the end                                PURE
    behaviours.py   the behaviour that the nodes run: it publishes what it is told to
    processes.py    nodes and Redis as processes: started, stopped, killed, by their pids
    proxy.py        a way to Redis that cuts, hangs, is slow, and swallows answers
    asking.py       one request by HTTP at a time
    publishers.py   callers that publish one message after another
    listeners.py    clients that are cut off, stalled, and come back
    faults.py       the damage that each fault does
    stage.py        all of it together: start, run, heal, check
    __main__.py     the command line
"""
