"""Track the goal of a run: a number of messages, a matching message, or a close code. PURE."""

from __future__ import annotations

import re

import attrs


@attrs.define(kw_only=True)
class Goal:
    """The goal of a run, and its progress.

    The goal is `count` messages, or one in which `until` is found, whichever comes first; then, or
    alone, a close with the code `expect_close`. None means that this part is not asked for.
    """

    count: int | None = None
    until: re.Pattern[str] | None = None
    expect_close: int | None = None
    enough: bool = attrs.field(default=False, init=False)
    """True once the wanted messages have come."""
    _seen: int = attrs.field(default=0, init=False)

    @property
    def waits(self) -> bool:
        """True while a part of the goal is missing."""
        return self._wants_messages or self.expect_close is not None

    @property
    def _wants_messages(self) -> bool:
        return not self.enough and (self.count is not None or self.until is not None)

    def received(self, printed: bytes) -> bool:
        """Take note of a message, in its printed form.

        Return True once the wanted messages have come.
        """
        self._seen += 1
        if self._seen == self.count or (self.until is not None and self._matches(printed)):
            self.enough = True
        return self.enough

    def _matches(self, printed: bytes) -> bool:
        text = printed.decode("utf-8", "surrogateescape")
        return self.until is not None and self.until.search(text) is not None

    def reached(self, code: int) -> bool:
        """Return True if the goal is reached when the server closes with this code."""
        return not self._wants_messages and self.expect_close in (None, code)

    @property
    def progress(self) -> str:
        """The progress, to follow the reason of the end; "" if no messages are missing."""
        if not self._wants_messages:
            return ""
        if self.count is not None:
            return f" after {self._seen} of {self.count} messages"
        return " before a message matched"
