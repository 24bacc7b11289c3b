"""Name what the parts of a connection may ask of it.

A connection owns a reader, a send queue and other parts. Each keeps its own state, and calls the
connection by these names only. Behaviours see the connection, not its parts.

See docs/decisions/connection-parts.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from autobahn.websocket.protocol import WebSocketProtocol
from twisted.python.failure import Failure

from ..log.peer import PeerLogger

CONNECTING = (WebSocketProtocol.STATE_CONNECTING, WebSocketProtocol.STATE_PROXY_CONNECTING)
OPEN = WebSocketProtocol.STATE_OPEN
CLOSING = WebSocketProtocol.STATE_CLOSING
CLOSED = WebSocketProtocol.STATE_CLOSED
"""The states of a connection, in their order."""


class Hold:
    """Why a connection is not read. Numbers, since they are asked for with every read."""

    DECIDING = 1
    """`onConnect` has not decided yet."""
    CALLBACK = 2
    """Too much waits for a callback that is still running."""
    OUTPUT = 4
    """Too much waits to be sent: a peer that reads its answers slowly is slowed down."""
    SLICE = 8
    """It is the others' turn."""
    BEHAVIOUR = 16
    """The behaviour wants it so."""
    INBOX = 64
    """Too much waits to be appended to the inbox."""
    OVER = 32
    """The connection is closed: what still comes is thrown away."""
    RATE = 256
    """It sends faster than it may."""
    GONE = 128
    """The transport is gone too: nothing comes."""


class Owner(Protocol):
    """A connection, as its parts see it."""

    # Autobahn's
    state: int
    transport: Any
    factory: Any
    data: bytes
    current_frame: Any
    current_frame_masker: Any
    inside_message: bool
    frame_data: Any
    message_data_total_length: int

    def consumeData(self) -> None:
        """Read the octets in `data`."""

    def onCloseFrame(self, code: int | None, reason: bytes | None, /) -> object:
        """Handle a close frame."""

    def onMessageFrameBegin(self, length: int, /) -> None:
        """Begin a frame of a message."""

    def onMessage(self, payload: bytes, is_binary: bool, /) -> object:
        """Handle a message: the behaviour's."""

    #: The log, and the connection's id and peer for it.
    log: PeerLogger
    who: str

    def take_all(self, messages: list[tuple[bytes, bool, int]]) -> bool:
        """Do what `onMessage` does, once for all messages; or return False to have it called."""

    def opening_received(self, data: bytes) -> None:
        """Take octets of the opening handshake."""

    def too_much_waits(self, too_much: bool) -> None:
        """Stop reading while too much waits for a callback that is still running."""

    def callback_failed(self, failure: Failure) -> None:
        """Log the failure of a callback, and fail the connection."""

    def fail_connection(self, code: int, reason: str) -> None:
        """Close the connection with a code, and stop reading."""

    def drop_within(self, seconds: float) -> None:
        """End TCP in some seconds, whatever waits to be sent."""

    def drop_later(self, otherwise: float = 0.0) -> None:
        """Set a deadline for the end of TCP: `--close-timeout`, or `otherwise` if that is 0."""

    def throw_away(self, octets: int) -> None:
        """Count octets that came after the connection was over."""

    @property
    def keeps_context(self) -> bool:
        """True if our compressed messages refer to earlier ones, so that none can be left out."""


class ClosingOwner(Owner, Protocol):
    """A connection, as its closing handshake sees it."""

    # Autobahn's
    wasClean: bool
    wasNotCleanReason: Any
    failedByMe: bool
    droppedByMe: bool
    closedByMe: bool
    localCloseCode: Any
    localCloseReason: Any
    remoteCloseCode: int | None
    remoteCloseReason: str | None
    closeHandshakeTimeout: float
    closeHandshakeTimeoutCall: Any

    @property
    def onCloseHandshakeTimeout(self) -> Callable[[], None]:
        """The function that gives up waiting for the peer's close frame."""

    def sendData(self, data: bytes, /) -> None:
        """Send octets."""

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Send a close frame, after which nothing else is sent."""

    def dropConnection(self) -> None:
        """End TCP after all sent octets have left."""

    def unregisterProducer(self) -> None:
        """Forget the producer of messages."""

    def forget_unread(self) -> None:
        """Forget what came, which is of no interest any more."""


def names_of(*owners: type) -> frozenset[str]:
    """Return the names by which parts call a connection, but for Autobahn's.

    They are Python's style, with lower-case letters alone. Autobahn's are in camelCase.
    """
    return frozenset(
        name
        for owner in owners
        for name in vars(owner)
        if name.islower() and not name.startswith("_")
    )
