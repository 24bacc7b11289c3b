"""The answer that accepts a handshake, 101, with what `onConnect` decided. PURE."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..http.headers import TOKEN

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")

_SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def checked_decision(
    decision: Any, offered: list[str]
) -> tuple[str | None, Mapping[str, str | Iterable[str]]]:
    """Return the subprotocol and the headers of a decision. Raises `ValueError` for a wrong one."""
    subprotocol, headers = decision if isinstance(decision, tuple) else (decision, {})
    if subprotocol is not None and subprotocol not in offered:
        raise ValueError("onConnect returned a subprotocol that was not offered")
    for name, values in headers.items():
        for value in _each(values):
            if not TOKEN.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"onConnect returned a malformed header: {name!r}")
    return subprotocol, headers


def switching(
    request: Mapping[str, str],
    headers: Mapping[str, str | Iterable[str]],
    subprotocol: str | None,
    extension: str,
) -> bytes:
    """Return the octets of the answer to a request with these headers.

    `headers` are those of the behaviour, `extension` is "" where none was accepted.
    """
    head = [_SWITCHING]
    for name, values in headers.items():
        head += [f"{name}: {value}" for value in _each(values)]
    if subprotocol is not None:
        head.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    head.append(_accept_header(request))
    if extension:
        head.append(f"Sec-WebSocket-Extensions: {extension}")
    return "\r\n".join([*head, "", ""]).encode()


def _each(values: str | Iterable[str]) -> Iterable[str]:
    return [values] if isinstance(values, str) else values


def _accept_header(headers: Mapping[str, str]) -> str:
    """Return the header that proves that the request was understood (RFC 6455, 4.2.2)."""
    key = headers["sec-websocket-key"].encode() + _GUID
    proof = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest()).decode()
    return f"Sec-WebSocket-Accept: {proof}"
