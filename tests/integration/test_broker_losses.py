"""Nodes at a real redis-server that forgets, is spoiled, or whose answers get lost."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted  # type: ignore[import-untyped]
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from wsservice.auth.contract import User
from wsservice.broker import scripts
from wsservice.broker.engine import Engine
from wsservice.broker.hub import BrokerHub
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Position
from wsservice.config.config import Config
from wsservice.errors import NotPublishedError, UncertainError

from .processes import wait_until
from .redis import Redis, Redises
from .test_broker import until
from .test_tcp import in_the_reactor

REACTOR: Any = reactor


class Reader:
    """A connection that speaks the subprotocol, without a socket."""

    user: User | None = None

    def __init__(self, hub: BrokerHub, channel: str = "a") -> None:
        self.hub = hub
        self.channel = channel
        self.channels: tuple[str, ...] = (channel,)
        self.got: list[bytes] = []
        self.gaps = 0
        self.place: Position | None = None
        self.is_behind = False

    def come(self, since: Position | None = None) -> Reader:
        self.hub.arrive(self)
        self.hub.join(self, behind=True)
        self._fetch(since)
        return self

    def go(self) -> None:
        self.hub.leave(self)

    def sendPreparedMessage(self, preparedMsg: Any) -> bool:
        self.got.append(preparedMsg.payload)
        self.place = preparedMsg.message.position
        return True

    def fall_behind(self, channel: str, since: Position) -> None:
        self._fetch(since)

    def tell_gap(self, channel: str) -> None:
        self.gaps += 1

    def go_away(self) -> None:
        raise AssertionError("nobody asked")

    def _fetch(self, since: Position | None) -> None:
        self.is_behind = True
        fetching = ensureDeferred(self._catch_up(since))
        fetching.addErrback(lambda failure: failure.printTraceback())

    async def _catch_up(self, since: Position | None) -> None:
        if since is None:
            since = await self.hub.position(self.channel)
        self.place = since
        while True:
            missed = await self.hub.missed(self.channel, self.place)
            self.place = missed.position
            if missed.gap:
                self.gaps += 1
            elif missed.entries:
                self.got += [entry.payload for entry in missed.entries]
            else:
                self.is_behind = False
                self.hub.catch_up(self, self.channel, missed.position)
                return


class Relay(Protocol):
    """Passes on what a node says to the server, and what that answers, while it is to."""

    transport: Any

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.early: list[bytes] | None = []
        self.server: Any = None

    def connectionMade(self) -> None:
        self.gate.relays.append(self)
        there = TCP4ClientEndpoint(REACTOR, "127.0.0.1", self.gate.port)
        connectProtocol(there, Back(self)).addErrback(lambda _: self.transport.abortConnection())

    def dataReceived(self, data: bytes) -> None:
        if self.early is not None:
            self.early.append(data)
        else:
            self.server.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        if self.server is not None:
            self.server.transport.abortConnection()


class Back(Protocol):
    """The other side of a relay."""

    transport: Any

    def __init__(self, relay: Relay) -> None:
        self.relay = relay

    def connectionMade(self) -> None:
        self.relay.server = self
        early, self.relay.early = self.relay.early, None
        for data in early or ():
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        if self.relay.gate.swallows:
            self.relay.gate.swallowed += len(data)
        else:
            self.relay.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.relay.transport.abortConnection()


class Gate(Factory):
    """The way to a server, which may lose what comes back on it."""

    noisy = False

    def __init__(self, port: int) -> None:
        self.port = port
        self.relays: list[Relay] = []
        self.swallows = False
        self.swallowed = 0
        self.listening: Any = None

    def buildProtocol(self, addr: object) -> Relay:
        return Relay(self)

    async def open(self) -> Gate:
        endpoint = TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1")
        self.listening = await endpoint.listen(self)
        return self

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.listening.getHost().port}"

    def cut(self) -> None:
        relays, self.relays = self.relays, []
        for relay in relays:
            relay.transport.abortConnection()


class Nodes:
    """Nodes that are ended with the test."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], Any]] = []
        self._count = 0

    async def make(self, url: str, history: str = "10000,300", **settings: Any) -> BrokerHub:
        self._count += 1
        config = Config(broker=(url,), history=history, **settings)
        engine = Engine(config, reactor, f"n{self._count}")
        hub = BrokerHub(config, engine, reactor)
        engine.start()
        self._ends += [hub.close, engine.stop]
        await until(lambda: engine.links[0].up, "the node to be connected")
        return hub

    async def gate(self, redis: Redis) -> Gate:
        gate = await Gate(redis.port).open()
        self._ends += [gate.listening.stopListening, gate.cut]
        return gate

    async def end(self) -> None:
        await gatherResults([maybeDeferred(end) for end in self._ends])


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def nodes() -> AsyncIterator[Nodes]:
    nodes = Nodes()
    yield nodes
    await nodes.end()


@pytest.fixture
def redis(redises: Redises) -> Redis:
    return redises.start()


async def outcome(hub: BrokerHub, payload: bytes, channel: str = "a") -> Any:
    """Publish a message, and return the outcome."""
    try:
        return await hub.deliver(ChannelMessage(channel, payload))
    except (NotPublishedError, UncertainError) as error:
        return type(error)


@in_the_reactor
async def test_no_epoch_comes_again(nodes: Nodes, redis: Redis) -> None:
    hub = await nodes.make(redis.url)
    reader = Reader(hub).come()
    epochs: set[str] = set()
    for life in range(4):
        for number in range(5 + life):
            await outcome(hub, b"%d %d" % (life, number))
        last = b"%d %d" % (life, 4 + life)
        await until(lambda last=last: reader.got[-1:] == [last], "the last")  # type: ignore[misc]
        place = reader.place
        assert place is not None
        assert place.epoch not in epochs
        epochs.add(place.epoch)
        redis.ask("FLUSHALL")
        # A reader that comes back from before misses what came since, and is told so.
        for number in range(8):
            await outcome(hub, b"between %d" % number)
        late = Reader(hub).come(place)
        await until(lambda late=late: not late.is_behind, "the late one to catch up")  # type: ignore[misc]
        assert (late.gaps, late.got) == (1, [])
        late.go()
        redis.ask("FLUSHALL")


@in_the_reactor
async def test_one_that_finds_no_script_is_not_overtaken(nodes: Nodes, redis: Redis) -> None:
    hub = await nodes.make(redis.url)
    reader = Reader(hub).come()
    await outcome(hub, b"0")
    redis.ask("SCRIPT", "FLUSH")
    first = ensureDeferred(outcome(hub, b"1"))
    await deferLater(REACTOR, 0)
    # Meanwhile nothing is read here.
    wait_until(lambda: b"NOSCRIPT" in redis.ask("INFO", "errorstats"), "it to find none")
    redis.ask("SCRIPT", "LOAD", scripts.APPEND)
    others = [ensureDeferred(outcome(hub, b"%d" % number)) for number in (2, 3)]
    became = await gatherResults([first, *others])
    assert [each.handed for each in became] == [1, 1, 1]
    assert reader.got == [b"0", b"1", b"2", b"3"]
    assert hub.figures["published"] == 4


@in_the_reactor
async def test_scripts_that_are_thrown_out_lose_nothing_and_keep_the_order(
    nodes: Nodes, redis: Redis
) -> None:
    hubs = [await nodes.make(redis.url) for _ in range(3)]
    reader = Reader(hubs[2]).come()
    await until(lambda: not reader.is_behind, "the reader to be there")
    count, each = 60, 40
    outcomes: list[Deferred[Any]] = []
    for number in range(count):
        for at, hub in enumerate(hubs[:2]):
            for one in range(each):
                payload = b"%d %d" % (at, number * each + one)
                outcomes.append(ensureDeferred(outcome(hub, payload)))
        if number % 2:
            # In the midst of what is under way.
            await deferLater(REACTOR, 0)
        redis.ask("SCRIPT", "FLUSH")
        if number % 8 == 0:
            await gatherResults(outcomes[-each:])
    became = await gatherResults(outcomes)
    assert {type(each).__name__ for each in became} == {"Published"}
    await until(lambda: len(reader.got) >= 2 * count * each, "all to be heard")
    for at in range(2):
        own = [int(each.split()[1]) for each in reader.got if each.startswith(b"%d " % at)]
        assert own == list(range(count * each))
    assert reader.gaps == 0
    assert not any(hub.figures["refused"] or hub.figures["uncertain"] for hub in hubs)


@pytest.mark.parametrize("forgets", [False, True])
@in_the_reactor
async def test_one_whose_answer_was_lost_is_heard_once(
    nodes: Nodes, redis: Redis, forgets: bool
) -> None:
    gate = await nodes.gate(redis)
    far, near = await nodes.make(gate.url), await nodes.make(redis.url)
    readers = [Reader(hub).come() for hub in (far, near)]
    await until(lambda: not any(each.is_behind for each in readers), "the readers to be there")
    await outcome(far, b"before")
    await until(lambda: all(each.got == [b"before"] for each in readers), "the first")
    gate.swallows = True
    asked = ensureDeferred(outcome(far, b"in doubt"))
    await until(lambda: readers[1].got[-1:] == [b"in doubt"], "it to be published")
    if forgets:
        redis.ask("FLUSHALL")
    gate.swallows = False
    gate.cut()
    became = await asked
    if forgets:
        # Nobody knows any more.
        assert became is UncertainError
        await outcome(near, b"first of all")
    else:
        assert became.handed == 0 or became.is_here
    await until(lambda: far.servers[0].link.up, "the node to be there again")
    await outcome(far, b"after")
    await until(lambda: all(each.got[-1:] == [b"after"] for each in readers), "the last")
    for each in readers:
        assert len(each.got) == len(set(each.got))
    if forgets:
        assert readers[1].got == [b"before", b"in doubt", b"first of all", b"after"]
        # It was away, so that it cannot know.
        assert readers[0].gaps == 1
    else:
        assert readers[0].got == readers[1].got == [b"before", b"in doubt", b"after"]
        assert [each.gaps for each in readers] == [0, 0]


@in_the_reactor
async def test_what_was_published_and_lost_is_a_gap_on_every_channel(
    nodes: Nodes, redis: Redis
) -> None:
    hub, other = await nodes.make(redis.url), await nodes.make(redis.url)
    reader = Reader(hub, "quiet").come()
    await until(lambda: not reader.is_behind, "the reader to be there")
    await outcome(other, b"1", "quiet")
    await until(lambda: reader.got == [b"1"], "the first")
    place = reader.place
    reader.go()
    behind = redis.dump()
    # Nobody is there who could find out by the last message.
    await outcome(other, b"lost", "quiet")
    redis.restore(behind)
    await outcome(other, b"2", "busy")
    for number in range(3):
        await outcome(other, b"%d" % number, "quiet")
    late = Reader(hub, "quiet").come(place)
    await until(lambda: not late.is_behind, "the late one to catch up")
    assert (late.gaps, late.got) == (1, [])
    assert other.figures["poisoned"] == 1


STREAM = "wsservice:stream:{a}"
SPOILED = [
    *(b"", b"x", b"-1", b"0", b"1", b"3", b"17", b"9" * 15, b"9" * 16, b"9" * 200, b"1e300"),
    *(b"nan", b"inf", b"0x10", b" 5", b"5\n", b"5 5 5", b"\x00", b"\xff" * 200, b"a" * 200),
    *(b"1 1 1 1 1", b"1 5 1 1700000000000 2000", b"1 5 1 1700000000000 2000 x 3", b"1 x 3"),
]


def spoil(redis: Redis, chance: random.Random) -> str:
    """Have something of ours be something else; what was done."""
    words: list[str | bytes | int]
    value = chance.choice(SPOILED)
    kind = chance.randrange(8)
    seen = f"wsservice:seen:{{n{chance.choice((1, 2))}}}"
    if kind < 3:
        field = chance.choice(["id", "count", "forgotten", "octets", "sum", STREAM])
        before = redis.ask("HGET", "wsservice:places", field) or b""
        if chance.random() < 0.4 and before:
            # Some octet of it, or one number of several.
            at = chance.randrange(len(before))
            value = before[:at] + chance.choice([b"9", b"0", b"\n", b"", b" "]) + before[at + 1 :]
        words = ["HSET", "wsservice:places", field, value]
    elif kind == 3:
        words = ["SET", seen, value]
    elif kind == 4:
        words = ["HDEL", "wsservice:places", chance.choice(["id", "count", "octets", STREAM])]
    elif kind == 5:
        keys = ["wsservice:places", "wsservice:ages", STREAM, seen]
        words = ["DEL", chance.choice(keys)]
    elif kind == 6:
        name = chance.choice(["9999-1", "*", "9007199254740993-5"])
        words = ["XADD", STREAM, name, chance.choice(["1", "x"]), value]
    else:
        key = chance.choice([seen, STREAM, "wsservice:ages"])
        redis.ask("DEL", key)
        words = chance.choice([["RPUSH", key, value], ["SADD", key, value], ["SET", key, value]])
    answer = redis.ask(*words)
    return f"{words} {answer}"


@pytest.mark.parametrize("seed", range(3))
@in_the_reactor
async def test_whatever_is_spoiled_a_message_reaches_all_or_is_refused(
    nodes: Nodes, redis: Redis, seed: int
) -> None:
    chance = random.Random(seed)
    hubs = [await nodes.make(redis.url) for _ in range(2)]
    readers = [Reader(hub).come() for hub in hubs]
    await until(lambda: not any(each.is_behind for each in readers), "the readers to be there")
    sent: list[bytes] = []
    for number in range(120):
        place, there = readers[0].place, len(sent)
        done = spoil(redis, chance) if number else ""
        for one in range(chance.randint(1, 4)):
            hub = chance.choice(hubs)
            payload = b"%d %d" % (number, one)
            became = await outcome(hub, payload)
            if isinstance(became, type):
                # Nothing is published if the key is of another type, and the problem says so.
                assert became is NotPublishedError, done
                problem = str(hub.servers[0].outbox.problem)
                assert "WRONGTYPE" in problem, (done, problem)
                redis.ask("DEL", "wsservice:ages")
            else:
                sent.append(payload)
                last = payload
                for reader in readers:
                    await until(
                        lambda reader=reader, last=last: last in reader.got[-5:],  # type: ignore[misc]
                        f"{payload!r} after {done}",
                    )
        late = Reader(hubs[0]).come(place)
        await until(lambda late=late: not late.is_behind, done)  # type: ignore[misc]
        assert late.gaps or late.got == sent[there:], done
        late.go()
    for reader in readers:
        assert reader.got == sent
    assert sum(hub.figures["poisoned"] for hub in hubs) > 0
    assert all(hub.check() is None for hub in hubs)
