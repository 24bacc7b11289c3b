"""The topology and the faults that follow from a seed. PURE."""

from __future__ import annotations

import random
from collections.abc import Collection

import attrs

KINDS = {
    "kill-node": "kill -9 of a node's process; it is started again",
    "kill-worker": "kill -9 of a worker; its parent starts another",
    "kill-redis": "kill -9 of Redis; it is started again, with what it kept",
    "stop-node": "SIGSTOP to a node and its workers, then SIGCONT",
    "stop-parent": "SIGSTOP to a node's parent alone, then SIGCONT",
    "stop-worker": "SIGSTOP to a worker, then SIGCONT",
    "stop-redis": "SIGSTOP to Redis, then SIGCONT",
    "roll": "SIGUSR2 to a node: its workers are replaced",
    "leave": "SIGTERM to a worker: it asks to be replaced",
    "reload": "SIGHUP to a node: settings are read anew",
    "reopen": "SIGUSR1 to a node: logs are opened anew",
    "flushall": "FLUSHALL: Redis loses all it has",
    "script-flush": "SCRIPT FLUSH, again and again: Redis loses the scripts of the history",
    "spoil": "a key of the service's in Redis has another value: too long, too large, or none",
    "client-kill": "CLIENT KILL: Redis ends its connections",
    "cut": "the way from a node to Redis is cut, and closed for a while",
    "hang": "nothing passes between a node and Redis for a while",
    "slow": "what passes between a node and Redis takes up to 0.3 s longer, each way, for a while",
    "swallow": "the answers of Redis to a node are lost for a while, then the way is cut",
    "cut-client": "some clients' connections end with a reset",
    "stall-client": "some clients read nothing for a while",
}
"""Each kind of fault, and what it is."""

LOSING = frozenset({"flushall", "spoil"})
"""Those after which Redis has lost messages, whatever it keeps. So has one that keeps nothing after
`kill-redis`."""

_NEVER_LONGER = 12.0
_LENGTHS = {
    "kill-node": (0.0, 2.0),
    "kill-redis": (0.0, 3.0),
    "stop-node": (0.5, 6.0),
    "stop-parent": (0.5, 6.0),
    "stop-worker": (0.5, _NEVER_LONGER),
    "stop-redis": (0.5, 7.0),
    "script-flush": (0.0, 3.0),
    "cut": (0.0, 3.0),
    "hang": (0.5, 8.0),
    "slow": (1.0, 6.0),
    "swallow": (0.2, 4.0),
    "stall-client": (0.5, 6.0),
}
"""Seconds, from and to, that a fault lasts; the others are over at once."""

_CALM = 1.5
"""Seconds at the beginning in which nothing is done."""

_BETWEEN = 1.2
"""Seconds from one fault to the next, on average."""

_HISTORIES = ("5000,600", "5000,600", "5000,600", "40,600")
"""The small one gives up what clients come back for."""


@attrs.frozen
class Fault:
    """Something that is done at a time, in seconds since the beginning, for some seconds.

    `dice` chooses what it is done to, whatever there is then.
    """

    at: float
    kind: str
    seconds: float
    dice: int

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.kind}{lasting}"


@attrs.frozen
class Topology:
    """The processes to start."""

    #: The number of workers of each node.
    workers: tuple[int, ...]
    #: Whether Redis keeps all, on the disk, before it answers; else it keeps nothing.
    keeps: bool
    history: str
    buffer: int

    @property
    def is_small(self) -> bool:
        """True if the history is so small that it may lose messages a returning client needs."""
        return self.history == _HISTORIES[-1]

    def __str__(self) -> str:
        workers = " and ".join(map(str, self.workers))
        kept = "keeps all" if self.keeps else "keeps nothing"
        return (
            f"{len(self.workers)} nodes with {workers} workers, --history {self.history},"
            f" --broker-buffer {self.buffer}, a Redis that {kept}"
        )


@attrs.frozen
class Plan:
    """All that follows from a seed."""

    seed: int
    topology: Topology
    faults: tuple[Fault, ...]

    @property
    def is_lossless(self) -> bool:
        """True if no act of the schedule may lose a message of the history."""
        kinds = {fault.kind for fault in self.faults}
        loses = kinds & LOSING or ("kill-redis" in kinds and not self.topology.keeps)
        return not loses and not self.topology.is_small


def plan(seed: int, seconds: float, kinds: Collection[str] = tuple(KINDS)) -> Plan:
    """Return what a seed has happen in so many seconds, of faults of these kinds."""
    dice = random.Random(seed)
    topology = Topology(
        # At least one has workers.
        workers=(2, *(dice.choice((1, 2)) for _ in range(dice.choice((1, 2))))),
        keeps=dice.random() < 0.5,
        history=dice.choice(_HISTORIES),
        buffer=dice.choice((0, 0, 100)),
    )
    faults = []
    at = _CALM
    chosen = sorted(kinds)
    while chosen:
        at += max(0.2, dice.expovariate(1 / _BETWEEN))
        if at >= seconds:
            break
        kind = dice.choice(chosen)
        # None lasts much longer than the run.
        length = min(dice.uniform(*_LENGTHS.get(kind, (0.0, 0.0))), seconds - at + 1.0)
        faults.append(Fault(round(at, 2), kind, round(length, 1), dice.randrange(2**31)))
    return Plan(seed, topology, tuple(faults))
