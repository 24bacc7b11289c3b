from __future__ import annotations

import zlib
from functools import partial
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import ITransport
from twisted.test import iosim

from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.client.options import ClientConfig
from wsservice.client.protocol import ClientFactory, ClientProtocol
from wsservice.config.config import Config
from wsservice.server.behaviours import (
    EchoServerProtocol,
    GreetingServerProtocol,
    ServerProtocol,
)
from wsservice.server.options import server_options

from ...support import (
    BINARY,
    CLOSE,
    PEER,
    TEXT,
    Logged,
    Served,
    close_payload,
    frame,
    opening_request,
)

HOSTILE = "a\r\nX-Injected: yes\r\n\r\n\x1b[2J"
INTERNAL_ERROR = (
    b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


class TestOptions:
    def test_every_one_of_autobahns_is_set_on_purpose(self) -> None:
        assert set(server_options(Config())) == {
            *WebSocketProtocol.CONFIG_ATTRS_COMMON,
            *WebSocketProtocol.CONFIG_ATTRS_SERVER,
            "allowNullOrigin",
        }

    def test_they_live_on_the_class_and_not_on_each_connection(self) -> None:
        served = Served()
        client = served.connect().open()
        options = server_options(served.config)
        assert not set(options) & set(vars(client.protocol))
        for name in options:
            assert getattr(client.protocol, name) is not None

    def test_autobahns_own_default_is_not_what_counts(self) -> None:
        served = Served(handshake_timeout=7, close_timeout=8, max_message_size=99)
        protocol: Any = served.factory.protocol
        assert protocol.openHandshakeTimeout == 7
        assert protocol.closeHandshakeTimeout == 8
        assert protocol.maxMessagePayloadSize == 100
        assert WebSocketServerProtocol.CONFIG_ATTRS != protocol.CONFIG_ATTRS


class TestBehaviours:
    def test_the_base_logs_each_message_and_says_nothing(self) -> None:
        served = Served(ServerProtocol)
        client = served.connect().open()
        client.text("a\nb")
        client.send(frame(BINARY, b"\0"))
        assert client.taken() == b""
        assert served.log.lines == [
            r"[1 192.0.2.1:5000] Message received: a\nb",
            "[1 192.0.2.1:5000] Message received: (binary, 1 byte) 00",
        ]

    def test_the_greeting_one_greets_and_logs(self) -> None:
        served = Served(GreetingServerProtocol)
        client = served.connect().open()
        assert client.frames() == [(TEXT, b"Hello from server")]
        client.text("Msg from client")
        assert client.taken() == b""
        assert served.log.lines == ["[1 192.0.2.1:5000] Message received: Msg from client"]

    def test_a_greeting_is_text_in_utf_8(self) -> None:
        client = Served(GreetingServerProtocol, greeting="Grüße").connect().open()
        assert client.frames() == [(TEXT, "Grüße".encode())]

    def test_an_empty_greeting_is_not_sent(self) -> None:
        client = Served(GreetingServerProtocol, greeting="").connect().open()
        assert client.taken() == b""

    def test_the_echo_one_answers_greets_nobody_and_logs_nothing(self) -> None:
        served = Served(EchoServerProtocol)
        client = served.connect().open()
        client.text("hi")
        client.send(frame(BINARY, b"\0"))
        assert client.frames() == [(TEXT, b"hi"), (BINARY, b"\0")]
        assert served.log.lines == []

    def test_one_that_calls_super_keeps_the_line(self) -> None:
        class Both(ServerProtocol):
            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                super().onMessage(payload, isBinary)
                self.sendMessage(payload, isBinary)

        served = Served(Both)
        client = served.connect().open()
        client.text("hi")
        assert client.frames() == [(TEXT, b"hi")]
        assert len(served.log.lines) == 1

    def test_payloads_are_cut_as_configured(self) -> None:
        served = Served(log_payload=2)
        served.connect().open().text("abc")
        assert served.log.lines[0].endswith(": ab... (3 bytes)")

    def test_connections_are_numbered(self) -> None:
        served = Served()
        for _ in range(2):
            served.connect().open().text("x")
        assert [line.split()[0] for line in served.log.lines] == ["[1", "[2"]

    def test_the_peer_that_a_proxy_header_names_is_the_one_shown(self) -> None:
        served = Served()
        client = served.connect()
        client.transport.peerAddr = IPv4Address("TCP", "203.0.113.9", 99)
        client.open().text("x")
        assert served.log.lines == ["[1 203.0.113.9:99] Message received: x"]

    def test_a_peer_that_claims_to_be_forwarded_is_not_believed(self) -> None:
        served = Served()
        client = served.connect()
        client.ask("/", "X-Forwarded-For: 203.0.113.9")
        assert client.protocol.peer == "tcp4:192.0.2.1:5000"


class TestBroadcast:
    def test_it_reaches_the_same_channel_only(self) -> None:
        class Chat(ServerProtocol):
            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                assert self.broadcast(payload, isBinary) == 2

        served = Served(Chat)
        here, too, elsewhere = (
            served.connect().open(path) for path in ("/room/", "/room", "/rooms")
        )
        here.text("hi")
        assert here.frames() == too.frames() == [(TEXT, b"hi")]
        assert elsewhere.taken() == b""

    def test_the_query_is_no_part_of_the_channel(self) -> None:
        client = Served().connect().open("/room/?token=1")
        assert client.protocol.channel == "room"

    def test_it_does_not_reach_those_that_are_closing(self) -> None:
        served = Served()
        here, closing = served.connect().open(), served.connect().open()
        closing.protocol.sendClose()
        closing.taken()
        assert here.protocol.broadcast(b"x") == 1
        assert closing.taken() == b""

    def test_a_greeting_may_broadcast_to_the_one_that_just_opened(self) -> None:
        class Announcing(ServerProtocol):
            def onOpen(self) -> None:
                self.broadcast(b"somebody came")

        assert Served(Announcing).connect().open().frames() == [(TEXT, b"somebody came")]


def deciding(decision: Any) -> type[ServerProtocol]:
    """A behaviour whose `onConnect` returns that, or raises it."""

    class Deciding(ServerProtocol):
        def onConnect(self, request: Any) -> Any:
            if isinstance(decision, BaseException):
                raise decision
            return decision

    return Deciding


class Asking(ServerProtocol):
    """Its `onConnect` waits for `answer`."""

    def onConnect(self, request: Any) -> Any:
        self.ended: list[Any] = []
        self.answer: Deferred[Any] = Deferred()
        return self.wait()

    async def wait(self) -> Any:
        return await self.answer

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.ended.append((wasClean, code))


class TestOnConnect:
    def test_any_path_is_accepted(self) -> None:
        for path in ("/", "/websockets/", "/any/where?q=1"):
            Served().connect().open(path)

    def test_a_subprotocol_that_was_offered_is_spoken(self) -> None:
        answer = Served(deciding("chat")).connect().ask("/", "Sec-WebSocket-Protocol: x, chat")
        assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in answer

    def test_headers_of_its_own_are_sent(self) -> None:
        headers = {"X-One": "1", "X-Two": ["2", "3"]}
        answer = Served(deciding((None, headers))).connect().ask()
        assert b"\r\nX-One: 1\r\nX-Two: 2\r\nX-Two: 3\r\n" in answer

    @pytest.mark.parametrize(
        "decision",
        [
            ValueError(HOSTILE),
            "not-offered",
            HOSTILE,
            (None, {"X": HOSTILE}),
            (None, {HOSTILE: "x"}),
            (None, {"": "x"}),
            (None, {"X": ["fine", "a\nb"]}),
            (None, {"X": 1}),
            (None, None),
            (None,),
            (None, {}, {}),
            1,
        ],
    )
    def test_what_fails_or_cannot_be_sent_is_500_with_nothing_told(
        self, decision: Any, logged: Logged
    ) -> None:
        served = Served(deciding(decision))
        client = served.connect()
        assert client.ask() == INTERNAL_ERROR
        assert client.dropped
        assert len(logged.failures) == 1
        assert "onConnect failed" in logged.failures[0]
        assert "\x1b" not in logged.text
        assert "\nX-Injected" not in logged.text
        client.lose()
        assert len(served.hub) == 0

    @pytest.mark.parametrize("wait", [True, False])
    def test_a_failure_in_a_coroutine_or_deferred_is_500_too(
        self, wait: bool, logged: Logged
    ) -> None:
        client = Served(Asking).connect()
        assert client.ask() == b""
        client.protocol.answer.errback(ValueError(HOSTILE))
        assert client.taken() == INTERNAL_ERROR
        assert len(logged.failures) == 1

    def test_a_denial_is_its_code_with_the_reason_as_the_body(self, logged: Logged) -> None:
        client = Served(deciding(ConnectionDeny(403, HOSTILE + "é"))).connect()
        head, _, body = client.ask().partition(b"\r\n\r\n")
        assert head.split(b"\r\n") == [
            b"HTTP/1.1 403 Forbidden",
            b"Connection: close",
            b"Content-Length: %d" % len(body),
            b"Content-Type: text/plain; charset=utf-8",
            b"X-Content-Type-Options: nosniff",
        ]
        assert body.decode() == HOSTILE + "é"
        assert logged.failures == []
        assert "\x1b" not in logged.text
        assert "refused with 403" in logged.text

    @pytest.mark.parametrize("reason", [None, ""])
    def test_a_denial_without_a_reason_has_no_body(self, reason: Any) -> None:
        answer = Served(deciding(ConnectionDeny(404, reason))).connect().ask()
        assert answer == (
            b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )

    def test_a_denial_may_have_a_code_that_has_no_name(self) -> None:
        answer = Served(deciding(ConnectionDeny(499, ""))).connect().ask()
        assert answer.startswith(b"HTTP/1.1 499 \r\n")

    @pytest.mark.parametrize("code", [0, 7, 101, 200, 1000])
    def test_a_denial_with_a_code_that_refuses_nothing_is_500(
        self, code: int, logged: Logged
    ) -> None:
        assert Served(deciding(ConnectionDeny(code, "x"))).connect().ask() == INTERNAL_ERROR
        assert len(logged.failures) == 1

    def test_a_reason_that_is_not_utf_8_is_sent_as_far_as_it_goes(self) -> None:
        answer = Served(deciding(ConnectionDeny(403, "a\ud800b"))).connect().ask()
        assert answer.endswith(b"\r\n\r\na?b")

    def test_nothing_is_read_until_it_has_decided(self) -> None:
        client = Served(Asking).connect()
        client.ask()
        assert client.transport.is_paused()
        client.protocol.answer.callback(None)
        assert not client.transport.is_paused()
        assert client.taken().startswith(b"HTTP/1.1 101 ")

    def test_what_comes_all_the_same_is_kept_for_afterwards(self) -> None:
        served = Served(Asking)
        client = served.connect()
        client.ask()
        client.text("one")
        client.text("two")
        assert served.log.lines == []
        client.protocol.answer.callback(None)
        assert [line.rpartition(" ")[2] for line in served.log.lines] == ["one", "two"]

    def test_a_second_request_meanwhile_gets_no_answer_of_its_own(self) -> None:
        client = Served(Asking).connect()
        client.send(opening_request())
        answer = client.protocol.answer
        client.send(opening_request())
        assert client.protocol.answer is answer
        answer.callback(None)
        assert client.taken().count(b"HTTP/1.1") == 1

    @pytest.mark.parametrize("result", [None, ValueError("late"), ConnectionDeny(403, "late")])
    def test_a_decision_about_a_lost_connection_is_nobodys(self, result: Any) -> None:
        served = Served(Asking)
        client = served.connect()
        client.ask()
        client.lose()
        assert client.protocol.ended == [(False, 1006)]
        if result is None:
            client.protocol.answer.callback(None)
        else:
            client.protocol.answer.errback(result)
        assert client.taken() == b""
        assert client.protocol.ended == [(False, 1006)]
        assert len(served.hub) == 0
        assert served.hub._channels == {}

    def test_one_that_never_decides_ends_with_the_handshake_timeout(self) -> None:
        served = Served(Asking, handshake_timeout=3)
        client = served.connect()
        client.ask()
        served.clock.advance(3)
        assert client.aborted

    def test_the_end_of_a_refused_connection_is_told_once(self) -> None:
        client = Served(Asking).connect()
        client.ask()
        client.protocol.answer.errback(ConnectionDeny(403, "no"))
        client.lose()
        assert client.protocol.ended == [(False, 1006)]


class TestHandshake:
    @pytest.mark.parametrize(
        ("octets", "status"),
        [
            (b"nonsense\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", 426),
            (opening_request().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
            (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 426),
            (opening_request(key=None), 400),
            (opening_request("/", "Origin: none"), 403),
        ],
    )
    def test_what_is_no_opening_handshake_is_refused_without_the_peers_own_text(
        self, octets: bytes, status: int
    ) -> None:
        client = Served().connect()
        client.send(octets)
        answer = client.taken()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"nonsense" not in answer
        assert b"Autobahn" not in answer
        assert answer.endswith(b"\r\n") is octets.startswith(b"HEAD")
        assert client.dropped

    def test_another_version_is_told_the_right_one(self) -> None:
        client = Served().connect()
        client.send(opening_request().replace(b"Version: 13", b"Version: 12"))
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in client.taken()

    def test_a_refusal_is_logged_escaped(self, logged: Logged) -> None:
        client = Served().connect()
        client.send(opening_request("/", "Origin: http://\x85\u202e.example"))
        assert r"[1 192.0.2.1:5000] refused with 403: " in logged.text
        assert r"\x85" in logged.text
        assert "\x85" not in logged.text
        client = Served().connect()
        client.send(opening_request("/\x1b[2J"))
        assert "\x1b" not in logged.text

    def test_an_answer_says_nothing_of_what_the_server_runs(self) -> None:
        answer = Served().connect().ask()
        assert b"Server:" not in answer
        assert b"Autobahn" not in answer

    def test_a_fault_in_it_is_500_and_logged(
        self, logged: Logged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fault(data: bytes) -> Any:
            raise RuntimeError(HOSTILE)

        client = Served(compression=True).connect()
        monkeypatch.setattr(client.protocol, "_parseExtensionsHeader", fault)
        assert client.ask("/", "Sec-WebSocket-Extensions: x") == INTERNAL_ERROR
        assert len(logged.failures) == 1

    def test_a_client_that_does_not_finish_it_is_aborted_after_the_timeout(self) -> None:
        served = Served(handshake_timeout=3)
        client = served.connect()
        client.send(b"GET / HTTP/1.1\r\n")
        served.clock.advance(2.9)
        assert not client.dropped
        served.clock.advance(0.2)
        assert client.aborted


class TestGoingAway:
    def test_an_open_connection_is_closed_with_1001(self) -> None:
        client = Served().connect().open()
        client.protocol.go_away()
        assert client.frames() == [(CLOSE, close_payload(1001))]
        assert not client.dropped

    @pytest.mark.parametrize("octets", [b"", b"GET / HTTP/1.1\r\n"])
    def test_one_in_its_handshake_gets_503(self, octets: bytes) -> None:
        client = Served().connect()
        client.send(octets)
        client.protocol.go_away()
        assert client.taken().startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert client.dropped

    def test_one_that_is_being_decided_about_gets_503_and_nothing_more(self) -> None:
        served = Served(Asking)
        client = served.connect()
        client.ask()
        client.protocol.go_away()
        assert client.taken().startswith(b"HTTP/1.1 503 ")
        client.protocol.answer.callback(None)
        assert client.taken() == b""
        assert served.hub._channels == {}

    def test_one_that_closes_already_is_left_alone(self) -> None:
        client = Served().connect().open()
        client.close()
        client.taken()
        client.protocol.go_away()
        assert client.taken() == b""

    def test_a_message_on_its_way_meanwhile_still_arrives(self) -> None:
        served = Served()
        client = served.connect().open()
        client.protocol.go_away()
        client.text("last words")
        assert len(served.log.lines) == 1


class TestCompression:
    OFFER = "Sec-WebSocket-Extensions: permessage-deflate"

    def test_it_is_off_unless_asked_for(self) -> None:
        assert b"permessage" not in Served().connect().ask("/", self.OFFER)

    def test_it_is_spoken_where_the_client_offers_it(self) -> None:
        assert b"permessage-deflate" in Served(compression=True).connect().ask("/", self.OFFER)
        assert b"permessage" not in Served(compression=True).connect().ask()

    def test_an_offer_that_makes_no_sense_is_declined_and_the_next_taken(self) -> None:
        served = Served(compression=True)
        assert b" 101 " in served.connect().ask("/", f"{self.OFFER}; unknown=1")
        answer = served.connect().ask("/", f"{self.OFFER}; unknown=1, permessage-deflate")
        assert b"permessage-deflate" in answer


@pytest.mark.parametrize("size", [20, 21, 100, 200])
def test_what_inflates_over_the_limit_is_closed_with_1009_and_never_cut_short(size: int) -> None:
    served = Served(compression=True, max_message_size=20)
    client = served.connect()
    client.ask("/", "Sec-WebSocket-Extensions: permessage-deflate")
    deflate = zlib.compressobj(wbits=-12)
    data = deflate.compress(b"x" * size) + deflate.flush(zlib.Z_SYNC_FLUSH)
    octets = frame(TEXT, data.removesuffix(b"\0\0\xff\xff"))
    client.send(bytes([octets[0] | 0x40]) + octets[1:])
    assert len(served.log.lines) == (size == 20)
    assert bool(client.taken()) == (size > 20)


def compressed(first: int, data: bytes) -> bytes:
    octets = frame(first, data)
    return bytes([octets[0] | 0x40]) + octets[1:]


@pytest.mark.parametrize("cut", [None, 7])
def test_a_message_that_compression_made_longer_than_the_limit_arrives(cut: int | None) -> None:
    served = Served(compression=True, max_message_size=1000)
    client = served.connect()
    client.ask("/", "Sec-WebSocket-Extensions: permessage-deflate")
    deflate = zlib.compressobj(0, wbits=-12)
    data = deflate.compress(bytes(1000)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    assert len(data) > 1005
    octets = compressed(BINARY, data.removesuffix(b"\0\0\xff\xff"))
    client.send(octets[:cut])
    client.send(octets[cut:] if cut else b"")
    assert len(served.log.lines) == 1
    assert client.taken() == b""


def test_blocks_of_nothing_are_over_the_limit_at_some_time() -> None:
    served = Served(compression=True, max_message_size=1000)
    client = served.connect()
    client.ask("/", "Sec-WebSocket-Extensions: permessage-deflate")
    client.send(compressed(BINARY, b"\0\0\0\xff\xff" * 4000)[:10])
    assert client.frames()[0][1][:2] == close_payload(1009)


def transport(protocol: Any) -> ITransport:
    return iosim.FakeTransport(protocol, False, PEER, PEER)


@pytest.mark.parametrize("compression", [False, True])
def test_our_own_client_talks_to_it(compression: bool) -> None:
    """The tutorial's conversation, in memory."""
    heard: list[bytes] = []
    ended: list[Any] = []

    class Tutorial(ClientProtocol):
        def onOpen(self) -> None:
            self.sendMessage(b"Msg from client")

        def onMessage(self, payload: bytes, isBinary: bool) -> Any:
            heard.append(payload)
            return succeed(None)

        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            ended.append((wasClean, code))

    served = Served(GreetingServerProtocol, compression=compression)
    config = ClientConfig(url="ws://localhost:8080/websockets/", compression=compression)
    factory: ClientFactory[Tutorial] = ClientFactory(config, Tutorial, served.clock)
    connect: Any = iosim.connectedServerAndClient
    client, server, pump = connect(
        partial(served.factory.buildProtocol, PEER),
        partial(factory.buildProtocol, PEER),
        transport,
        transport,
        clock=served.clock,
    )
    assert heard == [b"Hello from server"]
    assert served.log.lines[0].endswith("Message received: Msg from client")
    assert factory.opening.result == client
    assert bool(client._perMessageCompress) == compression
    served.hub.publish("websockets", b"x" * 5000)
    pump.flush()
    assert heard[1:] == [b"x" * 5000]
    client.sendClose(1000)
    pump.flush()
    assert ended == [(True, 1000)]
    assert len(served.hub) == 0
    assert server.state == server.STATE_CLOSED


class TestReload:
    """Other settings, while connections are open."""

    def change(self, served: Served, **settings: Any) -> None:
        served.factory.prepare(Config(**settings))()

    def test_nothing_changes_before_the_second_step(self) -> None:
        served = Served(GreetingServerProtocol)
        served.factory.prepare(Config(greeting="other", allow_origin=("*",), no_page=True))
        assert served.connect().open().frames() == [(TEXT, b"Hello from server")]
        assert served.factory.page is not None
        assert b" 403 " in served.connect().ask("/", "Origin: https://a.example")

    def test_what_new_clients_get(self) -> None:
        served = Served(GreetingServerProtocol)
        self.change(
            served, greeting="other", allow_origin=("*",), no_page=True, handshake_timeout=60
        )
        assert served.connect().open().frames() == [(TEXT, b"other")]
        assert b" 101 " in served.connect().ask("/", "Origin: https://a.example")
        assert served.factory.page is None
        waiting = served.connect()
        served.clock.advance(59)
        assert not waiting.aborted
        assert not waiting.dropped

    def test_limits_are_those_of_open_connections_too(self) -> None:
        served = Served(EchoServerProtocol, max_message_size=5, greeting="")
        client = served.connect().open()
        self.change(served, max_message_size=50, greeting="")
        client.text("123456")
        assert client.frames() == [(TEXT, b"123456")]
        self.change(served, max_message_size=4, greeting="")
        client.text("12345")
        assert client.frames() == [(CLOSE, close_payload(1009, b"message too big"))]

    def test_so_is_whom_to_ping(self) -> None:
        served = Served(ping_interval=5, ping_timeout=5)
        first, second = served.connect().open(), served.connect().open()
        self.change(served, ping_interval=8, ping_timeout=5)
        served.clock.pump([5, 2, 1])
        assert first.frames() == [(9, b"")]
        self.change(served, ping_interval=0, ping_timeout=0)
        served.clock.pump([5] * 10)
        assert first.frames() == []
        assert not second.aborted
        assert served.clock.getDelayedCalls() == []

    def test_connections_are_compressed_from_when_they_open(self) -> None:
        served = Served(EchoServerProtocol)
        offer = "Sec-WebSocket-Extensions: permessage-deflate"
        assert b"permessage-deflate" not in served.connect().ask("/", offer)
        self.change(served, compression=True, slow_client="drop")
        assert b"permessage-deflate" in served.connect().ask("/", offer)

    def test_of_one_that_keeps_context_no_message_is_left_out(self) -> None:
        served = Served(compression=True, send_buffer=100)
        offer = "Sec-WebSocket-Extensions: permessage-deflate"
        keeps, plain = served.connect(), served.connect().open()
        keeps.ask("/", offer)
        self.change(served, compression=True, send_buffer=100, slow_client="drop")
        forgets = served.connect()
        forgets.ask("/", offer)
        for client, drops in ((keeps, False), (plain, True), (forgets, True)):
            client.protocol.pauseProducing()
            for number in range(9):
                client.protocol.sendMessage(b"%d" % number * 90)
            assert (client.protocol.state == client.protocol.STATE_OPEN) is drops

    @pytest.mark.parametrize("prepared", [False, True])
    def test_what_waits_of_envelopes_is_no_more_than_may(self, prepared: bool) -> None:
        served = Served(send_buffer=3000, slow_client="drop")
        client = served.connect()
        # Quotation marks are doubled in an envelope.
        client.ask("/" + "%22" * 255, "Sec-WebSocket-Protocol: wsservice.v1")
        protocol = client.protocol
        protocol.pauseProducing()
        left_out = 0
        for _ in range(20):
            was_full = protocol.traffic().queued >= 3000
            if prepared:
                served.hub.publish('"' * 255, b'"' * 100)
            else:
                protocol.sendMessage(b'"' * 100)
            if was_full:
                left_out += 1
                assert protocol.traffic().queued <= 3000
        assert left_out == served.factory.slow_dropped > 5

    @pytest.mark.parametrize(("slow_client", "handed"), [("drop", 1), ("close", 0)])
    def test_whoever_publishes_is_told_that_a_slow_client_was_dealt_with(
        self, slow_client: str, handed: int
    ) -> None:
        served = Served(send_buffer=3000, slow_client=slow_client)
        protocol = served.connect().open("/a").protocol
        protocol.pauseProducing()
        while protocol.traffic().queued < 3000:
            protocol.sendMessage(b"x" * 100)
        outcome: list[Published] = []
        served.hub.deliver(ChannelMessage("a", b"x" * 100)).addCallback(outcome.append)
        assert outcome == [Published(handed, 1)]

    def test_at_the_level_of_debugging_connections_are_told_of(self, logged: Logged) -> None:
        served = Served()
        served.connect().open("/quiet")
        self.change(served, log_level="debug")
        client = served.connect().open("/chat/e?token=secret")
        client.close()
        client.lose()
        details = [line for line in logged.text.splitlines() if "#debug]" in line]
        assert [line.partition("] ")[2] for line in details] == [
            "[2 192.0.2.1:5000] open, at /chat/e",
            "[2 192.0.2.1:5000] over, 1000",
        ]
