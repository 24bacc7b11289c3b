"""The headers of a request: one mapping of many lines, and what a handshake needs of it. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import grammar
from .refusal import UPGRADE_REQUIRED, quoted, refuse

TOKEN = re.compile(grammar.TOKEN)
"""RFC 9110, 5.6.2."""

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")

_USUAL = {
    written: name.lower()
    for name in (
        "Accept-Encoding",
        "Accept-Language",
        "Cache-Control",
        "Connection",
        "Cookie",
        "Host",
        "Origin",
        "Pragma",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Version",
        "Upgrade",
        "User-Agent",
    )
    for written in (name, name.lower())
}
"""The names that most requests have, as clients write them, so that all share one string.
`sys.intern` would not do: some releases of Python 3.12 never free an interned string, and a peer
can make up any number of names."""

_SINGLE = (
    "host",
    "sec-websocket-key",
    "sec-websocket-version",
    "origin",
    "content-length",
)
"""Headers whose second line would contradict the first."""


def headers_of(lines: bytes) -> dict[str, str]:
    """Return the headers of well-formed lines, each with its CR LF."""
    headers: dict[str, str] = {}
    for line in lines.decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        key = _USUAL.get(name)
        if key is None:
            key = name.lower()
            key = _USUAL.get(key, key)
        headers[key] = value.strip(" \t")
    return headers


def joined(lines: dict[str, list[str]]) -> dict[str, str]:
    """Return each header with its lines as one value. Raises `RefusedError` for two of one."""
    for name in _SINGLE:
        if len(lines.get(name, ())) > 1:
            refuse(400, f"the request has more than one {name} header", "send one")
    return {name: ", ".join(filter(None, values)) for name, values in lines.items()}


def check_no_body(headers: Mapping[str, str]) -> None:
    """Raise `RefusedError` for a request that has a body."""
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        refuse(
            400,
            "the request has a body",
            "send none: a Content-Length of 0 at most, and no Transfer-Encoding",
        )


def names_websocket(headers: Mapping[str, str]) -> bool:
    """Return whether the Upgrade header names WebSocket."""
    return _lists(headers.get("upgrade"), "websocket")


def check_upgrade(headers: Mapping[str, str]) -> None:
    """Raise `RefusedError` for a handshake that lacks a header (RFC 6455, 4.2.1)."""
    if not _lists(headers.get("connection"), "upgrade"):
        refuse(
            400,
            "the Connection header does not name Upgrade",
            "send Connection: Upgrade; a gateway in front must pass it on"
            " (nginx: proxy_set_header Connection upgrade)",
        )
    version = headers.get("sec-websocket-version")
    if version != "13":
        refuse(
            426,
            "the request names no WebSocket version that is spoken here",
            "send Sec-WebSocket-Version: 13",
            "" if version is None else quoted(version),
            UPGRADE_REQUIRED,
        )
    # 16 octets are 22 characters and two of padding. Random characters, which
    # some clients take, may leave bits in the last one that mean nothing.
    key = headers.get("sec-websocket-key")
    if key is None or not _KEY.fullmatch(key):
        refuse(
            400,
            "the Sec-WebSocket-Key is missing or malformed",
            "send 16 random octets in base64",
            "" if key is None else quoted(key),
        )


def subprotocols_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the subprotocols that are offered. Raises `RefusedError` for a malformed list."""
    offered = headers.get("sec-websocket-protocol")
    if offered is None:
        return ()
    # A list without an element is no offer, as some clients send by default.
    names = _list_of(offered)
    if not all(map(TOKEN.fullmatch, names)) or len(set(names)) < len(names):
        refuse(
            400,
            "the Sec-WebSocket-Protocol header is malformed, or names a subprotocol twice",
            "send each name once, separated by commas",
        )
    return tuple(names)


def _lists(value: str | None, element: str) -> bool:
    """Return True if a list has an element, given in lower case, whatever case the list uses."""
    if value is None:
        return False
    value = value.lower()
    return value == element or element in _list_of(value)


def _list_of(value: str) -> list[str]:
    """Return the elements of a list, without empty ones (RFC 9110, 5.6.1.2)."""
    return [element for each in value.split(",") if (element := each.strip(" \t"))]
