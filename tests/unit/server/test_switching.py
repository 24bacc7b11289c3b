"""switching.py: what `onConnect` may decide, and the answer with it."""

from __future__ import annotations

from typing import Any

import pytest

from wsservice.server.switching import checked_decision, switching

# Those of RFC 6455, 1.3.
KEY = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def lines(octets: bytes) -> list[str]:
    assert octets.endswith(b"\r\n\r\n")
    return octets.decode().split("\r\n")[:-2]


def test_the_answer_proves_that_the_request_was_understood() -> None:
    assert lines(switching(KEY, {}, None, "")) == [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: WebSocket",
        "Connection: Upgrade",
        ACCEPT,
    ]


def test_it_has_what_was_decided() -> None:
    headers = {"X-One": "1", "Set-Cookie": ["a=b", "c=d"]}
    assert lines(switching(KEY, headers, "chat", "permessage-deflate"))[3:] == [
        "X-One: 1",
        "Set-Cookie: a=b",
        "Set-Cookie: c=d",
        "Sec-WebSocket-Protocol: chat",
        ACCEPT,
        "Sec-WebSocket-Extensions: permessage-deflate",
    ]


@pytest.mark.parametrize(
    ("decision", "checked"),
    [
        ("chat", ("chat", {})),
        (("chat", {"X": "y"}), ("chat", {"X": "y"})),
        ((None, {"X": ["y", "z"]}), (None, {"X": ["y", "z"]})),
    ],
)
def test_what_may_be_decided(decision: Any, checked: Any) -> None:
    assert checked_decision(decision, ["chat"]) == checked


@pytest.mark.parametrize(
    "decision",
    [
        "other",
        ("other", {}),
        (None, {"X Y": "z"}),
        (None, {"X": "a\r\nY: b"}),
        (None, {"X": ["a", "\0"]}),
    ],
)
def test_what_may_not(decision: Any) -> None:
    with pytest.raises(ValueError, match="onConnect returned a"):
        checked_decision(decision, ["chat"])
