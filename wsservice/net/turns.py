"""Share the time of the reactor's turns among connections.

A turn begins no more work on connections after some milliseconds. Connections that are left
wait in one of two queues, and each queue gets half of the time while both have work:

- Words: short messages. Some octets wait to be read, at most 256, and the opening handshake
  of the connection is over.
- All other work: opening handshakes, long messages, ends of connections, and connections
  that were cut short because they used up their slice.

Therefore a client that says a word now and then does not wait for a crowd of connections that
come, leave or flood, however many they are. Marks alone do not suffice: each of 2,000 new
connections has used nothing, so fair queueing serves all of them before a client that has
used a little.

Within a queue the order is that of fair queueing (Goyal, Vin and Cheng, "Start-time fair
queueing", SIGCOMM 1996). Each connection has a mark, which grows by the time that it uses. The
lowest mark is served first, and floods share what is left equally. To the mark of a word is
added what the last word of its connection took, so that quick words go before slow ones. Other
work of equal marks is due later the more octets it has, by four seconds at most.

See docs/decisions/turns.md.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..clock import monotonic_of
from ..log.peer import PeerLogger
from .gathering import Gathering
from .transports import descriptor

SLICE_SECONDS = 0.004
"""Seconds that a connection may work at one go before it must wait for the others."""

FIRST_SLICE_SECONDS = 0.001
"""Seconds for octets that were just read, while others wait, since a flood has no mark at first.

A whole read of tiny messages takes half of it. Half a millisecond cut every other read of eight
busy connections just before its end, which cost 6 % of the CPU time.
"""

_ROUND_SECONDS = 0.04
"""Seconds in which all ready connections get a first slice. With many, each slice is shorter."""

BEGINNING_SECONDS = 0.004
"""Seconds of a turn in which work begins. With the last connection's slice a turn takes 8 ms."""

TOGETHER_SECONDS = 0.002
"""Seconds after which gathered octets are sent, though the turn is not over."""

NOTABLE_SECONDS = 0.000_1
"""Seconds of work from which a connection gets a mark. One message takes less."""

_LIGHT_SECONDS = 0.000_25
"""Seconds that what is ready is ahead of connections that were cut short.

When many flood at once all their marks are equal for a whole round: a little more than they
have must not cost the second half of a TLS handshake that round.
"""

_LENIENCE = 8
"""The divisor for the work of a connection that ended it within its slice.

Otherwise the second half of a TLS handshake would wait until all floods had a turn.
"""

_WORD_OCTETS = 256
"""Octets that wait to be read, up to which they are a word.

So few octets of a compressed message inflate within some milliseconds.
"""

_OCTET_SECONDS = 0.001
"""Seconds of work for which each unread octet lets other work go first that is ready later.

Among unknown connections a handshake goes before messages that inflate.
"""

_MUCH_OCTETS = 4096
"""Octets beyond which more make no difference."""

_MOST_EVENTS = 4096
"""Events that one poll returns, so that it has a light connection among many floods."""

_LATE_SECONDS = 0.1
"""Seconds that a call of the reactor may be late before a ready `ReadySource` takes its place."""

_log = PeerLogger(namespace="wsservice")
_FIRST = itemgetter(0)
_BOTH = itemgetter(0, 1)
_USUAL_WORDS = 16
"""The words in which a change of their average counts for two thirds."""

_Entry = tuple[float, float, int]


class Turned(Protocol):
    """A connection that may have to wait for its turn."""

    transport: Any

    def take_turn(self) -> None:
        """Go on with octets that were read. Does nothing if none are left."""


class ReadySource(Protocol):
    """An object that knows which sockets are ready: a `Poller`."""

    def poll(self, most: int) -> list[tuple[int, int]]:
        """Return the descriptors that are ready now, and their events."""

    def serve(self, fd: int, event: int) -> None:
        """Handle an event of a descriptor."""

    def end(self, transport: Any) -> bool:
        """End a connection after the event that is being handled; return False if there is none."""

    def waiting(self, fd: int) -> int:
        """Return how many octets wait in the kernel to be read, 0 if that is unknown."""


class Turns:
    """The turns of a factory's connections on a reactor.

    While no connection has to wait, a `ReadySource` handles events by itself, and notes long work.
    Otherwise `crowded` is true, and the work is done here, once in each turn.

    `gathering` joins the writes of a turn.
    """

    def __init__(self, reactor: IReactorTime, gathering: Gathering) -> None:
        self._reactor = reactor
        self._seconds = monotonic_of(reactor)
        # By CPU time, a connection is not charged for the time of other programs. A test's clock
        # has no CPU time.
        real = self._seconds is time.monotonic
        self._used: Callable[[], float] = time.thread_time if real else self._seconds
        self.gathering = gathering
        #: Seconds that a connection may work now at one go.
        self.slice = SLICE_SECONDS
        #: True if some connections wait for their turn.
        self.crowded = False
        #: The marks, in seconds, by descriptor, or by connection if it has no socket.
        self.marks: dict[object, float] = {}
        self._source: ReadySource | None = None
        self._call: IDelayedCall | None = None
        self._called = 0.0
        # The mark that was served last: the virtual time of start-time fair queueing. New marks
        # begin here, so an idle connection cannot save up time.
        self._mark = 0.0
        self._charged: object = None
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, object, Turned]] = []
        self._left: dict[int, int] = {}
        # By descriptor, the `_tags` of an event that is left, which it keeps until it is served.
        self._words: dict[int, tuple[bool, float, float]] = {}
        # The descriptors of connections whose opening handshake is not over.
        self._opening: set[int] = set()
        # Seconds that words had beyond what the other work had. Neither saves up more than a slice.
        self._ahead = 0.0
        # By descriptor, the mark of its words, and the seconds that the last one took.
        self._word_marks: dict[int, tuple[float, float]] = {}
        # As `_mark`, of words.
        self._word_mark = 0.0
        # Seconds that a word takes on average: what is expected of a new connection's first one.
        # Were it nothing, ever new connections would come before all that are known.
        self._usual = 0.0

    def poll_by(self, source: ReadySource) -> None:
        """Set the source of ready sockets."""
        self._source = source

    def end(self, transport: Any) -> bool:
        """End a connection after the event that is being handled.

        The kernel must have all of its octets. Returns False if no event is being handled: the
        caller must end the transport then.
        """
        return self._source is not None and self._source.end(transport)

    def later(self, connection: Turned) -> None:
        """Make a connection whose slice is over go on when its turn comes."""
        fd = descriptor(connection.transport)
        key: object = connection if fd is None else fd
        self._charged = key
        self._add(key, SLICE_SECONDS)
        entry = (self.marks[key], next(self._numbers), key, connection)
        heapq.heappush(self._waiting, entry)
        self._crowd()

    def leave(self, events: Iterable[tuple[int, int]]) -> None:
        """Leave events for the next turn. They keep their order."""
        self._left.update(events)
        if self._left:
            self._crowd()

    def note(self, key: object, seconds: float) -> None:
        """Charge a connection for seconds of real time, in which other programs may have run."""
        # Bounded for that reason. A connection that really uses more is cut short and marked.
        self._charge(key, min(seconds, FIRST_SLICE_SECONDS))

    def _charge(self, key: object, seconds: float) -> None:
        if key == self._charged:
            self._charged = None  # `later` has charged a whole slice already
        else:
            self._add(key, seconds if seconds >= SLICE_SECONDS else seconds / _LENIENCE)

    def in_order(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return events, lowest marks first, and forget the marks, since no connection waits."""
        marks = self.marks
        events.sort(key=lambda each: marks.get(each[0], 0.0))
        marks.clear()
        self._mark = 0.0
        return events

    def forget_event(self, fd: int) -> None:
        """Forget an event that was left: its descriptor is no longer polled."""
        self._left.pop(fd, None)
        self._words.pop(fd, None)

    def begin(self, fd: int) -> None:
        """Forget the mark of a descriptor, which is another connection's from now on."""
        self.marks.pop(fd, None)
        self._word_marks.pop(fd, None)
        self._opening.add(fd)

    def opened(self, transport: Any) -> None:
        """Note that the opening handshake of a connection is over."""
        fd = descriptor(transport)
        if fd is not None:
            self._opening.discard(fd)

    def _add(self, key: object, seconds: float) -> None:
        mark = self.marks.get(key, 0.0)
        self.marks[key] = (mark if mark > self._mark else self._mark) + seconds

    def _crowd(self) -> None:
        self.crowded = True
        if self._call is None:
            self._called = self._seconds()
            self._call = self._reactor.callLater(0, self._take)

    def hurry(self) -> None:
        """Run a turn now if the reactor's call is late. A ready `ReadySource` calls it."""
        # A reactor calls late after its clock was set back (see `clock`).
        if self._call is not None and self._seconds() >= self._called + _LATE_SECONDS:
            self._call.cancel()
            self._take()

    def _take(self) -> None:
        """Run a turn of the connections that wait and of those that are ready."""
        self._call = None
        words, others = self._ready()
        count = len(words)
        rest = len(others) + len(self._waiting) or 1
        first_slice = min(FIRST_SLICE_SECONDS, _ROUND_SECONDS / (len(words) + len(others) or 1))
        gathering, seconds, waiting = self.gathering, self._seconds, self._waiting
        gathering.under_way = True
        now = seconds()
        begins, together = now + BEGINNING_SECONDS, now + TOGETHER_SECONDS
        used = self._used
        # CPU time minus real time. The clock of CPU time takes a system call, so it is read only
        # for work that took long by the clock of real time.
        ahead = used() - now
        while now < begins:
            before = now
            is_word = bool(words) and (self._ahead <= 0 or not (others or waiting))
            if is_word:
                _, mark, fd = words.pop()
                self._word_mark = max(mark, self._word_mark)
                self.slice = first_slice
                self._serve(fd)
                key: object = fd
            elif others and (not waiting or others[-1][0] <= waiting[0][0] + _LIGHT_SECONDS):
                mark, _, fd = others.pop()
                self._mark = max(mark, self._mark)
                self.slice = first_slice
                self._serve(fd)
                key = fd
            elif waiting:
                mark, _, key, connection = heapq.heappop(waiting)
                self._mark = max(mark, self._mark)
                self.slice = SLICE_SECONDS
                self._go_on(connection)
            else:
                break
            now = seconds()
            took = now - before
            if took >= NOTABLE_SECONDS:
                after = used()
                took = after - ahead - before
                ahead = after - now
                if took >= NOTABLE_SECONDS:
                    self._charge(key, took)
            if is_word:
                self._word_marks[fd] = mark + took, took
                # Time goes on for all that wait, as if each had its part of this. Otherwise words
                # of ever new connections, all of which begin here, would come before any other.
                self._word_mark += took / count
                self._usual += (took - self._usual) / _USUAL_WORDS
            else:
                # So it is here, by what marks are charged. Otherwise the ends of connections would
                # wait for ever behind handshakes, and the connections be kept meanwhile.
                self._mark += took / _LENIENCE / rest
            share = self._ahead + (took if is_word else -took)
            self._ahead = max(-SLICE_SECONDS, min(share, SLICE_SECONDS))
            if now >= together:
                self._send_gathered()
                gathering.under_way = True
                now = seconds()
                ahead = used() - now
                together = now + TOGETHER_SECONDS
        self._send_gathered()
        self._end_turn()

    def _ready(self) -> tuple[list[_Entry], list[_Entry]]:
        """Return the words that are ready, with their `_tags`, and other work with its marks.

        The first of each queue is at the end of its list.
        """
        source = self._source
        words: list[_Entry] = []
        others: list[_Entry] = []
        if source is None:
            return words, others
        left, known = self._left, self._words
        left.update(source.poll(_MOST_EVENTS))
        for fd in left:
            if fd not in known:
                known[fd] = self._tags(fd)
            is_word, first, second = known[fd]
            if is_word:
                words.append((first, second, fd))
            else:
                others.append((*self._place(fd, first), fd))
        words.sort(key=_FIRST)
        words.reverse()
        others.sort(key=_BOTH)
        others.reverse()
        return words, others

    def _tags(self, fd: int) -> tuple[bool, float, float]:
        """Return whether an event is a word, and what orders it among those of its queue.

        A word has what it would make of its mark, and its mark. Other work has the time at which
        it is due among equal marks.
        """
        octets = self._source.waiting(fd) if self._source is not None else 0
        if not 0 < octets <= _WORD_OCTETS or fd in self._opening:
            return False, self._used() + min(octets, _MUCH_OCTETS) * _OCTET_SECONDS, 0.0
        mark, last = self._word_marks.get(fd, (0.0, self._usual))
        mark = max(mark, self._word_mark)
        # The marks of all that wait for long are equal.
        return True, mark + last, mark

    def _place(self, fd: int, due: float) -> tuple[float, float]:
        """Return what orders other work: a mark, and when it is due among equal marks."""
        mark, lowest = self.marks.get(fd, 0.0), self._mark
        # Half of a TLS handshake costs the other half no round of the unknown.
        is_equal = mark <= lowest + (_LIGHT_SECONDS if fd in self._opening else 0.0)
        return lowest if is_equal else mark, due

    def _serve(self, fd: int) -> None:
        event = self._left.pop(fd, None)
        self._words.pop(fd, None)
        # None if the work of another connection closed or paused this one meanwhile.
        if event is not None and self._source is not None:
            self._source.serve(fd, event)

    def _go_on(self, connection: Turned) -> None:
        try:
            connection.take_turn()
        except Exception:
            _log.failure("cannot go on with a connection")

    def _send_gathered(self) -> None:
        try:
            self.gathering.end()
        except Exception:
            # A write may tell a producer to pause, whose code may raise.
            _log.failure("cannot write")

    def _end_turn(self) -> None:
        self.crowded = bool(self._left or self._waiting)
        self.slice = FIRST_SLICE_SECONDS if self.crowded else SLICE_SECONDS
        if self.crowded:
            self._crowd()
            return
        self._word_marks.clear()
        self._word_mark = 0.0
        if self._source is None:
            self.marks.clear()
