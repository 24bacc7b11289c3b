"""The user of a connection, as a behaviour sets it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from autobahn.websocket.types import ConnectionRequest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from wsservice.auth.contract import User
from wsservice.auth.rules import ChannelRules
from wsservice.config.rules import ChannelRule, Level
from wsservice.directory.listing import Wanted
from wsservice.directory.people import LocalPeople
from wsservice.directory.tracing import Traces
from wsservice.log.jsonlog import event_as_json
from wsservice.log.lines import JSONLines
from wsservice.log.peer import Who, nameless, peer_in, user_in
from wsservice.server.behaviours import ServerProtocol

from ...support import Logged, Served


class Named(ServerProtocol):
    """A behaviour whose clients say who they are in the path, as /NAME/CHANNEL."""

    def onConnect(self, request: Any) -> None:
        name, _, self.channel = self.channel.partition("/")
        if name:
            self.user = User(name)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if payload == b"fail":
            raise RuntimeError("on purpose")
        if payload.startswith(b"be "):
            self.user = User(payload[3:].decode())
        elif payload == b"forget":
            self.user = None
        super().onMessage(payload, isBinary)


class Anonymous(ServerProtocol):
    pass


def people(served: Served) -> LocalPeople:
    return LocalPeople(lambda: served.hub, served.hub, Traces(served.clock))


async def ids(served: Served, user: str) -> list[str]:
    listed = await people(served).listed(Wanted(user=user))
    return [each["id"] for each in listed["connections"]]


def done(coroutine: Any) -> Any:
    """Return the result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


def test_the_message_log_names_the_user() -> None:
    served = Served(Named)
    served.connect().open("/tom/x").text("hello")
    assert served.log.lines == ['[1 192.0.2.1:5000 "tom"] Message received: hello']


def test_without_a_user_nothing_is_named_and_no_memory_taken() -> None:
    served = Served(Named)
    client = served.connect().open("/")
    client.text("hello")
    assert served.log.lines == ["[1 192.0.2.1:5000] Message received: hello"]
    assert client.protocol.user is None
    assert "_user" not in client.protocol.__dict__
    assert len(served.hub.users()) == 0
    assert "user" not in done(people(served).listed(Wanted()))["connections"][0]


def test_the_service_log_names_the_user() -> None:
    logged = Logged()
    globalLogPublisher.addObserver(logged)
    try:
        served = Served(Named, log_level="debug")
        client = served.connect().open("/tom/x")
        client.text("fail")
    finally:
        globalLogPublisher.removeObserver(logged)
    assert '[1 192.0.2.1:5000 "tom"] a callback failed' in logged.text
    (event,) = [each for each in logged.events if "log_failure" in each]
    line = json.loads(event_as_json(event) or "")
    assert line["user"] == "tom"
    assert line["text"].startswith('[1 192.0.2.1:5000 "tom"]')


def test_a_line_without_a_user_has_no_such_member() -> None:
    logged = Logged()
    globalLogPublisher.addObserver(logged)
    try:
        client = Served(Named).connect().open("/")
        client.text("fail")
    finally:
        globalLogPublisher.removeObserver(logged)
    (event,) = [each for each in logged.events if "log_failure" in each]
    assert "user" not in json.loads(event_as_json(event) or "")


def test_json_lines_have_the_whole_id() -> None:
    lines = JSONLines()
    who = Who.of("7 192.0.2.1:5000", "é" * 127)
    name = lines.name(who, "x")
    line = json.loads("{" + lines.lines([name, b"hi", False], 100).decode())
    assert (line["connection"], line["peer"]) == ("7", "192.0.2.1:5000")
    assert line["user"] == "é" * 127
    assert len(who) < 100


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60))
def test_an_id_cannot_end_its_name_in_a_line(id_: str) -> None:
    who = Who.of("7 192.0.2.1:5000", id_)
    assert who.isprintable()
    assert json.loads(who.partition(" ")[2].partition(" ")[2]) == id_
    assert (nameless(who), peer_in(who), user_in(who)) == (
        "7 192.0.2.1:5000",
        "192.0.2.1:5000",
        id_,
    )
    assert nameless(Who.of(who, "other")) == "7 192.0.2.1:5000"


def test_a_user_that_is_none_is_refused() -> None:
    connection = Served(Anonymous).connect().protocol
    with pytest.raises(TypeError, match=r"user: str is not allowed; give User\(id\), or None"):
        connection.user = "tom"


def test_a_behaviour_cannot_give_it_another_meaning() -> None:
    with pytest.raises(TypeError, match="has user: a connection needs that name itself"):
        type("Mine", (ServerProtocol,), {"user": None, "__module__": "mine"})


def test_a_user_that_is_set_later_is_found_from_then_on() -> None:
    served = Served(Named)
    client = served.connect().open("/tom/x")
    assert done(ids(served, "tom")) == ["1"]
    client.text("be ann")
    assert done(ids(served, "tom")) == []
    assert done(ids(served, "ann")) == ["1"]
    client.text("who")
    assert served.log.lines[-1] == '[1 192.0.2.1:5000 "ann"] Message received: who'
    client.text("forget")
    assert done(ids(served, "ann")) == []
    assert served.log.lines[-1] == "[1 192.0.2.1:5000] Message received: forget"
    client.lose()
    assert len(served.hub.users()) == 0


def test_a_connection_whose_handshake_is_not_done_is_not_found() -> None:
    served = Served(Named)
    connection = served.connect().protocol
    connection.user = User("tom")
    assert done(ids(served, "tom")) == []


class Ending(ServerProtocol):
    """A behaviour that says itself who its clients are, and until when."""

    def onConnect(self, request: ConnectionRequest) -> None:
        if request.path == "/tom":
            self.user = User("tom", expires=100.0)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        ends = float(payload)
        self.user = User("tom", expires=ends or None)


class TestTheEnd:
    @pytest.mark.parametrize("path", ["/tom", "/nobody"])
    def test_a_user_that_a_behaviour_sets_has_an_end(self, path: str) -> None:
        served = Served(Ending, ping_interval=0)
        client = served.connect().open(path)
        if path == "/nobody":
            client.text("100")
        served.clock.advance(99)
        assert client.frames() == []
        served.clock.advance(1)
        assert client.frames() == [(8, b"\x03\xf0expired")]

    def test_another_user_has_another_end(self) -> None:
        served = Served(Ending, ping_interval=0)
        client = served.connect().open("/tom")
        client.text("200")
        served.clock.advance(150)
        client.text("0")
        served.clock.advance(1000)
        assert client.frames() == []
        client.lose()
        assert not served.clock.getDelayedCalls()

    def test_a_user_without_an_end_costs_nothing(self) -> None:
        served = Served(Named, ping_interval=0)
        assert "_identified" not in served.connect().open("/tom/x").protocol.__dict__


class TestSeats:
    def test_the_newest_is_refused(self) -> None:
        served = Served(Named, max_connections_per_user=2)
        first = served.connect().open("/tom/x")
        served.connect().open("/tom/y")
        answer = served.connect().ask("/tom/x")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert answer.endswith(
            b"\r\n\r\nthis user has too many connections; close one of them first\n"
        )
        assert served.factory.counts.refusals["user limit"] == 1
        served.connect().open("/ann/x")
        for _ in range(3):
            served.connect().open("/")
        first.lose()
        served.connect().open("/tom/x")

    def test_the_oldest_is_closed(self) -> None:
        served = Served(Named, max_connections_per_user=2, user_limit_closes="oldest")
        clients = [served.connect().open("/tom/x") for _ in range(3)]
        other = served.connect().open("/ann/x")
        assert clients[0].frames() == [
            (8, b"\x03\xf0a newer connection of this user took its place")
        ]
        assert [each.frames() for each in (*clients[1:], other)] == [[], [], []]
        # The first one is not gone yet, and another has to go all the same.
        served.connect().open("/tom/x")
        assert [each.frames() for each in clients] == [
            [],
            [(8, b"\x03\xf0a newer connection of this user took its place")],
            [],
        ]

    @pytest.mark.parametrize("why", ["rules", "lost"])
    def test_none_is_closed_for_one_that_does_not_come_in(self, why: str) -> None:
        decided: Deferred[None] = Deferred()

        class Moving(ServerProtocol):
            def onConnect(self, request: ConnectionRequest) -> Any:
                self.user = User("tom")
                if request.path == "/first":
                    return None
                self.channel = "closed" if why == "rules" else self.channel
                return decided

        served = Served(Moving, max_connections_per_user=1, user_limit_closes="oldest")
        open_to_all = [
            ChannelRule(match=each, subscribe=Level.ANYONE) for each in ("first", "second")
        ]
        served.factory.channel_rules = ChannelRules(open_to_all)
        first = served.connect().open("/first")
        second = served.connect()
        second.ask("/second")
        if why == "lost":
            second.lose()
        decided.callback(None)
        if why == "rules":
            assert second.taken().startswith(b"HTTP/1.1 403 ")
        assert first.frames() == []

    def test_the_limit_can_be_changed(self) -> None:
        served = Served(Named, max_connections_per_user=1)
        served.connect().open("/tom/x")
        assert served.connect().ask("/tom/x").startswith(b"HTTP/1.1 403 ")
        served.factory.seats.change(0, "newest")
        served.connect().open("/tom/x")
