"""The octets of an answer's head. PURE."""

from __future__ import annotations

import http
from collections.abc import Iterable

_PHRASES = {int(status): status.phrase for status in http.HTTPStatus}

Headers = Iterable[tuple[str, str]]


def head_of(status: int, headers: Headers) -> bytes:
    """Return the head of an answer, with the empty line at its end."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n{lines}\r\n".encode()


def last_head(status: int, headers: Headers, body: bytes) -> bytes:
    """Return the head of a connection's last answer. `body` follows it."""
    return head_of(status, [("Connection", "close"), ("Content-Length", str(len(body))), *headers])
