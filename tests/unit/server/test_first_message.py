"""first_message.py: the frames of a client up to its token."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from autobahn.websocket.types import ConnectionDeny
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from wsservice.auth.contract import User
from wsservice.auth.credentials import LONGEST
from wsservice.protocol.compression import deflate
from wsservice.server.behaviours import EchoServerProtocol, GreetingServerProtocol, ServerProtocol
from wsservice.server.first_message import MOST_FRAMES, FirstMessage, FirstMessageError

from ...examples import examples
from ...support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Client,
    Logged,
    close_payload,
    frame,
    frames,
)
from .test_identity import BEARER, Guarded, Table, opened, status

__all__ = ["Table"]

CONTINUATION = 0


@pytest.fixture
def table() -> Table:
    return Table()


def compressed(text: bytes, fin: bool = True) -> bytes:
    whole = frame(TEXT, deflate(text, 15), fin=fin)
    return bytes([whole[0] | 0x40]) + whole[1:]


class TestFrames:
    @examples(200)
    @given(st.lists(st.integers(1, 60), max_size=8), st.integers(0, 3))
    def test_it_may_come_in_any_pieces(self, cuts: list[int], pings: int) -> None:
        octets = b"".join(
            [
                *[frame(PING, b"x")] * pings,
                frame(TEXT, b"to", fin=False),
                frame(PING, b"between"),
                frame(PONG),
                frame(CONTINUATION, b"", fin=False),
                frame(CONTINUATION, b"ken"),
                frame(TEXT, b"and more"),
            ]
        )
        first = FirstMessage(None)
        taken: list[bytes] = []
        at = 0
        for cut in [*cuts, len(octets)]:
            first.feed(octets[at : at + cut]) if first.token is None else taken.append(
                octets[at : at + cut]
            )
            at += cut
        assert first.token == "token"
        assert first.rest + b"".join(taken) == frame(TEXT, b"and more")
        assert [each for pong in first.pongs for each in frames(pong)] == [
            *[(PONG, b"x")] * pings,
            (PONG, b"between"),
        ]

    @pytest.mark.parametrize(
        ("octets", "code"),
        [
            (frame(BINARY, b"token"), 1008),
            (frame(TEXT, b"x" * (LONGEST + LONGEST // 8 + 100)), 1008),
            (frame(TEXT, b"x" * (1 << 20))[:14], 1008),
            (frame(CLOSE, close_payload(1000)), 1000),
            (frame(TEXT, b"token", masked=False), 1002),
            (frame(CONTINUATION, b"token"), 1002),
            (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
            (frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), 1008),
            (frame(PING, b"a", fin=False), 1002),
            (frame(PING, b"a" * 126), 1002),
            (frame(3, b"a"), 1002),
            (frame(11, b"a"), 1002),
            (compressed(b"token"), 1002),
            (bytes([frame(TEXT)[0] | 0x20]) + frame(TEXT, b"a")[1:], 1002),
            (frame(TEXT, b"\xff"), 1007),
            (frame(PING) * (MOST_FRAMES + 1), 1008),
            (frame(TEXT, b"", fin=False) + frame(CONTINUATION, fin=False) * MOST_FRAMES, 1008),
            (frame(TEXT, b"x" * 6000, fin=False) + frame(CONTINUATION, b"x" * 6000), 1008),
            (b"\x81\xfe\x00\x05aaaatoken", 1002),
        ],
    )
    def test_anything_else_is_refused(self, octets: bytes, code: int) -> None:
        with pytest.raises(FirstMessageError) as raised:
            FirstMessage(None).feed(octets)
        assert raised.value.code == code

    def test_compressed(self) -> None:
        def inflated(octets: bytes) -> bytes:
            return zlib.decompressobj(-15).decompress(octets + b"\x00\x00\xff\xff")

        whole = compressed(b"token" * 9)
        assert FirstMessage(inflated).feed(whole) == "token" * 9
        payload = deflate(b"token" * 9, 15)
        head = bytearray(frame(TEXT, payload[:4], fin=False))
        head[0] |= 0x40
        assert (
            FirstMessage(inflated).feed(bytes(head) + frame(CONTINUATION, payload[4:]))
            == "token" * 9
        )
        with pytest.raises(FirstMessageError):
            FirstMessage(inflated).feed(bytes([whole[0]]) + frame(TEXT, b"\xff\xff\xff")[1:])

    @examples(200)
    @given(st.binary(max_size=300))
    def test_nothing_else_is_raised(self, octets: bytes) -> None:
        with contextlib.suppress(FirstMessageError):
            FirstMessage(None).feed(octets)


class Watching(GreetingServerProtocol):
    """Notes what is called."""

    calls: list[Any]

    def onConnect(self, request: Any) -> Any:
        self.calls = ["connect", self.user and self.user.id]
        return self.chooses(request)

    def chooses(self, request: Any) -> Any:
        return None

    def onOpen(self) -> None:
        self.calls.append("open")
        super().onOpen()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.calls.append(payload)

    def onPing(self, payload: bytes) -> None:
        raise AssertionError("a behaviour sees nothing before the token")

    def onMessageBegin(self, isBinary: bool) -> None:
        self.calls.append("begin")
        super().onMessageBegin(isBinary)


@pytest.fixture
def serve(table: Table, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Guarded]:
    def serving(protocol: type[ServerProtocol] = Watching, **settings: Any) -> Guarded:
        return Guarded(table, monkeypatch, protocol, auth_first_message=True, **settings)

    return serving


def waiting(server: Guarded, *headers: str) -> Client:
    """A client that got its 101, and has to send its token."""
    client = server.connect()
    assert opened(client.ask("/room", *headers))
    return client


Serve = Callable[..., Guarded]


class TestConnection:
    def test_it_opens_with_the_token(self, serve: Serve) -> None:
        server = serve()
        client = waiting(server)
        client.send(frame(PING, b"x"))
        assert client.frames() == [(PONG, b"x")]
        assert not hasattr(client.protocol, "calls")
        assert server.hub.publish("room", b"hidden") == 0
        assert client.taken() == b""
        assert server.factory.counts.opened == 0
        client.text("good")
        assert client.frames() == [(TEXT, b"Hello from server")]
        assert client.protocol.calls == ["connect", "tom", "open"]
        assert server.hub.publish("room", b"seen") == 1
        client.text("more")
        assert client.protocol.calls[3:] == ["begin", b"more"]
        assert server.factory.counts.opened == 1
        server.clock.advance(60)
        assert not client.dropped

    def test_what_comes_with_the_token_waits_for_it(self, serve: Serve) -> None:
        client = waiting(serve())
        client.send(frame(TEXT, b"good") + frame(TEXT, b"one") + frame(TEXT, b"two")[:3])
        assert client.protocol.calls == ["connect", "tom", "open", "begin", b"one"]
        client.send(frame(TEXT, b"two")[3:])
        assert client.protocol.calls[-1] == b"two"

    def test_the_codec_reads_what_comes_behind(self, serve: Serve) -> None:
        server = serve(EchoServerProtocol)
        client = waiting(server)
        client.send(frame(TEXT, b"good") + frame(TEXT, b"one") + frame(BINARY, b"two"))
        client.text("three")
        assert client.frames() == [(TEXT, b"one"), (BINARY, b"two"), (TEXT, b"three")]

    def test_a_credential_in_the_request_is_taken(self, serve: Serve) -> None:
        server = serve()
        client = server.connect()
        assert opened(client.ask("/", BEARER + "good"))
        assert client.protocol.calls == ["connect", "tom", "open"]
        assert status(server.connect().ask("/", BEARER + "wrong")) == 401

    def test_later(self, serve: Serve, table: Table) -> None:
        table.waits = True
        client = waiting(serve())
        client.send(frame(TEXT, b"good") + frame(TEXT, b"one"))
        assert client.transport.is_paused()
        client.send(frame(TEXT, b"two"))
        assert client.taken() == b""
        table.later[0].callback(User("ann"))
        assert client.protocol.calls[:3] == ["connect", "ann", "open"]
        assert client.protocol.calls[3:] == ["begin", b"one", "begin", b"two"]
        assert not client.transport.is_paused()

    @pytest.mark.parametrize(
        ("octets", "code", "reason"),
        [
            (frame(TEXT, b"wrong"), 1008, b"the token is unknown"),
            (frame(TEXT, b"forbidden"), 1008, b"the user is locked"),
            (frame(TEXT, b""), 1008, b"the credential is empty, in the first message"),
            (frame(TEXT, b"go od"), 1008, b"the credential is malformed, in the first message"),
            (frame(BINARY, b"good"), 1008, b"the first message is binary"),
            (frame(TEXT, b"x" * 9000), 1008, b"the credential has more than 8192 octets"),
            (frame(TEXT, b"x" * 20_000), 1008, b"the first message has more than 8192 octets"),
            (frame(CLOSE, close_payload(1000)), 1000, b"the client closed"),
            (frame(5), 1002, b"a frame breaks the protocol"),
        ],
    )
    def test_anything_else_closes(
        self, serve: Serve, logged: Logged, octets: bytes, code: int, reason: bytes
    ) -> None:
        server = serve()
        client = waiting(server)
        client.send(octets)
        ((opcode, payload),) = client.frames()
        assert opcode == CLOSE
        assert payload.startswith(close_payload(code, reason))
        assert client.dropped
        assert not hasattr(client.protocol, "calls")
        assert logged.text.count(f"refused with {code}: {reason.decode()}") == 1
        assert not logged.failures
        assert sum(server.factory.counts.refusals.values()) == 1
        client.send(frame(TEXT, b"good"))
        assert client.taken() == b""

    def test_it_has_its_own_time(self, serve: Serve, logged: Logged) -> None:
        server = serve()
        client = server.connect()
        server.clock.advance(4)
        assert opened(client.ask("/"))
        server.clock.advance(4)
        assert client.frames() == []
        client.send(frame(TEXT, b"go", fin=False))
        server.clock.advance(1)
        assert client.frames() == [(CLOSE, close_payload(1008, b"no token came in time"))]
        assert server.factory.counts.refusals["timed out"] == 1
        assert logged.text.count("refused with 1008") == 1

    def test_it_has_a_time_without_a_limit_too(self, serve: Serve) -> None:
        server = serve(handshake_timeout=0)
        client = waiting(server)
        server.clock.advance(11)
        assert client.frames() == [(CLOSE, close_payload(1008, b"no token came in time"))]

    def test_nobody_can_tell_in_time(self, serve: Serve, table: Table) -> None:
        table.waits = True
        server = serve(overload_code=4013)
        client = waiting(server)
        client.text("good")
        server.clock.advance(5)
        ((_, payload),) = client.frames()
        assert payload.startswith(close_payload(4013, b"the credential could not be checked"))

    def test_the_service_stops_or_an_operator_closes(self, serve: Serve) -> None:
        server = serve()
        client = waiting(server)
        client.protocol.go_away()
        ((_, payload),) = client.frames()
        assert payload.startswith(close_payload(1001))
        client = waiting(server)
        client.protocol.close_for_operator(4000, "")
        assert client.frames() == [
            (CLOSE, close_payload(4000, b"an operator closed the connection"))
        ]
        client = waiting(server)
        client.protocol.close_for_operator(4000, "moved to pörts")
        assert client.frames() == [(CLOSE, close_payload(4000, "moved to pörts".encode()))]

    @pytest.mark.parametrize("is_pending", [False, True])
    def test_a_reload_takes_auth_away(
        self, serve: Serve, table: Table, logged: Logged, is_pending: bool
    ) -> None:
        table.waits = is_pending
        server = serve()
        client = waiting(server)
        if is_pending:
            client.text("good")
        server.factory.identification = server.factory.channel_rules = None
        if is_pending:
            table.later[0].callback(User("tom"))
            client.text("one")
        else:
            client.send(frame(TEXT, b"token") + frame(TEXT, b"one"))
        user = "tom" if is_pending else None
        assert client.protocol.calls == ["connect", user, "open", "begin", b"one"]
        assert not logged.failures

    def test_the_connection_is_lost(self, serve: Serve, table: Table, logged: Logged) -> None:
        table.waits = True
        server = serve()
        client = waiting(server)
        client.text("good")
        client.lose()
        assert server.identification.pending == 0
        assert not logged.failures
        assert not hasattr(client.protocol, "calls")

    def test_the_behaviour_denies(self, serve: Serve) -> None:
        class Denying(Watching):
            def chooses(self, request: Any) -> Any:
                raise ConnectionDeny(403, "locked out")

        client = waiting(serve(Denying))
        client.text("good")
        assert client.frames() == [(CLOSE, close_payload(1008, b"locked out"))]

    def test_the_behaviour_decides_later(self, serve: Serve) -> None:
        decisions: list[Deferred[None]] = []

        class Slow(Watching):
            def chooses(self, request: Any) -> Any:
                decisions.append(Deferred())
                return decisions[-1]

        server = serve(Slow)
        client = waiting(server)
        client.send(frame(TEXT, b"good") + frame(TEXT, b"one"))
        assert client.taken() == b""
        decisions[0].callback(None)
        assert client.protocol.calls == ["connect", "tom", "open", "begin", b"one"]
        client = waiting(server)
        client.text("good")
        server.clock.advance(server.config.handshake_timeout)
        ((_, payload),) = client.frames()
        assert payload.startswith(close_payload(1013, b"the service did not let the client in"))
        assert server.factory.counts.refusals["timed out"] == 1

    def test_the_subprotocol_is_chosen_before(self, serve: Serve, logged: Logged) -> None:
        class Choosing(Watching):
            def chooses(self, request: Any) -> Any:
                return request.protocols[-1]

        server = serve(Choosing)
        client = server.connect()
        answer = client.ask("/", "Sec-WebSocket-Protocol: chat")
        assert b"Sec-WebSocket-Protocol: chat\r\n" in answer
        client.text("good")
        assert client.protocol.calls == ["connect", "tom", "open"]
        client = waiting(server, "Sec-WebSocket-Protocol: chat, other")
        client.text("good")
        ((opcode, payload),) = client.frames()
        assert (opcode, payload[:2]) == (CLOSE, close_payload(1008))
        assert not logged.failures

    def test_compressed(self, serve: Serve) -> None:
        server = serve(compression="on")
        client = waiting(server, "Sec-WebSocket-Extensions: permessage-deflate")
        client.send(compressed(b"good-compressed"))
        assert client.protocol.calls == ["connect", "tom", "open"]
        client.send(compressed(b"next"))
        assert client.protocol.calls[-1] == b"next"
        client = waiting(server, "Sec-WebSocket-Extensions: permessage-deflate")
        client.send(compressed(b"a" * 1_000_000))
        ((opcode, payload),) = client.frames()
        assert (opcode, payload[:2]) == (CLOSE, close_payload(1008))

    def test_envelopes(self, serve: Serve) -> None:
        server = serve(history="10")
        server.hub.publish("room", b"before")
        client = waiting(server, "Sec-WebSocket-Protocol: wsservice.v1")
        client.text("good")
        server.clock.advance(1)
        assert client.protocol.speaks_envelopes
        assert client.protocol.calls == ["connect", "tom", "open"]
