"""What a server answers to the opening handshake, and a proxy to CONNECT. No I/O."""

from __future__ import annotations

import re

import attrs

LONGEST_HEAD = 16 * 1024
"""Octets that the head of an answer may have."""

_LONGEST_BODY = 16 * 1024
"""Octets of a body that are read for its first line."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: (.*))?", re.DOTALL)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_BROKEN = re.compile(rb"[\0\r\n]")
# What is a line's end to some readers, to Autobahn among them, and is none in HTTP.
_OTHER_LINE_ENDS = re.compile(rb"[\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")


@attrs.frozen
class Answer:
    """The head of an answer. `headers` are as they came, in Latin-1."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """The first header of a name, None where there is none."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), None)


def parse_head(head: bytes) -> Answer:
    """An answer's head, without the empty line at its end.

    Raises `ValueError` that says what is wrong with it.
    """
    first, *lines = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None or _BROKEN.search(first):
        raise ValueError("it does not begin as HTTP does")
    headers = []
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None or _BROKEN.search(line):
            raise ValueError("a line of its head is no header")
        name, value = header.groups()
        headers.append((name.decode("latin-1"), value.decode("latin-1")))
    status, reason = match.groups()
    return Answer(int(status), (reason or b"").decode("latin-1"), tuple(headers))


def check_one_reading(head: bytes) -> None:
    """Raises `ValueError` for a head whose lines others would see end elsewhere."""
    if _OTHER_LINE_ENDS.search(head):
        raise ValueError("its head has a control character")


class FirstLine:
    """The first line of a body that says something, of however much of it comes."""

    def __init__(self, answer: Answer) -> None:
        self._chunked = (answer.header("Transfer-Encoding") or "").lower().endswith("chunked")
        length = answer.header("Content-Length") or ""
        self._length = int(length) if re.fullmatch("[0-9]{1,9}", length) else None
        self._packed = bool(answer.header("Content-Encoding"))
        self._came = b""
        self._ended = not self._chunked and self._length == 0

    def feed(self, data: bytes) -> bool:
        """Take what came; true once no more of the body is needed."""
        self._came += data
        return (
            self._packed or b"\n" in self._body().lstrip() or self._ended or self._is_long_enough()
        )

    @property
    def text(self) -> str:
        """What there is of it, "" for none. It is the server's, and not escaped."""
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
