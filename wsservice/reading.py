"""Reading: from octets to `onMessage`.

Whole data frames go through the codec (`frames`), all else to Autobahn's own
state machine, frame by frame, so that the codec is back after each. Reading
stops, and goes on, for several reasons (`Hold`); a read of many frames is
worked off in slices, so that no connection keeps the others waiting.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from autobahn.exception import PayloadCorruptError, PayloadExceededError
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.tcp import Connection as TCPConnection
from twisted.python.failure import Failure

from . import frames
from .callbacks import Callbacks
from .compression import inflate
from .config import Limits
from .policy import CloseCode

READ_SIZE = 16 * 1024
"""Octets of a read. Twisted's 64 KiB hold many tiny frames, and are no faster."""

_CLOSED = WebSocketProtocol.STATE_CLOSED
_OPEN = (WebSocketProtocol.STATE_OPEN, WebSocketProtocol.STATE_CLOSING)
_OPENING = (WebSocketProtocol.STATE_CONNECTING, WebSocketProtocol.STATE_PROXY_CONNECTING)

_LARGE_READ = 256 * 1024
"""Octets of a read within a large frame: there are no others in it to be fair to."""

_SLICE = 0.004
"""Seconds after which a connection lets the others have their turn."""

BATCH = 32
"""Messages that are decoded before the clock is looked at."""


_BINARY = b"\x82"
_COMPRESSED_TEXT, _COMPRESSED_BINARY = 0xC1, 0xC2
_COMPRESSED = (_COMPRESSED_TEXT, _COMPRESSED_BINARY)
"""First octets of frames: whole messages (RFC 6455, 5.2, and RFC 7692, 6)."""

_NOTHING_DECODED: tuple[list[tuple[bytes, bool, int]], int] = ([], frames.FOREIGN)


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


def most_compressed(limit: int) -> int:
    """How many octets a message within `limit` may have before it is inflated; 0 for any number.

    The worst that an honest peer sends is nine bits for each octet, and some octets
    for each fragment. Blocks of nothing could go on for ever.
    """
    return limit and limit + limit // 8 + READ_SIZE


def _is_text(octets: bytes, whole: bool) -> bool:
    """Whether it is UTF-8; where it is not `whole`, as far as it goes."""
    if octets.isascii():
        return True
    try:
        codecs.utf_8_decode(octets, "strict", whole)
    except UnicodeDecodeError:
        return False
    return True


class Reading(Callbacks):
    """The way in. To be mixed in before Autobahn's protocol, whose names it uses."""

    # Autobahn's
    state: int
    data: bytes
    transport: Any
    factory: Any
    current_frame: Any
    current_frame_masker: Any
    inside_message: bool
    consumeData: Callable[[], None]
    onMessage: Callable[[bytes, bool], object]
    _invalid_payload: Callable[[str], bool]
    _fail_connection: Callable[[int, str], None]
    _isMessageCompressed: bool
    _perMessageCompress: Any
    frame_data: list[bytes | bytearray] | None
    message_data_total_length: int
    onMessageBegin: Callable[[bool], None]
    onMessageFrameBegin: Callable[[int], None]
    onMessageEnd: Callable[[], None]

    _limits = Limits()
    _masks: bool
    _by_codec = True
    _batch = BATCH
    _decoding: tuple[bool, int, int]
    # Does what `onMessage` does, once for all messages; or says that it must be called for each.
    _take_all: Callable[[list[tuple[bytes, bool, int]]], bool]
    _takes_all = False
    _codec_next = False
    _holds = 0
    _reading_paused = False
    _unread = b""
    _partial: frames.PartialFrame | None = None
    _partial_seen = False
    _fragments = 0
    _compressed_size = 0
    _next_slice: IDelayedCall | None = None
    _tcp: TCPConnection | None = None
    _last_life = 0.0
    _seconds: Callable[[], float]

    #: What came so far: octets, and the messages that the behaviour got.
    octets_received = 0
    messages_received = 0

    def dataReceived(self, data: bytes) -> None:
        self._last_life = now = self._seconds()
        self.octets_received += len(data)
        if self._unread:
            data = self._unread + data
            self._unread = b""
        if not self._holds:
            self._work(data, now)
        elif self.state != _CLOSED:
            # A TLS transport hands over what it has decrypted even while it is paused.
            self._unread = data

    def _work(self, buffer: bytes, now: float) -> None:
        """Work off what was read, until it is done, must wait, or has taken its time.

        What is sent meanwhile, to whomever, leaves together.
        """
        gathering = self.factory.gathering
        if gathering.under_way:
            self._work_off(buffer, now + _SLICE)
            return
        gathering.under_way = True
        try:
            self._work_off(buffer, now + _SLICE)
        finally:
            self._send_gathered()

    def _work_off(self, buffer: bytes, until: float) -> None:
        masked, limit, most = self._decoding
        position, size = 0, len(buffer)
        try:
            while True:
                before = position
                messages, stopped = _NOTHING_DECODED
                if self._codec_next:
                    messages, stopped = frames.decode(buffer, position, masked, limit, most)
                if messages:
                    position = self._deliver(messages)
                elif stopped == frames.PARTIAL:
                    position = self._begin_partial(buffer, position)
                else:
                    position = self._step(buffer, position)
                if position == size:
                    return
                if self._holds or position == before:
                    break
                if self._seconds() >= until:
                    self._hold(Hold.SLICE)
                    self._next_slice = self.factory.reactor.callLater(0, self._release, Hold.SLICE)
                    break
        except Exception:
            # Autobahn's or ours: a behaviour's are caught where it is called.
            self._callback_failed(Failure())
            return
        if self.state != _CLOSED:
            self._unread = buffer[position:] + self._unread

    def _send_gathered(self) -> None:
        try:
            self.factory.gathering.end()
        except Exception:
            # As if it had been raised where the behaviour sent.
            self._callback_failed(Failure())

    def _step(self, buffer: bytes, position: int) -> int:
        """Work off what is not for the codec: where it ends, `position` if it is not whole yet."""
        if self._partial is not None:
            return self._feed(self._partial, buffer, position)
        if self.state == _CLOSED:
            return len(buffer)
        if self.state in _OPENING:
            self._opening_received(buffer[position:])
            return len(buffer)
        if self.current_frame is not None:
            rest = self.current_frame.length - self.current_frame_masker.pointer()
            return self._to_autobahn(buffer, position, position + rest)
        size = frames.frame_size(buffer, position)
        if not size:
            return position
        end = position + size
        if self._codec_next and buffer[position] in _COMPRESSED and end <= len(buffer):
            octets = self._compressed(buffer, position, end)
            if octets is not None:
                self._inflate(octets, buffer[position] == _COMPRESSED_BINARY)
                return end
        return self._to_autobahn(buffer, position, end)

    def _compressed(self, buffer: bytes, start: int, end: int) -> bytes | None:
        """What a compressed message of one frame has in it, None where that is Autobahn's."""
        masked, limit, _ = self._decoding
        if self._perMessageCompress is None:
            return None
        # The same frame as a binary one, which the codec takes as it is.
        frame = _BINARY + buffer[start + 1 : end]
        messages, _ = frames.decode(frame, 0, masked, most_compressed(limit), 1)
        return messages[0][0] if messages else None

    def _inflate(self, octets: bytes, is_binary: bool) -> None:
        """A compressed message came whole: what Autobahn does with it, at once."""
        limit = self._limits.max_message_size
        try:
            payload = inflate(self._perMessageCompress, octets, limit)
        except PayloadExceededError:
            self._too_big()
            return
        except PayloadCorruptError as error:
            self._invalid_payload(f"a message cannot be decompressed: {error}")
            return
        too_big = 0 < limit < len(payload)
        if not is_binary and not _is_text(payload, not too_big):
            self._invalid_payload("invalid UTF-8 in a text message")
        elif too_big:
            self._too_big()
        else:
            self.messages_received += 1
            self._call(self.onMessage, payload, is_binary)

    def _look(self) -> None:
        """See whether it is the codec that reads what comes next."""
        self._codec_next = (
            self._by_codec
            and self._partial is None
            and self.current_frame is None
            and not self.inside_message
            and self.state in _OPEN
        )

    def _deliver(self, messages: list[tuple[bytes, bool, int]]) -> int:
        """Hand messages to the behaviour: where the last one that it got ends."""
        self._partial_seen = False
        if self._running is not None or self._waiting_calls:
            return self._deliver_later(messages, 0)
        if self._takes_all and self._take_all(messages):
            self.messages_received += len(messages)
            return messages[-1][2]
        # What `_call` does, without its cost: nearly always nothing is returned.
        on_message = self.onMessage
        for number, (payload, is_binary, end) in enumerate(messages, 1):
            try:
                result = on_message(payload, is_binary)
            except Exception:
                self.messages_received += number
                self._callback_failed(Failure())
                return end
            if result is not None:
                self.messages_received += number
                self._called(result)
                return end if self._holds else self._deliver_later(messages[number:], end)
            if self._holds:
                break
        self.messages_received += number
        return end

    def _deliver_later(self, messages: list[tuple[bytes, bool, int]], end: int) -> int:
        """The same, behind what waits; `end` is where those before ended."""
        for payload, is_binary, end in messages:  # noqa: B007 - it is returned
            self.messages_received += 1
            self._call(self.onMessage, payload, is_binary)
            if self._holds:
                break
        return end

    def _opening_received(self, data: bytes) -> None:
        """Octets of the opening handshake."""
        self.data += data
        self.consumeData()

    def _to_autobahn(self, buffer: bytes, start: int, end: int) -> int:
        self.data += buffer[start:end]
        self.consumeData()
        self._look()
        return min(end, len(buffer))

    def _begin_partial(self, buffer: bytes, position: int) -> int:
        size = frames.frame_size(buffer, position)
        # Nearly every read ends within a frame. The next one completes it, unless
        # it is large: then what there is, is kept as it is.
        if not size or (not self._partial_seen and size <= len(buffer) - position + READ_SIZE):
            self._partial_seen = True
            return position
        self._partial_seen = False
        self._partial = frames.PartialFrame(buffer, position)
        self._codec_next = False
        self._read_at_once(min(size - len(buffer) + position, _LARGE_READ))
        return self._feed(self._partial, buffer, position + self._partial.header_size)

    def _feed(self, partial: frames.PartialFrame, buffer: bytes, start: int) -> int:
        end = partial.feed(buffer, start)
        if not partial.valid:
            self._invalid_payload("invalid UTF-8 in a text message")
        elif partial.whole:
            self._partial = None
            self._codec_next = True
            self._read_at_once(READ_SIZE)
            self.messages_received += 1
            self._call(self.onMessage, partial.payload, partial.isBinary)
        return end

    def _read_at_once(self, size: int) -> None:
        """How many octets the transport reads at one go, where it can be told."""
        if self._tcp is not None:
            self._tcp.bufferSize = max(size, READ_SIZE)

    # A message that is Autobahn's to read: it must stay within the limits at every octet

    def _onMessageBegin(self, isBinary: bool) -> None:
        self._fragments = 0
        self._compressed_size = 0
        self.message_data_total_length = 0
        self.onMessageBegin(isBinary)

    def _onMessageFrameBegin(self, length: int) -> None:
        # The last one does no harm, and the testsuite ends 65,536 with an empty one.
        self._fragments += not self.current_frame.fin
        if 0 < self._limits.max_fragments < self._fragments:
            self._fail_connection(CloseCode.POLICY_VIOLATION, "too many fragments")
        total = self.message_data_total_length
        if self._isMessageCompressed:
            self._compressed_size += length
            if 0 < most_compressed(self._limits.max_message_size) < self._compressed_size:
                self._too_big()
        elif 0 < self._limits.max_message_size < total + length:
            self._too_big()
        # Autobahn would count a compressed frame before it is inflated, and refuse a
        # message within the limit that compression made longer.
        self.message_data_total_length = total - length
        self.onMessageFrameBegin(length)
        self.message_data_total_length = total if self._isMessageCompressed else total + length

    def onFrameData(self, payload: bytes) -> Any:
        """Autobahn's: a part of a frame, still compressed if its message is."""
        is_data = self.current_frame.opcode < 8
        if is_data and self._isMessageCompressed:
            # What Autobahn takes off again: it means to have counted this part before.
            self.message_data_total_length += len(payload)
        result = super().onFrameData(payload)  # type: ignore[misc]
        if self._by_codec and is_data and self.frame_data and len(self.frame_data) > 1:
            # Many parts of some octets each would take many times their memory.
            if not isinstance(self.frame_data[0], bytearray):
                self.frame_data[0] = bytearray(self.frame_data[0])
            self.frame_data[0] += self.frame_data.pop()
        if is_data and 0 < self._limits.max_message_size < self.message_data_total_length:
            self._too_big()
        return result

    def _too_big(self) -> None:
        self._fail_connection(CloseCode.TOO_BIG, "message too big")

    def _onMessageEnd(self) -> None:
        self.messages_received += 1
        self.onMessageEnd()

    def _onMessage(self, payload: bytes, isBinary: bool) -> None:
        if 0 < self._limits.max_message_size < len(payload):
            self._too_big()
        else:
            self._call(self.onMessage, payload, isBinary)

    def _hold(self, why: int) -> None:
        # What still comes of one that is over is thrown away. Were it not read,
        # the peer's end would go unnoticed, and a reset would destroy our last words.
        if self.state == _CLOSED:
            return
        self._holds |= why
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pauseProducing()

    def _release(self, why: int) -> None:
        if not self._holds & why:
            return
        self._holds &= ~why
        if self._unread and not self._holds and self.state != _CLOSED:
            unread, self._unread = self._unread, b""
            self._work(unread, self._seconds())
        if self._reading_paused and not self._holds and self.state != _CLOSED:
            self._reading_paused = False
            self.transport.resumeProducing()

    def _forget_unread(self) -> None:
        """Nothing that came is of interest any more."""
        self._unread = b""
        self._partial = None
        if self._next_slice is not None and self._next_slice.active():
            self._next_slice.cancel()
        self._next_slice = None
