"""Stream one connection's frames as they happen, in the text format of server-sent events.

The format is that of WHATWG HTML, 9.2; the reader decides how the text travels. The events are
`frame`; `dropped`, with the number of frames that came faster than they are shown or read; and
`closed`, the last one, when the connection ends.
"""

from __future__ import annotations

import codecs
import json
from collections import deque
from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from ..clock import monotonic_of, wall_of
from ..log.lines import rfc3339
from ..log.peer import user_in
from ..protocol.watching import Watcher
from .octets import Frame, FrameReader

MOST_TRACES = 8
"""The most traces at once."""

_EACH_SECOND = 2000
"""The most frames of one connection that are shown in a second: to show a frame takes longer than
to read it."""

_HELD = 256 * 1024
"""Octets that are held for a slow reader."""

_HEARTBEAT = 15.0
"""Seconds between two heartbeats."""

_PATIENCE = 4
"""Heartbeats that a reader may leave unread before it is cut off."""

_SHOWN_IN_HEX = 256
"""The most octets that are shown of a payload that is not text."""

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_CONTINUATION = 0


class Outlet(Protocol):
    """The reader of a trace."""

    def write(self, octets: bytes) -> object:
        """Send some octets."""

    def end(self) -> object:
        """End the trace after what was written."""

    def abort(self) -> object:
        """Cut off a reader that does not read."""


class TraceStream(Protocol):
    """A trace, here or in another process. It is told when to pause, as an `IPushProducer` is."""

    def begin(self, outlet: Outlet) -> None:
        """Start to send events to `outlet`."""

    def pauseProducing(self) -> None:
        """Pause: the reader is slow."""

    def resumeProducing(self) -> None:
        """Resume: the reader has read."""

    def stopProducing(self) -> None:
        """End: the reader is gone."""


class Traced(Protocol):
    """A connection, as a trace needs it."""

    id: str
    who: str

    @property
    def close_code(self) -> int:
        """The code of the close frame that began the end."""

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` with the octets that pass from now on."""

    def unwatch(self, watcher: Watcher) -> None:
        """Stop calling `watcher`."""


class Traces:
    """The running traces."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._wall = wall_of(reactor)
        self._all: set[Trace] = set()

    def __len__(self) -> int:
        return len(self._all)

    def trace(self, connection: Traced) -> Trace | None:
        """Return a new trace; None if `MOST_TRACES` are running."""
        if len(self._all) >= MOST_TRACES:
            return None
        trace = Trace(connection, self._reactor, self._all)
        self._all.add(trace)
        return trace

    def end(self) -> None:
        """End all traces."""
        for each in tuple(self._all):
            each.end()


@implementer(IPushProducer)
class Trace:
    """Watch a connection, and stream its frames to a reader."""

    def __init__(self, connection: Traced, reactor: Any, among: set[Trace]) -> None:
        self._connection = connection
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._wall = wall_of(reactor)
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

    # Calls of the reader

    def begin(self, outlet: Outlet) -> None:
        """Start to send events to `outlet`."""
        self._outlet = outlet
        user = user_in(self._connection.who)
        whose = f", user {json.dumps(user)}" if user else ""
        outlet.write(f": connection {self._connection.id}{whose}\n\n".encode())
        self._beats.start(_HEARTBEAT, now=False)
        self._connection.watch(self)

    def end(self) -> None:
        """End the stream. Idempotent."""
        outlet, self._outlet = self._outlet, None
        self._among.discard(self)
        self._connection.unwatch(self)
        if self._beats.running:
            self._beats.stop()
        if outlet is not None:
            outlet.end()

    def pauseProducing(self) -> None:
        """Hold events: the reader is slow."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Send the held events: the reader has read."""
        self._paused = False
        self._unread_beats = 0
        while self._waiting and not self._paused:
            event = self._waiting.popleft()
            self._held -= len(event)
            self._send(event)
        if self._dropped and not self._paused:
            self._tell_dropped()

    def stopProducing(self) -> None:
        """End: the reader is gone."""
        self._outlet = None
        self.end()

    # Calls of the connection

    def began(self, rest: int, waiting: bytes) -> None:
        """Start with the octets that wait.

        `rest` octets complete a frame that began before; they are skipped. `waiting` are octets
        that came, and that the connection has not read yet.
        """
        self._directions = {"received": FrameReader(rest), "sent": FrameReader()}
        self.received(waiting)

    def received(self, octets: bytes) -> None:
        """Show the frames that end in octets of the peer."""
        self._show("received", octets)

    def sent(self, octets: bytes) -> None:
        """Show the frames that end in octets for the peer."""
        self._show("sent", octets)

    def ended(self) -> None:
        """Send the held events and `closed`, and end the stream."""
        if self._outlet is None:
            return
        if self._dropped:
            self._tell_dropped()
        # Everything held goes out even to a slow reader: its size is bounded, and no more follows.
        for event in self._waiting:
            self._send(event)
        self._waiting.clear()
        self._send(_event("closed", {"time": self._time, "code": self._connection.close_code}))
        self.end()

    @property
    def _time(self) -> str:
        return rfc3339(self._wall())

    def _show(self, direction: str, octets: bytes) -> None:
        frames = self._directions[direction].feed(octets)
        if not frames:
            return
        second = int(self._monotonic())
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
    """Return the data of a frame's event."""
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
    """Return a readable payload, and True if it is complete.

    Text stays text, a binary payload becomes hex digits, and a close becomes code and reason.
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
