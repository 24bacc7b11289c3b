"""The published messages, their fate, and every promise that was broken. PURE.

The promises are those of docs/broker.md and docs/publishing.md. A *stream* has the messages that
one caller publishes, one after another, on one channel. An *ear* has those that one client
hears on one channel: across all its connections if it speaks `wsservice.v1`, on one connection
if it does not. All is checked as it comes, so that what is remembered stays small. Times are in
seconds of a clock that nobody sets.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

import attrs

Place = tuple[str, int]
"""An epoch, and an offset in it."""

_MOST_TOLD = 4
"""Violations of each promise that are told; the others are counted."""

_SLOW = 15.0
"""Seconds that a message may be on its way to a client that is not told of gaps."""


class Outcome(Enum):
    """The outcome that a caller was told of a message."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    """200, or 202, or what the library returns for them."""
    REFUSED = "503"
    """It reached nobody, and will not."""
    LATE = "504"
    UNKNOWN = "unknown"
    """No answer came."""
    HOPED = "hoped"
    """A behaviour's `publish` took it: nobody is told what becomes of it."""

    @property
    def may_come_late(self) -> bool:
        """True if it may arrive after a later message of the same caller."""
        return self in (Outcome.LATE, Outcome.UNKNOWN)


@attrs.define(eq=False)
class Message:
    """A message of a stream."""

    stream: Stream
    number: int
    began: float
    outcome: Outcome = Outcome.PENDING
    place: Place | None = None
    heard: int = 0
    #: The promises that are broken if it turns out that it was accepted, and where.
    doubts: list[_Doubt] = attrs.field(factory=list)

    @property
    def text(self) -> str:
        """Return its payload: its length follows from its number, now and then it is large."""
        length = 6000 if self.number % 40 == 39 else self.number * 37 % 300
        return f"{self.stream.number}|{self.number}|{self.stream.channel}|{'x' * length}"

    def __str__(self) -> str:
        return (
            f"message {self.number} of {self.stream}, published at {self.began:.2f} s,"
            f" {self.outcome.value}, its place {self.place}"
        )


@attrs.define(eq=False)
class Stream:
    """The messages that one caller publishes on one channel."""

    number: int
    caller: str
    channel: str
    messages: list[Message] = attrs.field(factory=list)

    def __str__(self) -> str:
        return f"{self.caller} (stream {self.number}) on {self.channel}"


@attrs.define(eq=False)
class _Heard:
    """The messages of a stream that an ear has heard."""

    last: int
    at: float
    skipped: set[int] = attrs.field(factory=set)


@attrs.define(eq=False)
class Ear:
    """The messages that one client hears on one channel."""

    client: str
    channel: str
    #: Whether it is told of places and gaps.
    resumes: bool
    #: Since when it gets what is published; None where that is not known.
    since: float | None = None
    place: Place | None = None
    gap_at: float = -1.0
    streams: dict[int, _Heard] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return f"{self.client} on {self.channel}"


@attrs.frozen
class _Doubt:
    """A promise that is broken if a message that is not answered yet turns out to be accepted.

    `heard`: only if it does not come after all.
    """

    promise: str
    what: str
    heard: _Heard | None = None


@attrs.frozen
class Violation:
    """A promise that was broken."""

    at: float
    promise: str
    what: str


class Ledger:
    """Hears of all that is published, comes, and is done.

    `lossless`: nothing is done by which Redis loses messages. `forgets`: the history is so small
    that it gives up what somebody still wants.
    """

    def __init__(self, *, lossless: bool, forgets: bool) -> None:
        self._lossless = lossless
        self._forgets = forgets
        self._streams: list[Stream] = []
        self._places: dict[str, dict[Place, Message]] = {}
        self._lost_at: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.broken_promises: Counter[str] = Counter()
        self.faults: list[tuple[float, str]] = []

    # What is done

    def fault(self, now: float, what: str, *, loses: bool = False) -> None:
        """Note a fault; `loses`: Redis may have lost messages by it."""
        self.faults.append((now, what))
        if loses:
            self._lost_at.append(now)

    def broken(self, now: float, promise: str, what: str) -> None:
        """Note that a promise was broken."""
        self.broken_promises[promise] += 1
        if self.broken_promises[promise] <= _MOST_TOLD:
            self.violations.append(Violation(now, promise, what))

    # What is published

    def stream(self, caller: str, channel: str) -> Stream:
        """Begin a stream."""
        stream = Stream(len(self._streams), caller, channel)
        self._streams.append(stream)
        return stream

    def publish(self, stream: Stream, now: float) -> Message:
        """Note that a message is about to be published."""
        message = Message(stream, len(stream.messages), now)
        stream.messages.append(message)
        return message

    def told(self, message: Message, outcome: Outcome, now: float) -> None:
        """Note what its caller was told of a message."""
        message.outcome = outcome
        self.outcomes[outcome.value] += 1
        if outcome is Outcome.REFUSED and message.heard:
            self._refused_came(message, now)
        doubts, message.doubts = message.doubts, []
        for doubt in doubts:
            came = doubt.heard is not None and message.number not in doubt.heard.skipped
            if outcome is Outcome.ACCEPTED and not came:
                self.broken(now, doubt.promise, doubt.what)

    def _refused_came(self, message: Message, now: float) -> None:
        self.broken(now, "what is answered 503 reaches nobody", f"{message}: it was delivered")

    # What comes

    def joined(self, ear: Ear, place: Place, now: float) -> None:
        """Note that an ear was told where its channel is."""
        self.counts["joins"] += 1
        if ear.place is not None:
            self.broken(
                now, "who comes back goes on", f"{ear}, at {ear.place}, was joined anew at {place}"
            )
        ear.since, ear.place = now, place

    def gap(self, ear: Ear, place: Place | None, now: float) -> None:
        """Note that an ear was told that some is gone, and where it goes on."""
        self.counts["gaps"] += 1
        ear.gap_at = now
        if self._lossless:
            self.broken(
                now,
                "a gap is told where some are gone",
                f"{ear}, at {ear.place}, was told of a gap up to {place}, and nothing can be gone",
            )
        ear.place = place

    def came(self, ear: Ear, text: str, place: Place | None, now: float) -> None:
        """Note that a message came, with its place where it has one."""
        self.counts["deliveries"] += 1
        message = self._message(text)
        if message is None or message.stream.channel != ear.channel:
            self.broken(now, "what comes was published", f"{ear}: {text[:100]!r} at {place}")
            return
        message.heard += 1
        if message.outcome is Outcome.REFUSED:
            self._refused_came(message, now)
        if place is not None:
            self._placed(ear, message, place, now)
        self._follow(ear, message, now)

    def _message(self, text: str) -> Message | None:
        parts = text.split("|", 2)
        try:
            stream, number = int(parts[0]), int(parts[1])
            message = self._streams[stream].messages[number]
        except (ValueError, IndexError):
            return None
        return message if message.text == text else None

    def _placed(self, ear: Ear, message: Message, place: Place, now: float) -> None:
        """Check a message's place: that of no other, and the next one for this ear."""
        other = self._places.setdefault(ear.channel, {}).setdefault(place, message)
        if other is not message:
            self.broken(
                now,
                "a place is that of one message, on all nodes",
                f"{ear}: {message} came at {place}, where {other} has come",
            )
        if message.place is not None and message.place != place:
            self.broken(now, "at most once", f"{ear}: {message} came at another place too, {place}")
        message.place = message.place or place
        before, ear.place = ear.place, place
        if before is None:
            return
        expected = before[1] + 1 if before[0] == place[0] else 1
        if place[1] != expected:
            self.broken(
                now,
                "once and in order, or a gap",
                f"{ear}: {message} came at {place} behind {before}, and no gap was told",
            )

    def _follow(self, ear: Ear, message: Message, now: float) -> None:
        """Check a message's number against what came of its stream before."""
        heard = ear.streams.get(message.stream.number)
        if heard is None:
            ear.streams[message.stream.number] = heard = _Heard(message.number, now)
            if ear.since is not None:
                self._missed(ear, message, range(message.number), ear.since, heard, now)
            return
        if message.number > heard.last:
            between = range(heard.last + 1, message.number)
            self._missed(ear, message, between, heard.at, heard, now)
            heard.last, heard.at = message.number, now
        elif message.number not in heard.skipped:
            self.broken(now, "at most once", f"{ear}: {message} came twice")
        else:
            heard.skipped.discard(message.number)
            self._came_late(ear, message, heard.last, now)

    def _came_late(self, ear: Ear, message: Message, last: int, now: float) -> None:
        if message.outcome.may_come_late:
            self.counts["late"] += 1
            return
        promise = "order for each channel and publisher"
        what = f"{ear}: {message} came after message {last}"
        if message.outcome is Outcome.PENDING:
            message.doubts.append(_Doubt(promise, what))
        else:
            self.broken(now, promise, what)

    def _missed(
        self, ear: Ear, message: Message, numbers: range, since: float, heard: _Heard, now: float
    ) -> None:
        """Check that what did not come, since some time, need not have."""
        promise = "what was accepted comes, or a gap is told"
        for number in numbers:
            skipped = message.stream.messages[number]
            heard.skipped.add(number)
            if ear.since is not None and skipped.began < ear.since:
                continue  # it was published before the ear was there
            if self._excused(ear, skipped, since, now):
                continue
            what = (
                f"{ear}: {skipped} did not come, and message {message.number} did,"
                f" at {message.place}; the last gap was told at {ear.gap_at:.2f} s"
            )
            if skipped.outcome is Outcome.ACCEPTED:
                self.broken(now, promise, what)
            elif skipped.outcome is Outcome.PENDING:
                skipped.doubts.append(_Doubt(promise, what, heard))

    def _excused(self, ear: Ear, skipped: Message, since: float, now: float) -> bool:
        """Return True if a listener may lack a message, since a fault or a gap explains it."""
        if ear.resumes:
            # One that was told before it was published does not speak of it.
            return ear.gap_at >= max(since, skipped.began)
        if self._forgets:
            return True
        # It is told of no gap: but only what Redis has lost may be gone.
        return any(since - _SLOW <= at <= now for at in self._lost_at)
