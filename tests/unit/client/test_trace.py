from __future__ import annotations

from wsservice.client.trace import HandshakeTrace


def test_heads_are_shown_line_by_line_without_secrets() -> None:
    lines: list[str] = []
    trace = HandshakeTrace(lines.append)
    trace.note("TLS")
    trace.sent(
        b"GET /?a=:b&access_token=secret HTTP/1.1\r\nHost: a\r\n"
        b"Sec-WebSocket-Protocol: chat, secret\r\n"
        b"Authorization: Basic c2VjcmV0\r\nCookie: s=secret\r\n\r\n"
    )
    trace.received(
        b"HTTP/1.1 101 \x1b[2J\\\r\nset-cookie: s=secret; Secure\r\nX-Token:secret x\r\n"
        b"Sec-WebSocket-Protocol: secret\r\nLocation: https://u:secret@a/#id_token=secret&x=1\r\n\r\n"
    )
    assert lines == [
        "* TLS",
        "> GET /?a=:b&access_token=******** HTTP/1.1",
        "> Host: a",
        "> Sec-WebSocket-Protocol: chat, ********",
        "> Authorization: Basic ********",
        "> Cookie: ********",
        ">",
        r"< HTTP/1.1 101 \x1b[2J\\",
        "< set-cookie: ********",
        "< X-Token: ********",
        "< Sec-WebSocket-Protocol: ********",
        "< Location: https://********@a/#id_token=********&x=1",
        "<",
    ]


def test_nobody_is_told_unless_asked() -> None:
    trace = HandshakeTrace()
    trace.note("x")
    trace.sent(b"x")
    trace.received(b"x")


def test_what_a_server_repeats_is_not_shown_either() -> None:
    lines: list[str] = []
    HandshakeTrace(lines.append, ["s3cret-token"]).received(
        b"HTTP/1.1 401 s3cret-token\r\nX: s3cret-token\r\n"
    )
    assert lines[:2] == ["< HTTP/1.1 401 ********", "< X: ********"]
