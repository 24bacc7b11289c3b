"""Read a part of a channel's history, for behaviours and for operators. PURE."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from ..config.keep import MOST_HISTORY
from ..errors import HistoryAwayError, NoHistoryError
from .history import Missed
from .message import ChannelMessage
from .query import Latest, Position

MOST_MESSAGES = 1000
"""The most messages of a page."""

MOST_OCTETS = 1024 * 1024
"""The most octets of the payloads of a page; a single message may be longer."""

ANSWER_SECONDS = 10.0
"""Seconds that a history kept elsewhere has to answer."""


@attrs.frozen
class HistoryPage:
    """A part of a channel's history."""

    channel: str
    messages: tuple[ChannelMessage, ...]
    """The messages, the oldest first. Each has `payload`, `is_binary`, `time` (seconds since 1970)
    and `position`."""
    position: Position
    """The position of the last message here; without messages, the channel's current one."""
    gap: bool = False
    """True if messages after `since` are gone. The messages here are then those that are left."""
    more: bool = False
    """True if the history has more messages after these: ask again, since `position`."""

    def as_json(self) -> dict[str, Any]:
        """Return the page as values for JSON."""
        return {
            "channel": self.channel,
            "epoch": self.position.epoch,
            "offset": self.position.offset,
            "gap": self.gap,
            "messages": [_message(each) for each in self.messages],
            "next": self.position.offset if self.more else None,
        }


def _message(message: ChannelMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"offset": message.offset, "time": round(message.time, 3)}
    if message.is_binary:
        said["data64"] = base64.b64encode(message.payload).decode()
    else:
        # A behaviour may publish octets as text that are not UTF-8. JSON cannot hold them.
        said["data"] = message.payload.decode(errors="replace")
    return said


def check_limit(limit: int) -> None:
    """Raise `ValueError` for a limit that a page cannot have."""
    if not 1 <= limit <= MOST_MESSAGES:
        raise ValueError(f"limit {limit} is not allowed; give 1 to {MOST_MESSAGES}")


def no_history() -> NoHistoryError:
    """Return the error for a service without a history."""
    return NoHistoryError("no history is kept; give --history")


async def read_page(
    missed: Callable[[str, Position | Latest], Awaitable[Missed]],
    channel: str,
    limit: int,
    since: Position | None,
) -> HistoryPage:
    """Return a page of the history of which `missed` returns parts: see `Hub.history`.

    Raises `HistoryAwayError` if the history cannot be read.
    """
    place: Position | Latest = Latest(limit) if since is None else since
    messages: list[ChannelMessage] = []
    octets = 0
    gap = False
    # Each answer has a message, but for the first gap and the end.
    for _ in range(limit + 2):
        part = await missed(channel, place)
        if part.gap and messages:
            break  # the next page begins with it
        if part.gap and not part.position.epoch:
            raise HistoryAwayError("the history cannot be read now")
        for entry in part.entries:
            octets += len(entry.payload)
            if len(messages) == limit or (messages and octets > MOST_OCTETS):
                return HistoryPage(channel, tuple(messages), _end(messages), gap, more=True)
            messages.append(entry)
        if part.gap and not gap and place == since:
            gap, place = True, Latest(MOST_HISTORY)
            continue
        gap |= part.gap
        place = part.position
        if part.whole or not (part.entries or part.gap):
            return HistoryPage(channel, tuple(messages), place, gap)
    if not messages:
        return HistoryPage(channel, (), part.position, gap=True)
    return HistoryPage(channel, tuple(messages), _end(messages), gap, more=True)


def _end(messages: list[ChannelMessage]) -> Position:
    return Position(messages[-1].offset, messages[-1].epoch)
