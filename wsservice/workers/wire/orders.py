"""The messages of a parent to its worker, besides publications and pages."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import attrs

from ...channels.presence import Presence
from .coding import BusMessage, BusQuestion, Kinds, Reply
from .framing import MessageError
from .messages import BINARY


@attrs.frozen
class Start(BusMessage):
    """The first message: all that a worker needs to serve."""

    kind: ClassVar[str] = "start"

    config: Mapping[str, Any]
    """The fields of its `Config`."""
    folder: str
    """The folder in which the service was started: relative paths begin there."""
    folder_now: str
    """The parent's current folder."""
    path: tuple[str, ...]
    """The search path of modules."""
    places: tuple[tuple[int, Any], ...]
    """The family and the name of each port, for `PortPlace`."""
    log: str
    """The form of the lines of its log: `records.TEXT` or `records.JSON`."""
    messages: str
    """The way of its message log: `records.LOG`, `records.FILE` or `records.RECORDS`."""
    service: str
    """The id of the service at the broker, or ""."""
    key: str
    """The secret for `sketch.Census`, in hexadecimal digits."""


@attrs.frozen
class DeliveryLost(BusMessage):
    """The parent dropped messages of a channel on their way to this worker."""

    kind: ClassVar[str] = "lost"

    channel: str


@attrs.frozen
class PresenceTold(BusMessage):
    """The answer to `AskPresence`: None if the parent failed."""

    kind: ClassVar[str] = "presence"

    request: int
    answer: Mapping[str, Any] | None
    """The presence as JSON: see `Presence.as_json`."""


@attrs.frozen
class TicketTold(BusMessage):
    """The answer to `AskTicket`: the content of the ticket, None for an unknown one."""

    kind: ClassVar[str] = "ticket"

    request: int
    content: str | None


@attrs.frozen
class PingWorker(BusMessage):
    """Ask for a `Pong`, the sign that the worker is not stuck."""

    kind: ClassVar[str] = "ping"


@attrs.frozen
class DrainWorker(BusMessage):
    """Close all connections, and end. `roll` is True for a worker that is replaced."""

    kind: ClassVar[str] = "drain"

    roll: bool


@attrs.frozen
class ReopenLog(BusMessage):
    """Open the message log again at the same path."""

    kind: ClassVar[str] = "reopen"


@attrs.frozen
class CommitConfig(BusMessage):
    """Apply a configuration."""

    kind: ClassVar[str] = "commit"

    config: Mapping[str, Any]


@attrs.frozen
class BeginTrace(BusMessage):
    """Trace a connection. The worker sends each event as a `TraceEvent` with this number."""

    kind: ClassVar[str] = "trace"

    trace: int
    connection: str


Flow = Literal["pause", "resume", "stop"]


@attrs.frozen
class SteerTrace(BusMessage):
    """Pause, resume or stop a trace."""

    kind: ClassVar[str] = "flow"

    trace: int
    to: Flow


@attrs.frozen
class PrepareConfig(BusQuestion[str]):
    """Check that a configuration can be applied. The answer is the problem, or ""."""

    kind: ClassVar[str] = "prepare"

    config: Mapping[str, Any]


@attrs.frozen
class TellPresence(BusQuestion[Presence]):
    """Ask for the connections on a channel in this worker, at most `limit` in the list."""

    kind: ClassVar[str] = "ask_presence"

    channel: str
    limit: int

    def reply(self, answer: Presence) -> Reply:
        return Reply(self.request, answer.as_json())

    def answer_of(self, said: object) -> Presence:
        try:
            return Presence.of(self.channel, said)  # type: ignore[arg-type]
        except (TypeError, ValueError, LookupError):
            raise MessageError(f"{self.kind!r}: that is no answer") from None


@attrs.frozen
class TellFigures(BusQuestion[Mapping[str, Any]]):
    """Ask for the figures of a worker, with its sketch of channels."""

    kind: ClassVar[str] = "figures"


@attrs.frozen
class WorkerDoing:
    """The number of a worker's connections, and the lag of its reactor in seconds."""

    connections: int
    lag: float


@attrs.frozen
class TellDoing(BusQuestion[WorkerDoing]):
    """Ask for the load of a worker."""

    kind: ClassVar[str] = "doing"


@attrs.frozen
class TellConnections(BusQuestion[Mapping[str, Any]]):
    """Ask for at most `limit` connections with numbers above `after`: see `listing.list_of`.

    With a `user`, ask for those of that user only.
    """

    kind: ClassVar[str] = "list"

    limit: int
    after: int
    user: str | None = None


@attrs.frozen
class TellMembers(BusQuestion[Mapping[str, Any]]):
    """Ask for the connections on a channel: see `directory.presence.members`."""

    kind: ClassVar[str] = "members"

    channel: str
    limit: int
    after: int


@attrs.frozen
class TellChannels(BusQuestion[Mapping[str, Any]]):
    """Ask for at most `limit` channels after a name: see `directory.presence.channels`."""

    kind: ClassVar[str] = "channels"

    limit: int
    after: str | None


@attrs.frozen
class CloseConnection(BusQuestion[bool]):
    """Close a connection. The answer is False if there is none."""

    kind: ClassVar[str] = "close"

    connection: str
    code: int
    reason: str


@attrs.frozen
class SendTo(BusQuestion[str | None]):
    """Send a message to a connection. The answer is the outcome, None without a connection."""

    kind: ClassVar[str] = "send"

    connection: str
    data64: str
    """The payload in base64."""
    binary: bool

    @classmethod
    def of(cls, connection: str, payload: bytes, is_binary: bool) -> SendTo:
        """Return the question for a payload."""
        return cls(connection, base64.b64encode(payload).decode(), is_binary)

    @property
    def payload(self) -> bytes:
        """Return the payload."""
        return base64.b64decode(self.data64)


@attrs.frozen
class TellUsers(BusQuestion[Mapping[str, Any]]):
    """Ask for at most `limit` users after an id: see `directory.presence.users`."""

    kind: ClassVar[str] = "users"

    limit: int
    after: str | None


@attrs.frozen
class UserCounts:
    """The numbers of a user's connections that took a message or an order, and that did not."""

    handed: int
    dropped: int


@attrs.frozen
class SendToUser(BusQuestion[UserCounts]):
    """Send a message to all connections of a user."""

    kind: ClassVar[str] = "send_user"

    user: str
    data64: str
    """The payload in base64."""
    binary: bool

    @classmethod
    def of(cls, user: str, payload: bytes, is_binary: bool) -> SendToUser:
        """Return the question for a payload."""
        return cls(user, base64.b64encode(payload).decode(), is_binary)

    @property
    def payload(self) -> bytes:
        """Return the payload."""
        return base64.b64decode(self.data64)


@attrs.frozen
class CloseUser(BusQuestion[UserCounts]):
    """Close all connections of a user."""

    kind: ClassVar[str] = "close_user"

    user: str
    code: int
    reason: str


@attrs.frozen
class SeatGiven(BusMessage):
    """The answer to `AskSeat`. False: the user has too many connections."""

    kind: ClassVar[str] = "seat"

    request: int
    given: bool


@attrs.frozen
class MakeWay(BusMessage):
    """Close connections of a user, by number, since a newer one takes their place."""

    kind: ClassVar[str] = "make_way"

    user: str
    connections: tuple[int, ...]


@attrs.frozen
class TellState(BusQuestion[str | None]):
    """Ask for the state of a connection to be traced, None without one."""

    kind: ClassVar[str] = "look"

    connection: str


_KINDS = Kinds(
    Start,
    DeliveryLost,
    PresenceTold,
    TicketTold,
    PingWorker,
    DrainWorker,
    ReopenLog,
    CommitConfig,
    BeginTrace,
    SteerTrace,
    PrepareConfig,
    TellPresence,
    TellFigures,
    TellDoing,
    TellConnections,
    TellMembers,
    TellChannels,
    CloseConnection,
    SendTo,
    TellUsers,
    SendToUser,
    CloseUser,
    SeatGiven,
    MakeWay,
    TellState,
)

_json = _KINDS.message


def from_parent(body: bytes) -> BusMessage:
    """Return the message in a body from the parent. Raises `MessageError`."""
    return BINARY.get(body[:1], _json)(body)
