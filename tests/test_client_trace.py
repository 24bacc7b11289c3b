from __future__ import annotations

from wsservice.client.trace import Trace


def test_heads_are_shown_line_by_line_without_secrets() -> None:
    lines: list[str] = []
    trace = Trace(lines.append)
    trace.note("TLS")
    trace.sent(
        b"GET /?a: b HTTP/1.1\r\nHost: a\r\n"
        b"Authorization: Basic c2VjcmV0\r\nCookie: s=secret\r\n\r\n"
    )
    trace.received(
        b"HTTP/1.1 101 \x1b[2J\\\r\nset-cookie: s=secret; Secure\r\nX-Token:secret x\r\n\r\n"
    )
    assert lines == [
        "* TLS",
        "> GET /?a: b HTTP/1.1",
        "> Host: a",
        "> Authorization: Basic ***",
        "> Cookie: ***",
        ">",
        r"< HTTP/1.1 101 \x1b[2J\\",
        "< set-cookie: ***",
        "< X-Token: ***",
        "<",
    ]


def test_nobody_is_told_unless_asked() -> None:
    trace = Trace()
    trace.note("x")
    trace.sent(b"x")
    trace.received(b"x")
