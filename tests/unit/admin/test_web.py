"""The admin face's HTTP, octet by octet, without what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure

from wsservice.admin import web as module
from wsservice.admin.exchange import AdminRequest, Answer, Headers, Stream, as_json
from wsservice.admin.web import AdminFactory
from wsservice.directory.tracing import Outlet

from ...support import Logged

HERE = IPv4Address("TCP", "127.0.0.1", 8081)


class Transport(StringTransport):
    """As Twisted's own, as far as it matters here."""

    def __init__(self) -> None:
        super().__init__(hostAddress=HERE, lenient=True)

    def unregisterProducer(self) -> None:
        self.producer = None

    @property
    def over(self) -> bool:
        return bool(self.disconnecting or self.disconnected)


EVENTS: Headers = (("Content-Type", "text/event-stream"),)


class Streaming:
    """The source of a stream, by which a test writes to it."""

    def __init__(self) -> None:
        self.outlet: Outlet | None = None
        self.told: list[str] = []

    def begin(self, outlet: Outlet) -> None:
        self.outlet = outlet

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class Face:
    """A face in memory, and who asks it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[AdminRequest] = []
        self.answer: Callable[[AdminRequest], Awaitable[Answer | Stream]] = self.echo
        self.factory = AdminFactory(self.respond, self.clock)
        self.factory.doStart()

    async def respond(self, asked: AdminRequest) -> Answer | Stream:
        self.asked.append(asked)
        return await self.answer(asked)

    async def echo(self, asked: AdminRequest) -> Answer:
        return as_json(200, [asked.method, asked.target])

    def connect(self) -> tuple[Any, Transport]:
        channel = self.factory.buildProtocol(None)
        assert channel is not None
        transport = Transport()
        channel.makeConnection(transport)
        return channel, transport

    def ask(self, octets: bytes) -> tuple[bytes, Transport]:
        channel, transport = self.connect()
        channel.dataReceived(octets)
        return transport.value(), transport


@pytest.fixture
def face() -> Face:
    return Face()


def request(target: str = "/x", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_request_is_handed_on_as_it_came(face: Face) -> None:
    octets, _ = face.ask(
        request("/%00/../a?b=%ff", "X-Two: 1", "x-two: \xe9", "Content-Length: 3", body=b"abc")
    )
    (asked,) = face.asked
    assert (asked.method, asked.target, asked.path, asked.query) == (
        *("GET", "/%00/../a?b=%ff"),
        *("/%00/../a", "b=%ff"),
    )
    assert asked.headers["x-two"] == ("1", "\xc3\xa9")
    assert asked.body == b"abc"
    assert asked.at == HERE
    assert octets.startswith(b"HTTP/1.1 200 OK\r\n")


def test_nothing_tells_what_serves_it(face: Face) -> None:
    octets, _ = face.ask(request())
    head = octets.partition(b"\r\n\r\n")[0].lower()
    assert b"server:" not in head
    assert b"twisted" not in head


def test_several_requests_on_one_connection(face: Face) -> None:
    octets, transport = face.ask(request("/1") + request("/2") + request("/3", "Connection: close"))
    assert octets.count(b"HTTP/1.1 200 OK") == 3
    assert transport.disconnecting


def test_a_head_request_gets_the_head_only(face: Face) -> None:
    octets, _ = face.ask(request(method="HEAD"))
    head, _, body = octets.partition(b"\r\n\r\n")
    assert body == b""
    assert b"Content-Length: 14" in head


def test_http_1_0(face: Face) -> None:
    octets, transport = face.ask(b"GET /x HTTP/1.0\r\n\r\n")
    assert octets.endswith(b'["GET","/x"]\n')
    assert transport.disconnecting


@pytest.mark.parametrize(
    "octets",
    [
        b"nonsense\r\n",
        b"GET\r\n",
        b"GET /x HTTP/2.0\r\n\r\n",
        b"GET /x HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /x HTTP/1.1\r\nA B: c\r\n\r\n",
        b"GET /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /x HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"GET /x HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"GET /x HTTP/1.1\r\n" + b"A: " + b"b" * 15_000 + b"\r\nC: " + b"d" * 5000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01" + b"x" * 20_000,
    ],
)
def test_what_is_no_request_or_too_much_of_one_is_refused(
    face: Face, octets: bytes, logged: Logged
) -> None:
    answer, transport = face.ask(octets)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 ")), answer
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b'"}\n')
    assert transport.over
    assert face.asked == []
    assert logged.text == ""


@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_a_body_over_the_bound_is_refused_before_it_comes(
    face: Face, expect: tuple[str, ...]
) -> None:
    octets, transport = face.ask(request("/x", "Content-Length: 4097", *expect, method="POST"))
    assert octets.startswith(b"HTTP/1.1 413 ")
    assert octets.count(b"HTTP/1.1") == 1
    assert transport.disconnecting


def test_one_without_a_length_too(face: Face) -> None:
    channel, transport = face.connect()
    channel.dataReceived(request("/x", "Transfer-Encoding: chunked", method="POST"))
    for _ in range(3):
        channel.dataReceived(b"7d0\r\n" + b"x" * 2000 + b"\r\n")
    channel.dataReceived(b"0\r\n\r\n")
    assert transport.value().startswith(b"HTTP/1.1 413 ")
    assert transport.value().count(b"HTTP/1.1") == 1
    assert face.asked == []


def test_a_body_within_it(face: Face) -> None:
    whole = request("/x", "Content-Length: 4096", method="POST", body=b"x" * 4096)
    assert face.ask(whole)[0].startswith(b"HTTP/1.1 200 ")
    chunked = b"800\r\n" + b"x" * 2048 + b"\r\n0\r\n\r\n"
    answer, _ = face.ask(request("/x", "Transfer-Encoding: chunked", method="POST", body=chunked))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [len(asked.body) for asked in face.asked] == [4096, 2048]


def test_who_sends_an_octet_now_and_then_has_no_time_anew(face: Face) -> None:
    channel, transport = face.connect()
    for octet in request()[:9]:
        channel.dataReceived(bytes([octet]))
        face.clock.advance(0.5)
    assert not transport.over
    face.clock.advance(0.5)
    assert transport.disconnecting
    assert not transport.disconnected
    face.clock.advance(5)
    assert transport.disconnected


def test_the_body_of_a_first_request_has_the_time_of_any_other(face: Face) -> None:
    channel, transport = face.connect()
    face.clock.advance(4)
    channel.dataReceived(request("/x", "Content-Length: 40", method="POST"))
    for _ in range(29):
        channel.dataReceived(b"x")
        face.clock.advance(1)
    assert not transport.over
    face.clock.advance(1)
    assert transport.disconnecting


def test_an_idle_connection_is_ended_and_nothing_logged(face: Face, logged: Logged) -> None:
    channel, transport = face.connect()
    face.clock.advance(4)
    channel.dataReceived(request())
    face.clock.advance(29)
    assert not transport.over
    face.clock.advance(1)
    assert transport.disconnecting
    channel.connectionLost(Failure(ConnectionDone()))
    assert face.clock.getDelayedCalls() == []
    assert logged.text == ""


class TestRoomForNewcomers:
    def full(self, face: Face, apart: float = 0.0) -> list[tuple[Any, Transport]]:
        """All the connections that there may be, each so many seconds after the one before."""
        there = []
        for _ in range(64):
            there.append(face.connect())
            face.clock.advance(apart)
        return there

    def over(self, there: list[tuple[Any, Transport]]) -> list[int]:
        return [number for number, (_, transport) in enumerate(there) if transport.disconnected]

    def test_the_oldest_silent_one_goes(self, face: Face, logged: Logged) -> None:
        there = self.full(face, apart=0.01)
        assert face.ask(request())[0].startswith(b"HTTP/1.1 200 OK")
        assert self.over(there) == [0]
        there[0][0].connectionLost(Failure(ConnectionDone()))
        assert face.ask(request())[0].startswith(b"HTTP/1.1 200 OK")
        assert self.over(there) == [0, 1]
        assert logged.text == ""

    def test_one_that_asked_nothing_in_time_goes_before_one_that_is_idle(self, face: Face) -> None:
        # The second has been silent for longer than the first.
        prompt, idle = face.connect(), face.connect()
        idle[0].dataReceived(request())
        face.clock.advance(0.5)
        there = [prompt, idle, *(face.connect() for _ in range(62))]
        prompt[0].dataReceived(request())
        face.clock.advance(1.9)
        face.connect()
        assert self.over(there) == [1]
        face.clock.advance(0.1)
        face.connect()
        assert self.over(there)[0] == 1
        assert len(self.over(there)) == 2
        assert not prompt[1].disconnected

    def test_one_that_is_not_read_yet_stays(
        self, face: Face, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there = self.full(face, apart=0.01)
        came = {there[0][1], there[1][1], there[2][1]}
        monkeypatch.setattr(module, "unread", lambda transport: 40 if transport in came else 0)
        # A caller whose request was read, or that was silent for too long, has no such claim.
        there[1][0].dataReceived(b"G")
        face.connect()
        assert self.over(there) == [1]
        face.clock.advance(1.365)
        face.connect()
        assert self.over(there) == [0, 1]

    def test_one_whose_request_is_not_whole_is_silent(self, face: Face) -> None:
        there = [face.connect()]
        there[0][0].dataReceived(request("/x", "Content-Length: 9", method="POST") + b"x")
        face.clock.advance(0.1)
        there += [face.connect() for _ in range(63)]
        face.connect()
        assert self.over(there) == [0]

    def test_those_that_are_being_answered_stay(self, face: Face) -> None:
        async def never(asked: AdminRequest) -> Answer:
            await Deferred()
            raise AssertionError

        face.answer = never
        there = self.full(face)
        for channel, _ in there:
            channel.dataReceived(request())
        face.clock.advance(20)

        # In a wrapper, as with TLS: it would fail where there is no protocol.
        wrapped: Any = WrappingFactory(face.factory).buildProtocol(None)
        transport = Transport()
        wrapped.makeConnection(transport)
        assert transport.disconnected
        wrapped.connectionLost(Failure(ConnectionDone()))
        there[0][0].connectionLost(Failure(ConnectionDone()))
        assert not face.connect()[1].disconnected
        assert self.over(there) == []

    def test_a_flood_of_silent_ones_shuts_nobody_out(self, face: Face) -> None:
        for _ in range(10):
            self.full(face)
            assert face.ask(request("/healthz"))[0].startswith(b"HTTP/1.1 200 OK")
        assert len(face.factory.channels) == 64


REFUSED = b"GET / HTTP/1.1\r\nX: " + bytes(17_000)
ANSWERED = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("asked", [REFUSED, ANSWERED])
def test_little_is_read_after_the_last_answer(face: Face, asked: bytes) -> None:
    # When TLS ends, octets come until the other side has ended too.
    channel, transport = face.connect()
    channel.dataReceived(asked)
    assert transport.disconnecting
    said = transport.value()
    ended = []
    for _ in range(5):
        channel.dataReceived(ANSWERED + bytes(16_000))
        ended.append(transport.disconnected)
    assert ended == [False, False, False, False, True]
    assert transport.value() == said
    assert len(face.asked) == (asked is ANSWERED)
    channel.connectionLost(Failure(ConnectionDone()))
    assert face.clock.getDelayedCalls() == []


@pytest.mark.parametrize("asked", [REFUSED, ANSWERED])
def test_one_that_never_ends_is_ended(face: Face, asked: bytes) -> None:
    channel, transport = face.connect()
    channel.dataReceived(asked)
    ended = []
    for seconds in (20, 11, 6):
        face.clock.advance(seconds)
        ended.append(transport.disconnected)
    assert (ended[0], ended[-1]) == (False, True)
    channel.connectionLost(Failure(ConnectionDone()))


@pytest.mark.parametrize("octet", [0x80, 0x85, 0xFF])
def test_a_value_may_have_octets_that_are_line_ends_elsewhere(face: Face, octet: int) -> None:
    face.ask(b"GET / HTTP/1.1\r\nX: a%cHost: evil\r\nHost: localhost\r\n\r\n" % octet)
    [asked] = face.asked
    assert asked.headers["host"] == ("localhost",)
    assert asked.headers["x"] == (f"a{chr(octet)}Host: evil",)


def test_what_fails_is_logged_and_told_to_nobody(face: Face, logged: Logged) -> None:
    async def fail(asked: AdminRequest) -> Answer:
        raise RuntimeError("a secret")

    face.answer = fail
    octets, _ = face.ask(request())
    assert octets.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in octets
    assert "a secret" in logged.failures[0]


def test_one_that_leaves_before_its_answer(face: Face, logged: Logged) -> None:
    waiting: Deferred[None] = Deferred()

    async def later(asked: AdminRequest) -> Answer:
        await waiting
        return as_json(200, "late")

    face.answer = later
    channel, transport = face.connect()
    channel.dataReceived(request())
    channel.connectionLost(Failure(ConnectionDone()))
    waiting.callback(None)
    assert transport.value() == b""
    assert logged.text == ""


def test_an_answer_may_take_its_time(face: Face) -> None:
    waiting: Deferred[None] = Deferred()

    async def later(asked: AdminRequest) -> Answer:
        await waiting
        return as_json(200, "late")

    face.answer = later
    channel, transport = face.connect()
    channel.dataReceived(request())
    face.clock.advance(1000)
    assert not transport.over
    waiting.callback(None)
    assert transport.value().endswith(b'"late"\n')


class TestStream:
    @pytest.fixture
    def stream(self, face: Face) -> Streaming:
        made = Streaming()

        async def give(asked: AdminRequest) -> Stream:
            return Stream(made, EVENTS)

        face.answer = give
        return made

    def test_its_parts_are_sent_as_they_come(self, face: Face, stream: Streaming) -> None:
        channel, transport = face.connect()
        channel.dataReceived(request())
        assert stream.outlet is not None
        stream.outlet.write(b"one")
        head, _, body = transport.value().partition(b"\r\n\r\n")
        assert b"text/event-stream" in head
        assert body == b"3\r\none\r\n"
        face.clock.advance(1000)
        assert not transport.over
        stream.outlet.end()
        assert transport.value().endswith(b"0\r\n\r\n")
        assert stream.told == []

    def test_a_reader_that_is_slow(self, face: Face, stream: Streaming) -> None:
        channel, _ = face.connect()
        channel.dataReceived(request())
        channel.pauseProducing()
        channel.resumeProducing()
        assert stream.told == ["pause", "resume"]

    def test_a_reader_that_leaves(self, face: Face, stream: Streaming, logged: Logged) -> None:
        channel, _ = face.connect()
        channel.dataReceived(request())
        channel.connectionLost(Failure(ConnectionDone()))
        assert stream.told == ["stop"]
        assert logged.text == ""

    def test_a_reader_that_is_let_go(self, face: Face, stream: Streaming) -> None:
        channel, transport = face.connect()
        channel.dataReceived(request())
        assert stream.outlet is not None
        stream.outlet.abort()
        assert transport.disconnected
        channel.connectionLost(Failure(ConnectionDone()))
        assert stream.told == []

    def test_one_that_left_before_it_began(self, face: Face, stream: Streaming) -> None:
        waiting: Deferred[None] = Deferred()

        async def later(asked: AdminRequest) -> Stream:
            await waiting
            return Stream(stream, EVENTS)

        face.answer = later
        channel, _ = face.connect()
        channel.dataReceived(request())
        channel.connectionLost(Failure(ConnectionDone()))
        waiting.callback(None)
        assert stream.told == ["stop"]
        assert stream.outlet is None


class TestEnd:
    def end(self, face: Face) -> list[None]:
        ended: list[None] = []
        face.factory.end().addCallback(ended.append)
        return ended

    def test_it_lets_go_of_all_and_waits_for_what_was_said(self, face: Face) -> None:
        there = [face.connect() for _ in range(3)]
        ended = self.end(face)
        assert all(transport.disconnecting for _, transport in there)
        for channel, _ in there:
            assert ended == []
            channel.connectionLost(Failure(ConnectionDone()))
        assert ended == [None]
        assert face.clock.getDelayedCalls() == []

    def test_but_not_for_long(self, face: Face) -> None:
        _, transport = face.connect()
        ended = self.end(face)
        face.clock.advance(0.9)
        assert (ended, transport.disconnected) == ([], False)
        face.clock.advance(0.1)
        assert (ended, transport.disconnected) == ([None], True)

    def test_of_none(self, face: Face) -> None:
        assert self.end(face) == [None]
        assert face.clock.getDelayedCalls() == []


def test_what_is_spoken_within_tls(face: Face) -> None:
    assert face.factory.acceptableProtocols() == [b"http/1.1"]
    assert face.clock.getDelayedCalls() == []
    face.factory.doStop()


class TestRoom:
    @pytest.mark.parametrize("way", ["Content-Length: 5000", "Transfer-Encoding: chunked"])
    def test_what_is_large_is_read_where_it_may_be(self, face: Face, way: str) -> None:
        face.factory.room_for = lambda asked: 5000 if asked.target == "/x" else 4999
        body = b"x" * 5000
        if "chunked" in way:
            body = b"1388\r\n" + body + b"\r\n0\r\n\r\n"
        face.ask(request("/x", way, method="POST", body=body))
        assert face.asked[0].body == b"x" * 5000
        said, _ = face.ask(request("/y", way, method="POST", body=body))
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b"at most 4999 octets" in said
        assert len(face.asked) == 1

    def test_with_another_twisted_it_is_small(
        self, face: Face, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "request_line", lambda _: None)
        face.factory.room_for = lambda _: 5000
        for size in (4096, 4097):
            said, _ = face.ask(
                request("/x", f"Content-Length: {size}", method="POST", body=b"x" * size)
            )
        assert [len(asked.body) for asked in face.asked] == [4096]
        assert said.startswith(b"HTTP/1.1 413 ")

    def test_who_may_not_ask_is_told_that_and_not_how_much(self, face: Face) -> None:
        face.factory.room_for = lambda _: as_json(401, {"error": "the token is needed"})
        said, _ = face.ask(request("/x", "Content-Length: 5000", method="POST"))
        assert said.startswith(b"HTTP/1.1 401 ")
        face.ask(request("/x", "Content-Length: 3", method="POST", body=b"abc"))
        assert face.asked[0].body == b"abc"  # which is for whoever responds to judge
