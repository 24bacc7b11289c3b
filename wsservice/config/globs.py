"""Match names against globs, in time that no name and no glob can stretch. PURE.

`*` stands for any text, also for none, and `?` for any one character; both match `/` and `.` too.
`{user}` stands for the id of a user, letter by letter: a `*` in an id is a `*`. All other
characters stand for themselves, and case counts.

A match goes through the name once for each part of the glob between two `*`, and never back, so it
takes at most as many steps as name and glob have characters, multiplied. A regular expression
could take time that grows with a power of the name's length, or for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

USER = "{user}"
"""The text that stands for the id of a user."""

_TOKENS = re.compile(r"\{user\}|[*?]|[^*?{]+|\{")


@attrs.frozen
class _Part:
    """The text between two `*`: its length, and the literals in it with their places."""

    length: int
    literals: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, tokens: Iterable[str], user: str) -> _Part:
        literals: list[tuple[int, str]] = []
        length, joins = 0, False
        for token in tokens:
            text = user if token == USER else token
            if token == "?":  # noqa: S105 - a glob's
                joins, length = False, length + 1
                continue
            if joins:
                at, before = literals.pop()
                literals.append((at, before + text))
            else:
                literals.append((length, text))
            joins, length = True, length + len(text)
        return cls(length, tuple(literals))

    def is_at(self, name: str, place: int) -> bool:
        """Return True if it matches at a place from which the name has enough characters."""
        return all(name.startswith(text, place + at) for at, text in self.literals)

    def find(self, name: str, start: int, end: int) -> int:
        """Return the first place from `start` on where it matches before `end`, -1 if none does."""
        last = end - self.length
        if not self.literals:
            return start if start <= last else -1
        at, first = self.literals[0]
        while start <= last:
            found = name.find(first, start + at, last + at + len(first))
            if found < 0:
                return -1
            start = found - at
            if self.is_at(name, start):
                return start
            start += 1
        return -1


@attrs.frozen
class Glob:
    """A glob that is compiled once."""

    text: str
    _tokens: tuple[tuple[str, ...], ...] = attrs.field(repr=False, eq=False)
    _parts: tuple[_Part, ...] | None = attrs.field(repr=False, eq=False)
    """The parts; None where they depend on the user."""
    _begins: str = attrs.field(repr=False, eq=False)
    """The literal that each name begins with, whatever the user."""

    @classmethod
    def of(cls, text: str, knows_user: bool = True) -> Glob:
        """Return the glob of a text. Any text is one.

        With `knows_user` false `{user}` stands for itself too.
        """
        parts: list[list[str]] = [[]]
        for token in _TOKENS.findall(text):
            if token == "*":  # noqa: S105 - a glob's
                parts.append([])
            else:
                parts[-1].append(token)
        # Two `*` in a row are one.
        inner = [each for each in parts[1:-1] if each]
        tokens = [tuple(each) for each in (parts[0], *inner, *parts[1:][-1:])]
        has_user = knows_user and any(USER in each for each in tokens)
        made = None if has_user else tuple(_Part.of(each, USER) for each in tokens)
        first = tokens[0][0] if tokens[0] else ""
        begins = "" if first == "?" or (first == USER and has_user) else first
        return cls(text, tuple(tokens), made, begins)

    @property
    def has_user(self) -> bool:
        """True if `{user}` is in it."""
        return self._parts is None

    def matches(self, name: str, user: str = "") -> bool:
        """Return True if a name matches. With "" as the user's id nothing matches `{user}`."""
        if not name.startswith(self._begins):
            return False
        parts = self._parts
        if parts is None:
            if not user:
                return False
            parts = tuple(_Part.of(each, user) for each in self._tokens)
        return _match(parts, name)


def for_any_user(text: str) -> Glob:
    """Return the glob that matches what a glob matches for any user: `{user}` is `?*` in it."""
    return Glob.of(text.replace(USER, "?*"))


def _match(parts: tuple[_Part, ...], name: str) -> bool:
    first = parts[0]
    if len(parts) == 1:
        return len(name) == first.length and first.is_at(name, 0)
    last = parts[-1]
    start, end = first.length, len(name) - last.length
    if start > end or not first.is_at(name, 0) or not last.is_at(name, end):
        return False
    # The leftmost place for each part leaves the most room for those behind it.
    for part in parts[1:-1]:
        found = part.find(name, start, end)
        if found < 0:
            return False
        start = found + part.length
    return True
