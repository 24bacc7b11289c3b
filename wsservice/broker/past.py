"""The history of channels, as the servers of Redis have it: asked for, and read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from ..channels.history import Missed
from ..channels.message import ChannelMessage
from ..channels.query import Latest, Position
from ..log.peer import PeerLogger
from . import calls, framing, scripts
from .engine import Engine
from .framing import FramingError
from .hearing import HeardChannel, Hearing
from .questions import ServerQuestions
from .redis.link import Link
from .redis.scripting import LuaScript

_LOOK = LuaScript(scripts.LOOK)
_SINCE = LuaScript(scripts.SINCE, calls.MOST_OF_PAGE)

_log = PeerLogger(namespace="wsservice")


class Past:
    """Asks where channels are, and what was published on them.

    `name` makes the names of keys, `terms` are those of the history.
    `found` is called with a channel, its place, and whether Redis has lost messages of it;
    `poisoned` with a channel and what is wrong with its history.
    """

    def __init__(
        self,
        engine: Engine,
        reactor: Any,
        hearing: Hearing,
        name: Callable[[str, str], bytes],
        terms: calls.KeptTerms,
        most: int,
        found: Callable[[str, Position, bool], None],
        poisoned: Callable[[str, str], None],
    ) -> None:
        self._engine = engine
        self._hearing = hearing
        self._name = name
        self._terms = terms
        #: The most octets that a message may have.
        self.most = most
        self._found = found
        self._poisoned = poisoned
        self._all = [engine.names.one(kind) for kind in ("places", "ages")]
        self._questions = {
            link: ServerQuestions(reactor, partial(_is_up, link), self._read)
            for link in engine.links
        }

    def keys(self, channel: str) -> list[bytes]:
        """Return the keys that the scripts of a channel's history take first."""
        return [*self._all, self._name("stream", channel)]

    def healed(self, channel: str, healed: bool) -> None:
        """Tell, where a script has healed a history, that it was not in order."""
        if healed:
            self._poisoned(channel, "its history in Redis was not what it should be")

    def put(self, link: Link) -> None:
        """Ask a server that is there again what waits."""
        self._questions[link].put()

    def ask(self, channel: str, since: Position | Latest | None) -> Deferred[Missed]:
        """Ask the history, once what is published after its answer is heard."""
        questions = self._questions[self._engine.of(channel)]
        line = self._hearing.get(channel)
        if line is None or line.confirmed:
            return questions.ask(channel, since)
        # Otherwise a message published between the answer and the first one would be missed.
        heard: Deferred[None] = Deferred(line.waiting.remove)
        line.waiting.append(heard)
        return heard.addCallback(lambda _: questions.ask(channel, since))

    def look(self, line: HeardChannel) -> None:
        """Find out where a channel is, and whether something of it was missed."""
        if line.confirmed:
            self.ask(line.channel, None).addErrback(lambda _: None)

    def _read(self, channel: str, since: Position | Latest | None) -> Deferred[Missed]:
        link, keys = self._engine.of(channel), self.keys(channel)
        if since is None:
            line = self._hearing.get(channel)
            before = (None, b"") if line is None else line.before
            said = link.script(_LOOK, keys, calls.to_look(*before))
            return said.addCallback(calls.looked).addCallback(self._looked, channel)
        terms = self._terms.of_channel(channel)
        said = link.script(_SINCE, keys, calls.to_read(terms, since))
        return said.addCallback(calls.read).addCallback(self._page, channel)

    def _looked(self, place: calls.ChannelPlace, channel: str) -> Missed:
        self.healed(channel, place.healed)
        line = self._hearing.get(channel)
        if line is not None:
            line.before = (None, b"")
            line.last, line.mark, line.current = place.position, b"", True
        if place.rolled:
            _log.warn(
                "broker: Redis has lost messages of the channel {channel}; all begins anew",
                channel=channel,
            )
        self._found(channel, place.position, place.rolled)
        return Missed((), place.position)

    def _page(self, page: calls.EntryPage, channel: str) -> Missed:
        self.healed(channel, page.healed)
        if page.gap or not page.entries:
            return Missed((), page.position, page.gap)
        entries: list[ChannelMessage] = []
        for name, rest in page.entries:
            try:
                entry = framing.kept(channel, page.position.epoch, name, rest, self.most)
            except FramingError as error:
                if entries:
                    break  # it is the first of the next ones
                self._poisoned(channel, str(error))
                offset = framing.offset_of(name)
                if offset is None:
                    return Missed((), page.position, gap=True)
                return Missed((), Position(offset, page.position.epoch), gap=True)
            entries.append(entry)
        position = Position(entries[-1].offset, page.position.epoch)
        return Missed(entries, position, whole=position == page.position)


def _is_up(link: Link) -> bool:
    return link.up
