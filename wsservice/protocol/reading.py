"""Reading: from octets to `onMessage`.

Whole data frames go through the codec (`frames`), all else to Autobahn's own
state machine, frame by frame, so that the codec is back after each. Reading
stops, and goes on, for several reasons (`Hold`); a read of many frames is
worked off in slices, so that no connection keeps the others waiting.
"""

from __future__ import annotations

from typing import Any

from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.tcp import Connection as TCPConnection
from twisted.python.failure import Failure

from ..config.close_codes import CloseCode
from . import compressed, frames
from .budget import STEP_OCTETS
from .callbacks import Callbacks
from .close_frame import masked_close
from .common import Common
from .owner import Hold, Owner
from .sending import SendQueue
from .unfinished import Unfinished

READ_OCTETS = 16 * 1024
"""Octets of a read. Twisted's 64 KiB hold many tiny frames, and are no faster."""

_CLOSED = WebSocketProtocol.STATE_CLOSED
_OPEN = (WebSocketProtocol.STATE_OPEN, WebSocketProtocol.STATE_CLOSING)
_OPENING = (WebSocketProtocol.STATE_CONNECTING, WebSocketProtocol.STATE_PROXY_CONNECTING)

_LARGE_READ_OCTETS = 256 * 1024
"""Octets of a read within a large frame: there are no others in it to be fair to."""

_LAST_SLICE_SECONDS = 0.05
"""Seconds that what came before the end may take, when no turn is left for the rest."""


class Reader:
    """The way in: octets that were read become frames, messages, and calls of the behaviour.

    - `queue` has the octets that wait in the transport, which count as memory too.
    - `tcp` is the transport of the socket, if octets reach it unchanged.
    """

    __slots__ = (
        "_common",
        "_connection",
        "_partial_seen",
        "_paused",
        "_queue",
        "callbacks",
        "codec_next",
        "holds",
        "inflater",
        "kept",
        "last_life",
        "messages_received",
        "octets_received",
        "partial",
        "tcp",
        "unfinished",
        "unread",
    )

    def __init__(
        self, connection: Owner, common: Common, queue: SendQueue, tcp: TCPConnection | None
    ) -> None:
        self._connection = connection
        self._common = common
        self._queue = queue
        #: Calls the behaviour.
        self.callbacks = Callbacks()
        self.tcp = tcp
        self.codec_next = False
        self._partial_seen = False
        self._paused = False
        #: Octets that were received and not parsed yet.
        self.unread = b""
        #: The memory of a message that is not whole, if there is one.
        self.unfinished: Unfinished | None = None
        #: Why reading has stopped: a sum of `Hold`.
        self.holds = 0
        #: The extension that inflates messages, if one was negotiated.
        self.inflater: Any = None
        #: Octets kept of a message whose beginning is no longer unread.
        self.kept = 0
        #: A large message in one frame, as far as it came.
        self.partial: frames.PartialFrame | None = None
        #: The time of the peer's last sign of life.
        self.last_life = 0.0
        #: Octets that came so far, and messages that the behaviour got.
        self.octets_received = 0
        self.messages_received = 0
        self._read_at_once(READ_OCTETS)

    def received(self, data: bytes) -> None:
        """Take octets that were read."""
        self.last_life = now = self._common.seconds()
        self.octets_received += len(data)
        if self.unread:
            data = self.unread + data
            self.unread = b""
        if not self.holds:
            self._work(data, now)
        elif not self.holds & Hold.OVER:
            # A TLS transport hands over what it has decrypted even while it is paused.
            self.unread = data
            self.holds_more()
        elif not self.holds & Hold.GONE:
            self._connection.throw_away(len(data))

    def opened(self, data: bytes, inflater: Any) -> None:
        """Begin to read frames. `data` are octets that came with the handshake."""
        self.inflater = inflater
        self.unread = data + self.unread
        self._look()

    # Work on octets

    def _work(self, buffer: bytes, began: float, until: float | None = None) -> None:
        """Work off what was read, until it is done, must wait, or it is `until`, a time.

        Without, it has the slice of time, since it `began`, that a connection has now. All
        messages that are sent meanwhile leave together.
        """
        connection = self._connection
        gathering = connection.factory.gathering
        if gathering.under_way:
            self._work_off(connection, buffer, began, until)
            return
        gathering.under_way = True
        try:
            self._work_off(connection, buffer, began, until)
        finally:
            self.send_gathered(connection)

    def _work_off(
        self, connection: Owner, buffer: bytes, began: float, until: float | None
    ) -> None:
        common = self._common
        masked, limit, most = common.decoding
        position, size = 0, len(buffer)
        try:
            while True:
                before = position
                messages, stopped = common.undecoded
                if self.codec_next:
                    messages, stopped = frames.decode(buffer, position, masked, limit, most)
                if messages:
                    position = self.deliver(messages)
                elif stopped == frames.PARTIAL:
                    position = self.begin_partial(buffer, position)
                elif stopped == frames.STOPPED and common.meter is not None:
                    position = common.meter.step(self, connection, buffer, position)
                else:
                    position = self.step(buffer, position)
                if position == size:
                    return
                if self.holds or position == before:
                    break
                # Asked only here: most reads are worked off at one go.
                turns = connection.factory.turns
                if common.seconds() >= (began + turns.slice if until is None else until):
                    self.hold(Hold.SLICE)
                    turns.later(self)
                    break
        except Exception:
            # Autobahn's or ours: a behaviour's are caught where it is called.
            connection.callback_failed(Failure())
            return
        if not self.holds & Hold.OVER:
            self.unread = buffer[position:] + self.unread
            self.holds_more()

    @staticmethod
    def send_gathered(connection: Owner) -> None:
        """End a gathering, and contain its errors as if the behaviour had raised them."""
        try:
            connection.factory.gathering.end()
        except Exception:
            connection.callback_failed(Failure())

    def step(self, buffer: bytes, position: int) -> int:
        """Work off what is not for the codec: where it ends, `position` if it is not whole yet."""
        connection = self._connection
        if self.partial is not None:
            return self._feed(self.partial, buffer, position)
        if connection.state == _CLOSED:
            return len(buffer)
        if connection.state in _OPENING:
            connection.opening_received(buffer[position:])
            return len(buffer)
        if connection.current_frame is not None:
            return self._to_autobahn(buffer, position, position + self.rest_of_frame())
        size = frames.frame_size(buffer, position)
        if not size:
            return position
        end = position + size
        if (
            self.codec_next
            and buffer[position] in compressed.FIRST_OCTETS
            and self.inflater is not None
            and end <= len(buffer)
            and self._inflate(buffer[position:end])
        ):
            return end
        return self._to_autobahn(buffer, position, end)

    def _inflate(self, frame: bytes) -> bool:
        """Read a compressed message of one frame; return False if Autobahn must do that."""
        connection = self._connection
        try:
            message = compressed.message_of(frame, self.inflater, self._common)
        except compressed.BadMessageError as refused:
            connection.fail_connection(refused.code, refused.reason)
            return True
        if message is not None:
            self.messages_received += 1
            self.callbacks.call(connection, connection.onMessage, *message)
        return message is not None

    def _look(self) -> None:
        """See whether it is the codec that reads what comes next."""
        connection = self._connection
        self.codec_next = (
            self._common.by_codec
            and self.partial is None
            and connection.current_frame is None
            and not connection.inside_message
            and connection.state in _OPEN
        )

    def _to_autobahn(self, buffer: bytes, start: int, end: int) -> int:
        """Hand octets to Autobahn, but for a client's close frame that came whole.

        Returns the position in the buffer behind the octets that were taken.
        """
        connection = self._connection
        octets = buffer[start:end]
        # Octets that Autobahn has kept, or a frame that it is within, come first.
        masked = self._common.decoding[0]
        if masked and not connection.data and connection.current_frame is None:
            close = masked_close(octets)
            if close is not None:
                connection.onCloseFrame(*close)
                self._look()
                return end
        connection.data += octets
        connection.consumeData()
        self._look()
        within = connection.inside_message or connection.current_frame is not None
        if within and not self.holds & Hold.OVER:
            self.holds_more()
        return min(end, len(buffer))

    def rest_of_frame(self) -> int:
        """Return how many octets of the current frame are still to come."""
        if self.partial is not None:
            return self.partial.left
        frame = self._connection.current_frame
        if frame is None:
            return 0
        return int(frame.length - self._connection.current_frame_masker.pointer())

    # A large message in one frame

    def begin_partial(self, buffer: bytes, position: int) -> int:
        """Begin a frame that is not whole, if it is large: where the taken octets end."""
        size = frames.frame_size(buffer, position)
        # Nearly every read ends within a frame. The next one completes it, unless
        # it is large: then what there is, is kept as it is.
        if not size or (not self._partial_seen and size <= len(buffer) - position + READ_OCTETS):
            self._partial_seen = True
            return position
        self._partial_seen = False
        self.partial = frames.PartialFrame(buffer, position)
        self.codec_next = False
        self._read_at_once(min(size - len(buffer) + position, _LARGE_READ_OCTETS))
        return self._feed(self.partial, buffer, position + self.partial.header_size)

    def _feed(self, partial: frames.PartialFrame, buffer: bytes, start: int) -> int:
        connection = self._connection
        end = partial.feed(buffer, start)
        self.kept += end - start
        if not partial.valid:
            connection.fail_connection(CloseCode.INVALID_PAYLOAD, compressed.NO_TEXT)
        elif partial.whole:
            self.partial = None
            self.kept = 0
            self.codec_next = True
            self._read_at_once(READ_OCTETS)
            self.messages_received += 1
            self.callbacks.call(connection, connection.onMessage, partial.payload, partial.isBinary)
        elif self.unfinished is None or self.kept >= self.unfinished.accounted + STEP_OCTETS:
            self.holds_more()
        return end

    def _read_at_once(self, size: int) -> None:
        """How many octets the transport reads at one go, where it can be told."""
        if self.tcp is not None:
            self.tcp.bufferSize = max(size, READ_OCTETS)

    # To the behaviour

    def deliver(self, messages: list[tuple[bytes, bool, int]]) -> int:
        """Hand messages to the behaviour: where the last one that it got ends."""
        self._partial_seen = False
        calls = self.callbacks.calls
        if calls is not None and calls.under_way:
            return self._deliver_later(messages, 0)
        # A callback may lose the connection, and `_connection` is gone then.
        connection = self._connection
        if self._common.takes_all and connection.take_all(messages):
            self.messages_received += len(messages)
            return messages[-1][2]
        # What `call` does, without its cost: nearly always nothing is returned.
        on_message = connection.onMessage
        for number, (payload, is_binary, end) in enumerate(messages, 1):
            try:
                result = on_message(payload, is_binary)
            except Exception:
                self.messages_received += number
                connection.callback_failed(Failure())
                return end
            if result is not None:
                self.messages_received += number
                self.callbacks.follow(connection, result)
                return end if self.holds else self._deliver_later(messages[number:], end)
            if self.holds:
                break
        self.messages_received += number
        return end

    def _deliver_later(self, messages: list[tuple[bytes, bool, int]], end: int) -> int:
        """The same, behind what waits; `end` is where those before ended."""
        connection = self._connection
        for payload, is_binary, end in messages:  # noqa: B007 - it is returned
            self.messages_received += 1
            self.callbacks.call(connection, connection.onMessage, payload, is_binary)
            if self.holds:
                break
        return end

    # When to read

    def hold(self, why: int) -> None:
        """Stop reading for a reason, one of `Hold`."""
        # What still comes of one that is over is thrown away. Were it not read,
        # the peer's end would go unnoticed, and a reset would destroy our last words.
        if self.holds & Hold.OVER:
            return
        self.holds |= why
        if not self._paused:
            self._paused = True
            self._connection.transport.pauseProducing()

    def release(self, why: int) -> None:
        """Read on, unless another reason is left."""
        if self.holds & Hold.OVER or not self.holds & why:
            return
        self.holds &= ~why
        if self.unread and not self.holds:
            unread, self.unread = self.unread, b""
            self._work(unread, self._common.seconds())
        if self._paused and not self.holds:
            self._paused = False
            self._connection.transport.resumeProducing()

    @property
    def transport(self) -> Any:
        """The connection's transport, as `turns.Turned` has it."""
        return self._connection.transport

    def take_turn(self) -> None:
        """Go on with what was read, as `turns.Turned` has it."""
        self.release(Hold.SLICE)

    def end_slice(self) -> None:
        """Let the others have their turn: one read brought several parts, and took long enough.

        Over TLS each record is a part, with a slice of its own.
        """
        # A connection that is lost is over, and `_connection` is gone.
        if not self.holds and self._connection.state in _OPEN:
            self.hold(Hold.SLICE)
            self._connection.factory.turns.later(self)

    # The end

    def finish(self) -> None:
        """Work off what came, whatever it waited for, since nothing more comes.

        A TLS transport may bring messages, which wait here, and the end right behind them.
        """
        if self.holds & Hold.OVER:
            return
        connection = self._connection
        self._paused = True  # there is nothing left to pause
        now = self._common.seconds()
        until, before = now + _LAST_SLICE_SECONDS, -1
        while connection.state in _OPEN and len(self.unread) not in (0, before) and now < until:
            before = len(self.unread)
            unread, self.unread = self.unread, b""
            self.holds = 0
            self._work(unread, now, until)
            now = self._common.seconds()
        if self.unread and (now >= until or self.holds & Hold.RATE):
            size = len(self.unread)
            connection.log.info(
                "[{who}] {octets} octets came too late to be read", who=connection.who, octets=size
            )

    def end(self) -> None:
        """Throw away what still comes, since the connection is over."""
        self.holds |= Hold.OVER

    def forget(self) -> None:
        """Forget what came, which is of no interest any more."""
        self.unread = b""
        self.kept = 0
        self.partial = None
        if self.unfinished is not None:
            self.unfinished.over()

    def let_go(self) -> None:
        """Let go of the connection, whose transport is gone, so that both are freed at once."""
        if not self.holds & Hold.GONE:
            self.holds |= Hold.GONE
            self.inflater = None
            if self._common.meter is not None:
                self._common.meter.forget(self)
            # Deleted, so that a use of it by mistake is an error.
            del self._connection

    def holds_more(self, sending: bool = False) -> None:
        """Count memory after a read that ended within a message, or when the transport says stop.

        `sending` is true if the transport said stop.
        """
        if self.unfinished is None:
            self.unfinished = Unfinished(self._connection, self, self._queue, self._common)
            self._connection.factory.unfinished.add(self.unfinished)
        self.unfinished.grew(sending)
