"""Run this node among the nodes of a service."""

from __future__ import annotations

import os
import platform
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from .. import __version__
from ..broker.naming import Names
from ..channels.presence import PresenceQuestions
from ..clock import monotonic_of, wall_of
from ..config.config import Config
from ..directory.outcomes import UnansweredError
from ..errors import BrokerError
from ..log.lines import rfc3339
from ..log.peer import PeerLogger
from . import registry
from .answering import Answering
from .asking import Asking, Unheard
from .checking import MalformedError
from .facts import Broker, Facts, within
from .home import Home
from .people import ClusterPeople
from .questions import MOST_OF_ANSWER, Asked, AskFacts, answered, not_understood, read
from .registry import RegisteredNode, Registry

_MOST_AT_ONCE = 64
"""The most questions of other nodes that are answered at once; more get no answer."""

_PRESENCE_AT_ONCE = 16
"""The most questions about a channel's presence that this node asks the others at once.

It is less than `_MOST_AT_ONCE`, because other nodes ask at the same time.
"""

_ENVELOPE = 64 * 1024
"""Octets that a message may have in addition to its payload."""

_LAST_WORDS = 1.0
"""Seconds that this node has, when it stops, to tell the others."""

_QUIET = 60.0
"""The least seconds between two log lines about malformed messages."""

SAID, FAILED = "said", "failed"
ANSWERED, NOT_UNDERSTOOD, TOO_MANY = "answered", "not understood", "too many"

_log = PeerLogger(namespace="wsservice")


class ClusterLink(registry.RegistryLink, Protocol):
    """A connection to the broker, as a node of a cluster needs it."""

    problem: str | None
    version: str
    watchers: list[Callable[[Any], None]]

    def publish(self, name: bytes, payload: bytes) -> Deferred[int]:
        """Publish a message. Fires with the number of receivers."""

    def subscribe(self, name: bytes, heard: Callable[[bytes], None]) -> Deferred[None]:
        """Call `heard` with each message that is published on a name."""

    def unsubscribe(self, name: bytes) -> None:
        """Stop hearing a name."""


class BrokerLinks(Protocol):
    """All links to brokers, as a node of a cluster needs them."""

    node: str
    names: Names

    @property
    def links(self) -> Sequence[ClusterLink]:
        """All links."""

    def of(self, channel: str) -> ClusterLink:
        """Return the link to the server that has a channel."""


class Cluster:
    """The nodes that meet at `engine`; this one is `home`.

    `longest` is the most octets of a message to a connection of another node.
    """

    def __init__(self, engine: BrokerLinks, home: Home, longest: int, reactor: Any) -> None:
        self.node = engine.node
        self._engine = engine
        self._home = home
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._link = engine.of(registry.HOME)
        # base64 makes four octets of three.
        self._most = max(MOST_OF_ANSWER, longest // 3 * 4) + _ENVELOPE
        self._answering = Answering(home.people, self._own_facts)
        self._asking = Asking(self.node, self._say, self._answering.answer, reactor)
        self._registry = Registry(self._link, engine.names, self.node, reactor)
        self.people = ClusterPeople(home.people, self._registry, self._asking, longest)
        #: Asks all nodes for the presence of a channel.
        self.presence = PresenceQuestions(self.people.presence, _PRESENCE_AT_ONCE, reactor)
        self._running = False
        self._began = ""
        self._beat = LoopingCall(self._beat_once)
        self._beat.clock = reactor
        self._beating = False
        self._failing: str | None = None
        self._under_way = 0
        self._quiet_until = 0.0
        self._malformed = 0
        self.beats = Counter({SAID: 0, FAILED: 0})
        self.answers = Counter({ANSWERED: 0, NOT_UNDERSTOOD: 0, TOO_MANY: 0, FAILED: 0})

    # The attributes of `CountedCluster`

    @property
    def count(self) -> int:
        return self._registry.count

    @property
    def questions(self) -> Mapping[str, int]:
        return self._asking.outcomes

    @property
    def malformed(self) -> int:
        return self._malformed + self._registry.malformed

    # Begin and end

    def start(self) -> None:
        """Register this node, and answer other nodes. Idempotent."""
        if self._running:
            return
        self._running = True
        self._began = rfc3339(wall_of(self._reactor)())
        self._home.start()
        self._link.subscribe(self._channel(self.node), self._heard).addErrback(self._deaf)
        self._link.watchers.append(self._link_changed)
        # A beat without a link to the broker would only fail.
        self._beat.start(registry.BEAT, now=self._link.up)
        _log.info("this is node {node}", node=self.node)

    def stop(self) -> Deferred[None]:
        """Remove this node from the registry. Fires when that is done, or after a second."""
        if not self._running:
            return succeed(None)
        self._running = False
        self._beat.stop()
        self._link.watchers.remove(self._link_changed)
        self._link.unsubscribe(self._channel(self.node))
        self._asking.end()
        self._home.stop()
        leaving = self._registry.leave()
        return leaving.addTimeout(_LAST_WORDS, self._reactor).addErrback(lambda _: None)

    # The facts of this node

    async def _own_facts(self) -> Facts:
        doing = await self._home.doing()
        brokers = (
            Broker(str(each), each.up, each.version, each.problem) for each in self._engine.links
        )
        facts = Facts(
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            python=platform.python_version(),
            started=self._began,
            workers=doing.workers,
            connections=doing.connections,
            lag=round(doing.lag, 6),
            reasons=tuple(self._home.reasons()),
            brokers=tuple(brokers),
        )
        return within(facts)

    def _link_changed(self, link: ClusterLink) -> None:
        if link.up:
            self._beat_once()

    def _beat_once(self) -> None:
        if self._beating:
            return
        self._beating = True
        Deferred.fromCoroutine(self._say_that_it_is_there()).addErrback(self._not_said)

    def _not_said(self, failure: Failure) -> None:
        self.beats[FAILED] += 1
        # An error that nobody foresaw. The next beat is tried all the same, and does not log it
        # again.
        if self._failing is None:
            _log.failure("cannot register this node", failure)
            self._failing = failure.getErrorMessage()

    async def _say_that_it_is_there(self) -> None:
        try:
            await self._registry.say(await self._own_facts())
        except BrokerError as error:
            self.beats[FAILED] += 1
            # The link itself logs that the broker is down.
            if self._link.up and self._failing is None:
                _log.warn("others cannot see this node: {why}", why=str(error))
                self._failing = str(error)
        else:
            self.beats[SAID] += 1
            if self._failing is not None:
                _log.info("others see this node again")
                self._failing = None
        finally:
            self._beating = False

    # Messages by way of the broker

    def _channel(self, node: str) -> bytes:
        return self._engine.names.of("node", node)

    def _say(self, node: str, message: bytes) -> Deferred[int]:
        return self._link.publish(self._channel(node), message)

    def _deaf(self, failure: Failure) -> None:
        if self._running:
            _log.error("others cannot ask this node: {why}", why=failure.getErrorMessage())

    def _heard(self, octets: bytes) -> None:
        try:
            message = read(octets, self._most)
            if isinstance(message, Asked):
                self._asked(message)
            else:
                self._asking.heard(message)
        except MalformedError as error:
            self._malformed += 1
            if self._monotonic() >= self._quiet_until:
                self._quiet_until = self._monotonic() + _QUIET
                _log.warn(
                    "a message of another node is malformed, {why}; {count} so far",
                    why=str(error),
                    count=self._malformed,
                )

    def _asked(self, asked: Asked) -> None:
        if asked.question is None:
            self.answers[NOT_UNDERSTOOD] += 1
            self._reply(asked, not_understood(self.node, asked.id, asked.wrong))
        elif self._under_way >= _MOST_AT_ONCE:
            self.answers[TOO_MANY] += 1
        else:
            self._under_way += 1
            Deferred.fromCoroutine(self._answer(asked)).addErrback(self._not_answered)

    async def _answer(self, asked: Asked) -> None:
        assert asked.question is not None  # noqa: S101 - else there is nothing to answer
        try:
            said = await self._answering.answer(asked.question)
        except UnansweredError:
            # A worker here is late. The other node takes silence as "unknown", which is true.
            self.answers[FAILED] += 1
            return
        finally:
            self._under_way -= 1
        self.answers[ANSWERED] += 1
        self._reply(asked, answered(self.node, asked.id, said))

    def _not_answered(self, failure: Failure) -> None:
        self.answers[FAILED] += 1
        _log.failure("cannot answer another node", failure)

    def _reply(self, asked: Asked, message: bytes) -> None:
        # A node that does not get the answer waits no longer than for a node that is gone.
        self._say(asked.sender, message).addErrback(lambda _: None)

    # All nodes

    async def facts(self) -> dict[str, Any]:
        """Return the facts of all nodes, as the JSON of /cluster. Raises nothing."""
        known = await self._registry.known()
        own = RegisteredNode(None, 0.0)
        entries = {**known.others, self.node: own}
        looks = [self._look(node, entries[node], known.problem) for node in sorted(entries)]
        nodes = await gatherResults(map(Deferred.fromCoroutine, looks))
        return {
            "node": self.node,
            "connections": sum(each["connections"] or 0 for each in nodes if each["up"]),
            "nodes": nodes,
            "missing": [each["node"] for each in nodes if not each["up"]],
            "problem": known.problem,
        }

    async def _look(self, node: str, entry: RegisteredNode, problem: str | None) -> dict[str, Any]:
        """Return a node's facts of now, or the last known ones if it does not answer."""
        began = self._monotonic()
        answer: Facts | Unheard = Unheard.NOBODY
        if node == self.node or problem is None:
            answer = (await self._asking.ask({node: AskFacts()}))[node]
        up = isinstance(answer, Facts)
        facts = answer if isinstance(answer, Facts) else entry.facts
        took = self._monotonic() - began
        said = dict.fromkeys(_MEMBERS) if facts is None else facts.as_json()
        return {
            "node": node,
            "up": up,
            "seen": None if node == self.node else round(entry.seen, 3),
            "rtt": round(took, 6) if up and node != self.node else None,
            **said,
        }


def open_cluster(config: Config, reactor: Any, engine: BrokerLinks, home: Home) -> Cluster:
    """Return the cluster of the nodes that meet at `engine`."""
    return Cluster(engine, home, config.most_to_publish, reactor)


_MEMBERS = tuple(each.name for each in attrs.fields(Facts))
