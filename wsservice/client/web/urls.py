"""Parse WebSocket URLs."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urljoin, urlsplit

import attrs

from ...errors import ConfigError
from ...escape import shown_query, shown_url
from ...http.hostname import LONGEST_SOCKET_PATH, ascii_url, parse_place, without_zone

URL_FORM = "ws://HOST[:PORT][/PATH], wss: or ws+unix:SOCKET[:/PATH]"

_PORTS = {"ws": 80, "wss": 443}
_UNIX = "ws+unix:"
_HTTP = {"http": "ws", "https": "wss"}

Login = tuple[str, str]
"""A user's name and password."""


def parse_userinfo(parts: SplitResult) -> Login | None:
    """Return the name and password of a URL, decoded; "" for a missing password."""
    if "@" not in parts.netloc:
        return None
    name, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return unquote(name), unquote(password)


@attrs.frozen
class UrlTarget:
    """A server and a resource. `url` is without the name and password, which are `login`.

    `host` is a name or an address without brackets. `socket` is the path of a unix socket; None for
    TCP.
    """

    url: str
    secure: bool
    host: str
    port: int
    resource: str
    socket: str | None = None
    login: Login | None = attrs.field(default=None, repr=False)

    @property
    def authority(self) -> str:
        """The host for a Host header: with brackets, and the port if it is not the default.

        The zone of an address is left out: it has a meaning on this machine only (RFC 6874, 4).
        """
        host = bracketed(without_zone(self.host))
        if self.socket is not None or self.port == _PORTS["wss" if self.secure else "ws"]:
            return host
        return f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL for people: with a mask for each secret of its query."""
        return shown_query(self.url)

    @property
    def http_url(self) -> str:
        """The URL with the scheme http or https."""
        return f"http{'s' if self.secure else ''}://{self.authority}{self.resource}"

    def same_origin(self, other: UrlTarget) -> bool:
        """Return True if secrets for one may be sent to the other."""
        return self._origin() == other._origin()

    def _origin(self) -> tuple[object, ...]:
        return self.secure, self.host, self.port, self.socket


def bracketed(host: str) -> str:
    """Return a host as it stands in URLs and headers."""
    return f"[{host}]" if ":" in host else host


def parse(url: str) -> UrlTarget:
    """Parse a URL. Raises `ConfigError` if it is not a WebSocket URL.

    A URL beyond ASCII becomes one in ASCII, as in browsers: its host by IDNA, all else in UTF-8,
    percent-encoded.
    """
    try:
        return _parse_unix(url) if url.lower().startswith(_UNIX) else _parse_tcp(url)
    except KeyError:
        why = ""  # what is allowed says it
    except ValueError as error:
        why = f"{error}; "
    raise ConfigError(f"{shown_url(url)!r} is not allowed; {why}give a URL like {URL_FORM}")


def _checked(url: str) -> str:
    """Return the URL in ASCII. Raises `ValueError` for characters that no URL may have."""
    if " " in url:
        raise ValueError("a space in it is written %20")
    if not url.isprintable():
        raise ValueError("a character that cannot be printed is written %XX, for each octet")
    if "#" in url:
        raise ValueError("a WebSocket URL has no fragment, and # elsewhere is written %23")
    return ascii_url(url)


def _parse_tcp(url: str) -> UrlTarget:
    url = _checked(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("the text in brackets is not an IPv6 address") from None
    secure = {"ws": False, "wss": True}[parts.scheme]
    login = parse_userinfo(parts)
    netloc = parts.netloc.rpartition("@")[2]
    host, port = parse_place(netloc)
    return UrlTarget(
        url=url if login is None else parts._replace(netloc=netloc).geturl(),
        secure=secure,
        host=host,
        port=port or _PORTS[parts.scheme],
        resource=_resource(parts),
        login=login,
    )


def _parse_unix(url: str) -> UrlTarget:
    # The form of npm's ws: the path of the socket, a colon, and the resource. A colon in the path
    # of the socket is written %3A.
    url = _checked(url)
    path, _, resource = url[len(_UNIX) :].partition(":")
    octets = unquote_to_bytes(re.sub("^//(?=/)", "", path))
    if not octets or octets.startswith(b"//") or b"\0" in octets:
        raise ValueError("ws+unix: is followed by the path of a socket")
    if len(octets) > LONGEST_SOCKET_PATH:
        raise ValueError(
            f"the path of a socket has at most {LONGEST_SOCKET_PATH} octets, this one has"
            f" {len(octets)}"
        )
    if resource[:1] not in ("", "/"):
        raise ValueError("the path begins with a /; write a : in the socket's path as %3A")
    path = os.fsdecode(octets)
    return UrlTarget(url, False, "localhost", _PORTS["ws"], resource or "/", path)


def _resource(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def redirected(target: UrlTarget, location: str) -> UrlTarget:
    """Return the target of a server's redirect. `location` is as it came, in Latin-1.

    As in browsers, octets beyond ASCII in it are UTF-8, or else single octets. Raises `ConfigError`
    for a redirect that is not allowed: from TLS to none, to a unix socket that the user did not
    name, or to a URL that is not of a WebSocket.
    """
    location = "".join(
        each if each.isascii() or each.isprintable() else quote(each) for each in readable(location)
    )
    if target.socket is not None and location.startswith("/") and not location.startswith("//"):
        path = location.partition("#")[0]
        return parse(f"{target.url.partition(':')[0]}:{_socket_part(target)}:{path}")
    try:
        where, _, _ = urljoin(target.http_url, ascii_url(location)).partition("#")
    except ValueError:
        raise ConfigError("a redirect must lead to a URL") from None
    scheme, _, rest = where.partition(":")
    there = parse(f"{_HTTP.get(scheme.lower(), scheme)}:{rest}")
    if there.socket is not None:
        raise ConfigError("a redirect must not lead to a unix socket")
    if there.login is not None:
        raise ConfigError("a redirect must not bring a name or a password")
    if target.secure and not there.secure:
        raise ConfigError("a redirect must not lead from TLS to an unprotected connection")
    return there


def readable(location: str) -> str:
    """Return a header's value in Latin-1 as text, decoded as UTF-8.

    If the value is not UTF-8, octets beyond ASCII become %XX.
    """
    try:
        return location.encode("latin-1").decode()
    except UnicodeDecodeError:
        return "".join(each if each.isascii() else f"%{ord(each):02X}" for each in location)


def _socket_part(target: UrlTarget) -> str:
    return target.url[len(_UNIX) :].partition(":")[0]
