"""The works to measure, and the figures to reach. PURE."""

from __future__ import annotations

import attrs

OURS = "wsservice"
PYTHON_CODEC = "wsservice-python"

PEERS = ("autobahn", "ws", "websockets", "picows")
SERVERS = (OURS, PYTHON_CODEC, *PEERS)

KIB = 1024


@attrs.frozen
class Target:
    """A ratio to a peer to reach: at least `least`, better `goal`.

    The ratio is the peer's cost by ours, so more is better; for memory it is ours
    by the peer's, and less is better. `ours` names the variant of this service
    that has to reach it.
    """

    peer: str
    least: float | None = None
    goal: float | None = None
    ours: str = OURS


@attrs.frozen
class Work:
    """One thing to measure. `kind` is the load generator's word for it, or `client`.

    `first` is how often it is done to find out how fast a server is.
    """

    name: str
    title: str
    kind: str
    behaviour: str
    size: int = 16
    connections: int = 50
    depth: int = 1
    first: int = 1000
    binary: bool = False
    tls: bool = False
    deflate: bool = False
    log_file: bool = True
    variants: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()

    @property
    def memory(self) -> bool:
        """True if memory is measured, and not CPU time."""
        return self.kind == "idle"

    @property
    def unit(self) -> str:
        """Return the unit that is counted."""
        return {"connect": "connection", "broadcast": "message received"}.get(self.kind, "message")


def scaled(work: Work, scale: float) -> Work:
    """A work with a part of its connections, where it is they that take the time."""
    if work.kind not in ("idle", "broadcast") or scale >= 1:
        return work
    return attrs.evolve(work, connections=max(int(work.connections * scale), 10))


WORKS = (
    Work(
        "ingest-16",
        "logged ingest, 16 B, message log to a file",
        "ingest",
        "greeting",
        connections=8,
        first=4000,
        variants=(PYTHON_CODEC,),
        targets=(
            Target("ws", 5, 8),
            Target("autobahn", 35, 50),
            Target("ws", 2, ours=PYTHON_CODEC),
        ),
    ),
    Work(
        "ingest-1k",
        "logged ingest, 1 kB, message log to a file",
        "ingest",
        "greeting",
        size=KIB,
        connections=8,
        first=4000,
    ),
    Work(
        "ingest-log",
        "logged ingest, 16 B, default message log",
        "ingest",
        "greeting",
        connections=8,
        first=4000,
        log_file=False,
        targets=(Target("ws", 2),),
    ),
    Work(
        "echo-1",
        "echo, depth 1, 50 connections",
        "echo",
        "echo",
        variants=(PYTHON_CODEC,),
        targets=(
            Target("ws", 1.2),
            Target("autobahn", 3),
            Target("picows", 0.8, 1.0),
        ),
    ),
    Work(
        "echo-32",
        "echo, depth 32, 50 connections",
        "echo",
        "echo",
        depth=32,
        first=4000,
        variants=(PYTHON_CODEC,),
        targets=(Target("ws", 5, 8), Target("picows", 3.5, 5)),
    ),
    Work(
        "echo-64k",
        "echo, 64 kB, depth 1, 10 connections",
        "echo",
        "echo",
        size=64 * KIB,
        connections=10,
        first=200,
        binary=True,
        targets=(Target("ws", 1.5), Target("picows", 0.5)),
    ),
    Work(
        "echo-1m",
        "echo, 1 MB, depth 1, 4 connections",
        "echo",
        "echo",
        size=KIB * KIB,
        connections=4,
        first=40,
        binary=True,
        targets=(Target("ws", 0.9), Target("picows", goal=1.0)),
    ),
    Work(
        "connect",
        "connect + greeting + close",
        "connect",
        "greeting",
        connections=20,
        first=200,
        targets=(Target("ws", 1.3),),
    ),
    Work(
        "idle",
        "resident memory with 5,000 idle connections",
        "idle",
        "greeting",
        connections=5000,
        targets=(Target("ws", 0.9, 0.7),),
    ),
    Work(
        "broadcast",
        "broadcast to 1,000",
        "broadcast",
        "broadcast",
        connections=1000,
        first=3,
        targets=(Target("ws", 1.3),),
    ),
    Work(
        "tls-1",
        "echo over TLS, depth 1, 50 connections",
        "echo",
        "echo",
        tls=True,
        targets=(Target("ws", 0.45, 1.0),),
    ),
    Work(
        "tls-32",
        "echo over TLS, depth 32, 50 connections",
        "echo",
        "echo",
        depth=32,
        tls=True,
        first=4000,
        targets=(Target("ws", 0.45, 1.0),),
    ),
    Work(
        "deflate",
        "echo compressed, 1 kB, depth 1, 50 connections",
        "echo",
        "echo",
        size=KIB,
        deflate=True,
    ),
    Work("client-1", "client, depth 1, 10 connections", "client", "echo", connections=10),
    Work(
        "client-32", "client, depth 32, 10 connections", "client", "echo", connections=10, depth=32
    ),
)
