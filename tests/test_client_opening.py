"""What a client makes of the answers to its opening handshake."""

from __future__ import annotations

from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.logger import globalLogPublisher

from wsservice.client.cookies import CookieFile
from wsservice.client.opening import RedirectedError
from wsservice.client.security import HostSecurity
from wsservice.errors import CertificateError, ConnectError, HandshakeError, TLSError

from .support import Connecting, Logged

URL = "ws://server.example:8080/there"


def failed(connecting: Connecting) -> Any:
    """What connecting failed with, in one printable line."""
    (failure,) = connecting.outcome
    assert str(failure.value).isprintable()
    return failure.value


class Refused:
    """A client whose server refuses."""

    def __init__(self, *answers: bytes, **settings: Any) -> None:
        self.connecting = Connecting(**settings)
        for answer in answers:
            self.connecting.server.send(answer)

    def gave_up(self) -> bool:
        return self.connecting.server.aborted

    def error(self) -> Any:
        self.connecting.server.lose(ConnectionLost())
        return failed(self.connecting)


class TestRefusal:
    def test_the_first_line_of_its_body_is_told_escaped_and_cut(self) -> None:
        refused = Refused(b"HTTP/1.1 401 No\r\n\r\n\r\ntoken \x1b[2J expired " + b"x" * 999 + b"\n")
        assert refused.gave_up()
        text = str(refused.error())
        assert text.startswith(
            rf"{URL} refused to open a WebSocket: 401 No: token \x1b[2J expired x"
        )
        assert text.endswith("x...")
        assert len(text) < 400

    def test_a_body_may_come_in_parts(self) -> None:
        refused = Refused(
            b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nd"
        )
        assert not refused.gave_up()
        refused.connecting.server.send(b"e\r\n0\r\n\r\n")
        assert refused.gave_up()
        assert str(refused.error()).endswith(": 401 No: abcde")

    def test_one_that_does_not_come_is_not_waited_for_long(self) -> None:
        refused = Refused(b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nabc", handshake_timeout=60)
        refused.connecting.clock.advance(2.9)
        assert not refused.gave_up()
        refused.connecting.clock.advance(0.2)
        assert refused.gave_up()
        assert str(refused.error()).endswith(": 401 No: abc")

    def test_nor_longer_than_the_handshake_may_take(self) -> None:
        refused = Refused(b"HTTP/1.1 401 No\r\n\r\nabc", handshake_timeout=1)
        refused.connecting.clock.advance(1.1)
        assert refused.gave_up()
        assert str(refused.error()).endswith(": 401 No: abc")

    def test_the_end_of_the_connection_ends_it(self) -> None:
        refused = Refused(b"HTTP/1.1 401 No\r\n\r\nabc")
        error = refused.error()
        assert type(error) is HandshakeError
        assert error.status == 401
        assert str(error).endswith(": 401 No: abc")
        assert refused.connecting.clock.getDelayedCalls() == []

    def test_one_that_never_ends_is_not_read_to_its_end(self) -> None:
        refused = Refused(b"HTTP/1.1 401 No\r\n\r\n")
        for _ in range(40):
            refused.connecting.server.send(b"x" * 1000)
        assert refused.gave_up()
        refused.error()

    def test_when_to_come_again_is_told(self) -> None:
        refused = Refused(b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
        assert refused.error().retry_after == 7

    def test_where_a_redirect_leads_that_is_not_followed(self) -> None:
        refused = Refused(
            b"HTTP/1.1 302 Found\r\nLocation: /\x1b\r\nContent-Length: 0\r\n\r\n", max_redirects=0
        )
        error = refused.error()
        assert type(error) is HandshakeError
        assert str(error).endswith(r": 302 Found, to /\x1b")


class TestRedirect:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_it_is_told_at_once(self, status: int) -> None:
        refused = Refused(f"HTTP/1.1 {status} X\r\nLocation: /x\r\n\r\n".encode())
        assert refused.gave_up()
        error = refused.error()
        assert isinstance(error, RedirectedError)
        assert (error.status, error.location) == (status, "/x")

    @pytest.mark.parametrize("head", ["302 X", "304 X\r\nLocation: /x", "404 X\r\nLocation: /x"])
    def test_others_are_refusals(self, head: str) -> None:
        refused = Refused(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n".encode())
        assert type(refused.error()) is HandshakeError


class TestAnswer:
    def test_those_that_come_before_it_are_passed_over(self) -> None:
        connecting = Connecting()
        server = connecting.server
        acceptance = server.acceptance()
        server.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n")
        server.send(b"\r\n" + acceptance)
        assert connecting.outcome == [connecting.protocol]

    def test_many_of_them_are_no_fault(self, logged: Logged) -> None:
        connecting = Connecting(handshake_timeout=1)
        for _ in range(10):
            connecting.server.send(b"HTTP/1.1 100 \r\n\r\n" * 3000)
        connecting.clock.advance(1.1)
        assert connecting.server.aborted
        connecting.server.lose()
        assert "opening handshake timeout" in str(failed(connecting))
        assert logged.failures == []

    def test_a_compression_that_was_not_offered_is_refused(self) -> None:
        connecting = Connecting()
        connecting.server.accept("Sec-WebSocket-Extensions: permessage-deflate")
        assert connecting.server.aborted
        connecting.server.lose()
        assert "extension" in str(failed(connecting))

    @pytest.mark.parametrize(
        "head", [b"HTTP/1.1 101 a\x0bX: y", b"HTTP/1.1 101 a\r\nX: y\xc2\x85Upgrade: websocket"]
    )
    def test_a_head_that_can_be_read_in_two_ways_is_refused(self, head: bytes) -> None:
        connecting = Connecting()
        connecting.server.send(head + b"\r\n\r\n")
        connecting.server.lose()
        assert "its answer makes no sense" in str(failed(connecting))

    def test_cookies_are_kept_whatever_the_answer(self) -> None:
        for answer in (b"401 No", b"302 X\r\nLocation: /"):
            jar = CookieJar()
            connecting = Connecting(cookie_jar=jar)
            connecting.server.send(b"HTTP/1.1 " + answer + b"\r\nSet-Cookie: a=b\r\n\r\n")
            assert [cookie.name for cookie in jar] == ["a"]

    def test_cookies_that_cannot_be_kept_are_an_error(self, tmp_path: Path) -> None:
        jar = CookieFile(str(tmp_path / "nowhere" / "jar"))
        connecting = Connecting(cookie_jar=jar)
        connecting.server.accept("Set-Cookie: a=b")
        connecting.server.lose()
        error = failed(connecting)
        assert type(error) is ConnectError
        assert "cannot write cookies" in str(error)


class TestTLS:
    def test_nothing_is_said_before_it_is_agreed_upon(self) -> None:
        lines: list[str] = []
        connecting = Connecting(security=HostSecurity(), trace=lines.append)
        assert connecting.server.taken() == b""
        connecting.protocol.handshakeCompleted()
        assert connecting.server.taken().startswith(b"GET /there ")
        assert lines[0] == "> GET /there HTTP/1.1"

    def test_a_server_that_breaks_off_before(self) -> None:
        connecting = Connecting(security=HostSecurity())
        connecting.server.lose()
        error = failed(connecting)
        assert type(error) is TLSError
        assert not isinstance(error, CertificateError)
        assert str(error) == f"cannot connect to {URL}: TLS failed, the server broke off"

    def test_and_after(self) -> None:
        connecting = Connecting(security=HostSecurity())
        connecting.protocol.handshakeCompleted()
        connecting.server.lose()
        assert type(failed(connecting)) is HandshakeError


def test_both_handshakes_are_traced_without_secrets() -> None:
    lines: list[str] = []
    connecting = Connecting(url="ws://user:secret@a/", trace=lines.append)
    connecting.server.accept("Set-Cookie: a=secret")
    assert lines[:2] == ["> GET / HTTP/1.1", "> Host: a"]
    assert "> Authorization: Basic ***" in lines
    assert "< HTTP/1.1 101 Switching Protocols" in lines
    assert "< Set-Cookie: ***" in lines
    assert not any("secret" in line for line in lines)


PIECES = [
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 100 \r\n\r\n",
    b"HTTP/1.1 302 Found\r\n",
    b"HTTP/1.1 401 \r\n",
    b"Location: ",
    b"Upgrade: websocket\r\n",
    b"Connection: upgrade\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=",
    b"Sec-WebSocket-Accept: x\r\n",
    b"Set-Cookie: a=b; Expires=; Domain=\xff\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"ffffffff\r\n",
    b"\r\n",
    b"\r\n\r\n",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=12))
def test_no_answer_is_a_fault_of_ours(pieces: list[bytes]) -> None:
    logged = Logged()
    globalLogPublisher.addObserver(logged)
    try:
        connecting = Connecting(cookie_jar=CookieJar(), compression=True)
        for piece in pieces:
            connecting.server.send(piece)
        connecting.server.lose()
    finally:
        globalLogPublisher.removeObserver(logged)
    assert isinstance(failed(connecting), HandshakeError)
    assert logged.failures == []
