"""Parse the answer of a server to the handshake, and of a proxy to CONNECT. No I/O."""

from __future__ import annotations

import re

import attrs

from ...http.grammar import TOKEN

LONGEST_HEAD = 16 * 1024
"""The most octets of the head of an answer."""

MOST_INTERIM = 16
"""The most answers 1xx before the final one (RFC 9110, 15.2)."""

_LONGEST_BODY = 16 * 1024
"""Octets of a body that are read for its first line."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: (.*))?", re.DOTALL)
_HEADER = re.compile(rf"({TOKEN}):[ \t]*(.*?)[ \t]*".encode())
_BROKEN = re.compile(rb"[\0\r\n]")
# Control characters that some readers take for the end of a line, and HTTP does not. All others are
# shown escaped.
_OTHER_LINE_ENDS = re.compile(r"[\x0b\x0c\x1c-\x1e]")
_PRINTABLE = re.compile(r"[\t -~]*")
_JUDGED = frozenset(
    (
        "upgrade",
        "connection",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
    )
)
"""The headers of a 101 that Autobahn checks."""


@attrs.frozen
class AnswerHead:
    """The head of an answer. `headers` are as they came, in Latin-1."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """Return the first header of a name; None if it is absent."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), None)

    def joined(self) -> dict[str, str]:
        """Return the values by name in lower case, those of a repeated header joined by commas."""
        values: dict[str, str] = {}
        for name, value in self.headers:
            name = name.lower()
            values[name] = f"{values[name]}, {value}" if name in values else value
        return values


def parse_head(head: bytes) -> AnswerHead:
    """Parse the head of an answer, without the empty line at its end.

    Raises `ValueError`, whose text says what is wrong.
    """
    first, *lines = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None or _BROKEN.search(first):
        raise ValueError("it is not HTTP")
    headers = []
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None or _BROKEN.search(line):
            raise ValueError("it has a malformed header line")
        name, value = header.groups()
        headers.append((name.decode("latin-1"), value.decode("latin-1")))
    status, reason = match.groups()
    return AnswerHead(int(status), (reason or b"").decode("latin-1"), tuple(headers))


def is_interim(answer: AnswerHead) -> bool:
    """Return True for 1xx other than 101: another answer follows."""
    return answer.status < 200 and answer.status != 101


def for_autobahn(head: bytes, answer: AnswerHead) -> bytes:
    """Return the head of a 101 with only the headers that Autobahn checks.

    Autobahn reads heads with `str.splitlines`, which takes 0x85 for a line end: an octet that the
    value of any header may have (RFC 9110, 5.5). Raises `ValueError` for a control character that
    some take for a line end, and if one of these headers is not printable ASCII.
    """
    if any(map(_OTHER_LINE_ENDS.search, (answer.reason, *(value for _, value in answer.headers)))):
        raise ValueError("its head has a control character")
    judged = [(name, value) for name, value in answer.headers if name.lower() in _JUDGED]
    if not all(_PRINTABLE.fullmatch(value) for _, value in judged):
        raise ValueError("a header of its handshake is not printable ASCII")
    version_and_status = head[: len(b"HTTP/1.1 101")].decode()
    lines = [version_and_status, *(f"{name}: {value}" for name, value in judged)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


class FirstLine:
    """Find the first line with text in a body, in as many octets as come."""

    def __init__(self, answer: AnswerHead) -> None:
        self._chunked = (answer.header("Transfer-Encoding") or "").lower().endswith("chunked")
        length = answer.header("Content-Length") or ""
        self._length = int(length) if re.fullmatch("[0-9]{1,9}", length) else None
        self._packed = bool(answer.header("Content-Encoding"))
        self._came = b""
        self._ended = not self._chunked and self._length == 0

    def feed(self, data: bytes) -> bool:
        """Take octets. Return True once no more of the body is needed."""
        self._came += data
        return (
            self._packed or b"\n" in self._body().lstrip() or self._ended or self._is_long_enough()
        )

    @property
    def text(self) -> str:
        """The line so far; "" for none. It is the server's text, and not escaped."""
        if self._packed:
            return ""
        return self._body().strip().partition(b"\n")[0].decode(errors="replace").strip()

    def _is_long_enough(self) -> bool:
        return len(self._came) >= _LONGEST_BODY or (
            self._length is not None and not self._chunked and len(self._came) >= self._length
        )

    def _body(self) -> bytes:
        if self._chunked:
            return self._unchunked()
        return self._came[: self._length]

    def _unchunked(self) -> bytes:
        rest, body = self._came, b""
        while match := re.match(rb"([0-9A-Fa-f]{1,8})[^\r\n]{0,200}\r\n", rest):
            size = int(match[1], 16)
            self._ended = size == 0
            body += rest[match.end() :][:size]
            rest = rest[match.end() + size + 2 :]
        return body
