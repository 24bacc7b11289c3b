"""One service under mixed honest and hostile load for a given time, and its memory as a chart.

`make soak SECONDS=1800 SEED=1` runs it; `test_soak.py` runs it for a few seconds. The map.
Imports run one way, downwards in this list::

    schedule.py     the acts, honest and hostile, that follow from a seed       PURE
    samples.py      a sample of each second, from what /metrics and /proc say   PURE
    tally.py        what was done, and what failed                              PURE
    verdict.py      the promises that a run breaks: slopes, leftovers, errors   PURE
    report.py       the figures for the terminal, the page and the chart        PURE
    behaviours.py   the behaviour that the service runs: echoes and broadcasts
    service.py      the service as processes, its files, and its log
    world.py        the state that all acts share, and ways to connect
    watching.py     takes a sample each second
    honest.py       acts of clients that keep to the rules
    members.py      members of rooms, which speak, leave, come back and resume
    hostile.py      acts of clients that do not
    stage.py        all of it together: start, load, cooling, verdict
    chart.py        the chart, drawn where matplotlib is
    __main__.py     the command line
"""
