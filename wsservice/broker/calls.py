"""Make the arguments of the history's scripts, and read their answers. PURE."""

from __future__ import annotations

import math
import re
import secrets
from typing import Any, NamedTuple

import attrs

from ..channels.keeping import Keeps
from ..channels.query import Latest, Position
from ..config.config import Config
from ..config.keep import Keep
from .framing import EPOCH, LARGEST
from .standing import MisplacedError, Standing

MOST_CHANNELS = 1_000_000
"""The most channels that Redis remembers. It forgets those published on longest ago."""

PAGE = 64
"""The most messages of an answer."""

# An entry is its name and its content; before all entries stand gap, last offset and epoch.
MOST_OF_PAGE = 3 + 2 * PAGE
"""The most elements of such an answer. One that claims more ends the connection (`claims`)."""

PAGE_OCTETS = 1024 * 1024
"""Octets of messages after which an answer has no more, though 64 messages are not reached."""

REMEMBERED = 86_400.0
"""The least seconds for which a channel's position is remembered after its last message."""

LONGEST = 30 * 86_400.0
"""Seconds for which a channel is remembered if messages are kept without a limit of age."""

SEEN = 3600.0
"""Seconds for which Redis remembers a node's last number.

It is far more than `outbox.DOUBTED`, the time for which a node sends a message again.
"""

# An id of all channels and an id of the node's numbers, as scripts write them. Another answer did
# not come from our script.
_LIFE = re.compile(rb"[0-9A-Za-z_-]{1,40}\.[0-9A-Za-z_-]{1,60}")


@attrs.frozen
class Terms:
    """The limits of the history in Redis: for each channel, and for all together.

    `size` is messages of a channel, `seconds` their age (0: any), `octets` those of all channels.
    """

    size: int
    seconds: float
    octets: int
    channels: int = MOST_CHANNELS
    others: tuple[float, ...] = ()
    """The `seconds` of other channels."""

    @property
    def milliseconds(self) -> int:
        """Milliseconds for which messages are kept; 0 for any time."""
        return math.ceil(self.seconds * 1000)

    @property
    def remembered(self) -> int:
        """Milliseconds for which a channel's position is remembered, the same for all channels."""
        # Never shorter than its messages are kept, whose offsets would begin anew. The script
        # forgets others' channels, too.
        every = (self.seconds, *self.others)
        return int(1000 * (max(*every, REMEMBERED) if all(every) else LONGEST))


class KeptTerms:
    """The limits of the history in Redis by channel. `octets` are those of all channels."""

    def __init__(self, keeps: Keeps, octets: int) -> None:
        self.keeps = keeps
        self._octets = octets
        self._each: dict[Keep, Terms] = {}
        # A reload replaces it.
        self._of = keeps.each

    @classmethod
    def of(cls, config: Config) -> KeptTerms:
        """Return the limits of a configuration."""
        return cls(Keeps.of(config), config.history_bytes)

    def of_channel(self, channel: str) -> Terms:
        """Return the limits of a channel. A `size` of 0 keeps nothing of it."""
        keep = self.keeps.of_channel(channel)
        if self._of is not self.keeps.each:
            self._each, self._of = {}, self.keeps.each
        terms = self._each.get(keep)
        if terms is None:
            others = tuple(each.seconds for each in self._of if each.size and each != keep)
            terms = self._each[keep] = Terms(keep.size, keep.seconds, self._octets, others=others)
        return terms


class AnswerError(ValueError):
    """An answer that the script never gives."""

    def __init__(self) -> None:
        super().__init__("an answer that makes no sense")


class Appended(NamedTuple):
    """The outcome of a message that was appended and published."""

    nodes: int
    """The number of nodes that heard it."""
    healed: bool = False
    """True if the script found data in Redis that no script had written, and replaced it."""


class ChannelPlace(NamedTuple):
    """The current position of a channel."""

    position: Position
    rolled: bool = False
    """True if Redis does not know a message that a node has: it has lost the end of its data."""
    healed: bool = False
    """True if the script found data in Redis that no script had written, and replaced it."""


class EntryPage(NamedTuple):
    """Some messages of a channel: pairs of an entry's name and its content."""

    position: Position
    gap: bool
    entries: list[tuple[bytes, bytes]]
    healed: bool = False
    """True if the script found data in Redis that no script had written, and replaced it."""


def fresh() -> str:
    """Return the beginning of epochs that a call of a script starts, new for each call."""
    # Nine random octets. If a node had one beginning for its life, epochs would come again when
    # it began the data of Redis anew twice.
    return secrets.token_urlsafe(9)


def to_append(
    terms: Terms, after: Standing, anew: bool, publish: bytes, sequence: int, body: bytes
) -> list[bytes | str | int]:
    """Return the arguments of `APPEND`.

    `after` is the node's message that must come before this one, or the script does not take it.
    With `anew` the script begins all data anew and does not take the message. `publish` is the
    command to publish with, `sequence` the message's number, `body` is made by `framing.body`.
    """
    kept = (terms.size, terms.milliseconds, terms.octets, terms.channels, terms.remembered)
    who = (fresh(), after.life, after.last, int(anew), sequence)
    return [*who, *kept, int(SEEN * 1000), publish, body]


def to_look(at: Position | None, mark: bytes) -> list[bytes | str | int]:
    """Return the arguments of `LOOK`, which also checks that the message `at` has a mark."""
    if at is None:
        return [fresh(), "", "", mark]
    return [fresh(), at.offset, at.epoch, mark]


def to_read(terms: Terms, since: Position | Latest) -> list[bytes | str | int]:
    """Return the arguments of `SINCE`, which reads messages after a position, or the latest."""
    bounds = (terms.milliseconds, PAGE, PAGE_OCTETS)
    if isinstance(since, Latest):
        return [fresh(), 0, "", *bounds, since.count]
    return [fresh(), since.offset, since.epoch, *bounds, 0]


def appended(said: Any) -> Appended:
    """Return the outcome in an answer of `APPEND`.

    Raises `MisplacedError` if the script did not take the message, `AnswerError` for other answers.
    """
    # An impostor of Redis may answer anything, so each answer is matched element by element.
    match said:
        case [int(nodes), int(healed)]:
            return Appended(nodes, bool(healed))
        case [bytes(life), int(last), int(healed)] if _LIFE.fullmatch(life) and last >= 0:
            raise MisplacedError(Standing(life, last), bool(healed))
    raise AnswerError


def looked(said: Any) -> ChannelPlace:
    """Return the place in an answer of `LOOK`. Raises `AnswerError` for other answers."""
    match said:
        case [int(last), bytes(epoch), int(rolled), int(healed)]:
            return ChannelPlace(_position(last, epoch), bool(rolled), bool(healed))
    raise AnswerError


def read(said: Any) -> EntryPage:
    """Return the page in an answer of `SINCE`. Raises `AnswerError` for other answers."""
    match said:
        # A gap of 1 is a gap, 2 is a gap since data was replaced.
        case [int(gap), int(last), bytes(epoch), *rest] if len(rest) % 2 == 0:
            if all(type(each) is bytes for each in rest):
                entries = list(zip(rest[::2], rest[1::2], strict=True))
                return EntryPage(_position(last, epoch), bool(gap), entries, gap > 1)
    raise AnswerError


def _position(last: int, epoch: bytes) -> Position:
    # latin-1 takes any octets; the pattern then refuses all but ASCII.
    text = epoch.decode("latin-1")
    if not 0 <= last < LARGEST or not EPOCH.fullmatch(text):
        raise AnswerError
    return Position(last, text)
