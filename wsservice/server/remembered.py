"""The part of its request that an open connection remembers. PURE.

A dictionary of 94 headers takes 26 kB, and most of them are not read again.
"""

from __future__ import annotations

from ..http.headers import headers_of
from ..http.request import Request
from ..http.target import HasTarget
from .secrets import is_secret_header

MOST = 6 * 1024
"""The largest size, in octets, of the target and headers that are remembered of one request."""

_ASKED_FOR = frozenset(
    {
        "origin",
        "user-agent",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
    }
)
"""The headers besides Host that Autobahn and the service read after the handshake."""

_LONGEST_AGENT = 512
"""The largest length, in characters, of a User-Agent if a request is too large. Logs show less."""


class Remembered(HasTarget):
    """A `Request` that was answered: its target, and its headers in one piece.

    It has the attributes of a `Request` that are read later. `headers` is made anew each time.
    If target and headers have more than `MOST` octets, headers are left out, the longest first:
    those that only a behaviour could read, then the others. Host stays, and
    so does the beginning of the User-Agent.
    """

    __slots__ = ("_lines", "lost_secrets", "target")

    target: str
    lost_secrets: bool

    def __init__(self, request: Request | Remembered) -> None:
        self.target = request.target
        self.lost_secrets = request.lost_secrets
        lines = request.lines
        self._lines = _lines(request.headers) if lines is None else lines
        room = MOST - len(self.target)
        if len(self._lines) > room:
            headers, self.lost_secrets = _fitting(request.headers, len(self._lines) - room)
            self._lines = _lines(headers)

    @property
    def lines(self) -> bytes:
        """Return the header lines that are remembered."""
        return self._lines

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers by their names in lower case, as those of a `Request`."""
        return headers_of(self._lines)

    @property
    def origin(self) -> str | None:
        """Return the page's origin, None if the request had none."""
        return self.headers.get("origin")

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """Return the subprotocols that were offered, the best first."""
        names = self.headers.get("sec-websocket-protocol", "")
        return tuple(names.split(", ")) if names else ()


def _lines(headers: dict[str, str]) -> bytes:
    return "".join([f"{name}:{value}\r\n" for name, value in headers.items()]).encode("latin-1")


def _fitting(headers: dict[str, str], excess: int) -> tuple[dict[str, str], bool]:
    """Return the headers less `excess` octets, and True if a secret was left out."""
    kept = dict(headers)
    if len(agent := kept.get("user-agent", "")) > _LONGEST_AGENT:
        kept["user-agent"] = agent[:_LONGEST_AGENT]
        excess -= len(agent) - _LONGEST_AGENT
    by_length = sorted(kept, key=lambda name: len(kept[name]), reverse=True)
    needed = []
    for name in by_length:
        if excess <= 0:
            return kept, False
        if name == "host" or name in _ASKED_FOR or is_secret_header(name):
            needed.append(name)
        else:
            excess -= len(name) + len(kept.pop(name)) + 2
    lost_secrets = False
    for name in needed:
        if excess > 0 and name != "host":
            excess -= len(name) + len(kept.pop(name)) + 2
            lost_secrets |= is_secret_header(name)
    return kept, lost_secrets
