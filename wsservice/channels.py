"""Which channels a request names, and from where each goes on. PURE.

A channel is a URL's path, without slashes at its ends. More are named in the
query: `?channel=a&channel=b`. There `since=OFFSET` and `epoch=EPOCH` belong to
the channel that was named last before them, or to the path's where none was:
`/news?since=17&epoch=E&channel=chat&since=4&epoch=F`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from urllib.parse import unquote_to_bytes

import attrs

MOST_NAMED = 16
"""Channels that a query may name."""

LONGEST = 255
"""Octets of UTF-8 of a channel's name in a query."""

LONGEST_EPOCH = 64
"""Characters of an epoch."""

_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
# What could end a line, or move a cursor, somewhere.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_OFFSET = re.compile(r"[0-9]{1,15}")
_EPOCH = re.compile(rf"[0-9A-Za-z._-]{{0,{LONGEST_EPOCH}}}")


class ChannelError(ValueError):
    """A query names no channel where it should; the text tells which, and has none of the query."""


@attrs.frozen
class Position:
    """A place in a channel's history: up to where somebody has its messages."""

    offset: int
    epoch: str


@attrs.frozen
class Asked:
    """What a query asks for: the channels besides the path's, and where to go on."""

    channels: tuple[str, ...] = ()
    since: dict[str, Position] = attrs.field(factory=dict)


def channel_of(path: str) -> str:
    """The channel of a URL's path: the path without slashes at its ends.

    Percent-encoding is undone where text comes of it that could be a channel's
    name; else the path stands for itself, as it came.
    """
    if "%" in path:
        text = _decoded(path)
        if text is not None and not _CONTROL.search(text):
            path = text
    return path.strip("/")


def asked_for(query: str, channel: str, resuming: bool) -> Asked:
    """What the query of a request asks for, whose path's channel this is.

    Where `resuming` is false it cannot ask where to go on: then `since` and `epoch`
    are a behaviour's, as is whatever else a query has. Raises `ChannelError`.
    """
    named: list[str] = []
    offsets: dict[str, int] = {}
    epochs: dict[str, str] = {}
    last = channel
    for key, value in _pairs(query):
        if key == "channel":
            if len(named) == MOST_NAMED:
                raise ChannelError(f"the query names more than {MOST_NAMED} channels")
            last = _name(value, f"channel {len(named) + 1} of the query")
            named.append(last)
        elif not resuming:
            continue
        elif key == "since":
            _check_first(offsets, last, key)
            offsets[last] = int(_matching(_OFFSET, value, key))
        elif key == "epoch":
            _check_first(epochs, last, key)
            epochs[last] = _matching(_EPOCH, value, key)
    if offsets.keys() != epochs.keys():
        raise ChannelError("the query has since or epoch of a channel without the other")
    since = {name: Position(offset, epochs[name]) for name, offset in offsets.items()}
    return Asked(tuple(name for name in dict.fromkeys(named) if name != channel), since)


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&"):
        key, _, value = part.partition("=")
        yield key, value


def _name(value: str, where: str) -> str:
    name = _decoded(value.replace("+", " "))  # as forms and URLSearchParams have it
    if name is None:
        raise ChannelError(f"{where} is not UTF-8, percent-encoded")
    name = name.strip("/")
    if not name:
        raise ChannelError(f"{where} has no name")
    if len(name.encode()) > LONGEST:
        raise ChannelError(f"{where} is longer than {LONGEST} octets")
    if _CONTROL.search(name):
        raise ChannelError(f"{where} has a control character")
    return name


def _decoded(text: str) -> str | None:
    """Without percent-encoding; None for what is none, or no UTF-8."""
    if not _ESCAPES.fullmatch(text):
        return None
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return None


def _check_first(those: Container[str], name: str, key: str) -> None:
    if name in those:
        raise ChannelError(f"the query has more than one {key} for a channel")


def _matching(pattern: re.Pattern[str], value: str, key: str) -> str:
    if not pattern.fullmatch(value):
        raise ChannelError(f"the query has a value of {key} that no envelope had")
    return value
