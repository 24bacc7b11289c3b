"""The messages of a worker to its parent, besides publications. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from .coding import BusMessage, Kinds, Reply


@attrs.frozen
class Ready(BusMessage):
    """The worker serves, and has room for so many connections."""

    kind: ClassVar[str] = "ready"

    room: int


@attrs.frozen
class StartFailed(BusMessage):
    """The worker cannot serve, and ends."""

    kind: ClassVar[str] = "failed"

    problem: str


@attrs.frozen
class Leaving(BusMessage):
    """The worker was told to end, by a signal from outside."""

    kind: ClassVar[str] = "leaving"


@attrs.frozen
class Pong(BusMessage):
    """The answer to a ping."""

    kind: ClassVar[str] = "pong"


@attrs.frozen
class ConnectionsChanged(BusMessage):
    """The worker took the connections with these numbers, and others ended."""

    kind: ClassVar[str] = "counts"

    taken: tuple[int, ...]
    left: tuple[int, ...]


@attrs.frozen
class NoReply(BusMessage):
    """The worker failed to answer a question of its parent."""

    kind: ClassVar[str] = "refused"

    request: int


@attrs.frozen
class AskHistory(BusMessage):
    """Ask for the messages of a channel since a position; for None, only for its position now.

    The position is an offset and an epoch. If `latest` is not 0, it asks for the last messages, at
    most that many, in place of those since a position. The answer is a `MissedPage`.
    """

    kind: ClassVar[str] = "ask"

    request: int
    channel: str
    since: tuple[int, str] | None
    latest: int = 0


@attrs.frozen
class AskPresence(BusMessage):
    """Ask for the connections on a channel in the whole service, at most `limit` in the list.

    The answer is a `PresenceTold`.
    """

    kind: ClassVar[str] = "ask_presence"

    request: int
    channel: str
    limit: int


@attrs.frozen
class AskSeat(BusMessage):
    """Ask whether a user may have one more connection. The answer is a `SeatGiven`."""

    kind: ClassVar[str] = "ask_seat"

    request: int
    connection: int
    user: str


@attrs.frozen
class AskTicket(BusMessage):
    """Ask for the user of a ticket, which is used by that. The answer is a `TicketTold`."""

    kind: ClassVar[str] = "ask_ticket"

    request: int
    digest: str


@attrs.frozen
class ChannelsChanged(BusMessage):
    """The worker got its first connection on some channels, and lost its last one on others."""

    kind: ClassVar[str] = "channels"

    came: tuple[str, ...]
    left: tuple[str, ...]


@attrs.frozen
class LastFigures(BusMessage):
    """The figures of a worker that ends."""

    kind: ClassVar[str] = "figures"

    figures: Mapping[str, Any]


@attrs.frozen
class TraceEvent(BusMessage):
    """An event of a trace; None ends the trace."""

    kind: ClassVar[str] = "traced"

    trace: int
    event: str | None


_KINDS = Kinds(
    Ready,
    StartFailed,
    Leaving,
    Pong,
    ConnectionsChanged,
    Reply,
    NoReply,
    AskHistory,
    AskPresence,
    AskSeat,
    AskTicket,
    ChannelsChanged,
    LastFigures,
    TraceEvent,
)


def from_worker(body: bytes) -> BusMessage:
    """Return the message in a body from a worker, no publication. Raises `MessageError`."""
    return _KINDS.message(body)
