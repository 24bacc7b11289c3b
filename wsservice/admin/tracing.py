"""One connection's frames as they happen, as server-sent events (WHATWG HTML, 9.2).

Events are `frame`; `dropped`, with how many were left out because they came faster
than they are shown or read; and `closed`, the last one, where the connection ended.
"""

from __future__ import annotations

import codecs
import json
from collections import deque
from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from ..lines import rfc3339
from ..watching import Watcher
from .exchange import Headers, Outlet
from .octets import Frame, FrameReader

MOST_TRACES = 8
"""Traces at once."""

_EACH_SECOND = 2000
"""Frames that are shown of one connection in a second: to show one takes longer than to read it."""

_HELD = 256 * 1024
"""Octets that wait for a reader that is slow."""

_HEARTBEAT = 15.0
"""Seconds from one sign of life to the next."""

_PATIENCE = 4
"""Signs of life that a reader may leave unread."""

_SHOWN_IN_HEX = 256
"""Octets that are shown of what is no text."""

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_CONTINUATION = 0


class Traced(Protocol):
    """What is needed of a connection."""

    id: str

    @property
    def close_code(self) -> int:
        """The code of the close frame that began the end."""

    def watch(self, watcher: Watcher) -> None:
        """Show what passes."""

    def unwatch(self, watcher: Watcher) -> None:
        """Show it no more."""


class Traces:
    """The traces that are going on."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._all: set[Trace] = set()

    def __len__(self) -> int:
        return len(self._all)

    def trace(self, connection: Traced) -> Trace | None:
        """A new one; None where there are as many as there may be."""
        if len(self._all) >= MOST_TRACES:
            return None
        trace = Trace(connection, self._reactor, self._all)
        self._all.add(trace)
        return trace

    def end(self) -> None:
        """End all of them."""
        for each in tuple(self._all):
            each.end()


@implementer(IPushProducer)
class Trace:
    """Watches a connection, and tells a reader."""

    headers: Headers = (
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        # A proxy (nginx) is to pass on what there is.
        ("X-Accel-Buffering", "no"),
    )

    def __init__(self, connection: Traced, reactor: Any, among: set[Trace]) -> None:
        self._connection = connection
        self._reactor = reactor
        self._among = among
        self._outlet: Outlet | None = None
        self._paused = False
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._dropped = 0
        self._second = 0
        self._shown = 0
        self._unread_beats = 0
        self._directions: dict[str, FrameReader] = {}
        self._is_text = {"received": True, "sent": True}
        self._beats = LoopingCall(self._beat)
        self._beats.clock = reactor

    # What the face calls

    def begin(self, outlet: Outlet) -> None:
        """Send from now on."""
        self._outlet = outlet
        outlet.write(f": connection {self._connection.id}\n\n".encode())
        self._beats.start(_HEARTBEAT, now=False)
        self._connection.watch(self)

    def end(self) -> None:
        """End it. Once is enough, more does no harm."""
        outlet, self._outlet = self._outlet, None
        self._among.discard(self)
        self._connection.unwatch(self)
        if self._beats.running:
            self._beats.stop()
        if outlet is not None:
            outlet.end()

    def pauseProducing(self) -> None:
        """The reader has enough for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The reader has read."""
        self._paused = False
        self._unread_beats = 0
        while self._waiting and not self._paused:
            event = self._waiting.popleft()
            self._held -= len(event)
            self._send(event)
        if self._dropped and not self._paused:
            self._tell_dropped()

    def stopProducing(self) -> None:
        """The reader is gone."""
        self._outlet = None
        self.end()

    # What the connection calls

    def began(self, rest: int, waiting: bytes) -> None:
        """As `Watcher` has it."""
        self._directions = {"received": FrameReader(rest), "sent": FrameReader()}
        self.received(waiting)

    def received(self, octets: bytes) -> None:
        """As `Watcher` has it."""
        self._show("received", octets)

    def sent(self, octets: bytes) -> None:
        """As `Watcher` has it."""
        self._show("sent", octets)

    def ended(self) -> None:
        """As `Watcher` has it."""
        if self._outlet is None:
            return
        if self._dropped:
            self._tell_dropped()
        # All that is held, though the reader be slow: it is bounded, and there is no more.
        for event in self._waiting:
            self._send(event)
        self._waiting.clear()
        self._send(_event("closed", {"time": self._time, "code": self._connection.close_code}))
        self.end()

    @property
    def _time(self) -> str:
        return rfc3339(self._reactor.seconds())

    def _show(self, direction: str, octets: bytes) -> None:
        frames = self._directions[direction].feed(octets)
        if not frames:
            return
        second = int(self._reactor.seconds())
        if second != self._second:
            self._second, self._shown = second, 0
            if self._dropped and not self._paused:
                self._tell_dropped()
        time = self._time
        for frame in frames:
            if frame.opcode in (1, 2):
                self._is_text[direction] = frame.opcode == _TEXT and not frame.is_compressed
            if self._shown >= _EACH_SECOND or self._held >= _HELD:
                self._dropped += 1
                continue
            self._shown += 1
            self._put(_event("frame", _as_json(frame, direction, time, self._is_text[direction])))

    def _put(self, event: bytes) -> None:
        if not self._paused:
            self._send(event)
            return
        self._waiting.append(event)
        self._held += len(event)

    def _tell_dropped(self) -> None:
        count, self._dropped = self._dropped, 0
        self._put(_event("dropped", {"count": count}))

    def _send(self, event: bytes) -> None:
        if self._outlet is not None:
            self._outlet.write(event)

    def _beat(self) -> None:
        if not self._paused:
            if self._dropped:
                self._tell_dropped()
            self._send(b": still here\n\n")
            return
        self._unread_beats += 1
        if self._unread_beats >= _PATIENCE and self._outlet is not None:
            outlet, self._outlet = self._outlet, None
            self.end()
            outlet.abort()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _as_json(frame: Frame, direction: str, time: str, is_text: bool) -> dict[str, Any]:
    """A frame as its event has it."""
    payload, is_whole = _payload(frame, is_text)
    shown = {
        "time": time,
        "direction": direction,
        "opcode": frame.opcode,
        "fin": frame.fin,
        "size": frame.size,
        "payload": payload,
        "cut": not is_whole,
    }
    if frame.is_compressed:
        shown["compressed"] = True
    return shown


def _payload(frame: Frame, is_text: bool) -> tuple[str, bool]:
    """A payload for people, and whether that is all of it.

    Text is as it is, what is none in hex digits, a close's code a number.
    """
    octets, opcode = frame.payload, frame.opcode
    if opcode == _CLOSE:
        code = str(int.from_bytes(octets[:2], "big")) if len(octets) > 1 else ""
        return f"{code} {octets[2:].decode(errors='replace')}".strip(), not frame.is_cut
    if opcode in (_PING, _PONG):
        text = octets.decode(errors="replace")
        return (text if "\ufffd" not in text else octets.hex()), not frame.is_cut
    if opcode in (_TEXT, _CONTINUATION) and is_text:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return decoder.decode(octets, not frame.is_cut), not frame.is_cut
    return octets[:_SHOWN_IN_HEX].hex(), frame.size <= _SHOWN_IN_HEX
