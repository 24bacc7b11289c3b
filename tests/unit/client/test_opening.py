"""A client judges the answers to its opening handshake."""

from __future__ import annotations

import zlib
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.logger import globalLogPublisher

from wsservice.client.opening import RedirectedError
from wsservice.client.protocol import ClientProtocol
from wsservice.client.security import HostSecurity
from wsservice.client.web.cookiefile import CookieFile
from wsservice.errors import CertificateError, ConnectError, HandshakeError, TLSError

from ...support import TEXT, Connecting, Logged, frame

URL = "ws://server.example:8080/there"


def failed(connecting: Connecting) -> Any:
    """Return the failure of a connection, whose text is one printable line."""
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
        refused = Refused(b"HTTP/1.1 403 No\r\n\r\n\r\ntoken \x1b[2J expired " + b"x" * 999 + b"\n")
        assert refused.gave_up()
        text = str(refused.error())
        assert text.startswith(
            rf"{URL} refused to open a WebSocket: 403 No: token \x1b[2J expired x"
        )
        assert text.endswith("x...")
        assert len(text) < 400

    def test_a_body_may_come_in_parts(self) -> None:
        refused = Refused(
            b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nd"
        )
        assert not refused.gave_up()
        refused.connecting.server.send(b"e\r\n0\r\n\r\n")
        assert refused.gave_up()
        assert str(refused.error()).endswith(": 403 No: abcde")

    def test_what_it_repeats_of_a_secret_is_masked(self) -> None:
        refused = Refused(b"HTTP/1.1 403 hunter2\r\n\r\nno token hunter2\n", bearer="hunter2")
        assert str(refused.error()).endswith(": 403 ********: no token ********")

    def test_where_it_leads_is_told_without_secrets(self) -> None:
        head = b"HTTP/1.1 302 No\r\nLocation: https://u:hunter2@a/?sid=hunter2\r\n\r\n\n"
        refused = Refused(head, max_redirects=0)
        assert "hunter2" not in str(refused.error())

    def test_one_that_does_not_come_is_not_waited_for_long(self) -> None:
        refused = Refused(b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nabc", handshake_timeout=60)
        refused.connecting.clock.advance(2.9)
        assert not refused.gave_up()
        refused.connecting.clock.advance(0.2)
        assert refused.gave_up()
        assert str(refused.error()).endswith(": 403 No: abc")

    def test_nor_longer_than_the_handshake_may_take(self) -> None:
        refused = Refused(b"HTTP/1.1 403 No\r\n\r\nabc", handshake_timeout=1)
        refused.connecting.clock.advance(1.1)
        assert refused.gave_up()
        assert str(refused.error()).endswith(": 403 No: abc")

    def test_the_end_of_the_connection_ends_it(self) -> None:
        refused = Refused(b"HTTP/1.1 403 No\r\n\r\nabc")
        error = refused.error()
        assert type(error) is HandshakeError
        assert error.status == 403
        assert str(error).endswith(": 403 No: abc")
        assert refused.connecting.clock.getDelayedCalls() == []

    def test_one_that_never_ends_is_not_read_to_its_end(self) -> None:
        refused = Refused(b"HTTP/1.1 403 No\r\n\r\n")
        for _ in range(40):
            refused.connecting.server.send(b"x" * 1000)
        assert refused.gave_up()
        refused.error()

    @pytest.mark.parametrize(
        ("settings", "cure"),
        [
            ({}, "; log in by --auth or --bearer"),
            ({"auth": ("u", "p")}, "; it wants other credentials"),
            ({"bearer": "t"}, "; it wants other credentials"),
        ],
    )
    def test_one_that_wants_a_login_says_how(self, settings: Any, cure: str) -> None:
        refused = Refused(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", **settings)
        assert str(refused.error()).endswith(f": 401 No{cure}")

    def test_one_in_tls_says_so(self) -> None:
        connecting = Connecting()
        connecting.server.send(b"\x15\x03\x01\0\x02\x02\x16")
        connecting.server.lose()
        assert str(failed(connecting)) == (
            f"{URL} did not open a WebSocket: it answers in TLS; give a wss: URL"
        )

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

    def test_text_beyond_ascii_is_shown_as_it_is(self) -> None:
        head = "HTTP/1.1 302 Found\r\nLocation: /ü\r\nContent-Length: 0\r\n\r\n"
        assert str(Refused(head.encode(), max_redirects=0).error()).endswith("302 Found, to /ü")


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

    def test_there_is_an_end_to_them(self, logged: Logged) -> None:
        connecting = Connecting()
        connecting.server.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 16)
        assert connecting.server.transport.disconnected is False
        connecting.server.send(b"HTTP/1.1 100 \r\n\r\n" * 3000)
        assert connecting.server.aborted
        connecting.server.lose()
        assert "more than 16 answers 1xx and no final one" in str(failed(connecting))
        assert logged.failures == []

    def test_a_refusal_may_follow_them(self) -> None:
        refused = Refused(b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        assert refused.error().status == 404

    @pytest.mark.parametrize(
        "chosen",
        [
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=8; server_max_window_bits=8",
            'permessage-deflate; server_max_window_bits="10"; client_max_window_bits="9"',
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate",
            "",
        ],
    )
    def test_every_choice_that_a_server_has_is_taken(self, chosen: str) -> None:
        connecting = Connecting(compression=True)
        connecting.server.accept(f"Sec-WebSocket-Extensions: {chosen}")
        assert connecting.outcome == [connecting.protocol]
        compressor = zlib.compressobj(wbits=-9)
        data = (compressor.compress(b"hello") + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        if chosen:
            octets = bytearray(frame(TEXT, data, masked=False))
            octets[0] |= 0x40
        else:
            octets = bytearray(frame(TEXT, b"hello", masked=False))
        heard: list[bytes] = []
        connecting.protocol.onMessage = lambda payload, isBinary: heard.append(payload)
        connecting.server.send(bytes(octets))
        assert heard == [b"hello"]

    @pytest.mark.parametrize(
        "chosen",
        [
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            "permessage-deflate; unknown",
            "permessage-deflate, permessage-deflate",
            "permessage-deflate, x-other",
            "permessage-deflate;",
        ],
    )
    def test_what_a_server_may_not_choose_is_refused(self, chosen: str) -> None:
        connecting = Connecting(compression=True)
        connecting.server.accept(f"Sec-WebSocket-Extensions: {chosen}")
        assert connecting.server.aborted
        connecting.server.lose()
        assert isinstance(failed(connecting), HandshakeError)

    def test_an_empty_subprotocol_is_no_choice(self) -> None:
        connecting = Connecting(subprotocols=["a", "b"])
        connecting.server.accept("Sec-WebSocket-Protocol:")
        assert connecting.outcome == [connecting.protocol]
        assert connecting.protocol.websocket_protocol_in_use is None

    def test_lists_are_written_as_every_server_reads_them(self) -> None:
        connecting = Connecting(subprotocols=["a", "b"], compression=True)
        lines = connecting.server.taken().decode().split("\r\n")
        assert "Sec-WebSocket-Protocol: a, b" in lines

    def test_a_compression_that_was_not_offered_is_refused(self) -> None:
        connecting = Connecting()
        connecting.server.accept("Sec-WebSocket-Extensions: permessage-deflate")
        assert connecting.server.aborted
        connecting.server.lose()
        assert "extension" in str(failed(connecting))

    @pytest.mark.parametrize(
        "head", [b"HTTP/1.1 101 a\x0bX: y", b"HTTP/1.1 101 a\r\nX: y\x0bUpgrade: websocket"]
    )
    def test_a_head_that_can_be_read_in_two_ways_is_refused(self, head: bytes) -> None:
        connecting = Connecting()
        connecting.server.send(head + b"\r\n\r\n")
        connecting.server.lose()
        assert "its answer is malformed" in str(failed(connecting))

    def test_octets_of_a_value_are_no_line_ends(self) -> None:
        asked: list[Any] = []

        class Asked(ClientProtocol):
            def onConnect(self, response: Any) -> None:
                asked.append(response)

        connecting = Connecting(Asked)
        connecting.server.accept("X: \u00c5se \u0085 \u2028", "x: \U0001f645")
        assert connecting.outcome == [connecting.protocol]
        value = "\u00c5se \u0085 \u2028, \U0001f645".encode().decode("latin-1")
        assert asked[0].headers["x"] == value
        assert asked[0].headers["upgrade"].lower() == "websocket"

    def test_nor_can_they_hide_a_header(self) -> None:
        connecting = Connecting()
        connecting.server.send(
            connecting.server.acceptance().replace(b"\r\nUpgrade:", b"\r\nX: \x85Upgrade:")
        )
        connecting.server.lose()
        assert "Upgrade header missing" in str(failed(connecting))

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
    assert "> Authorization: Basic ********" in lines
    assert "< HTTP/1.1 101 Switching Protocols" in lines
    assert "< Set-Cookie: ********" in lines
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
