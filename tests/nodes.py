"""A broker in memory, as far as nodes of a cluster need one, and nodes that meet there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from wsservice.broker.naming import Names
from wsservice.cluster import Cluster
from wsservice.cluster import registry as registry_module
from wsservice.cluster.home import LocalHome
from wsservice.directory.people import LocalPeople
from wsservice.directory.tracing import Traces
from wsservice.errors import Away, Refused
from wsservice.server.behaviours import EchoServerProtocol

from .support import Client, Served

LONGEST = 1000
"""Octets of a message to a connection of another node."""


class Broker:
    """Keys that expire, and who has subscribed to what."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.index: set[bytes] = set()
        self.keys: dict[bytes, tuple[bytes, float]] = {}
        self.heard: dict[bytes, Callable[[bytes], None]] = {}
        self.published: list[tuple[bytes, bytes]] = []
        self.calls: list[str] = []
        self.is_full = False
        self.rows: list[Any] | None = None

    def alive(self, key: bytes) -> bool:
        return key in self.keys and self.keys[key][1] > self.clock.seconds()

    def say(self, index: bytes, key: bytes, node: str, said: str, expires: int) -> int:
        if self.is_full and not self.alive(key):
            raise Refused("OOM command not allowed", "OOM")
        kept = self.keys[key][0] if self.is_full else said.encode()
        self.keys[key] = (kept, self.clock.seconds() + expires / 1000)
        self.index.add(node.encode())
        return sum(self.alive(index + b":" + each) for each in self.index)

    def read(self, index: bytes) -> list[Any]:
        self.index = {each for each in self.index if self.alive(index + b":" + each)}
        rows = []
        for node in sorted(self.index):
            said, until = self.keys[index + b":" + node]
            rows.append([node, said, int((until - self.clock.seconds()) * 1000)])
        return rows


class Link:
    """One node's link to the broker. Calls fail as `Away` while it is not `up`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.up = True
        self.problem: str | None = None
        self.version = "Redis 7.0.15"
        self.watchers: list[Callable[[Any], None]] = []
        self.is_silent = False

    def __str__(self) -> str:
        return "redis://broker.example:6379"

    def cut(self) -> None:
        self.up, self.problem = False, "connection refused"
        for each in tuple(self.watchers):
            each(self)

    def mend(self) -> None:
        self.up, self.problem = True, None
        for each in tuple(self.watchers):
            each(self)

    def _do(self, name: str, act: Callable[[], Any]) -> Deferred[Any]:
        self._broker.calls.append(name)
        if not self.up:
            return fail(Away(self.problem or ""))
        if self.is_silent:
            return Deferred()
        try:
            return succeed(act())
        except Refused as error:
            return fail(error)

    def call(self, *words: Any) -> Deferred[Any]:
        def act() -> int:
            if words[0] == "DEL":
                self._broker.keys.pop(words[1], None)
            else:
                assert words[0] == "ZREM"
                self._broker.index.discard(words[2].encode())
            return 1

        return self._do(str(words[0]), act)

    def script(self, script: Any, keys: Any, arguments: Any) -> Deferred[Any]:
        broker = self._broker
        if script is registry_module._SAY:
            return self._do("say", lambda: broker.say(*keys, *arguments[:3]))
        assert script is registry_module._READ
        if broker.rows is not None:
            return self._do("read", lambda: broker.rows)
        return self._do("read", lambda: broker.read(*keys))

    def publish(self, name: bytes, payload: bytes) -> Deferred[int]:
        def act() -> int:
            self._broker.published.append((name, payload))
            heard = self._broker.heard.get(name)
            if heard is None:
                return 0
            self._broker.clock.callLater(0, heard, payload)
            return 1

        return self._do("publish", act)

    def subscribe(self, name: bytes, heard: Callable[[bytes], None]) -> Deferred[None]:
        self._broker.heard[name] = heard
        return succeed(None)

    def unsubscribe(self, name: bytes) -> None:
        self._broker.heard.pop(name, None)


class Engine:
    """One node's links, of which it has one."""

    def __init__(self, broker: Broker, node: str) -> None:
        self.broker = broker
        self.node = node
        self.names = Names("wsservice")
        self.link = Link(broker)
        self.links = (self.link,)

        self.did: list[str] = []
        self.figures: dict[str, Any] = {}
        self.states: dict[str, Any] = {}
        self.service = node

    def of(self, _channel: str) -> Link:
        return self.link

    def start(self) -> None:
        self.did.append("start")

    def stop(self) -> Deferred[None]:
        self.did.append("stop")
        return succeed(None)

    def check(self) -> str | None:
        return self.link.problem

    def prepare(self, _config: Any) -> Callable[[], None]:
        return lambda: None


class Node:
    """A server in memory, among others."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.broker = broker
        self.served = Served(EchoServerProtocol)
        self.engine = Engine(broker, name)
        self.reasons: list[str] = []
        hub: Any = self.served.hub
        self.people = LocalPeople(lambda: hub, hub, Traces(broker.clock))
        self.home = LocalHome(self.people, hub, lambda: self.reasons, broker.clock)
        self.cluster = Cluster(self.engine, self.home, LONGEST, broker.clock)

    @property
    def link(self) -> Link:
        return self.engine.link

    def connect(self, *paths: str) -> list[Client]:
        """Connections to it, one for each path."""
        return [self.served.connect().open(path) for path in paths]

    def start(self) -> Node:
        self.cluster.start()
        return self

    def result(self, coroutine: Any, seconds: float = 0.1) -> Any:
        """Return the result of a coroutine, within `seconds` of the broker's clock."""
        done: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(done.append)
        for _ in range(10):
            if done:
                break
            self.broker.clock.advance(seconds / 10)
        assert done, "it is not done"
        return done[0]


def cluster(*names: str) -> list[Node]:
    """Nodes that know of each other."""
    broker = Broker()
    return [Node(broker, each).start() for each in names]
