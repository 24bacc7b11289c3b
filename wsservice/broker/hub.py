"""Sending to many, on every node that has the same servers of Redis."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol, cast

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..channels import Position
from ..config import Config
from ..envelopes import Fetched, Published
from ..errors import Away
from ..history import Missed
from ..hub import FollowingHub
from ..log import PeerLogger
from ..sending import Gathering, no_payload
from . import framing, scripts
from .engine import Engine
from .framing import FramingError, Heard
from .link import Link
from .outbox import Outbox, Publication
from .questions import NOWHERE, Questions
from .scripting import Script

LINGERING = 5.0
"""Seconds for which a channel is still heard after its last connection left."""

MOST_HELD = 1000
"""Messages of this node that wait until it hears the channel that they are for."""

MOST_NODES = 10_000
"""Nodes of which it is remembered what came last."""

_AGAIN = 5.0
"""Seconds after which a channel is tried again that could not be subscribed to."""

_ECHO = 1.0
"""Seconds after which what was published comes back at the latest, once it is known to be."""

_AT_ONCE = 500
"""Channels that are looked at before others have their turn."""

_SAID_EACH = 10.0
"""Seconds between two lines of the log on what is passed over."""

_NAMES = 10_000
"""Names of keys that are kept, since to make one takes time."""

_APPEND, _LOOK, _SINCE = map(Script, (scripts.APPEND, scripts.LOOK, scripts.SINCE))

_LEAST = 1024 * 1024
_UNLIMITED = 16 * 1024 * 1024
"""Octets that a message may have at least, and where there is no limit."""

_log = PeerLogger(namespace="wsservice")


class Envelopes(Protocol):
    """A connection that is told what others are not, if it speaks the subprotocol."""

    def tell_gap(self, channel: str) -> None:
        """Some of a channel may be gone."""


class Told(NamedTuple):
    """What became of a message."""

    handed: int
    """To how many connections of this node it was handed."""
    dropped: int
    """How many of them did not take it."""
    nodes: int | None
    """How many nodes have connections on the channel, this one included; None if unknown."""
    is_here: bool
    """Whether this one is among them."""


@attrs.define(eq=False)
class _Line:
    """A channel that is heard."""

    channel: str
    link: Link
    name: bytes
    confirmed: bool = False
    #: Whether the server does not let it be heard.
    refused: bool = False
    #: What this node publishes there before, and who wants to know of the history.
    held: list[Publication] = attrs.field(factory=list)
    waiting: list[Deferred[None]] = attrs.field(factory=list)
    #: The place of the last message that came, and what its entry begins with.
    last: Position | None = None
    mark: bytes = b""
    #: Whether nothing came since that was not heard.
    current: bool = False
    #: Whether it was heard before the server was away.
    was_heard: bool = False
    #: Both, as they were before the server was away.
    before: tuple[Position | None, bytes] = (None, b"")
    leaving: IDelayedCall | None = None

    @property
    def is_coming(self) -> bool:
        """Whether it will be heard in a moment."""
        return not self.confirmed and self.link.up and not self.refused


@attrs.define
class Counted:
    """What is counted of messages that come from nodes, this one included."""

    received: int = 0
    #: What was passed over, and keys of Redis that were not what they should be.
    poisoned: int = 0
    #: What came twice.
    repeated: int = 0
    #: How often connections on a channel had to fetch what they had missed of it.
    fetched: int = 0


@attrs.define(eq=False)
class Server:
    """A server, and what is asked of it."""

    link: Link
    outbox: Outbox
    questions: Questions
    #: The number of the last message of each node, of those without a place in the history.
    heard: dict[bytes, int] = attrs.field(factory=dict)
    #: What waits to come back, by its number.
    echoes: dict[int, Publication] = attrs.field(factory=dict)


class BrokerHub(FollowingHub):
    """The hub of a node. What is published goes to a server, and comes back to all nodes.

    So there is one order for all of them. A node hears the channels that it has
    connections on. Where a history is kept, it is in the server.
    """

    def __init__(self, config: Config, engine: Engine, reactor: Any) -> None:
        super().__init__()
        self._engine = engine
        self._reactor = reactor
        self._terms = scripts.Terms.of(config)
        self._most = _most_of(config)
        self._fresh = secrets.token_urlsafe(9)
        self._node = engine.node.encode()
        self._name = lru_cache(_NAMES)(engine.names.of)
        self._all = [engine.names.one(kind) for kind in ("places", "ages")]
        self._lines: dict[str, _Line] = {}
        #: Joins what is sent, where there are connections.
        self.gathering: Gathering | None = None
        self._closed = False
        self._said = -_SAID_EACH
        self.counted = Counted()
        self._servers: dict[Link, Server] = {}
        for link in engine.links:
            outbox = Outbox(link, reactor, partial(self._transmit, link), config.broker_buffer)
            questions = Questions(reactor, partial(_is_up, link), self._read)
            self._servers[link] = Server(link, outbox, questions)
            link.watchers.append(self._changed)

    @property
    def has_history(self) -> bool:
        return self._terms is not None

    @property
    def servers(self) -> Sequence[Server]:
        """Each server, and what is asked of it."""
        return tuple(self._servers.values())

    @property
    def figures(self) -> dict[str, int]:
        """What was counted of messages, by what became of them."""
        counted = attrs.asdict(self.counted)
        for server in self.servers:
            for name, count in attrs.asdict(server.outbox.counted).items():
                counted[name] = counted.get(name, 0) + count
        return counted

    @property
    def states(self) -> dict[str, int]:
        """How it is now: messages that wait, channels that are heard, and those that are not."""
        heard = sum(line.confirmed and line.link.up for line in self._lines.values())
        return {
            "waiting": sum(server.outbox.waiting for server in self.servers),
            "heard": heard,
            "unheard": len(self._lines) - heard,
        }

    def check(self) -> str | None:
        """Why messages are not published, or not heard, although the servers are there."""
        for server in self.servers:
            if server.outbox.problem is not None:
                return f"broker {server.link} refuses messages: {server.outbox.problem}"
        return None

    def prepare(self, config: Config) -> Callable[[], None]:
        """See `reloading.Part`: how large a message may be."""

        def commit() -> None:
            self._most = _most_of(config)

        return commit

    def close(self) -> None:
        """Publish nothing more, and hear nothing more."""
        self._closed = True
        for line in self._lines.values():
            _cancel(line)
        for server in self.servers:
            server.outbox.close()

    # To publish

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> int:
        """Send a message to every open connection on a channel, on every node.

        Returns how many of this node's are on it, and will get it once it comes back
        from the server; 0, too, where it cannot be published now, and reaches nobody.
        Raises `TypeError` for a payload that is not bytes, `ValueError` for text that is not
        UTF-8, or more than nodes take from each other.
        """
        publication = self._publication(channel, payload, isBinary)
        if not self._put(publication):
            return 0
        return len(self._channels.get(channel, ())) + len(self._behind.get(channel, ()))

    def deliver(self, channel: str, payload: bytes, isBinary: bool = False) -> Deferred[Told]:
        """The same, and fires with what became of it. Raises as `publish`.

        Fails with `NotPublishedError` where it was published to nobody, `UncertainError`
        where that is not known.
        """
        publication = self._publication(channel, payload, isBinary)
        done: Deferred[int] = Deferred()
        publication.done = done
        publication.echo = Deferred()
        server = self._servers[self._engine.of(channel)]

        def published(nodes: int) -> Told | Deferred[Told]:
            known = None if nodes < 0 else nodes
            echo = publication.echo
            if not publication.number or echo is None:
                return Told(0, 0, known, False)
            if not echo.called:
                echo.addTimeout(_ECHO, self._reactor)
            came = echo.addErrback(lambda _: (0, 0))
            return came.addCallback(lambda said: Told(said[0], said[1], known, True))

        def over(result: Any) -> Any:
            server.echoes.pop(publication.number, None)
            return result

        server.outbox.expect(publication)
        self._put(publication)
        return done.addCallback(published).addBoth(over)

    def _publication(self, channel: str, payload: bytes, isBinary: bool) -> Publication:
        if not isinstance(payload, bytes):
            raise no_payload(payload)
        framing.check(payload, isBinary, self._most)
        return Publication(channel, payload, isBinary)

    def _put(self, publication: Publication) -> bool:
        line = self._lines.get(publication.channel)
        link = self._engine.of(publication.channel)
        if line is not None and line.is_coming and len(line.held) < MOST_HELD:
            # Else who has just come to the channel would not get it.
            line.held.append(publication)
            return True
        return self._servers[link].outbox.put(publication)

    def _transmit(self, link: Link, publication: Publication) -> Deferred[int]:
        channel = publication.channel
        line = self._lines.get(channel)
        self._servers[link].echoes.pop(publication.number, None)
        publication.number = 0
        if publication.echo is not None and line is not None and line.confirmed:
            publication.number = publication.sequence
            self._servers[link].echoes[publication.number] = publication
        sequence = publication.sequence
        body = framing.body(self._node, sequence, publication.payload, publication.isBinary)
        name = self._name("said", channel)
        if self._terms is None:
            return link.publish(name, framing.framed(body, self._wall()))
        keys = [*self._keys(channel), self._name("seen", self._engine.node), name]
        words = scripts.to_append(self._terms, self._fresh, link.publishes, sequence, body)
        return link.script(_APPEND, keys, words).addCallback(self._appended, channel)

    def _appended(self, said: Any, channel: str) -> int:
        appended = scripts.appended(said)
        if appended.healed:
            self._poisoned(channel, "the key of its history was not what it should be")
        return appended.nodes

    def _keys(self, channel: str) -> list[bytes]:
        return [*self._all, self._name("stream", channel)]

    # To hear

    def _came_to(self, channel: str) -> None:
        line = self._lines.get(channel)
        if line is None:
            name = self._name("said", channel)
            line = self._lines[channel] = _Line(channel, self._engine.of(channel), name)
            self._subscribe(line)
            return
        _cancel(line)
        if line.current and line.last is not None:
            self.learned(channel, line.last)

    def _left(self, channel: str) -> None:
        line = self._lines.get(channel)
        if line is not None:
            line.leaving = self._reactor.callLater(LINGERING, self._stop_hearing, line)

    def _stop_hearing(self, line: _Line) -> None:
        _cancel(line)
        if self._lines.get(line.channel) is line:
            del self._lines[line.channel]
            line.link.unsubscribe(line.name)
            self._release(line)

    def _subscribe(self, line: _Line) -> None:
        if self._lines.get(line.channel) is line:
            line.leaving = None
            subscribed = line.link.subscribe(line.name, partial(self._heard, line))
            subscribed.addCallbacks(
                partial(self._confirmed, line), partial(self._not_confirmed, line)
            )

    def _confirmed(self, line: _Line, _: object) -> None:
        line.confirmed, line.refused = True, False
        self._release(line)
        if self._terms is not None:
            self._look(line)

    def _not_confirmed(self, line: _Line, failure: Failure) -> None:
        self._release(line)
        if failure.check(Away):
            return  # nobody wants to hear it any more
        line.refused = True
        _log.error(
            "the channel {channel} cannot be heard: {why}",
            channel=line.channel,
            why=failure.getErrorMessage(),
        )
        line.leaving = self._reactor.callLater(_AGAIN, self._subscribe, line)

    def _release_held(self, line: _Line) -> None:
        held, line.held = line.held, []
        for publication in held:
            self._servers[line.link].outbox.put(publication)

    def _release(self, line: _Line) -> None:
        """What waited for a channel to be heard waits no more."""
        self._release_held(line)
        waiting, line.waiting = line.waiting, []
        for each in waiting:
            each.callback(None)

    def _heard(self, line: _Line, octets: bytes) -> None:
        try:
            heard = framing.heard(octets, self._most)
        except FramingError as error:
            self._poisoned(line.channel, str(error))
            return
        server = self._servers[line.link]
        self.counted.received += 1
        message = Published(line.channel, heard.payload, heard.isBinary, heard.time)
        if heard.position is None:
            if self._is_repeated(server, heard):
                return
        elif self._terms is not None:
            message.position = line.last = heard.position
            line.mark = framing.mark(heard)
        came = (0, 0)
        if self.is_occupied(line.channel):
            self._gather()
            came = self.hear(message, kept=True)
        if server.echoes and heard.node == self._node:
            publication = server.echoes.pop(heard.sequence, None)
            if publication is not None and publication.echo is not None:
                publication.echo.callback(came)

    def _gather(self) -> None:
        """Join what is sent to each connection of what came in this turn of the reactor."""
        gathering = self.gathering
        if gathering is not None and not gathering.under_way:
            gathering.under_way = True
            self._reactor.callLater(0, gathering.end)

    def _is_repeated(self, server: Server, heard: Heard) -> bool:
        last = server.heard.pop(heard.node, 0)
        server.heard[heard.node] = max(last, heard.sequence)
        if len(server.heard) > MOST_NODES:
            del server.heard[next(iter(server.heard))]
        if heard.sequence > last:
            return False
        self.counted.repeated += 1
        return True

    def _poisoned(self, channel: str, why: str) -> None:
        self.counted.poisoned += 1
        if self._reactor.seconds() - self._said >= _SAID_EACH:
            self._said = self._reactor.seconds()
            _log.warn(
                "broker: something of the channel {channel} is passed over: {why}; so far {count}",
                channel=channel,
                why=why,
                count=self.counted.poisoned,
            )

    # The history

    # The contract is that of a history that is elsewhere.
    def position(self, channel: str) -> Deferred[Position]:  # type: ignore[override]
        """Where a channel is now."""
        line = self._lines.get(channel)
        if line is not None and line.current and line.last is not None:
            return succeed(line.last)
        return self._ask(channel, None).addCallback(lambda missed: missed.position)

    def missed(self, channel: str, since: Position) -> Deferred[Missed]:  # type: ignore[override]
        """What was published on a channel since a position, the first of it."""
        line = self._lines.get(channel)
        if since == NOWHERE or (line is not None and line.current and line.last == since):
            return succeed(Missed((), since))
        return self._ask(channel, since)

    def lost_some(self, channel: str) -> bool:
        lost = super().lost_some(channel)
        self.counted.fetched += lost
        return lost

    def _ask(self, channel: str, since: Position | None) -> Deferred[Missed]:
        """Ask the history, once what is published after its answer is heard."""
        questions = self._servers[self._engine.of(channel)].questions
        line = self._lines.get(channel)
        if line is None or line.confirmed:
            return questions.ask(channel, since)
        heard: Deferred[None] = Deferred(line.waiting.remove)
        line.waiting.append(heard)
        return heard.addCallback(lambda _: questions.ask(channel, since))

    def _look(self, line: _Line) -> None:
        """Find out where a channel is, and whether something of it was missed."""
        if line.confirmed:
            self._ask(line.channel, None).addErrback(lambda _: None)

    def _read(self, channel: str, since: Position | None) -> Deferred[Missed]:
        link, keys = self._engine.of(channel), self._keys(channel)
        if since is None:
            line = self._lines.get(channel)
            before = (None, b"") if line is None else line.before
            said = link.script(_LOOK, keys, scripts.to_look(self._fresh, *before))
            return said.addCallback(scripts.looked).addCallback(self._looked, channel)
        assert self._terms is not None  # noqa: S101 - else nobody asks
        said = link.script(_SINCE, keys, scripts.to_read(self._terms, self._fresh, since))
        return said.addCallback(scripts.read).addCallback(self._page, channel, since)

    def _looked(self, place: scripts.Place, channel: str) -> Missed:
        line = self._lines.get(channel)
        if line is not None:
            line.before = (None, b"")
            line.last, line.mark, line.current = place.position, b"", True
        if place.rolled:
            _log.warn(
                "broker: Redis has lost messages of the channel {channel}, which begins anew",
                channel=channel,
            )
        known = self._places.get(channel)
        if known is not None and (place.rolled or known != place.position):
            self.lost_some(channel)
        self.learned(channel, place.position)
        return Missed((), place.position)

    def _page(self, page: scripts.Page, channel: str, since: Position) -> Missed:
        if page.gap or not page.entries:
            return Missed((), page.position, page.gap)
        entries: list[Fetched] = []
        for name, rest in page.entries:
            offset = since.offset + len(entries) + 1
            try:
                entry = framing.kept(channel, page.position.epoch, name, rest, self._most)
            except FramingError as error:
                if entries:
                    break  # it is the first of the next ones
                self._poisoned(channel, str(error))
                return Missed((), Position(offset, page.position.epoch), gap=True)
            entries.append(entry)
        return Missed(entries, Position(entries[-1].offset, page.position.epoch))

    def _changed(self, link: Link) -> None:
        """A server is there again, or away."""
        if self._closed:
            return
        server = self._servers[link]
        lines = [line for line in self._lines.values() if line.link is link]
        if not link.up:
            for line in lines:
                line.was_heard |= line.confirmed
                if line.current:
                    line.before = (line.last, line.mark)
                line.current = False
                self._release_held(line)
            return
        server.outbox.flush()
        server.questions.put()
        self._resume(iter(lines))

    def _resume(self, lines: Iterator[_Line]) -> None:
        """Find out what was missed of channels, some at once."""
        for line in islice(lines, _AT_ONCE):
            if not line.link.up:
                return  # when it is there again, all of them have their turn
            if self._terms is not None:
                self._look(line)
            elif line.was_heard:
                self._tell_gap(line)
            line.was_heard = False
        for line in lines:
            self._reactor.callLater(0, self._resume, chain((line,), lines))
            break

    def _tell_gap(self, line: _Line) -> None:
        """Say that something may have been missed, where no history has it."""
        for member in cast("Iterable[Envelopes]", self.members(line.channel)):
            member.tell_gap(line.channel)


def _most_of(config: Config) -> int:
    """As many octets as may be published, and as a peer's message may have."""
    return max(config.max_message_size or _UNLIMITED, _LEAST)


def _is_up(link: Link) -> bool:
    return link.up


def _cancel(line: _Line) -> None:
    leaving, line.leaving = line.leaving, None
    if leaving is not None and leaving.active():
        leaving.cancel()
