"""The contract of a hub: the connections of a process by channel, and publishing to them.

A process has one hub. Each meets `Hub`, so connections, behaviours and the admin face use any of
them alike:

- `hub.LocalHub`: a service of one process, with or without a history;
- `workers.child.hub.WorkerHub`: a worker, without a history;
- `workers.child.kept.KeptHub`: a worker whose parent keeps the history;
- `broker.hub.BrokerHub`: a node or a worker with `--broker`, where Redis keeps the history.

A method that may need another process returns a Deferred in every hub. Methods that run for each
message or connection are plain: `publish` most of all, since a Deferred takes longer to make than
the frame of a small message. Arguments that are not allowed raise at once, also in methods that
return a Deferred.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from ..config.keep import Keep
from ..metrics import ChannelSizes, Histogram
from ..protocol.sending import PreparedMessage
from .history import History, Missed
from .message import ChannelMessage
from .outcome import Published
from .page import HistoryPage
from .presence import DEFAULT_LIMIT, Ask, Presence
from .query import Latest, Position


class MemberUser(Protocol):
    """The user of a connection, as the hub uses it."""

    @property
    def id(self) -> str:
        """The user's id."""


class Member(Protocol):
    """A connection, as the hub uses it."""

    channel: str

    @property
    def user(self) -> MemberUser | None:
        """Its user, None without one."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that it is on, its own first, none twice."""

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> object:
        """Send one message. The result is true if the connection took it."""

    def fall_behind(self, channel: str, since: Position) -> None:
        """Fetch the messages of a channel after a position, since some were lost on their way."""

    def tell_gap(self, channel: str) -> None:
        """Tell the client that messages of a channel may be missing, at an unknown position."""

    def go_away(self) -> None:
        """Say goodbye because the service stops."""


class Sizes(NamedTuple):
    """How many connections and channels there are."""

    open: int
    """Connections that are open, however many channels each is on."""
    channels: int
    """Channels that have any."""
    largest: int
    """Connections of the channel that has the most."""


class Hub(Protocol):
    """The connections of this process, and the open ones by channel.

    A connection is in the hub from its first octet to its last. It calls `arrive`; `join` once its
    handshake is done; and `leave`. So the hub's count is right whatever a behaviour's callbacks
    raise. A connection that only waits for the peer's end of TCP may `settle` before it leaves.

    With a history, a connection may join *behind*. It gets no published message until it has
    fetched the ones that it `missed`. In the same turn in which it has missed nothing more, it
    calls `catch_up`. Messages that are published meanwhile are in the history, so none has to wait
    elsewhere.

    Iterating yields the current connections as they came. They may leave meanwhile.
    """

    publishing: Histogram
    """Seconds in which a published message was passed to all connections of this process."""
    kept: History | None
    """The history, or None if none is kept in this process."""
    whole: Ask | None
    """Asks all processes of the service for a channel's presence; None if this is the only one."""
    channel_sizes: ChannelSizes
    """Counts connections that join or leave a channel. Set it before the first one."""
    slow: Callable[[], int]
    """Returns how often the slow-client policy has acted. The factory of connections sets it, and
    that of the last factory counts."""

    # The connections

    @property
    def has_history(self) -> bool:
        """True if there is a history, here or elsewhere."""

    def keep(self, channel: str) -> Keep:
        """Return what the history keeps of a channel, of which a `size` of 0 is nothing."""

    @property
    def unsettled(self) -> int:
        """The number of connections that still send or must be sent something."""

    def __len__(self) -> int:
        """Return how many connections there are, open or not."""

    def __iter__(self) -> Iterator[Member]: ...

    def sizes(self) -> Sizes:
        """Return how many connections and channels there are now."""

    def channels(self) -> list[str]:
        """Return the names of the channels that have open connections, in no order."""

    def is_occupied(self, channel: str) -> bool:
        """Return True if an open connection is on a channel."""

    def arrive(self, member: Member) -> None:
        """Add a connection that was accepted."""

    def join(self, member: Member, behind: bool = False) -> None:
        """Add an open connection to its channels, or make it behind on all of them."""

    def catch_up(self, member: Member, channel: str, position: Position | None = None) -> None:
        """Note that a connection that was behind on a channel has all messages of it now.

        `position` is that of the last one, if known.
        """

    def identify(self, member: Member) -> None:
        """Note that a connection has got another user, or none. It may be open or not."""

    def settle(self, member: Member) -> None:
        """Note that all octets of a connection have left, so that a stop need not wait for it."""

    def leave(self, member: Member) -> None:
        """Remove a connection that is over. Idempotent."""

    def when_settled(self) -> Deferred[None]:
        """Return a Deferred that fires once all connections have left or settled.

        Cancel it to stop waiting.
        """

    # Presence

    def presence(self, channel: str, limit: int = DEFAULT_LIMIT) -> Deferred[Presence]:
        """Return a Deferred of the people on a channel of the whole service: all workers and nodes.

        At most `limit` people are listed, 0 to 1000, in the order of their ids. All are counted. A
        worker or a node that does not answer within 10 s is named in `Presence.missing`. Raises
        `ValueError` for another limit, and for a channel's name of more than 255 octets.
        """

    def local_presence(self, channel: str, limit: int = DEFAULT_LIMIT) -> Presence:
        """Return the people on a channel in this process. Raises `ValueError` like `presence`."""

    def local_count(self, channel: str) -> int:
        """Return how many open connections are on a channel in this process."""

    def local_members(self, channel: str) -> tuple[Member, ...]:
        """Return the open connections of a channel in this process.

        They are in the order in which they joined. Those that are behind come last.
        """

    def members(self, channel: str) -> tuple[Member, ...]:
        """Return `local_members`. Deprecated: use `presence`, which covers the whole service."""

    # Users

    def users(self) -> Collection[str]:
        """Return the ids of the users that have open connections in this process, in no order."""

    def user_count(self, user: str) -> int:
        """Return how many open connections a user has in this process."""

    def user_members(self, user: str) -> tuple[Member, ...]:
        """Return the open connections of a user in this process, as they joined."""

    def send_user(self, user: str, payload: bytes, isBinary: bool = False) -> Deferred[Published]:
        """Send a message to all open connections of a user, in all processes of the service.

        Fire with the outcome. With workers and nodes it counts the connections of this process, as
        `deliver` does; `complete` is False if others may have more. Each connection gets a user's
        messages of this process in their order. A connection that reads slowly delays no other.
        Fails as `deliver` does. Raises `TypeError` for an id that is not text and a payload that
        is not bytes, and `ValueError` for an id without, or of more than 255, octets.
        """

    def send_local(self, user: str, payload: bytes, isBinary: bool = False) -> Published:
        """Send a message to the open connections of a user in this process only."""

    # Messages

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> int:
        """Send a message to every open connection on a channel, in all processes of the service.

        Return how many connections of this process took it, or will get it soon: those that are
        behind find it in the history, and by way of Redis or the parent all get it a moment later.
        0 also if the message reaches nobody, since the way to other processes is full.

        Raises `TypeError` for a payload that is not bytes, `ValueError` for a channel's name of
        more than 255 octets, and with Redis for text that is not UTF-8 and for a payload larger
        than nodes take.
        """

    def deliver(self, message: ChannelMessage) -> Deferred[Published]:
        """Send a message like `publish`, and fire with the outcome.

        The message is one that `message.new_message` has checked, or another door. Fails with
        `NotPublishedError` if it reached nobody, and `UncertainError` if that is not known. Raises
        `ValueError` like `publish`.
        """

    # The history

    def position(self, channel: str) -> Deferred[Position]:
        """Fire with the current position of a channel.

        It covers all messages of this hub before it, and none after it. Raises `RuntimeError` if
        no history is kept.
        """

    def missed(self, channel: str, since: Position | Latest) -> Deferred[Missed]:
        """Fire with the first messages that were published on a channel after a position.

        With `Latest` they are the first of the last ones. Without messages, or if it is `whole`, an
        answer is true in this turn only: another message may come in the next. Raises
        `RuntimeError` if no history is kept.
        """

    def history(
        self, channel: str, limit: int = DEFAULT_LIMIT, since: Position | None = None
    ) -> Deferred[HistoryPage]:
        """Fire with messages of a channel's history, the oldest first.

        They are the last `limit` messages, 1 to 1000, or with `since` the first `limit` after that
        position; together they have at most 1 MiB of payload, or are a single message.

        Raises `ValueError` for another limit, and for a channel's name of more than 255 octets,
        and `errors.NoHistoryError` if no history is kept. Fails with `errors.HistoryAwayError` if
        the process or the server that keeps the history is away, or does not answer within 10 s.
        """
