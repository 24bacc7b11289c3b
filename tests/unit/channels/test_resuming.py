"""`wsservice.v1`, on connections in memory."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from wsservice.channels.envelopes import SUBPROTOCOL
from wsservice.channels.history import PAGE, Missed
from wsservice.channels.query import Position
from wsservice.server.behaviours import EchoServerProtocol, GreetingServerProtocol, ServerProtocol

from ...support import BINARY, CLOSE, TEXT, Client, Logged, Served, frame, frames

OFFER = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}"


def speak(served: Served, path: str = "/a", *headers: str) -> Client:
    """An open connection that speaks the subprotocol."""
    client = served.connect()
    head, _, rest = client.ask(path, OFFER, *headers).partition(b"\r\n\r\n")
    assert b"\r\nSec-WebSocket-Protocol: wsservice.v1\r\n" in head + b"\r\n"
    client.transport.write(rest)
    return client


def envelopes(client: Client) -> list[dict[str, Any]]:
    """Return the envelopes since the last call, without the head of the handshake's answer."""
    octets = client.taken()
    if octets.startswith(b"HTTP/"):
        octets = octets.partition(b"\r\n\r\n")[2]
    said = list(frames(octets))
    assert all(opcode == TEXT for opcode, _ in said)
    return [json.loads(payload) for _, payload in said]


def data(client: Client) -> list[str]:
    """The payloads that came since the last time."""
    return [each["data"] for each in envelopes(client) if "data" in each]


def resumed(place: dict[str, Any], path: str = "/a") -> str:
    """A path that goes on from a place."""
    return f"{path}?since={place['offset']}&epoch={place['epoch']}"


@pytest.fixture
def kept() -> Served:
    return Served(history="1000")


class TestNegotiation:
    def test_who_does_not_offer_it_gets_plain_payloads(self, kept: Served) -> None:
        client = kept.connect().open("/a?since=1&epoch=x")
        kept.hub.publish("a", b"\xff", True)
        assert client.frames() == [(BINARY, b"\xff")]

    def test_another_that_is_offered_is_not_spoken(self, kept: Served) -> None:
        head = kept.connect().ask("/a", "Sec-WebSocket-Protocol: chat")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Protocol" not in head

    def test_a_behaviour_that_chooses_another_wins(self) -> None:
        class Choosing(EchoServerProtocol):
            def onConnect(self, request: Any) -> Any:
                return "chat"

        client = Served(Choosing, history="10").connect()
        head = client.ask("/a?since=1&epoch=x", f"{OFFER}, chat")
        assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in head
        client.text("hi")
        assert client.frames() == [(TEXT, b"hi")]

    def test_a_behaviour_may_choose_it(self) -> None:
        class Choosing(ServerProtocol):
            def onConnect(self, request: Any) -> str:
                return SUBPROTOCOL

        speak(Served(Choosing))

    def test_what_the_client_sends_is_plain(self, kept: Served) -> None:
        speak(kept).text("plain")
        assert kept.log.lines == ["[1 192.0.2.1:5000] Message received: plain"]


class TestEnvelopes:
    def test_a_greeting_has_no_place(self) -> None:
        served = Served(GreetingServerProtocol)
        served.clock.advance(7)
        assert envelopes(speak(served)) == [
            {"channel": "a", "data": "Hello from server", "time": 7}
        ]

    def test_nor_have_answers(self) -> None:
        client = speak(Served(EchoServerProtocol, history="10"))
        envelopes(client)
        client.send(frame(TEXT, b"hi") + frame(BINARY, b"\xff"))
        assert envelopes(client) == [
            {"channel": "a", "data": "hi", "time": 0},
            {"channel": "a", "data64": "/w==", "time": 0},
        ]

    def test_nor_has_what_is_published_where_no_history_is_kept(self) -> None:
        served = Served()
        client = speak(served)
        assert served.hub.publish("a", b"x") == 1
        assert envelopes(client) == [{"channel": "a", "data": "x", "time": 0}]

    def test_what_is_published_has_one_and_its_own_channel(self, kept: Served) -> None:
        client = speak(kept, "/a?channel=b")
        envelopes(client)
        for channel in "aba":
            assert kept.hub.publish(channel, channel.encode()) == 1
        said = envelopes(client)
        assert [(each["channel"], each["offset"], each["data"]) for each in said] == [
            ("a", 1, "a"),
            ("b", 1, "b"),
            ("a", 2, "a"),
        ]

    def test_a_broadcast_is_made_one_once_for_all(
        self, kept: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[str] = []

        def counted(channel: str, *rest: Any) -> bytes:
            made.append(channel)
            return b"{}"

        monkeypatch.setattr("wsservice.channels.envelopes.of_message", counted)
        clients = [speak(kept) for _ in range(3)]
        kept.hub.publish("a", b"x")
        assert made == ["a"]
        assert all(client.frames()[-1] == (TEXT, b"{}") for client in clients)

    def test_what_a_behaviour_prepared_is_of_its_own_channel(self) -> None:
        class Preparing(ServerProtocol):
            def onOpen(self) -> None:
                self.sendPreparedMessage(self.factory.prepareMessage(b"\0", True))

        assert envelopes(speak(Served(Preparing))) == [
            {"channel": "a", "data64": "AA==", "time": 0}
        ]

    def test_in_fragments_it_is_one_too(self) -> None:
        class Fragmenting(ServerProtocol):
            def onOpen(self) -> None:
                self.sendMessage(b"x", fragmentSize=1000)

        assert data(speak(Served(Fragmenting))) == ["x"]

    def test_compressed_they_are_envelopes_too(self) -> None:
        served = Served(EchoServerProtocol, history="10", compression=True)
        client = speak(served, "/a", "Sec-WebSocket-Extensions: permessage-deflate")
        served.hub.publish("a", b"x" * 100)
        client.text("y" * 100)
        inflate = zlib.decompressobj(-15)
        said = [inflate.decompress(each + b"\0\0\xff\xff") for _, each in client.frames()[-2:]]
        assert [json.loads(each)["data"] for each in said] == ["x" * 100, "y" * 100]

    def test_plain_clients_on_the_same_channel_get_plain_payloads(self, kept: Served) -> None:
        plain, speaking = kept.connect().open("/a"), speak(kept)
        assert kept.hub.publish("a", b"x") == 2
        assert plain.frames() == [(TEXT, b"x")]
        assert data(speaking) == ["x"]


class TestJoining:
    def test_who_comes_first_is_told_where_the_channel_is(self, kept: Served) -> None:
        kept.hub.publish("b", b"1")
        said = envelopes(speak(kept, "/a?channel=b"))
        assert [(each["channel"], each["offset"]) for each in said] == [("a", 0), ("b", 1)]
        assert all(each["joined"] is True for each in said)

    def test_and_comes_back_to_what_was_published_since(self, kept: Served) -> None:
        (place,) = envelopes(speak(kept))
        kept.hub.publish("a", b"1")
        assert data(speak(kept, resumed(place))) == ["1"]

    def test_nobody_is_told_where_no_history_is_kept(self) -> None:
        assert envelopes(speak(Served())) == []


class TestResuming:
    def test_what_was_missed_comes_first_then_what_comes(self) -> None:
        served = Served(GreetingServerProtocol, history="1000")
        (place, _) = envelopes(speak(served))
        for number in range(3):
            served.hub.publish("a", str(number).encode())
        client = speak(served, resumed(place))
        served.clock.advance(0)
        served.hub.publish("a", b"3")
        said = envelopes(client)
        assert [each["offset"] for each in said if "offset" in each] == [1, 2, 3, 4]
        assert said[0]["data"] == "0"
        assert not any("joined" in each or "gap" in each for each in said)

    def test_since_means_after(self, kept: Served) -> None:
        client = speak(kept)
        kept.hub.publish("a", b"1")
        kept.hub.publish("a", b"2")
        (_, first, second) = envelopes(client)
        assert data(speak(kept, resumed(first))) == ["2"]
        assert envelopes(speak(kept, resumed(second))) == []

    def test_another_epoch_is_told_with_one_gap(self, kept: Served) -> None:
        kept.hub.publish("a", b"1")
        client = speak(kept, "/a?since=1&epoch=another")
        (gap,) = envelopes(client)
        assert (gap["channel"], gap["gap"], gap["offset"]) == ("a", True, 1)
        kept.hub.publish("a", b"2")
        assert data(client) == ["2"]
        assert data(speak(kept, resumed(gap))) == ["2"]

    def test_so_is_what_is_gone(self) -> None:
        served = Served(history="2")
        (place,) = envelopes(speak(served))
        for number in range(3):
            served.hub.publish("a", str(number).encode())
        (gap,) = envelopes(speak(served, resumed(place)))
        assert (gap["gap"], gap["offset"]) == (True, 3)

    def test_and_a_history_that_is_not_kept(self) -> None:
        assert envelopes(speak(Served(), "/a?since=1&epoch=x")) == [{"channel": "a", "gap": True}]

    def test_each_channel_goes_on_from_its_own_place(self, kept: Served) -> None:
        a, b, c = envelopes(speak(kept, "/a?channel=b&channel=c"))
        for channel in "abcabc":
            kept.hub.publish(channel, channel.encode())
        path = (
            f"/a?since={a['offset']}&epoch={a['epoch']}&channel=b&channel=c"
            f"&since=1&epoch={kept.hub.publish('c', b'last') and c['epoch']}"
        )
        client = speak(kept, path)
        for _ in range(3):
            kept.clock.advance(0)
        said = envelopes(client)
        assert [(each["channel"], each.get("data")) for each in said] == [
            ("a", "a"),
            ("a", "a"),
            ("b", None),
            ("c", None),
        ]
        assert b["offset"] == 0
        assert (said[2]["joined"], said[3]["gap"]) == (True, True)

    @pytest.mark.parametrize("query", ["channel=", "since=1", "channel=%0a", "since=x&epoch=y"])
    def test_a_wrong_query_is_refused_with_400_and_one_line(
        self, kept: Served, query: str, logged: Logged
    ) -> None:
        client = kept.connect()
        head, _, body = client.ask(f"/a?token=secret&{query}", OFFER).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert body.count(b"\n") == 1
        assert body.endswith(b"\n")
        assert client.dropped
        assert f"refused with 400: {body.decode().strip()}" in logged.text
        assert "secret" not in logged.text

    def test_where_it_is_not_spoken_since_is_a_behaviours(self, kept: Served) -> None:
        assert kept.connect().ask("/a?since=yesterday").startswith(b"HTTP/1.1 101 ")

    def test_the_behaviour_knows_the_channels_when_it_decides(self) -> None:
        seen: list[tuple[str, ...]] = []

        class Deciding(ServerProtocol):
            def onConnect(self, request: Any) -> None:
                seen.append(self.channels)

        Served(Deciding).connect().open("/a?channel=b&channel=a")
        Served(Deciding).connect().open("/")
        assert seen == [("a", "b"), ("",)]


class TestSlowly:
    """A peer that does not read while it is given what it missed."""

    def test_it_is_given_no_more_than_it_reads(self) -> None:
        served = Served(history="1000")
        (place,) = envelopes(speak(served))
        for number in range(3):
            served.hub.publish("a", str(number).encode().ljust(1000))
        client = served.connect()
        client.protocol.pauseProducing()  # as the transport does when it has enough
        client.ask(resumed(place), OFFER)
        assert data(client) == []
        served.hub.publish("a", b"3")
        assert client.protocol._queue.octets < 1000
        client.protocol.resumeProducing()
        served.clock.advance(0)
        assert [each.strip() for each in data(client)] == ["0", "1", "2", "3"]
        served.hub.publish("a", b"4")
        assert data(client) == ["4"]

    def test_it_waits_with_nothing_but_its_place(self) -> None:
        served = Served(history="1000")
        (place,) = envelopes(speak(served))
        for number in range(30):
            served.hub.publish("a", str(number).encode().ljust(10_000))
        hub: Any = served.hub
        asked: list[int] = []
        here = hub.missed

        def missed(channel: str, since: Position) -> Missed:
            asked.append(since.offset)
            answer: Missed = here(channel, since)
            return answer

        hub.missed = missed
        client = served.connect()
        queue = client.protocol._queue

        def writing(octets: bytes) -> None:
            write(octets)
            client.protocol.pauseProducing()

        write, _ = queue.write_by(writing)
        got = len(client.ask(resumed(place), OFFER))
        for _ in range(100):
            if asked[-1] == 30:
                break
            served.clock.advance(0)
            assert queue.octets < 100_000
            client.protocol.resumeProducing()
            got += len(client.taken())
        assert got > 300_000
        assert len(asked) > 4  # no page is kept until it is wanted
        assert asked == sorted(set(asked))

    def test_many_come_in_pages_with_the_others_turn_between(self, kept: Served) -> None:
        (place,) = envelopes(speak(kept))
        for number in range(2 * PAGE + 1):
            kept.hub.publish("a", str(number).encode())
        client = speak(kept, resumed(place))
        assert len(data(client)) == PAGE
        assert kept.hub.publish("a", b"last") == 2
        assert data(client) == []
        kept.clock.advance(0)  # as many turns as there are
        assert data(client) == [*map(str, range(PAGE, 2 * PAGE + 1)), "last"]
        kept.hub.publish("a", b"live")
        assert data(client) == ["live"]

    def test_what_goes_while_it_waits_is_told(self) -> None:
        served = Served(history="3")
        (place,) = envelopes(speak(served))
        served.hub.publish("a", b"0")
        client = served.connect()
        client.protocol.pauseProducing()
        client.ask(resumed(place), OFFER)
        for number in range(1, 6):
            served.hub.publish("a", str(number).encode())
        client.protocol.resumeProducing()
        (gap,) = envelopes(client)
        assert (gap["gap"], gap["offset"]) == (True, 6)
        served.hub.publish("a", b"6")
        assert data(client) == ["6"]

    def test_one_that_will_find_nothing_is_not_counted(self) -> None:
        served = Served(history="3", history_bytes=65536)
        (place,) = envelopes(speak(served))
        served.hub.publish("a", b"0")
        client = served.connect()
        client.protocol.pauseProducing()
        client.ask(resumed(place), OFFER)
        assert served.hub.publish("a", b"1") == 2
        assert served.hub.publish("a", bytes(65536), True) == 1
        client.protocol.resumeProducing()
        served.clock.advance(0)
        (gap,) = envelopes(client)
        assert (gap["gap"], gap["offset"]) == (True, 3)

    def test_who_leaves_meanwhile_leaves_nothing_behind(self, logged: Logged) -> None:
        served = Served(history="1000")
        client = speak(served, "/a?channel=b")
        (place, _) = envelopes(client)
        client.lose()
        served.hub.publish("a", b"0")
        client = served.connect()
        client.protocol.pauseProducing()
        client.ask(resumed(place), OFFER)
        assert served.hub.is_occupied("a")
        client.lose()
        assert not served.hub.is_occupied("a")
        assert served.hub._channels == served.hub._behind == {}
        assert client.protocol._catch_up is None
        assert logged.failures == []

    def test_one_that_closes_meanwhile_is_given_no_more(self, kept: Served) -> None:
        (place,) = envelopes(speak(kept))
        for number in range(PAGE + 1):
            kept.hub.publish("a", str(number).encode())
        client = speak(kept, resumed(place))
        client.frames()
        assert kept.hub.publish("a", b"last") == 2
        client.protocol.sendClose()
        kept.clock.advance(0)
        assert kept.hub.publish("a", b"more") == 1
        assert [opcode for opcode, _ in client.frames()] == [CLOSE]

    def test_a_history_kept_elsewhere_is_waited_for(self, kept: Served) -> None:
        (place,) = envelopes(speak(kept))
        kept.hub.publish("a", b"0")
        answers: list[Deferred[Missed]] = []
        hub: Any = kept.hub
        here = hub.missed

        def missed(channel: str, since: Position) -> Deferred[Missed]:
            answers.append(Deferred())
            return answers[-1].addCallback(lambda _: here(channel, since))

        hub.missed = missed
        client = speak(kept, resumed(place))
        assert data(client) == []
        kept.hub.publish("a", b"1")
        answers.pop().callback(None)  # type: ignore[arg-type]
        assert data(client) == ["0", "1"]
        kept.clock.advance(0)
        kept.hub.publish("a", b"2")
        answers.pop().callback(None)  # type: ignore[arg-type]
        assert data(client) == ["2"]

    def test_one_that_fails_closes_the_connection(self, kept: Served, logged: Logged) -> None:
        hub: Any = kept.hub

        def missed(channel: str, since: Position) -> Missed:
            raise RuntimeError("away")

        hub.missed = missed
        client = kept.connect()
        client.ask("/a", OFFER)
        assert "RuntimeError: away" in logged.failures[0]
        assert client.dropped


class TestMemory:
    def test_a_connection_on_one_channel_has_nothing_more_to_remember(self, kept: Served) -> None:
        names = {"_more_channels", "_since", "_catch_up"}
        assert not names & set(vars(kept.connect().open("/a").protocol))


def test_that_some_may_be_gone_is_said_to_those_who_understand_it() -> None:
    served = Served()
    plain, speaker = served.connect().open("/a"), speak(served)
    speaker.taken()
    members: Any = served.hub
    for member in members:
        member.tell_gap("a")
    assert plain.frames() == []
    assert envelopes(speaker) == [{"channel": "a", "gap": True}]
