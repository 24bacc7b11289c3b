from __future__ import annotations

from typing import Any

import pytest
from autobahn.websocket.protocol import WebSocketProtocol
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import ConnectionLost

from wsservice.client.options import ClientConfig
from wsservice.client.protocol import ClientProtocol, client_options
from wsservice.errors import CertificateError, HandshakeError, TLSError

from ...support import BINARY, CLOSE, TEXT, Connecting, Logged, close_payload, frame

URL = "ws://server.example:8080/there"
HOSTILE = b"a\x0bb\x1b[2J\xff"


def failed(connecting: Connecting) -> Any:
    """Return the failure of a connection, whose text is one printable line."""
    (failure,) = connecting.outcome
    assert str(failure.value).isprintable()
    return failure.value


class Recorder(ClientProtocol):
    def connectionMade(self) -> None:
        self.calls: list[Any] = []
        super().connectionMade()

    def onOpen(self) -> None:
        self.calls.append("open")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.calls.append((payload, isBinary))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.calls.append((wasClean, code))


def test_every_option_of_autobahns_is_set_on_purpose() -> None:
    assert set(client_options(ClientConfig(url=URL))) == {
        *WebSocketProtocol.CONFIG_ATTRS_COMMON,
        *WebSocketProtocol.CONFIG_ATTRS_CLIENT,
    }


def test_options_live_on_the_class_and_not_on_each_connection() -> None:
    connecting = Connecting()
    connecting.server.accept()
    assert not set(client_options(connecting.config)) & set(vars(connecting.protocol))


class TestRequest:
    def request(self, **settings: Any) -> list[str]:
        octets: bytes = Connecting(**settings).server.taken()
        assert octets.endswith(b"\r\n\r\n")
        return octets.decode().split("\r\n")

    def test_it_asks_for_the_resource_at_the_host(self) -> None:
        lines = self.request()
        assert lines[0] == "GET /there HTTP/1.1"
        assert "Host: server.example:8080" in lines
        assert "Sec-WebSocket-Version: 13" in lines
        assert not any("Extensions" in line for line in lines)

    def test_an_ipv6_address_has_its_brackets(self) -> None:
        assert "Host: [2001:db8::1]:9" in self.request(url="ws://[2001:db8::1]:9/")

    def test_what_is_after_a_semicolon_is_kept(self) -> None:
        lines = self.request(url="ws://localhost/p;v=1?q=2")
        assert lines[0] == "GET /p;v=1?q=2 HTTP/1.1"

    def test_what_is_configured_goes_into_it(self) -> None:
        lines = self.request(
            origin="https://app.example",
            headers={"X-A": "1"},
            subprotocols=["a", "b"],
            user_agent="me",
        )
        assert {
            "Origin: https://app.example",
            "X-A: 1",
            "Sec-WebSocket-Protocol: a, b",
            "User-Agent: me",
        } <= set(lines)


class TestOpen:
    def test_it_fires_with_the_connection_after_on_open(self) -> None:
        connecting = Connecting(Recorder)
        assert connecting.outcome == []
        connecting.server.accept()
        assert connecting.outcome == [connecting.protocol]
        assert connecting.protocol.calls == ["open"]

    def test_messages_right_behind_the_answer_arrive(self) -> None:
        connecting = Connecting(Recorder)
        server = connecting.server
        server.send(server.acceptance() + frame(TEXT, b"hi", masked=False))
        server.send(frame(BINARY, b"\0", masked=False))
        assert connecting.protocol.calls == ["open", (b"hi", False), (b"\0", True)]

    def test_what_it_sends_is_masked(self) -> None:
        connecting = Connecting()
        server = connecting.server.accept()
        connecting.protocol.sendMessage(b"hello")
        octets = server.taken()
        assert octets[1] & 0x80
        assert b"hello" not in octets

    def test_a_failing_on_connect_closes_with_1011(self, logged: Logged) -> None:
        class Failing(Recorder):
            def onConnect(self, response: Any) -> None:
                raise ValueError("no")

        connecting = Connecting(Failing)
        server = connecting.server.accept()
        assert server.frames() == [(CLOSE, close_payload(1011))]
        assert connecting.protocol.calls == []
        assert len(logged.failures) == 1

    def test_a_failing_callback_closes_with_1011(self, logged: Logged) -> None:
        class Failing(Recorder):
            async def onMessage(  # type: ignore[override]
                self, payload: bytes, isBinary: bool
            ) -> None:
                raise ValueError("no")

        server = Connecting(Failing).server.accept()
        server.send(frame(TEXT, b"x", masked=False))
        assert server.frames() == [(CLOSE, close_payload(1011))]
        assert len(logged.failures) == 1


class TestRefused:
    @pytest.mark.parametrize(
        ("head", "status", "said"),
        [
            (b"HTTP/1.1 404 Not Found", 404, "404 Not Found"),
            (b"HTTP/1.1 403 " + HOSTILE, 403, r"403 a\x0bb\x1b[2J"),
            (b"HTTP/1.1 503", 503, "503"),
        ],
    )
    def test_the_status_is_told(self, head: bytes, status: int, said: str, logged: Logged) -> None:
        connecting = Connecting(Recorder)
        connecting.server.send(head.replace(b"\xff", b"") + b"\r\nX: y\r\n\r\nthe body\n")
        assert connecting.server.aborted
        connecting.server.lose(ConnectionLost())
        error = failed(connecting)
        assert type(error) is HandshakeError
        assert error.status == status
        assert str(error) == f"{URL} refused to open a WebSocket: {said}: the body"
        assert connecting.protocol.calls == []
        assert logged.events == []

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [("Retry-After: 7", 7.0), ("Retry-After: soon", None), ("X: 7", None)],
    )
    def test_it_may_ask_to_be_left_alone(self, header: str, seconds: float | None) -> None:
        connecting = Connecting()
        connecting.server.send(f"HTTP/1.1 503 Busy\r\n{header}\r\n\r\n".encode())
        connecting.server.lose()
        assert failed(connecting).retry_after == seconds

    @pytest.mark.parametrize(
        "answer",
        [
            b"nonsense\r\n\r\n",
            b"\r\n\r\n",
            b"HTTP/1.1 101 " + HOSTILE + b"\r\nX: \xff\xfe\r\n\r\n",
            b"HTTP/1.1 101 \xff\r\n\r\n",
            b"HTTP/1.1 101 a\x0bb\r\n\r\n",
            b"HTTP/1.1 101 a\rb\r\n\r\n",
            b"HTTP/1.1 404 a\nb\r\n\r\n",
            b"HTTP/2 101 a\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nno colon\r\n\r\n",
        ],
    )
    def test_an_answer_that_makes_no_sense_is_an_error_and_not_a_fault(
        self, answer: bytes, logged: Logged
    ) -> None:
        connecting = Connecting()
        connecting.server.send(answer)
        assert connecting.server.aborted
        connecting.server.lose()
        assert type(failed(connecting)) is HandshakeError
        assert logged.events == []

    def test_endless_headers_are_not_read_to_their_end(self) -> None:
        connecting = Connecting()
        connecting.server.send(b"HTTP/1.1 101 Switching Protocols\r\n")
        for _ in range(200):
            connecting.server.send(b"X-More: " + b"x" * 100 + b"\r\n")
        assert connecting.server.aborted
        connecting.server.lose()
        assert "the head of its answer is too long" in str(failed(connecting))

    def test_a_subprotocol_that_was_not_asked_for_is_refused(self) -> None:
        connecting = Connecting()
        connecting.server.accept("Sec-WebSocket-Protocol: chat")
        connecting.server.lose()
        assert type(failed(connecting)) is HandshakeError

    def test_a_server_that_breaks_off(self) -> None:
        connecting = Connecting()
        connecting.server.lose(ConnectionLost())
        error = failed(connecting)
        assert type(error) is HandshakeError
        assert error.status is None
        assert str(error).startswith(f"{URL} did not open a WebSocket: ")

    def test_a_server_that_never_answers_is_given_up_after_the_handshake_timeout(self) -> None:
        connecting = Connecting(handshake_timeout=3)
        connecting.clock.advance(3)
        assert connecting.server.aborted
        connecting.server.lose(ConnectionLost())
        assert "opening handshake timeout" in str(failed(connecting))


_CURE = "; give the certificate of its authority by --ca"


class TestTLS:
    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            (
                SSL.Error([("SSL routines", "", "certificate verify failed")]),
                f"certificate verify failed{_CURE}",
            ),
            (SSL.Error([("a", "b", "one"), ("a", "b", "two\n")]), r"one, two\n"),
            (SSL.Error(), "the server broke off"),
            (SSL.SysCallError(-1, "Unexpected EOF"), "the server broke off"),
            (VerificationError(errors=[]), "the certificate is not for this host"),
        ],
    )
    def test_what_is_wrong_with_it_is_told(self, reason: Exception, words: str) -> None:
        connecting = Connecting()
        connecting.server.lose(reason)
        error = failed(connecting)
        of_the_certificate = "certificate" in words
        assert type(error) is (CertificateError if of_the_certificate else TLSError)
        assert str(error) == f"cannot connect to {URL}: TLS failed, {words}"


class TestEnd:
    def test_the_close_of_the_server_is_answered_and_tcp_left_to_it(self) -> None:
        connecting = Connecting(Recorder, close_timeout=3)
        server = connecting.server.accept()
        server.send(frame(CLOSE, close_payload(1001), masked=False))
        assert server.frames() == [(CLOSE, close_payload(1001))]
        assert not server.dropped
        server.lose()
        assert connecting.protocol.calls == ["open", (True, 1001)]
        assert connecting.clock.getDelayedCalls() == []

    @pytest.mark.parametrize("first", ["client", "server"])
    def test_a_server_that_never_drops_tcp_is_aborted_after_the_close_timeout(
        self, first: str
    ) -> None:
        connecting = Connecting(Recorder, close_timeout=3)
        server = connecting.server.accept()
        if first == "client":
            connecting.protocol.sendClose(1000)
        server.send(frame(CLOSE, close_payload(1000), masked=False))
        aborted = []
        for seconds in (2.9, 0.2):
            connecting.clock.advance(seconds)
            aborted.append(server.aborted)
        assert aborted == [False, True]
        server.lose()
        # The closing handshake was whole all the same.
        assert connecting.protocol.calls[-1] == (True, 1000)

    def test_a_server_that_never_answers_a_close_is_aborted(self) -> None:
        connecting = Connecting(Recorder, close_timeout=3)
        server = connecting.server.accept()
        connecting.protocol.sendClose(1000)
        connecting.clock.advance(3)
        assert server.aborted
        server.lose()
        assert connecting.protocol.calls[-1] == (False, 1006)

    def test_the_end_of_an_open_connection_is_no_failure_to_connect(self) -> None:
        connecting = Connecting()
        connecting.server.accept().lose(ConnectionLost())
        assert connecting.outcome == [connecting.protocol]


def test_a_connection_whose_onconnect_failed_is_not_called_open(logged: Logged) -> None:
    class Failing(ClientProtocol):
        def onConnect(self, response: object) -> None:
            raise RuntimeError("no")

    connecting = Connecting(Failing)
    connecting.server.accept()
    assert connecting.outcome == []
    connecting.server.lose()
    assert isinstance(connecting.outcome[0].value, HandshakeError)
    assert len(logged.failures) == 1


def test_a_host_may_be_named_unix() -> None:
    connecting = Connecting(url="ws://unix:8080/path")
    assert b"GET /path HTTP/1.1\r\n" in connecting.server.taken()


def test_a_connection_that_is_closed_in_the_same_breath_was_open() -> None:
    connecting = Connecting()
    close = frame(CLOSE, close_payload(1000), masked=False)
    connecting.server.send(connecting.server.acceptance() + close)
    assert connecting.outcome == [connecting.protocol]
