from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from wsservice.auth.contract import User
from wsservice.channels.history import PAGE, History, Missed
from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.channels.query import Position
from wsservice.errors import NotPublishedError
from wsservice.server.behaviours import ServerProtocol
from wsservice.workers.child import kept as module
from wsservice.workers.child.kept import KeptHub, ParentHistory
from wsservice.workers.parent.history import Keeping
from wsservice.workers.wire.coding import BusMessage
from wsservice.workers.wire.messages import MissedPage, Publication, publication
from wsservice.workers.wire.orders import DeliveryLost, from_parent
from wsservice.workers.wire.reports import AskHistory, ChannelsChanged, from_worker

from ....examples import examples
from ....support import TEXT, Client, Logged, Served
from ...channels.test_resuming import OFFER


class Bus:
    """A bus that keeps what is said on it."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.room = True

    def say(self, message: BusMessage) -> None:
        self.said.append(message)

    def publish(self, body: bytes) -> bool:
        if self.room:
            self.said.append(publication(body))
        return self.room


def asked(bus: Bus) -> list[Any]:
    """The questions since the last time: request, channel, since."""
    questions = [attrs.astuple(each)[:3] for each in bus.said if isinstance(each, AskHistory)]
    bus.said.clear()
    return questions


class TestQuestions:
    def made(self) -> tuple[Any, Bus, Clock]:
        bus, clock = Bus(), Clock()
        questions: Any = ParentHistory(bus, clock)  # type: ignore[arg-type]
        return questions, bus, clock

    def answer(self, questions: Any, request: int, count: int = 0) -> Missed:
        entries: Any = ["an entry"] * count
        missed = Missed(entries, Position(count, "e"))
        questions.answered(MissedPage(request, "a", missed))
        return missed

    def test_one_is_answered(self) -> None:
        questions, bus, _ = self.made()
        outcome: list[Any] = []
        questions.ask("a", Position(3, "e")).addCallback(outcome.append)
        questions.ask("a", None).addCallback(outcome.append)
        assert asked(bus) == [(1, "a", (3, "e")), (2, "a", None)]
        second = self.answer(questions, 2)
        assert outcome == [second]
        first = self.answer(questions, 1)
        assert outcome == [second, first]

    def test_who_asks_the_same_shares_one_answer(self) -> None:
        questions, bus, _ = self.made()
        outcome: list[Any] = []
        for _ in range(3):
            questions.ask("a", Position(3, "e")).addCallback(outcome.append)
        assert len(asked(bus)) == 1
        assert outcome == []
        missed = self.answer(questions, 1)
        assert outcome == [missed] * 3
        questions.ask("a", Position(3, "e"))
        assert asked(bus) == [(2, "a", (3, "e"))]

    def test_few_are_asked_at_once(self) -> None:
        questions, bus, _ = self.made()
        for number in range(10):
            questions.ask(str(number), None)
        assert [each[1] for each in asked(bus)] == list("01234567")
        self.answer(questions, 5)
        assert asked(bus) == [(9, "8", None)]
        questions.ask("9", None)
        self.answer(questions, 1)
        assert asked(bus) == [(10, "9", None)]
        self.answer(questions, 2)
        assert asked(bus) == []

    def test_who_does_not_wait_any_more_is_not_told(self) -> None:
        questions, _, _ = self.made()
        outcome: list[Any] = []
        askers = [questions.ask("a", None).addBoth(outcome.append) for _ in range(3)]
        askers[0].cancel()
        # As one does that has the connection of another closed.
        askers[1].addCallback(lambda _: askers[2].cancel())
        self.answer(questions, 1)
        assert len(outcome) == 3

    def test_a_page_for_many_is_given_to_some_at_a_time(self) -> None:
        questions, _, clock = self.made()
        outcome: list[Any] = []
        askers = [questions.ask("a", None).addBoth(outcome.append) for _ in range(250)]
        self.answer(questions, 1, count=1)
        assert len(outcome) == 100
        askers[240].cancel()
        clock.advance(0)
        assert len(outcome) == 250
        assert clock.getDelayedCalls() == []

    def test_that_nothing_is_missed_all_are_told_at_once(self) -> None:
        questions, _, _ = self.made()
        outcome: list[Any] = []
        for _ in range(250):
            questions.ask("a", None).addBoth(outcome.append)
        self.answer(questions, 1)
        assert len(outcome) == 250


class Service:
    """A worker in memory, its parent, and all that is on its way between the two."""

    def __init__(self, protocol: type[ServerProtocol] = ServerProtocol, size: int = 1000) -> None:
        self.served = Served(protocol)
        self.clock = self.served.clock
        self.hub = KeptHub(self, self.clock)  # type: ignore[arg-type]
        self.served.hub = self.served.factory.hub = self.hub
        self.history = History(size, 0, 10_000_000)
        self.keeping = Keeping(self.history, lambda: 5.0, lambda: 5.0)
        self.bus = self._Down(self)
        self.up: deque[Callable[[], None]] = deque()
        self.down: deque[Callable[[], None]] = deque()
        self.full = False
        self.count = 0

    class _Down:
        """The end of the bus that receives the parent's messages."""

        def __init__(self, service: Service) -> None:
            self._service = service

        def say(self, message: BusMessage) -> None:
            come = from_parent(message.body())
            if isinstance(come, DeliveryLost):
                self._service.down.append(lambda: self._service.hub.lost(come.channel))
            else:
                assert isinstance(come, MissedPage)
                self._service.down.append(lambda: self._service.hub.answered(come))

    # What the worker says

    def say(self, message: BusMessage) -> None:
        come = from_worker(message.body())
        if isinstance(come, AskHistory):
            self.up.append(lambda: self.keeping.asked(self, come))
        else:
            assert isinstance(come, ChannelsChanged)
            self.up.append(lambda: self.keeping.came_and_left(self, come.came, come.left))

    def publish(self, body: bytes) -> bool:
        self.up.append(lambda: self.keep(publication(body)))
        return True

    def keep(self, message: Publication) -> None:
        """The parent gets a message, and has room for it, or not."""
        stamped = self.keeping.stamped(message)
        assert stamped is not None
        if self.full:
            self.keeping.dropped(self, message.channel)
            return
        body = stamped.body()
        self.down.append(lambda: self.hub.receive(publication(body)) and None)

    def say_one(self, channel: str = "a") -> None:
        """Publish the next number, in the parent."""
        self.count += 1
        self.keep(Publication(channel, str(self.count).encode()))

    def settle(self) -> None:
        """Let all arrive."""
        turns = 0
        while turns < 2:  # the second for those that a page is given in slices
            turns = 0 if self.up or self.down else turns + 1
            while self.up:
                self.up.popleft()()
            while self.down:
                self.down.popleft()()
            self.clock.advance(0)

    def plain(self, path: str = "/a") -> Client:
        return self.served.connect().open(path)

    def speak(self, path: str = "/a") -> Client:
        client = self.served.connect()
        head, _, rest = client.ask(path, OFFER).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        client.transport.write(rest)
        return client


def said(client: Client) -> list[dict[str, Any]]:
    return [json.loads(payload) for opcode, payload in client.frames() if opcode == TEXT]


def data(client: Client) -> list[str]:
    return [each["data"] for each in said(client) if "data" in each]


def resumed(place: dict[str, Any]) -> str:
    return f"/a?since={place['offset']}&epoch={place['epoch']}"


@pytest.fixture
def service() -> Service:
    return Service()


class TestPublishing:
    def test_what_is_published_comes_back_with_its_place(self, service: Service) -> None:
        plain, speaking = service.plain(), service.speak()
        service.settle()
        (joined,) = said(speaking)
        assert (joined["joined"], joined["offset"]) == (True, 0)
        assert service.hub.publish("a", b"x") == 2
        assert plain.frames() == []
        assert said(speaking) == []
        service.settle()
        assert plain.frames() == [(TEXT, b"x")]
        (envelope,) = said(speaking)
        epoch = service.history.position("a").epoch
        assert envelope == {"channel": "a", "offset": 1, "epoch": epoch, "data": "x", "time": 5.0}

    def test_how_many_are_there_is_what_it_returns(self, service: Service) -> None:
        assert service.hub.publish("a", b"x") == 0
        service.plain()
        service.speak()
        assert service.hub.publish("a", b"x") == 2

    def test_where_there_is_no_room_it_reaches_nobody(self) -> None:
        bus = Bus()
        hub = KeptHub(bus, Clock())  # type: ignore[arg-type]
        served = Served()
        served.factory.hub = hub
        client = served.connect().open("/a")
        bus.room = False
        assert hub.publish("a", b"x") == 0
        failed: list[Any] = []
        hub.deliver(ChannelMessage("a", b"x")).addErrback(failed.append)
        assert failed[0].check(NotPublishedError)
        assert client.frames() == []

    def test_one_that_no_history_takes_reaches_nobody(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LONGEST_KEPT", 10)
        hub = KeptHub(Bus(), Clock())  # type: ignore[arg-type]
        hub._channels["abc"] = {object(): None}  # type: ignore[dict-item]
        assert hub.publish("abc", b"1234567") == 1
        outcome = hub.deliver(ChannelMessage("abc", b"1234567")).result
        assert outcome == Published(1, 0, complete=False)
        assert hub.publish("abc", b"12345678") == 0

    def test_what_is_no_payload_is_the_publishers_to_know(self, service: Service) -> None:
        with pytest.raises(TypeError, match="a payload is bytes"):
            service.hub.publish("a", "x")  # type: ignore[arg-type]
        assert not service.up

    def test_nor_is_a_long_name_a_channel(self, service: Service) -> None:
        with pytest.raises(ValueError, match="give one of at most 255"):
            service.hub.publish("a" * 256, b"x")

    def test_what_has_no_place_is_not_sent(self, service: Service) -> None:
        client = service.plain()
        assert service.hub.receive(Publication("a", b"x")) == (0, 0)
        assert client.frames() == []

    def test_on_what_channels_connections_are_is_said_before_anything_is_asked(self) -> None:
        bus, clock = Bus(), Clock()
        hub = KeptHub(bus, clock)  # type: ignore[arg-type]
        served = Served()
        served.factory.hub = hub
        client = served.connect().open("/a?channel=b")
        assert bus.said == []
        clock.advance(0)
        assert bus.said == [ChannelsChanged(("a", "b"), ())]
        client.lose()
        served.connect().open("/c").lose()
        hub.position("d")
        assert bus.said[1:] == [ChannelsChanged((), ("a", "b", "c")), AskHistory(1, "d", None)]
        clock.advance(0)
        assert len(bus.said) == 3

    def test_of_very_many_the_parent_is_told_in_parts(self) -> None:
        bus, clock = Bus(), Clock()
        hub = KeptHub(bus, clock)  # type: ignore[arg-type]
        served = Served()
        served.factory.hub = hub
        clients = [served.connect().open(f"/{number}") for number in range(2500)]
        clock.advance(0)
        assert [len(each.came) for each in bus.said] == [1000, 1000, 500]
        bus.said.clear()
        for client in clients:
            client.lose()
        clock.advance(0)
        assert [len(each.left) for each in bus.said] == [1000, 1000, 500]


class TestResuming:
    def test_what_was_missed_comes_first_then_what_comes(self, service: Service) -> None:
        first = service.speak()
        service.settle()
        (place,) = said(first)
        for _ in range(PAGE + 10):
            service.say_one()
        second = service.speak(resumed(place))
        service.say_one()
        service.settle()
        service.say_one()
        service.settle()
        numbers = [str(number) for number in range(1, PAGE + 13)]
        assert data(first) == data(second) == numbers

    def test_what_is_gone_is_a_gap(self) -> None:
        service = Service(size=2)
        first = service.speak()
        service.settle()
        (place,) = said(first)
        for _ in range(5):
            service.say_one()
        second = service.speak(resumed(place))
        service.settle()
        (gap,) = said(second)
        assert (gap["gap"], gap["offset"]) == (True, 5)
        service.say_one()
        service.settle()
        assert data(second) == ["6"]

    def test_a_binary_message_stays_one(self, service: Service) -> None:
        client = service.speak()
        service.settle()
        (place,) = said(client)
        service.keep(Publication("a", b"\xff", True))
        second = service.speak(resumed(place))
        service.settle()
        assert [each["data64"] for each in (*said(client), *said(second))] == ["/w=="] * 2

    def test_who_leaves_while_an_answer_is_on_its_way(
        self, service: Service, logged: Logged
    ) -> None:
        stays, goes = service.speak(), service.speak()
        goes.lose()
        service.settle()
        assert len(said(stays)) == 1
        assert service.hub._behind == {}
        assert logged.failures == []


class TestLost:
    def test_what_found_no_room_is_fetched_and_then_comes_what_comes(
        self, service: Service
    ) -> None:
        plain, speaking = service.plain(), service.speak()
        service.settle()
        service.say_one()
        service.full = True
        service.say_one()
        service.say_one()
        service.full = False
        service.say_one()
        service.settle()
        service.say_one()
        service.settle()
        assert data(speaking) == list("12345")
        assert [payload for _, payload in plain.frames()] == [b"1", b"2", b"3", b"4", b"5"]

    def test_though_nothing_comes_after_it(self, service: Service) -> None:
        plain, speaking = service.plain(), service.speak()
        service.settle()
        service.say_one()
        service.full = True
        service.say_one()
        service.settle()
        assert data(speaking) == ["1", "2"]
        assert [payload for _, payload in plain.frames()] == [b"1", b"2"]

    def test_what_the_history_has_no_more_is_a_gap_for_those_who_can_be_told(self) -> None:
        service = Service(size=2)
        plain, speaking = service.plain(), service.speak()
        service.settle()
        service.say_one()
        service.full = True
        for _ in range(5):
            service.say_one()
        service.full = False
        service.settle()
        service.say_one()
        service.settle()
        told = said(speaking)
        assert [(each["offset"], each.get("gap", False)) for each in told[1:]] == [
            (1, False),
            (6, True),
            (7, False),
        ]
        assert [payload for _, payload in plain.frames()] == [b"1", b"7"]

    def test_before_the_first_message_came_it_is_learned_where_the_channel_is(
        self, service: Service
    ) -> None:
        plain = service.plain()
        service.settle()
        service.full = True
        service.say_one()
        service.settle()
        service.say_one()
        service.settle()
        assert [payload for _, payload in plain.frames()] == [b"2"]
        service.hub.lost("nobody's")
        assert not service.up

    def test_it_is_made_an_envelope_once_for_all(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clients = [service.speak() for _ in range(3)]
        service.settle()
        service.say_one()
        service.settle()
        for client in clients:
            said(client)
        made: list[str] = []

        def counted(channel: str, *rest: Any) -> bytes:
            made.append(channel)
            return b"{}"

        monkeypatch.setattr("wsservice.channels.envelopes.of_message", counted)
        service.full = True
        service.say_one()
        service.settle()
        assert made == ["a"]
        assert [client.frames() for client in clients] == [[(TEXT, b"{}")]] * 3

    def test_who_reads_slowly_is_given_no_more_than_it_reads(self, service: Service) -> None:
        client = service.speak()
        service.settle()
        service.say_one()
        service.settle()
        said(client)
        client.protocol.pauseProducing()
        service.full = True
        for _ in range(3):
            service.say_one()
        service.full = False
        service.settle()
        service.say_one()
        service.settle()
        assert data(client) == []
        assert client.protocol._queue.octets < 200
        client.protocol.resumeProducing()
        service.settle()
        assert data(client) == list("2345")


STEPS = st.lists(
    st.sampled_from(
        [
            *("publish", "publish", "up", "up", "down", "down", "turn"),
            *("speak", "resume", "plain", "leave", "full", "room", "by a worker"),
        ]
    ),
    max_size=80,
)


@examples(300)
@given(STEPS)
def test_however_it_goes_nobody_misses_anything_or_gets_it_twice(steps: list[str]) -> None:
    service = Service()
    first = service.speak()
    service.settle()
    (start,) = said(first)
    speaking, plain = [first], []

    def publish_by_worker() -> None:
        service.count += 1
        service.hub.publish("a", b"w")

    def one(those: deque[Callable[[], None]]) -> None:
        if those:
            those.popleft()()

    def room(full: bool) -> None:
        service.full = full

    does: dict[str, Callable[[], Any]] = {
        "publish": service.say_one,
        "by a worker": publish_by_worker,
        "up": lambda: one(service.up),
        "down": lambda: one(service.down),
        "turn": lambda: service.clock.advance(0),
        "speak": lambda: speaking.append(service.speak()),
        "resume": lambda: speaking.append(service.speak(resumed(start))),
        "plain": lambda: plain.append(service.plain()),
        "leave": lambda: service.speak().lose(),
        "full": lambda: room(True),
        "room": lambda: room(False),
    }
    for step in steps:
        does[step]()
    service.settle()
    service.full = False
    last = service.history.position("a").offset
    for client in speaking:
        told = said(client)
        offsets = [each["offset"] for each in told if "data" in each]
        begin = told[0]["offset"] if told and "joined" in told[0] else 0
        assert offsets == list(range(begin + 1, last + 1))
        assert not any("gap" in each for each in told)
    service.keep(Publication("a", b"end"))
    service.settle()
    for client in speaking:
        assert data(client) == ["end"]
    for client in plain:
        payloads = [payload for _, payload in client.frames()]
        assert payloads[-1:] == [b"end"]
        numbers = [int(each) for each in payloads[:-1] if each != b"w"]
        assert numbers == sorted(set(numbers))


class Named:
    """A connection of a user."""

    channel, channels = "a", ("a",)
    user = User("tom")

    def __init__(self: Any, hub: KeptHub) -> None:
        self.got: list[bytes] = []
        hub.arrive(self)
        hub.join(self)

    def sendPreparedMessage(self, preparedMsg: Any) -> bool:
        self.got.append(preparedMsg.payload)
        return True


def test_a_message_to_a_user_is_no_part_of_a_history() -> None:
    bus = Bus()
    hub = KeptHub(bus, Clock())  # type: ignore[arg-type]
    member = Named(hub)
    found: list[Published] = []
    hub.send_user("tom", b"hi", True).addCallback(found.append)
    hub.send_user("ann", b"ho").addCallback(found.append)
    assert found == [Published(1, 0, False), Published(0, 0, False)]
    assert [(each.channel, each.payload, each.binary, each.stamp) for each in bus.said] == [
        ("\0tom", b"hi", True, None),
        ("\0ann", b"ho", False, None),
    ]
    assert hub.receive(Publication("\0tom", b"from another")) == (1, 0)
    assert hub.receive(Publication("tom", b"a channel")) == (0, 0)
    assert member.got == [b"hi", b"from another"]
