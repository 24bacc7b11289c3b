"""The web pages that may connect, by their origin (RFC 6454; RFC 6455, 10.2). PURE."""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from ..http.refusal import Refusal, quoted, without_secrets
from ..http.request import Request
from ..http.target import DEFAULT_PORTS, Host, parse_host

_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.+)")
_LONGEST_ADVISED = 80
"""The largest length, in characters, of an origin that the log suggests for --allow-origin."""


@attrs.frozen
class Origin:
    """A scheme in lower case and a host, whose port is None where it is the scheme's default."""

    scheme: str
    host: Host

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


def parse_origin(text: str) -> Origin:
    """Return an `Origin` for `scheme://host[:port]`. Raises `ValueError` for any other text."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError(text)
    scheme = match.group(1).lower()
    return Origin(scheme, _without_default(scheme, parse_host(match.group(2))))


def _without_default(scheme: str, host: Host) -> Host:
    return Host(host.name) if host.port == DEFAULT_PORTS.get(scheme, 0) else host


@attrs.frozen
class AllowedOrigins:
    """The origins of the web pages that may connect."""

    _exact: frozenset[Origin] = frozenset()
    _any: bool = False

    @classmethod
    def of(cls, patterns: Iterable[str]) -> AllowedOrigins:
        """Return those of exact origins, or of `*`, which allows any. Raises `ValueError`."""
        patterns = list(patterns)
        exact = frozenset(parse_origin(each) for each in patterns if each != "*")
        return cls(exact, "*" in patterns)

    def allows(self, origin: str | None, host: Host, scheme: str = "") -> bool:
        """Return True if a page of this origin may connect to `host`, that of the Host header.

        A request without an origin may connect, since it is not from a browser. So may an
        origin that was allowed, and a page of http or https from the same host and port. The
        scheme of that page does not matter, so that a proxy in front may speak TLS, unless a
        trusted proxy has said by which `scheme` the client came. `*` allows any origin, malformed
        ones too.
        """
        if origin is None or self._any:
            return True
        parsed = _parsed(origin)
        if parsed is None:
            return False
        if parsed in self._exact:
            return True
        if parsed.scheme not in ((scheme,) if scheme else ("http", "https")):
            return False
        return parsed.host == _without_default(parsed.scheme, host)


def _parsed(origin: str) -> Origin | None:
    try:
        return parse_origin(origin)
    except ValueError:
        return None


def check_origin(request: Request, allowed: AllowedOrigins, scheme: str = "") -> Refusal | None:
    """Return the refusal of a request whose origin is not allowed, 403; None if it is.

    `scheme` is `http` or `https` if a trusted proxy has named it.
    """
    origin = request.origin
    if origin is None or allowed.allows(origin, request.host, scheme):
        return None
    shown = f"{quoted(without_secrets(origin))} at {quoted(str(request.host))}"
    if scheme:
        shown += f" by {scheme}"
    parsed = _parsed(origin)
    pattern = "'*'" if parsed is None or len(str(parsed)) > _LONGEST_ADVISED else str(parsed)
    cure = (
        f"allow it with --allow-origin {pattern}, or have the gateway in front pass on the"
        " Host header as it came, with its port"
    )
    return Refusal(
        403, "the page's origin is not allowed", cure, shown, kind="origin", is_told=True
    )
