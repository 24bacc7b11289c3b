"""The request of an opening handshake (RFC 6455, 4.2.1; RFC 9112), read strictly. PURE.

The reader takes octets as they arrive, and returns one outcome: a `Request`, a `Refusal`, or a
`PlainRequest` if the client does not ask for WebSocket. It accepts only requests that have one
meaning: a line ends in CR LF, a header is one line, and its value has no control character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

import attrs

from . import grammar
from .headers import (
    TOKEN,
    check_no_body,
    check_upgrade,
    headers_of,
    joined,
    names_websocket,
    subprotocols_of,
)
from .refusal import (
    Refusal,
    RefusedError,
    outlined,
    quoted,
    refuse,
    without_secrets,
)
from .target import HasTarget, Host, Target, parse_authority, parse_target

MAX_HEAD = 16 * 1024
"""The largest size of a request, in octets, its last empty line included."""

MAX_HEADERS = 100
"""The largest number of header lines of a request."""

MAX_TARGET = 8 * 1024
"""The largest size of a request target, in octets. RFC 9112, 3, recommends at least 8,000."""

_MAX_REQUEST_LINE = len(b"GET ") + MAX_TARGET + len(b" HTTP/1.1\r\n")
_TLS_HANDSHAKE = 0x16
_PROXY_V2 = 0x0D
_PROXY_CURE = "listen with --listen haproxy:tcp:PORT, or have the gateway send no PROXY header"
_HOST_CURE = "send Host: NAME or Host: NAME:PORT"
_METHOD_STARTS = frozenset(code for code in range(128) if TOKEN.match(chr(code)))
_REQUEST_LINE = re.compile(rf"({grammar.TOKEN}) ([!-~]+) HTTP/([0-9]\.[0-9])".encode())
# 0x85 may be in a value, and is a line end to `str.splitlines`, which therefore must not be used on
# a head.
_HEADER = re.compile(rf"({grammar.TOKEN}):({grammar.FIELD_VALUE})".encode())
# Nearly every request is whole and well-formed, and matches this at once. Any other is read
# line by line, which finds its fault.
_WHOLE = re.compile(
    rf"GET (/[!\"$-~]*) HTTP/1\.1\r\n"
    rf"((?:{grammar.TOKEN}:{grammar.FIELD_VALUE}\r\n)+)\r\n".encode()
)


_OTHER_METHODS = frozenset(
    (b"CONNECT", b"DELETE", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE"),
)
"""The methods of HTTP that are not served (RFC 9110, 9.1; RFC 5789)."""


@attrs.frozen
class Request(HasTarget):
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
    lines: bytes | None = attrs.field(default=None, eq=False, repr=False)
    """The header lines as they came, if `headers_of` returns the same headers for them."""

    lost_secrets = False
    """True if a header is missing that may have been a secret."""


@attrs.frozen
class PlainRequest(HasTarget):
    """A well-formed request of plain HTTP, which does not ask for WebSocket.

    `method` is `GET` or `HEAD`. `headers` are as those of a `Request`; one by
    HTTP/1.0 may have no Host.
    """

    method: str
    target: str
    headers: dict[str, str]


@attrs.define
class _RequestLine:
    """A well-formed request line."""

    method: str
    target: Target
    is_old: bool = False
    """True for HTTP/1.0."""


class RequestReader:
    """Reads one request, from chunks of any size. Each octet is looked at once.

    A line is judged when it is whole, so that the outcome does not depend on the chunks. Octets
    behind the request in the same chunk refuse it: a client must not send before it has read
    the 101 (RFC 6455, 4.1).
    """

    __slots__ = (
        "_count",
        "_head",
        "_headers",
        "_line",
        "_line_start",
        "_outcome",
        "_searched",
        "is_head",
    )

    def __init__(self) -> None:
        self._head = bytearray()
        self._line_start = 0
        self._searched = 0
        self._line: _RequestLine | None = None
        self._count = 0
        self._headers: dict[str, list[str]] = {}
        self._outcome: Request | PlainRequest | Refusal | None = None
        #: True for the method HEAD, whose answer has no body (RFC 9110, 9.3.2).
        self.is_head = False

    def feed(self, octets: bytes) -> Request | PlainRequest | Refusal | None:
        """Return the outcome, None until the request is whole. Raises nothing.

        Octets after the outcome are ignored, and the same outcome is returned again.
        """
        if self._outcome is None and octets:
            try:
                self._outcome = self._read(octets)
            except RefusedError as refused:
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
                self.is_head = line.startswith(b"HEAD ")
                self._line = _parse_request_line(line)
            elif line:
                self._add_header(line)
            else:
                if self._line_start < len(self._head) or room < len(octets):
                    refuse(
                        400,
                        "octets came after the request, before its answer",
                        "wait for the answer before you send",
                    )
                return _request(self._line, joined(self._headers))
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
            refuse(
                400,
                "a line does not end in CR LF",
                "end each line of the request with CR LF",
                outlined(line),
            )
        return line[:-1]

    def _too_long(self, limit: int) -> NoReturn:
        if self._line is None:
            refuse(
                414,
                f"the request line has more than {limit} octets",
                "shorten the path or the query",
            )
        refuse(
            431,
            f"the request has more than {limit} octets",
            "send fewer or shorter headers; cookies are the usual cause",
        )

    def _add_header(self, line: bytes) -> None:
        self._count += 1
        if self._count > MAX_HEADERS:
            refuse(431, f"the request has more than {MAX_HEADERS} headers", "send fewer headers")
        match = _HEADER.fullmatch(line)
        if match is None:
            refuse(
                400,
                "a header line is malformed",
                "send NAME: VALUE on one line, with no space before the colon and no control"
                " character",
                outlined(line),
            )
        name, value = match.group(1).decode().lower(), match.group(2).strip(b" \t")
        self._headers.setdefault(name, []).append(value.decode("latin-1"))


def _check_first_octet(octet: int) -> None:
    if octet == _TLS_HANDSHAKE:
        cure = "connect with ws:// or http://, or serve TLS with --tls-cert"
        raise RefusedError(
            Refusal(None, "the client speaks TLS, and this port does not", cure, kind="no HTTP")
        )
    if octet not in _METHOD_STARTS:
        problem = f"the first octet, 0x{octet:02x}, begins no HTTP request"
        cure = "connect with a WebSocket client"
        if octet == _PROXY_V2:
            cure += f"; {_PROXY_CURE}"
        raise RefusedError(Refusal(400, problem, cure, kind="no HTTP"))


def _parse_request_line(line: bytes) -> _RequestLine:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        if line.startswith(b"PROXY "):
            refuse(400, "this port takes no PROXY header", _PROXY_CURE)
        refuse(400, "the request line is malformed", "send GET /PATH HTTP/1.1", outlined(line))
    method, target, version = match.groups()
    if version not in (b"1.1", b"1.0"):
        refuse(
            505,
            f"HTTP/{version.decode()} is not spoken here",
            "use HTTP/1.1, from a gateway to this port too",
        )
    if method in _OTHER_METHODS:
        allow = (("Allow", "GET, HEAD"),)
        refuse(405, "the method is not allowed", "use GET", outlined(line), allow)
    if method not in (b"GET", b"HEAD"):
        refuse(501, "the method is unknown", "use GET, in capital letters", outlined(line))
    return _RequestLine(method.decode(), parse_target(target.decode()), version == b"1.0")


def _read_whole(octets: bytes) -> Request | PlainRequest | None:
    """Return the request if these octets are a whole one in which no header comes twice."""
    match = _WHOLE.fullmatch(octets) if len(octets) <= MAX_HEAD else None
    if match is None or len(match.group(1)) > MAX_TARGET:
        return None
    target, lines = match.groups()
    headers = headers_of(lines)
    if lines.count(b"\n") != len(headers) or len(headers) > MAX_HEADERS:
        return None
    return _request(_RequestLine("GET", Target(target.decode())), headers, lines)


def _request(
    line: _RequestLine, headers: dict[str, str], lines: bytes | None = None
) -> Request | PlainRequest:
    host = _host(line, headers)
    check_no_body(headers)
    if not _opens_websocket(line, headers):
        return PlainRequest(line.method, line.target.text, headers)
    if line.is_old or host is None:
        refuse(
            505,
            "a WebSocket handshake came by HTTP/1.0",
            "have the gateway in front use HTTP/1.1 (nginx: proxy_http_version 1.1)",
        )
    check_upgrade(headers)
    subprotocols = subprotocols_of(headers)
    if subprotocols:
        headers["sec-websocket-protocol"] = ", ".join(subprotocols)
        lines = None
    return Request(line.target.text, host, headers.get("origin"), subprotocols, headers, lines)


def _opens_websocket(line: _RequestLine, headers: Mapping[str, str]) -> bool:
    if line.method != "GET":
        return False
    # A gateway that speaks HTTP/1.0 drops Upgrade, and passes on headers that it does not know.
    return names_websocket(headers) or (line.is_old and "sec-websocket-key" in headers)


def _host(line: _RequestLine, headers: dict[str, str]) -> Host | None:
    """Return the host of a request; None where HTTP/1.0 leaves it out."""
    named = headers.get("host")
    if named is None:
        if not line.is_old:
            refuse(400, "the request has no Host header", _HOST_CURE)
        if not line.target.scheme:
            return None
        named = line.target.authority
    try:
        host = parse_authority(named)
    except ValueError:
        shown = quoted(without_secrets(named))
        refuse(400, "the Host header is malformed", _HOST_CURE, shown)
    if not line.target.scheme:
        return host
    # The two must agree (RFC 9112, 3.2.2): code that reads only one of them gets the same host.
    headers["host"] = line.target.authority
    try:
        return line.target.host(host)
    except ValueError:
        refuse(
            400,
            "the request target has another host than the Host header, or a malformed one",
            "send the same host and port in both",
            f"{quoted(line.target.authority)} and {quoted(named)}",
        )
