"""The same work for this service and its peers, in one run: `make bench`.

The map. Imports run one way, downwards in this list::

    errors.py       what ends a run, or a measurement
    works.py        what is measured, and the figures to reach         PURE
    figures.py      medians, ratios, verdicts                          PURE
    results.py      the results of a run                               PURE
    processes.py    programs started, measured through /proc, and ended
    building.py     the load generator, the peers' environments, a certificate
    loading.py      the load generator, told when to begin
    servers.py      how this service and each peer is started
    measuring.py    one work on one server: warm up, measure, check
    machine.py      what all this ran on
    report.py       the terminal's tables, and docs/benchmarks.md
    __main__.py     rounds, one server after another
    workers.py      what workers bring, and cost: docs/workers.md, `make bench-workers`
    document.py     parts of a document, between marks                 PURE
    asking.py       publishing by HTTP, many in flight or at a pace
    nodes.py        nodes, and who listens to them
    publishing.py   from publishing to delivery, slow readers among the others
    broker.py       a redis-server, asked, killed and started again
    listener.py     who goes from node to node, and resumes
    delivering.py   publishing to all connections of two nodes
    recovering.py   Redis killed, and back
    constants.py    the figures of the model in wsservice/scaling
    plans.py        what follows from them                             PURE
    scaling.py      all of that: docs/scaling.md, `make bench-redis`

`load.c` is the load generator, `peers/` are the servers to compare with and
`clients/` the two clients, each as its documentation has it. `behaviours.py` is
loaded by the service, `chart.py` runs in the environment of the peers, which has
matplotlib.
"""
