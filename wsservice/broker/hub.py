"""Sending to many, on every node that has the same servers of Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed

from ..channels.following import FollowingHub
from ..channels.history import Missed
from ..channels.message import ChannelMessage, new_message
from ..channels.outcome import Published
from ..channels.page import HistoryPage, no_history
from ..channels.presence import DEFAULT_LIMIT
from ..channels.query import Latest, Position
from ..channels.question import in_time
from ..channels.users import message_to, user_of, way_to
from ..clock import monotonic_of
from ..config.config import Config
from ..log.peer import PeerLogger, Seldom
from ..net.gathering import Gathering
from . import calls, framing, scripts
from .engine import Engine
from .framing import FramingError, Heard
from .hearing import HeardChannel, Hearing
from .outbox import Outbox
from .past import Past
from .questions import NOWHERE
from .queued import QueuedMessage
from .redis.link import Link
from .redis.scripting import LuaScript
from .standing import MisplacedError

MOST_NODES = 10_000
"""Nodes of which it is remembered what came last."""

_ECHO = 1.0
"""Seconds after which what was published comes back at the latest, once it is known to be."""

_AT_ONCE = 500
"""Channels that are worked on before others have their turn: some milliseconds."""

_NAMES = 10_000
"""Names of keys that are kept: to make one anew for each message would take time."""

_APPEND = LuaScript(scripts.APPEND)

_log = PeerLogger(namespace="wsservice")


@attrs.define
class HeardCounts:
    """Counts of the messages that come from nodes, this one included."""

    received: int = 0
    #: What was passed over, and keys of Redis that were not what they should be.
    poisoned: int = 0
    #: What came twice.
    repeated: int = 0
    #: How often connections on a channel had to fetch what they had missed of it.
    fetched: int = 0


@attrs.define(eq=False)
class HubServer:
    """A server, and what is asked of it."""

    link: Link
    outbox: Outbox
    #: The number of the last message of each node.
    heard: dict[bytes, int] = attrs.field(factory=dict)
    #: What waits to come back, by its number.
    echoes: dict[int, QueuedMessage] = attrs.field(factory=dict)


class BrokerHub(FollowingHub):
    """The hub of a node. A published message goes to a server, and comes back to all nodes.

    That gives all nodes the same order. A node hears the channels that it has connections on. A
    history, if there is one, is in the server.
    """

    def __init__(self, config: Config, engine: Engine, reactor: Any) -> None:
        self._terms = calls.KeptTerms.of(config)
        super().__init__(self._terms.keeps)
        self._engine = engine
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._most = config.most_to_publish
        self._node = engine.node.encode()
        self._name = lru_cache(_NAMES)(engine.names.of)
        self._hearing = Hearing(reactor, self._heard, self._confirmed, self._put_to)
        self._past = Past(
            engine,
            reactor,
            self._hearing,
            self._name,
            self._terms,
            self._most,
            self._found,
            self._poisoned,
        )
        #: Joins what is sent, where there are connections.
        self.gathering: Gathering | None = None
        self._closed = False
        self._seldom = Seldom(self._monotonic)
        self.counted = HeardCounts()
        self._servers: dict[Link, HubServer] = {}
        for link in engine.links:
            outbox = Outbox(link, reactor, partial(self._transmit, link), config.broker_buffer)
            self._servers[link] = HubServer(link, outbox)
            link.watchers.append(self._changed)

    @property
    def has_history(self) -> bool:
        return self.keeps.any

    @property
    def servers(self) -> Sequence[HubServer]:
        """Each server, and what is asked of it."""
        return tuple(self._servers.values())

    @property
    def figures(self) -> dict[str, int]:
        """Return the counts of messages, by outcome."""
        counted = attrs.asdict(self.counted)
        for server in self.servers:
            for name, count in attrs.asdict(server.outbox.counted).items():
                counted[name] = counted.get(name, 0) + count
        return counted

    @property
    def states(self) -> dict[str, int]:
        """How it is now: messages that wait, channels that are heard, and those that are not."""
        heard, unheard = self._hearing.counts()
        return {
            "waiting": sum(server.outbox.waiting for server in self.servers),
            "heard": heard,
            "unheard": unheard,
        }

    def check(self) -> str | None:
        """Why messages are not published, or not heard, although the servers are there."""
        for server in self.servers:
            if server.outbox.problem is not None:
                return f"broker {server.link} refuses messages: {server.outbox.problem}"
        return None

    def prepare(self, config: Config) -> Callable[[], None]:
        """See `Reloadable`: how large a message may be."""

        def commit() -> None:
            self._most = self._past.most = config.most_to_publish

        return commit

    def close(self) -> None:
        """Publish nothing more, and hear nothing more."""
        self._closed = True
        self._hearing.close()
        for server in self.servers:
            server.outbox.close()

    # To publish

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> int:
        """Send a message: see `Hub`.

        Return how many connections of this node are on the channel, and will get the message once
        it comes back from the server; 0 too if it cannot be published now, and reaches nobody.
        """
        publication = self._queued(new_message(channel, payload, isBinary))
        if not self._put(publication):
            return 0
        return self.local_count(channel)

    def deliver(self, message: ChannelMessage) -> Deferred[Published]:
        """Send a message: see `Hub`. The outcome counts connections of this node only."""
        publication = self._queued(message)
        done: Deferred[int] = Deferred()
        publication.done = done
        publication.echo = Deferred()
        server = self._servers[self._engine.of(message.channel)]

        def published(nodes: int) -> Published | Deferred[Published]:
            known = None if nodes < 0 else nodes
            echo = publication.echo
            # Without a number no connection of this node hears the channel: no echo will come.
            if not publication.number or echo is None:
                return Published(0, 0, nodes == 0, known)
            # The echo may come before or after the answer of the server. Subscribers of this node
            # have the message only then, so the numbers are not known earlier.
            if not echo.called:
                echo.addTimeout(_ECHO, self._reactor)
            came = echo.addErrback(lambda _: (0, 0))
            return came.addCallback(lambda said: Published(said[0], said[1], nodes == 1, known))

        def over(result: Any) -> Any:
            server.echoes.pop(publication.number, None)
            return result

        server.outbox.expect(publication)
        self._put(publication)
        return done.addCallback(published).addBoth(over)

    def send_user(self, user: str, payload: bytes, isBinary: bool = False) -> Deferred[Published]:
        """Send a message: see `Hub`. It has a name of its own in Redis, as a channel has."""
        return self.deliver(message_to(user, payload, isBinary))

    def _queued(self, message: ChannelMessage) -> QueuedMessage:
        framing.check(message.payload, message.is_binary, self._most)
        return QueuedMessage(message)

    def _put(self, publication: QueuedMessage) -> bool:
        if self._hearing.hold(publication):
            return True
        return self._put_to(self._engine.of(publication.message.channel), publication)

    def _put_to(self, link: Link, publication: QueuedMessage) -> bool:
        return self._servers[link].outbox.put(publication)

    def _transmit(self, link: Link, publication: QueuedMessage) -> Deferred[int]:
        channel, payload, is_binary, *_ = publication.message
        line = self._hearing.get(channel)
        # The outbox may transmit a message again on a new connection: the echo of the first attempt
        # is not awaited any more.
        self._servers[link].echoes.pop(publication.number, None)
        publication.number = 0
        if publication.echo is not None and line is not None and line.confirmed:
            publication.number = publication.sequence
            self._servers[link].echoes[publication.number] = publication
        sequence = publication.sequence
        body = framing.body(self._node, sequence, payload, is_binary)
        name = self._name("said", channel)
        # No history keeps a message to a user: no client can name the channel that it travels on,
        # so none could ask for it later, and each user would have keys at the server.
        if not self.has_history or user_of(channel) is not None:
            return link.publish(name, framing.framed(body, self._wall()))
        keys = [*self._past.keys(channel), self._name("seen", self._engine.node), name]
        after, anew = publication.after, publication.anew
        terms = self._terms.of_channel(channel)
        words = calls.to_append(terms, after, anew, link.publishes, sequence, body)
        return link.script(_APPEND, keys, words).addCallback(self._appended, channel)

    def _appended(self, said: Any, channel: str) -> int:
        try:
            appended = calls.appended(said)
        except MisplacedError as error:
            self._past.healed(channel, error.healed)
            raise
        self._past.healed(channel, appended.healed)
        return appended.nodes

    # To hear

    def _came_to(self, channel: str) -> None:
        line = self._hearing.get(channel)
        if line is None:
            self._hearing.begin(channel, self._engine.of(channel), self._name("said", channel))
            return
        line.cancel()
        if line.current and line.last is not None:
            self.learned(channel, line.last)

    def _left(self, channel: str) -> None:
        self._hearing.leave(channel)

    def _user_came(self, user: str) -> None:
        self._came_to(way_to(user))

    def _user_left(self, user: str) -> None:
        self._left(way_to(user))

    def _keeps(self, line: HeardChannel) -> bool:
        """Return True if a server keeps a history of what is heard."""
        return user_of(line.channel) is None and self.keep(line.channel).size > 0

    def _confirmed(self, line: HeardChannel) -> None:
        if self._keeps(line):
            self._past.look(line)

    def _heard(self, line: HeardChannel, octets: bytes) -> None:
        try:
            heard = framing.heard(line.channel, octets, self._most)
        except FramingError as error:
            self._poisoned(line.channel, str(error))
            return
        server = self._servers[line.link]
        self.counted.received += 1
        message = heard.message
        if message.offset and not self.has_history:  # another node keeps a history, this one none
            message = message._replace(offset=0, epoch="")
        elif message.offset and self._keeps(line):
            line.last = message.position
            line.mark = framing.mark(heard)
        came = (0, 0)
        if self._is_repeated(server, heard):
            self._pass_over(message)
        elif self.is_occupied(line.channel):
            self._gather()
            came = self.hear(message, kept=True)
        elif user_of(line.channel) is not None:
            self._gather()
            came = self._send_to(message)[:2]
        if server.echoes and heard.node == self._node:
            publication = server.echoes.pop(heard.sequence, None)
            if publication is not None and publication.echo is not None:
                publication.echo.callback(came)

    def _pass_over(self, message: ChannelMessage) -> None:
        """A message came twice: who speaks the subprotocol is told why an offset is left out."""
        position = message.position
        if position is not None and self.follow(message.channel, position):
            self._tell_gap(message.channel)

    def _gather(self) -> None:
        """Join what is sent to each connection of what came in this turn of the reactor."""
        gathering = self.gathering
        # One read from the server brings many messages. One write to each subscriber for all of
        # them costs a fraction of one write for each message.
        if gathering is not None and not gathering.under_way:
            gathering.under_way = True
            self._reactor.callLater(0, gathering.end)

    def _is_repeated(self, server: HubServer, heard: Heard) -> bool:
        # Taken out and put back at the end, so that the node that has been silent for longest is
        # forgotten first. Node names come from others, so their number needs a limit.
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
        if self._seldom.due():
            _log.warn(
                "broker: something of the channel {channel} is passed over: {why}; so far {count}",
                channel=channel,
                why=why,
                count=self.counted.poisoned,
            )

    # The history

    def position(self, channel: str) -> Deferred[Position]:
        self._check_kept()
        line = self._hearing.get(channel)
        if line is not None and line.current and line.last is not None:
            return succeed(line.last)
        return self._past.ask(channel, None).addCallback(lambda missed: missed.position)

    def missed(self, channel: str, since: Position | Latest) -> Deferred[Missed]:
        self._check_kept()
        line = self._hearing.get(channel)
        if since == NOWHERE or (line is not None and line.current and line.last == since):
            return succeed(Missed((), since))
        return self._past.ask(channel, since)

    def history(
        self, channel: str, limit: int = DEFAULT_LIMIT, since: Position | None = None
    ) -> Deferred[HistoryPage]:
        return in_time(super().history(channel, limit, since), self._reactor)

    def _away(self, channel: str) -> str | None:
        link = self._engine.of(channel)
        return None if link.up else f"broker {link} is away"

    def _check_kept(self) -> None:
        if not self.has_history:
            raise no_history()

    def lost_some(self, channel: str) -> bool:
        lost = super().lost_some(channel)
        self.counted.fetched += lost
        return lost

    def _found(self, channel: str, position: Position, rolled: bool) -> None:
        """A server says where a channel is, and whether it has lost messages of it."""
        known = self._places.get(channel)
        if known is not None and (rolled or known != position):
            self.lost_some(channel)
        self.learned(channel, position)

    def _changed(self, link: Link) -> None:
        """A server is there again, or away."""
        if self._closed:
            return
        server = self._servers[link]
        if not link.up:
            for line in self._hearing.lost(link):
                self.doubt(line.channel)
            return
        server.outbox.flush()
        self._past.put(link)
        self._resume(iter(self._hearing.of(link)))

    def _resume(self, lines: Iterator[HeardChannel]) -> None:
        """Find out what was missed of channels, some at once."""
        for line in islice(lines, _AT_ONCE):
            if not line.link.up:
                return  # when it is there again, all of them have their turn
            if self._keeps(line):
                self._past.look(line)
            elif line.was_heard:
                self._tell_gap(line.channel)
            line.was_heard = False
        for line in lines:
            self._reactor.callLater(0, self._resume, chain((line,), lines))
            break

    def _tell_gap(self, channel: str) -> None:
        """Say that something may have been missed, where no history has it."""
        for member in self.local_members(channel):
            member.tell_gap(channel)
