"""What a run waits for: so many messages, one that matches, a certain close. PURE."""

from __future__ import annotations

import re

import attrs


@attrs.define(kw_only=True)
class Goal:
    """What was asked for, and how much of it came.

    `count` messages or one in which `until` is found, whichever comes first;
    `expect_close` is the code of the close that is to come after that, or at
    all. None is not asked for.
    """

    count: int | None = None
    until: re.Pattern[str] | None = None
    expect_close: int | None = None
    enough: bool = attrs.field(default=False, init=False)
    """Whether the messages that were asked for have come."""
    _seen: int = attrs.field(default=0, init=False)

    @property
    def waits(self) -> bool:
        """Whether something that was asked for has not come yet."""
        return self._wants_messages or self.expect_close is not None

    @property
    def _wants_messages(self) -> bool:
        return not self.enough and (self.count is not None or self.until is not None)

    def received(self, printed: bytes) -> bool:
        """A message came, printed so: whether those that were asked for have come now."""
        self._seen += 1
        if self._seen == self.count or (self.until is not None and self._matches(printed)):
            self.enough = True
        return self.enough

    def _matches(self, printed: bytes) -> bool:
        text = printed.decode("utf-8", "surrogateescape")
        return self.until is not None and self.until.search(text) is not None

    def reached(self, code: int) -> bool:
        """Whether, now that the server closed with a code, all that was asked for came."""
        return not self._wants_messages and self.expect_close in (None, code)

    @property
    def progress(self) -> str:
        """How far it came, to follow on what ended it; "" where no messages are missing."""
        if not self._wants_messages:
            return ""
        if self.count is not None:
            return f" after {self._seen} of {self.count} messages"
        return " before a message matched"
