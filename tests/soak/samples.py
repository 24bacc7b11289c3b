"""A sample of each second, from what `/metrics` and `/proc` say. PURE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs
from prometheus_client.parser import text_string_to_metric_families

_LAG = "wsservice_reactor_lag_seconds"


@attrs.frozen
class Said:
    """The figures of `/metrics` that are sampled; times are in seconds."""

    #: Open connections, and those that shake hands or end.
    connections: int
    #: Connections ever accepted.
    accepted: int
    #: Messages ever received and sent.
    messages: int
    #: Octets of unfinished messages and send queues.
    message_memory: int
    #: Octets of the history.
    history: int
    channels: int
    workers_lost: int
    #: The sum of the reactor's lags, and how many there were up to each upper bound.
    lag_total: float
    lag_counts: Mapping[float, int]


def said(text: str) -> Said:
    """Return the figures in the text of `/metrics`."""
    sums: dict[str, float] = {}
    lags: dict[float, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{_LAG}_bucket":
                lags[float(sample.labels["le"])] = int(sample.value)
            else:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value

    def count(*names: str) -> int:
        return int(sum(sums.get(f"wsservice_{name}", 0.0) for name in names))

    return Said(
        connections=count("connections", "connections_not_open"),
        accepted=count("connections_accepted_total"),
        messages=count("messages_total"),
        message_memory=count("message_memory_octets"),
        history=count("history_octets"),
        channels=count("channels"),
        workers_lost=count("workers_lost_total"),
        lag_total=sums.get(f"{_LAG}_sum", 0.0),
        lag_counts=lags,
    )


def lag_between(before: Said, after: Said) -> tuple[float, float]:
    """Return the mean lag, and the upper bound of the worst one, between two answers, in seconds.

    The bound is that of the histogram's bucket; both are 0 where nothing was measured. In place
    of the infinite bound there is the last finite one, doubled.
    """
    bounds = sorted(after.lag_counts)
    below = 0
    worst = 0.0
    for place, bound in enumerate(bounds):
        count = after.lag_counts[bound] - before.lag_counts.get(bound, 0)
        if count > below:
            worst = 2 * bounds[place - 1] if math.isinf(bound) else bound
        below = count
    mean = (after.lag_total - before.lag_total) / below if below > 0 else 0.0
    return max(0.0, mean), worst


@attrs.frozen
class Sample:
    """The state of the service at a time, in seconds since the load began.

    Octets, counts, and seconds; sums over all of its processes. `cpu` and `own_cpu` are the parts
    of one core that the service and the load took since the sample before. `failures` and `wrong`
    are how many there were so far: of honest acts, and of lines of the log that must not be there.
    """

    at: float
    rss: int
    uss: int
    descriptors: int
    connections: int
    lag_mean: float
    lag_worst: float
    cpu: float
    own_cpu: float
    accepted: int
    messages: int
    history: int
    message_memory: int
    channels: int
    workers_lost: int
    honest: int
    hostile: int
    failures: int
    wrong: int
    #: Seconds by which the load's own loop was late, at worst.
    own_lag: float = 0.0


def within(samples: Sequence[Sample], begin: float, end: float) -> list[Sample]:
    """Return the samples of a time, its end excluded."""
    return [each for each in samples if begin <= each.at < end]
