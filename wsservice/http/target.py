"""Destinations of requests: hosts, and request targets (RFC 9112, 3.2; RFC 3986, 3.2). PURE."""

from __future__ import annotations

import functools
import ipaddress
import re

import attrs

from .grammar import IPV6, UNRESERVED
from .refusal import quoted, refuse, without_secrets

_HOST = re.compile(rf"({UNRESERVED}+|\[{IPV6}\])(?::([0-9]{{1,5}}))?")
_EMPTY_PORT = re.compile(r"(?:[^:\[\]]+|\[[^\[\]]*\]):")
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)(.*)")

_USUAL_LENGTH = 64
"""The largest length of a host that is cached, in characters. Most requests name one host."""

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
"""The ports of the schemes that a request target, or an origin, may have here."""


@attrs.frozen
class Host:
    """A host and a port, None if none was given. Two are equal if they mean the same."""

    name: str
    port: int | None = None

    def __str__(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"


class HasTarget:
    """The parts of a request's target. A mixin for what has one."""

    __slots__ = ()

    target: str

    @property
    def path(self) -> str:
        """Return the target up to the query, not decoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """Return the target after the first question mark, not decoded."""
        return self.target.partition("?")[2]


def parse_host(text: str) -> Host:
    """Return a `Host` for `host[:port]`: a DNS name, an IPv4 or a bracketed IPv6 address.

    It is in lower case, an IPv6 address in its shortest form. Raises `ValueError` for
    all other text, such as user information, an empty port or a name beyond ASCII.
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


def parse_authority(text: str) -> Host:
    """Return a `Host` for the authority of a request, as `parse_host`; its port may be empty.

    `localhost:` is `localhost` (RFC 3986, 3.2.3). Raises `ValueError`.
    """
    return _usual_authority(text) if len(text) <= _USUAL_LENGTH else _authority(text)


def _authority(text: str) -> Host:
    if text.endswith(":") and _EMPTY_PORT.fullmatch(text):
        text = text[:-1]
    return parse_host(text)


_usual_authority = functools.lru_cache(maxsize=64)(_authority)


@attrs.frozen
class Target:
    """A request target (RFC 9112, 3.2): `text` is its path and query.

    `scheme`, in lower case, and `authority` are those of an absolute one, "" where
    the target is a path.
    """

    text: str
    scheme: str = ""
    authority: str = ""

    def host(self, named: Host) -> Host:
        """Return the host that a request is for. `named` is that of its Host header.

        An absolute target has a host of its own, which counts (RFC 9112, 3.2.2). Raises
        `ValueError` where that is malformed, or the header names another host or port: a
        gateway may judge by the one, and we by the other.
        """
        if not self.scheme:
            return named
        own, default = parse_authority(self.authority), DEFAULT_PORTS[self.scheme]
        if own.name != named.name or (own.port or default) != (named.port or default):
            raise ValueError(self.authority)
        return own


def parse_target(text: str) -> Target:
    """Return the target of a GET or HEAD: a path, or an absolute URL (RFC 9112, 3.2.1, 3.2.2).

    Raises `RefusedError` with 400.
    """
    shown = quoted(without_secrets(text))
    if "#" in text:
        refuse(400, "the request target has a fragment", "leave out # and what follows it", shown)
    if text.startswith("/"):
        return Target(text)
    match = _ABSOLUTE.fullmatch(text)
    if match is None or match[1].lower() not in DEFAULT_PORTS:
        refuse(
            400,
            "the request target is neither a path nor a URL of http, https, ws or wss",
            "ask for a path such as /chat",
            shown,
        )
    scheme, authority, rest = match.groups()
    if "@" in authority:
        refuse(
            400,
            "the request target has user information",
            "send it in the Authorization header",
            shown,
        )
    return Target(rest if rest.startswith("/") else f"/{rest}", scheme.lower(), authority)
