"""The request of an opening handshake (RFC 6455, 4.2.1; RFC 9112), read strictly. PURE.

Octets go in as they come, and out comes, once, a `Request`, a `Refusal`, or a
`PlainRequest` where no WebSocket is asked for. What is accepted can be read in
one way only: a line ends in CR LF, a header is one line, and no octet in it is a
line end to anybody, `str.splitlines` included.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import NoReturn

import attrs

MAX_HEAD = 16 * 1024
"""Octets of a request, its last empty line included."""

MAX_HEADERS = 100
"""Header lines of a request."""

MAX_TARGET = 8 * 1024
"""Octets of a request target. RFC 9112, 3, recommends no less than 8,000."""

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2."""

_MAX_REQUEST_LINE = len(b"GET ") + MAX_TARGET + len(b" HTTP/1.1\r\n")
_TLS_HANDSHAKE = 0x16
_METHOD_STARTS = frozenset(code for code in range(128) if TOKEN.match(chr(code)))
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/([0-9]\.[0-9])")
# RFC 9110, 5.5, allows every octet from 0x80; Latin-1 has a line end there, 0x85.
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\x84\x86-\xff]*)")
# What nearly every request is: whole, and right in its form. Whatever is not, is read
# line by line, which finds out what is wrong.
_WHOLE = re.compile(
    rb"GET (/[!\"$-~]*) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\x84\x86-\xff]*\r\n)+)\r\n"
)
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_HOST = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")

_USUAL = {
    name: name
    for name in (
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "cookie",
        "host",
        "origin",
        "pragma",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "upgrade",
        "user-agent",
    )
}
"""Names that most requests have: one string for all. Not `sys.intern`: what it is given
some releases of Python 3.12 never free, and a peer can make up any number of names."""

_SINGLE = (
    "host",
    "sec-websocket-key",
    "sec-websocket-version",
    "origin",
    "content-length",
)
"""Headers whose second line would contradict the first."""

_OTHER_METHODS = frozenset(
    (b"CONNECT", b"DELETE", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE"),
)
"""Of HTTP's methods (RFC 9110, 9.1; RFC 5789) those that are not served."""

UPGRADE_REQUIRED = (
    # RFC 9110, 15.5.22, asks for Upgrade, 7.8 that Connection names it, RFC 6455, 4.2.2, for the
    # version.
    ("Connection", "upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
)

_SHOWN = 100
"""Octets of the peer's text in a reason."""


@attrs.frozen
class Refusal:
    """Why a request is not accepted.

    `status` is the HTTP status to answer with, None where the peer speaks no
    HTTP and is to be left without a word. `reason` is for the log: it may hold
    the peer's own text, not escaped. `headers` go into the answer and hold
    none of it; nor does `kind`, by which refusals are counted.
    """

    status: int | None
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    kind: str = attrs.field(default="bad request", eq=False)


@attrs.frozen
class Host:
    """A host and a port, None where none was given. Equal are those that mean the same."""

    name: str
    port: int | None = None


def parse_host(text: str) -> Host:
    """A `Host` from `host[:port]`: a name of DNS, an IPv4 or a bracketed IPv6 address.

    In lower case, an IPv6 address in its shortest form. Raises `ValueError` for
    anything else, user information, an empty port and names that are not ASCII
    among it.
    """
    match = _HOST.fullmatch(text)
    if match is None:
        raise ValueError(text)
    name, digits = match.groups()
    if name.startswith("["):
        name = f"[{ipaddress.IPv6Address(name[1:-1]).compressed}]"
    port = None if digits is None else int(digits)
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(text)
    return Host(name.lower(), port)


@attrs.frozen
class Request:
    """An opening handshake's request that may be answered with 101.

    Names of `headers` are in lower case; the lines of a repeated header are one
    value, joined by commas in their order (RFC 9110, 5.3). Values are Latin-1,
    without the white space around them. `origin` is None where there is none.
    """

    target: str
    host: Host
    origin: str | None
    subprotocols: tuple[str, ...]
    headers: dict[str, str]

    @property
    def path(self) -> str:
        """The target up to the query, as it came: nothing in it is decoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after the first question mark, as it came."""
        return self.target.partition("?")[2]


@attrs.frozen
class PlainRequest:
    """A request of plain HTTP: right in its form, it asks for no WebSocket.

    `method` is `GET` or `HEAD`. `headers` are as those of a `Request`.
    """

    method: str
    target: str
    headers: dict[str, str]


class _RefusedError(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


def _refuse(status: int | None, reason: str, *headers: tuple[str, str]) -> NoReturn:
    raise _RefusedError(Refusal(status, reason, headers))


def _shown(octets: bytes) -> str:
    return _quoted(octets[: _SHOWN + 1].decode("latin-1"))


def _outlined(line: bytes) -> str:
    """Of a line that is none, what looks like a method or a header's name; no more is shown.

    A secret may stand anywhere in it.
    """
    first = re.match(rb"[A-Z]{1,20}(?= )|[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}(?=[ \t]*:)", line)
    return f'"{first[0].decode()}..."' if first else f"{len(line)} octets"


def without_secrets(url: str) -> str:
    """An URL without its query and fragment, and whoever it says one is."""
    shown = re.split(r"[?#]", url, maxsplit=1)[0]
    return "..." if "@" in shown else shown if shown == url else f"{shown}..."


def _quoted(text: str) -> str:
    return f'"{text[:_SHOWN]}{"..." if len(text) > _SHOWN else ""}"'


class RequestReader:
    """Reads one request, from chunks of any size. Each octet is looked at once.

    A line is judged when it is whole, so that what comes of a request does not
    depend on how it was cut. What follows the request in the same chunk refuses
    it: a client may not send before it has read the 101 (RFC 6455, 4.1).
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._line_start = 0
        self._searched = 0
        self._line: tuple[str, str] | None = None
        self._count = 0
        self._headers: dict[str, list[str]] = {}
        self._outcome: Request | PlainRequest | Refusal | None = None

    def feed(self, octets: bytes) -> Request | PlainRequest | Refusal | None:
        """What came of the request, None while it is not whole. Raises nothing.

        What comes after the outcome is ignored, and the outcome returned again.
        """
        if self._outcome is None and octets:
            try:
                self._outcome = self._read(octets)
            except _RefusedError as refused:
                self._outcome = refused.refusal
        return self._outcome

    def _read(self, octets: bytes) -> Request | PlainRequest | None:
        if not self._head:
            if (request := _read_whole(octets)) is not None:
                return request
            _check_first_octet(octets[0])
        room = MAX_HEAD - len(self._head)
        self._head += octets[:room]
        while (line := self._next_line()) is not None:
            if self._line is None:
                self._line = _parse_request_line(line)
            elif line:
                self._add_header(line)
            else:
                if self._line_start < len(self._head) or room < len(octets):
                    _refuse(400, "octets after the request, before its answer")
                return _request(*self._line, _joined(self._headers))
        return None

    def _next_line(self) -> bytes | None:
        limit = MAX_HEAD if self._line is not None else _MAX_REQUEST_LINE
        end = self._head.find(b"\n", self._searched, limit)
        if end < 0:
            if len(self._head) >= limit:
                self._too_long(limit)
            self._searched = len(self._head)
            return None
        line = bytes(self._head[self._line_start : end])
        self._line_start = self._searched = end + 1
        if not line.endswith(b"\r"):
            _refuse(400, f"a line that does not end in CR LF: {_outlined(line)}")
        return line[:-1]

    def _too_long(self, limit: int) -> NoReturn:
        if self._line is None:
            _refuse(414, f"a request line of more than {limit} octets")
        _refuse(431, f"a request of more than {limit} octets")

    def _add_header(self, line: bytes) -> None:
        self._count += 1
        if self._count > MAX_HEADERS:
            _refuse(431, f"more than {MAX_HEADERS} headers")
        match = _HEADER.fullmatch(line)
        if match is None:
            _refuse(400, f"a header that is none: {_outlined(line)}")
        name, value = match.group(1).decode().lower(), match.group(2).strip(b" \t")
        self._headers.setdefault(name, []).append(value.decode("latin-1"))


def _check_first_octet(octet: int) -> None:
    if octet == _TLS_HANDSHAKE:
        raise _RefusedError(Refusal(None, "TLS on a port without it", kind="no HTTP"))
    if octet not in _METHOD_STARTS:
        reason = f"no HTTP: the first octet is 0x{octet:02x}"
        raise _RefusedError(Refusal(400, reason, kind="no HTTP"))


def _parse_request_line(line: bytes) -> tuple[str, str]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        _refuse(400, f"a request line that is none: {_outlined(line)}")
    method, target, version = match.groups()
    if version != b"1.1":
        _refuse(505, f"HTTP/{version.decode()}")
    if method in _OTHER_METHODS:
        _refuse(405, f"the method {_shown(method)}", ("Allow", "GET, HEAD"))
    if method not in (b"GET", b"HEAD"):
        _refuse(501, f"the method {_outlined(line)}")
    if not target.startswith(b"/"):
        _refuse(400, f"a target that is no path: {_quoted(without_secrets(target.decode()))}")
    if b"#" in target:
        _refuse(400, f"a target with a fragment: {_quoted(without_secrets(target.decode()))}")
    return method.decode(), target.decode()


def _read_whole(octets: bytes) -> Request | PlainRequest | None:
    """The request that these octets are, if they are one, and no header comes twice."""
    match = _WHOLE.fullmatch(octets) if len(octets) <= MAX_HEAD else None
    if match is None or len(match.group(1)) > MAX_TARGET:
        return None
    target, lines = match.groups()
    headers: dict[str, str] = {}
    for line in lines.decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        headers[_USUAL.get(name, name)] = value.strip(" \t")
    if lines.count(b"\n") != len(headers) or len(headers) > MAX_HEADERS:
        return None
    return _request("GET", target.decode(), headers)


def _joined(lines: dict[str, list[str]]) -> dict[str, str]:
    for name in _SINGLE:
        if len(lines.get(name, ())) > 1:
            _refuse(400, f"more than one {name}")
    return {name: ", ".join(filter(None, values)) for name, values in lines.items()}


def _request(method: str, target: str, headers: dict[str, str]) -> Request | PlainRequest:
    host = _host(headers)
    _check_no_body(headers)
    if method == "HEAD" or not _names_websocket(headers):
        return PlainRequest(method, target, headers)
    _check_upgrade(headers)
    subprotocols = _subprotocols(headers)
    if subprotocols:
        headers["sec-websocket-protocol"] = ", ".join(subprotocols)
    return Request(target, host, headers.get("origin"), subprotocols, headers)


def _host(headers: Mapping[str, str]) -> Host:
    if "host" not in headers:
        _refuse(400, "no host")
    try:
        return parse_host(headers["host"])
    except ValueError:
        _refuse(400, f"a host that is none: {_quoted(without_secrets(headers['host']))}")


def _check_no_body(headers: Mapping[str, str]) -> None:
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        _refuse(400, "a request with a body")


def _names_websocket(headers: Mapping[str, str]) -> bool:
    return "websocket" in map(str.lower, _list_of(headers.get("upgrade", "")))


def _check_upgrade(headers: Mapping[str, str]) -> None:
    if "upgrade" not in map(str.lower, _list_of(headers.get("connection", ""))):
        _refuse(400, "a connection header without upgrade")
    version = headers.get("sec-websocket-version")
    if version != "13":
        asked = "no version" if version is None else f"the version {_quoted(version)}"
        _refuse(426, asked, *UPGRADE_REQUIRED)
    # 16 octets are 22 characters and two of padding. Random characters, which
    # some clients take, may leave bits in the last one that mean nothing.
    key = headers.get("sec-websocket-key")
    if key is None or not _KEY.fullmatch(key):
        _refuse(400, "no key" if key is None else f"a key that is none: {_quoted(key)}")


def _subprotocols(headers: Mapping[str, str]) -> tuple[str, ...]:
    if "sec-websocket-protocol" not in headers:
        return ()
    names = _list_of(headers["sec-websocket-protocol"])
    if not names or not all(map(TOKEN.fullmatch, names)) or len(set(names)) < len(names):
        _refuse(400, "subprotocols that are none, or one of them twice")
    return tuple(names)


def _list_of(value: str) -> list[str]:
    """The elements of a list, those that are empty left out (RFC 9110, 5.6.1.2)."""
    return [element for each in value.split(",") if (element := each.strip(" \t"))]
