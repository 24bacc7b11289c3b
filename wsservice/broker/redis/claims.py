"""Check the counts that a server's answers claim, before they are parsed. PURE.

In RESP3 a count comes before the elements that it counts, and hiredis makes a list of that size at
once. A spoofed server made it reserve gigabytes, which took many seconds to free. `Claims` reads
only the heads, before the parser: no head whose count is more than the question can have reaches
the parser.

See docs/decisions/redis-client.md.
"""

from __future__ import annotations

import re

from ...escape import escape

LITTLE = 16
"""Elements that any answer and any push may have. Maps have two for each pair."""

DEEPEST = 8
"""The most levels of nested aggregates. The answer to HELLO has four, with modules loaded."""

# The longest count has ten digits; with its kind and line end that is 13 octets.
_LONGEST_HEAD = 16
_LONGEST_LINE = 64 * 1024
"""The most octets of a line with a count, and of a line that is an answer, such as an error."""

_TOKEN = re.compile(rb"(?:([*%~>])|[$=])(-1|0|[1-9][0-9]{0,9})\r\n|[-+:,#_(][^\r\n]*\r\n")
_COUNTED = b"*%~>$="
_LINES = b"-+:,#_("

_PLAIN = re.compile(rb"(?:[-+:,#_(][^\r\n]{0,500}\r\n|\*2\r\n:[0-9]{1,19}\r\n:[0-9]{1,19}\r\n)+")
_BEGINNING = re.compile(
    rb">3\r\n\$(?:7\r\n|8\r\ns)message\r\n\$([1-9][0-9]{0,2})\r\n([^\r\n]*)\r\n\$"
)
"""Two patterns that match nearly all answers and pushes in one step: numbers, and the beginning of
a published message, up to the length of its payload. So the check takes 0.4 µs a message."""

_SHORTEST = len(b">3\r\n$7\r\nmessage\r\n$")
_LONGEST_BEGINNING = 1024
"""The least and the most octets of such a beginning. The bound keeps octets of another form from
being searched again and again."""

_LONGEST_COUNT = 11
"""The most octets of a payload's length, with the line's end."""

_MOST_KNOWN = 4096
"""The most beginnings of messages that are remembered, one for each channel."""


class Claims:
    """Checks the octets of one connection, in pieces of any size.

    An answer or a push may have `octets` in all. `problem` says in a few printable words why one is
    refused, and is None before that.
    """

    def __init__(self, octets: int) -> None:
        self.octets = octets
        self.problem: str | None = None
        # The beginning of a line that is not whole yet, and the octets of a string still to come.
        self._part = b""
        self._to_come = 0
        # The number of elements still to come, for each aggregate that is open.
        self._open: list[int] = []
        self._is_push = self._is_judged = False
        self._elements = self._size = 0
        self._most = LITTLE
        # The beginnings of messages so far, up to the length of their payload.
        self._known: set[bytes] = set()

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return octets that may be parsed, and the rest.

        A rest begins with a claim that only the question can allow: parse the octets before it,
        call `allow`, and take the rest again. If `problem` is set afterwards, parse only the
        returned octets.
        """
        if self._part:
            data, self._part = self._part + data, b""
        end = len(data)
        at, self._to_come = self._to_come, 0
        while at < end:
            if not self._open:
                at = self._usual(data, at, end)
                if at >= end:
                    break
            token = _TOKEN.match(data, at)
            if token is None:
                self._no_token(data, at)
                return data[:at], b""
            kind, count = token.groups()
            size = token.end() - at
            if count is None:
                self._grow(size)
                self._one_is_whole()
            elif kind is None:
                size += max(0, int(count) + 2 if count != b"-1" else 0)
                self._grow(size)
                self._one_is_whole()
            else:
                elements = max(0, int(count)) * (2 if kind == b"%" else 1)
                # Answers come in the order of the questions, so the question is known only once
                # all answers before this one are parsed.
                if self._wants_judgment(kind, elements):
                    return data[:at], data[at:]
                self._grow(size)
                self._begin(kind, count, elements)
            if self.problem is not None:
                return data[:at], b""
            at += size
        self._to_come = at - end
        return data, b""

    def allow(self, elements: int) -> None:
        """Let the answer at the beginning of the rest have a number of elements."""
        self._is_judged = True
        self._most = max(LITTLE, elements)

    def _usual(self, data: bytes, at: int, end: int) -> int:
        """Return the position of the first answer or push that needs a closer look."""
        find, known = data.find, self._known
        while at < end:
            # Names have no line ends (see `naming`), so the payload's length begins here.
            start = find(b"\r\n$", at + _SHORTEST, at + _LONGEST_BEGINNING) + 3
            if data[at:start] not in known and not self._knows(data, at, start):
                plain = _PLAIN.match(data, at)
                if plain is None:
                    return at
                at = plain.end()
                continue
            stop = find(b"\r\n", start, start + _LONGEST_COUNT)
            if stop < 0:
                return at
            try:
                whole = stop + 4 + int(data[start:stop])
            except ValueError:
                return at
            # A message without a payload, or with too much, needs the closer look.
            if whole < stop + 4 or whole - at > self.octets:
                return at
            at = whole
        return at

    def _knows(self, data: bytes, at: int, start: int) -> bool:
        """Return True if a message begins here, and remember its beginning."""
        beginning = _BEGINNING.fullmatch(data, at, start)
        if beginning is None or int(beginning[1]) != len(beginning[2]):
            return False
        if len(self._known) >= _MOST_KNOWN:
            # Cheaper than to remember which is the oldest: each channel is matched once again.
            self._known.clear()
        self._known.add(beginning[0])
        return True

    def _wants_judgment(self, kind: bytes, elements: int) -> bool:
        # A push belongs to no question, so none can allow it more elements.
        is_push = self._is_push or kind == b">"
        return self._elements + elements > self._most and not self._is_judged and not is_push

    def _begin(self, kind: bytes, count: bytes, elements: int) -> None:
        """Begin an aggregate."""
        if kind == b">":
            # Pushes come between answers, never within one.
            if self._open or count == b"-1":
                self._refuse("a push in no place for one")
                return
            self._is_push = True
        self._elements += elements
        if self._elements > self._most:
            what = "a push" if self._is_push else "an answer"
            self.problem = f"claims {self._elements} elements in {what} that can have {self._most}"
        elif not elements:
            self._one_is_whole()
        elif len(self._open) == DEEPEST:
            self.problem = f"nests an answer deeper than {DEEPEST} levels"
        else:
            self._open.append(elements)

    def _one_is_whole(self) -> None:
        """Count an element as whole, and the aggregates whose last element it is."""
        open_ = self._open
        while open_:
            open_[-1] -= 1
            if open_[-1]:
                return
            open_.pop()
        self._is_push = self._is_judged = False
        self._elements = self._size = 0
        self._most = LITTLE

    def _grow(self, octets: int) -> None:
        self._size += octets
        if self._size > self.octets:
            self.problem = f"sent more than {self.octets} octets in one answer"

    def _no_token(self, data: bytes, at: int) -> None:
        """Keep a line that is not whole yet, or refuse a malformed one."""
        first = data[at]
        longest = _LONGEST_HEAD if first in _COUNTED else _LONGEST_LINE
        if first not in _COUNTED and first not in _LINES:
            self._refuse(f"an answer that begins with {escape(chr(first))}")
        elif b"\n" in data[at : at + longest] or len(data) - at > longest:
            self._refuse("a malformed line")
        else:
            self._part = data[at:]

    def _refuse(self, what: str) -> None:
        self.problem = f"speaks something else than RESP: {what}"
