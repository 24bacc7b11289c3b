"""The number and the age of messages that a history keeps, as people write them. PURE."""

from __future__ import annotations

from typing import Any, NamedTuple

from .fields import parse_text, parse_time

MOST_HISTORY = 1_000_000
"""The largest number of messages to keep per channel."""

HISTORY_SECONDS = 300.0
"""The age at which a message leaves the history, unless the setting names another."""

KEEP_ALLOWED = (
    f"COUNT or COUNT,SECONDS, such as 100 or 100,1h: up to {MOST_HISTORY} messages and 86400"
    " seconds"
)
"""The values that `parse_keep` takes, for errors."""


class Keep(NamedTuple):
    """The bounds on a channel's history: at most `size` messages, none older than `seconds`.

    A `size` of 0 keeps none, 0 `seconds` messages of any age.
    """

    size: int
    seconds: float

    @classmethod
    def of(cls, text: str) -> Keep:
        """Return what a text says that `parse_keep` returned."""
        size, _, seconds = text.partition(",")
        return cls(int(size), float(seconds or 0))


NOTHING = Keep(0, 0.0)


def parse_keep(value: Any) -> str:
    """Return `COUNT,SECONDS` for that, for `COUNT` and for a number; "0" to keep nothing.

    Raises `TypeError` or `ValueError`.
    """
    text = str(value) if type(value) is int else parse_text(value)
    count, comma, seconds_text = text.partition(",")
    if not (count.isascii() and count.isdigit()) or int(count) > MOST_HISTORY:
        raise ValueError(value)
    if not int(count):
        return "0"
    seconds = parse_time(seconds_text) if comma else HISTORY_SECONDS
    return f"{int(count)},{seconds:g}"
