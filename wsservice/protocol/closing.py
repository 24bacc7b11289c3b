"""Close a connection by the closing handshake, and fail one (RFC 6455, 7).

Autobahn's own code accepts fewer close codes than are registered. It sets no deadline for a peer
that does not read or that never ends its side of TCP.
"""

from __future__ import annotations

from autobahn.util import encode_truncate

from ..config.close_codes import MOST_OF_REASON, CloseCode, is_on_the_wire
from . import frames
from .framing import new_key
from .lingering import Lingering
from .owner import CLOSING, OPEN, ClosingOwner
from .reading import Reader
from .sending import SendQueue

_CLOSE = 0x88
"""The first octet of a close frame: final, no extension."""


class ClosingHandshake:
    """The closing handshake of a connection, and the end of TCP after it.

    It is made when the connection begins to close. Every method gets the connection, so that no
    reference to it is kept.
    """

    __slots__ = ("failed_with", "lingering", "peer_finished")

    def __init__(self, reader: Reader, queue: SendQueue) -> None:
        self.lingering = Lingering(reader, queue)
        #: The code of the close frame that told the peer that the connection failed.
        self.failed_with: int | None = None
        #: True if the peer has ended its side of TCP.
        self.peer_finished = False

    def send(
        self,
        connection: ClosingOwner,
        code: int | None,
        reason: bytes | None,
        is_reply: bool,
        masks: bool,
    ) -> None:
        """Send a close frame, with a reason of at most 123 octets."""
        payload = b"" if code is None else code.to_bytes(2, "big")
        connection.sendData(frames.encode(_CLOSE, payload + (reason or b""), new_key(masks)))
        connection.state = CLOSING
        connection.closedByMe = not is_reply
        connection.localCloseCode, connection.localCloseReason = code, reason
        if connection.closedByMe and connection.closeHandshakeTimeout > 0:
            connection.closeHandshakeTimeoutCall = connection.factory._batched_timer.call_later(
                connection.closeHandshakeTimeout, connection.onCloseHandshakeTimeout
            )

    def received(self, connection: ClosingOwner, code: int | None, octets: bytes | None) -> bool:
        """Handle a close frame of the peer, and return True if it breaks a rule."""
        # Autobahn resets both too, before it looks at the frame.
        connection.remoteCloseCode = connection.remoteCloseReason = None
        if code is not None and not is_on_the_wire(code):
            connection.fail_connection(CloseCode.PROTOCOL_ERROR, f"invalid close code {code}")
            return True
        try:
            reason = None if octets is None else octets.decode()
        except UnicodeDecodeError:
            connection.fail_connection(
                CloseCode.INVALID_PAYLOAD, "invalid UTF-8 in the reason of a close"
            )
            return True
        connection.remoteCloseCode, connection.remoteCloseReason = code, reason
        if connection.state == OPEN:
            connection.wasClean = True
            connection.sendCloseFrame(code=code, reasonUtf8=octets, isReply=True)
        elif connection.state == CLOSING:
            connection.wasClean = True
            if connection.closeHandshakeTimeoutCall is not None:
                connection.closeHandshakeTimeoutCall.cancel()
                connection.closeHandshakeTimeoutCall = None
        if connection.factory.isServer:
            connection.dropConnection()
        elif connection.state == CLOSING:
            # TCP is the server's to end (RFC 6455, 7.1.1). It has the close timeout to do so.
            connection.drop_later()
        return False

    def fail(self, connection: ClosingOwner, code: int, reason: str, tell: bool) -> None:
        """Fail the connection: close it with a code, and stop reading (RFC 6455, 7.1.7).

        With `tell` the peer and the log get the reason too, otherwise only `onClose` gets it.
        """
        connection.failedByMe = True
        if reason and tell:
            connection.log.info(
                "[{who}] closed with {code:d}: {why}", who=connection.who, code=code, why=reason
            )
        connection.wasNotCleanReason = reason
        if connection.state == OPEN:
            self.failed_with = code
            told = encode_truncate(reason, MOST_OF_REASON) if tell else None
            connection.sendCloseFrame(code=code, reasonUtf8=told)
        connection.dropConnection()

    def end_tcp(self, connection: ClosingOwner, abort: bool) -> None:
        """End TCP: at once with `abort`, otherwise after all sent octets have left."""
        # A peer sends nothing after its close frame, or after it has ended its side of TCP.
        self.lingering.end(connection, abort, connection.wasClean or self.peer_finished)

    def stop(self, connection: ClosingOwner) -> None:
        """Cancel the timers of closing, at the end of the connection."""
        self.lingering.stop()
        if connection.closeHandshakeTimeoutCall is not None:
            connection.closeHandshakeTimeoutCall.cancel()
            connection.closeHandshakeTimeoutCall = None
