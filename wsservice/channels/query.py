"""Read the channels of a request, and the positions from which they go on. PURE.

A channel is a URL's path, without slashes at its ends. The query may name more:
`?channel=a&channel=b`. There `since=OFFSET` and `epoch=EPOCH` belong to the channel that was named
last before them, or to the path's channel:
`/news?since=17&epoch=E&channel=chat&since=4&epoch=F`. In place of positions, `history=COUNT`
asks for the last messages of each channel of the connection, wherever it stands.

A name has at most `LONGEST` octets of UTF-8, since each message, list and line of the log that
mentions a channel carries its name.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from urllib.parse import unquote_to_bytes

import attrs

from ..config.keep import MOST_HISTORY

MOST_NAMED = 16
"""The most channels that a query may name."""

LONGEST = 255
"""The most octets of UTF-8 of a channel's name, without the slashes at its ends."""

RESERVED = "\0"
"""The first character of names by which messages to users travel (see `users`). A channel with
such a name would be the way to a user."""

LONGEST_EPOCH = 64
"""The most characters of an epoch."""

_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that end a line or move a cursor in some program."""

_OFFSET = re.compile(r"[0-9]{1,15}")
_COUNT = re.compile(r"[1-9][0-9]{0,6}")
_EPOCH = re.compile(rf"[0-9A-Za-z._-]{{0,{LONGEST_EPOCH}}}")


class ChannelError(ValueError):
    """A malformed channel in a query. The text says which one, and quotes nothing of the query."""


class ChannelNameError(ValueError):
    """A name that no channel may have. The text quotes nothing of it."""


@attrs.frozen
class Position:
    """A position in a channel's history: the last message a subscriber has received."""

    offset: int
    epoch: str


@attrs.frozen
class Latest:
    """The last messages of a channel, at most `count` of them, in place of a position."""

    count: int


@attrs.frozen
class ChannelQuery:
    """The channels in a query besides the path's, and the positions from which to go on."""

    channels: tuple[str, ...] = ()
    since: dict[str, Position] = attrs.field(factory=dict)
    history: int = 0
    """The number of last messages of each channel that the client asks for, 0 for none."""


NOTHING_ASKED = ChannelQuery()
"""The query of a client that is on its path's channel only, and joins it anew."""


def channel_of(path: str) -> str:
    """Return the channel of a URL's path: the path without slashes at its ends.

    Percent-encoding is decoded if the result is valid text without control characters. Otherwise
    the path itself is the name.
    """
    if "%" in path:
        text = _decoded(path)
        if text is not None and not has_control(text):
            path = text
    return path.strip("/")


def has_control(name: str) -> bool:
    """Return True for a channel's name with a character that ends a line or moves a cursor."""
    return CONTROL.search(name) is not None


def octets_of(channel: str) -> int:
    """Return how many octets of UTF-8 a channel's name has."""
    if channel.isascii():
        return len(channel)
    # A behaviour may give halves of surrogate pairs.
    return len(channel.encode(errors="surrogatepass"))


def is_too_long(channel: str) -> bool:
    """Return True if a channel's name has more than `LONGEST` octets."""
    return octets_of(channel) > LONGEST


def check_name(channel: str) -> None:
    """Raise `ChannelNameError` for a channel's name of more than `LONGEST` octets.

    So it does for one that begins with NUL, which is no channel's.
    """
    if channel[:1] == RESERVED:
        raise ChannelNameError("a channel's name begins with NUL; give another one")
    # No character has more than four octets, so most names need no encoding for each message.
    if 4 * len(channel) <= LONGEST:
        return
    octets = octets_of(channel)
    if octets > LONGEST:
        raise ChannelNameError(
            f"a channel's name has {octets} octets of UTF-8; give one of at most {LONGEST}"
        )


def asked_for(
    query: str, channel: str, resuming: bool, kept: bool = False, most: int = MOST_NAMED
) -> ChannelQuery:
    """Return the channels and positions in the query of a request.

    `channel` is the channel of the request's path. If `resuming` is false, `since` and `epoch` are
    ignored, since a behaviour may use them like any other name; so is `history` if `kept` is false,
    as it is without a history. The query may name `most` channels. Raises `ChannelError`.
    """
    history = 0
    goes_on = False
    named: list[str] = []
    offsets: dict[str, int] = {}
    epochs: dict[str, str] = {}
    last = channel
    for key, value in _pairs(query):
        if key == "channel":
            if len(named) >= most:
                several = "channel" if most == 1 else "channels"
                raise ChannelError(f"the query names more than {most} {several}")
            last = _name(value, f"channel {len(named) + 1} of the query")
            named.append(last)
        elif kept and key == "history":
            if history:
                raise ChannelError("the query has more than one history; give one for all channels")
            history = _count(value)
        elif not resuming:
            goes_on = goes_on or key == "since"
            continue
        elif key == "since":
            _check_first(offsets, last, key)
            offsets[last] = int(_matching(_OFFSET, value, key))
        elif key == "epoch":
            _check_first(epochs, last, key)
            epochs[last] = _matching(_EPOCH, value, key)
    if history and (goes_on or offsets):
        raise ChannelError("the query has history beside since; give one of them")
    if offsets.keys() != epochs.keys():
        raise ChannelError("the query has since or epoch of a channel without the other")
    since = {name: Position(offset, epochs[name]) for name, offset in offsets.items()}
    channels = tuple(name for name in dict.fromkeys(named) if name != channel)
    return ChannelQuery(channels, since, history)


def position_of(since: str, epoch: str) -> Position:
    """Return the position in the values of `since` and `epoch`. Raises `ChannelError`."""
    return Position(int(_matching(_OFFSET, since, "since")), _matching(_EPOCH, epoch, "epoch"))


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&"):
        key, _, value = part.partition("=")
        yield key, value


def _name(value: str, where: str) -> str:
    name = _decoded(value.replace("+", " "))  # forms and URLSearchParams write a space as +
    if name is None:
        raise ChannelError(f"{where} is not UTF-8, percent-encoded")
    name = name.strip("/")
    if not name:
        raise ChannelError(f"{where} has no name")
    if is_too_long(name):
        raise ChannelError(f"{where} is longer than {LONGEST} octets")
    if has_control(name):
        raise ChannelError(f"{where} has a control character")
    return name


def _decoded(text: str) -> str | None:
    """Return text without percent-encoding, or None if that is malformed or not UTF-8."""
    if not _ESCAPES.fullmatch(text):
        return None
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return None


def _check_first(those: Container[str], name: str, key: str) -> None:
    if name in those:
        raise ChannelError(f"the query has more than one {key} for a channel")


def _count(value: str) -> int:
    if not _COUNT.fullmatch(value) or int(value) > MOST_HISTORY:
        raise ChannelError(f"the query has a history that is not a number from 1 to {MOST_HISTORY}")
    return int(value)


def _matching(pattern: re.Pattern[str], value: str, key: str) -> str:
    if not pattern.fullmatch(value):
        raise ChannelError(f"the query has a value of {key} that no envelope had")
    return value
