"""A node among others: put together, started, stopped."""

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
from ..admin import Face
from ..admin.face import most_to_publish
from ..broker.names import Names
from ..config import Config
from ..errors import BrokerError
from ..lines import rfc3339
from ..log import PeerLogger
from . import registry
from .answering import Answering
from .asking import Asking, Unheard
from .checking import MalformedError
from .facts import Broker, Facts, within
from .figures import ClusterFigures
from .home import Home
from .people import ClusterPeople
from .questions import MOST_OF_ANSWER, Asked, AskFacts, answered, not_understood, read
from .registry import Entry, Registry

_MOST_AT_ONCE = 64
"""Questions of others that are being answered at once; others are not."""

_ENVELOPE = 64 * 1024
"""Octets that a message has at most besides what it brings."""

_LAST_WORDS = 1.0
"""Seconds in which the others are told at the end."""

_QUIET = 60.0
"""Seconds from one line of the log about messages that make no sense to the next."""

SAID, FAILED = "said", "failed"
ANSWERED, NOT_UNDERSTOOD, TOO_MANY = "answered", "not understood", "too many"

_log = PeerLogger(namespace="wsservice")


class Link(registry.Link, Protocol):
    """What is needed of a link to the broker."""

    problem: str | None
    version: str
    watchers: list[Callable[[Any], None]]

    def publish(self, name: bytes, payload: bytes) -> Deferred[int]:
        """Publish, and tell how many heard it."""

    def subscribe(self, name: bytes, heard: Callable[[bytes], None]) -> Deferred[None]:
        """Hear what is published."""

    def unsubscribe(self, name: bytes) -> None:
        """Hear it no more."""


class Engine(Protocol):
    """What is needed of all links."""

    node: str
    names: Names

    @property
    def links(self) -> Sequence[Link]:
        """All of them."""

    def of(self, channel: str) -> Link:
        """The one that has a channel."""


class Cluster:
    """The nodes that meet at `engine`, this one, which is `home`, among them.

    A message to a connection of another node may have `longest` octets.
    """

    def __init__(self, engine: Engine, home: Home, longest: int, reactor: Any) -> None:
        self.node = engine.node
        self._engine = engine
        self._home = home
        self._reactor = reactor
        self._link = engine.of(registry.HOME)
        # A message is in base64.
        self._most = max(MOST_OF_ANSWER, longest // 3 * 4) + _ENVELOPE
        self._answering = Answering(home.people, self._own_facts)
        self._asking = Asking(self.node, self._say, self._answering.answer, reactor)
        self._registry = Registry(self._link, engine.names, self.node, reactor)
        self.people = ClusterPeople(home.people, self._registry, self._asking, longest)
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

    # As `figures.Counted` has it

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
        """Say that this node is there, and answer the others. Once is enough."""
        if self._running:
            return
        self._running = True
        self._began = rfc3339(self._reactor.seconds())
        self._home.start()
        self._link.subscribe(self._channel(self.node), self._heard).addErrback(self._deaf)
        self._link.watchers.append(self._link_changed)
        # Before there is a broker, there is nobody to be told.
        self._beat.start(registry.BEAT, now=self._link.up)
        _log.info("this is node {node}", node=self.node)

    def stop(self) -> Deferred[None]:
        """Say that it is not there any more. Fires when that is said, or a second later."""
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

    # What this node is

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

    def _link_changed(self, link: Link) -> None:
        if link.up:
            self._beat_once()

    def _beat_once(self) -> None:
        if self._beating:
            return
        self._beating = True
        beat = Deferred.fromCoroutine(self._say_that_it_is_there())
        beat.addErrback(lambda failure: _log.failure("cannot say that this node is there", failure))

    async def _say_that_it_is_there(self) -> None:
        try:
            await self._registry.say(await self._own_facts())
        except BrokerError as error:
            self.beats[FAILED] += 1
            # That it is away, it says itself.
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

    # What comes and goes by the broker

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
            if self._reactor.seconds() >= self._quiet_until:
                self._quiet_until = self._reactor.seconds() + _QUIET
                _log.warn(
                    "what came from another node makes no sense, {why}; {count} so far",
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
        finally:
            self._under_way -= 1
        self.answers[ANSWERED] += 1
        self._reply(asked, answered(self.node, asked.id, said))

    def _not_answered(self, failure: Failure) -> None:
        self.answers[FAILED] += 1
        _log.failure("cannot answer another node", failure)

    def _reply(self, asked: Asked, message: bytes) -> None:
        # Who does not hear it, waits no longer than for one that is gone.
        self._say(asked.sender, message).addErrback(lambda _: None)

    # All nodes

    async def facts(self) -> dict[str, Any]:
        """What each node is and does, as the JSON of /cluster has it; raises nothing."""
        known = await self._registry.known()
        own = Entry(None, 0.0)
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

    async def _look(self, node: str, entry: Entry, problem: str | None) -> dict[str, Any]:
        """What a node says of itself now, or said when it was last heard of."""
        began = self._reactor.seconds()
        answer: Facts | Unheard = Unheard.NOBODY
        if node == self.node or problem is None:
            answer = (await self._asking.ask({node: AskFacts()}))[node]
        up = isinstance(answer, Facts)
        facts = answer if isinstance(answer, Facts) else entry.facts
        took = self._reactor.seconds() - began
        said = dict.fromkeys(_MEMBERS) if facts is None else facts.as_json()
        return {
            "node": node,
            "up": up,
            "seen": None if node == self.node else round(entry.seen, 3),
            "rtt": round(took, 6) if up and node != self.node else None,
            **said,
        }


def open_cluster(
    config: Config, reactor: Any, engine: Engine, home: Home, face: Face | None
) -> Cluster:
    """The nodes that meet at `engine`, shown by the admin `face`, if there is one."""
    cluster = Cluster(engine, home, most_to_publish(config), reactor)
    if face is not None:
        face.join(cluster)
        face.figures.registry.register(ClusterFigures(cluster))
    return cluster


_MEMBERS = tuple(each.name for each in attrs.fields(Facts))
