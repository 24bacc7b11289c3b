"""A WebSocket URL, taken apart."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import attrs

from ..errors import ConfigError
from ..request import parse_host

URL_FORM = "ws://HOST[:PORT][/PATH], wss: or ws+unix:SOCKET[:/PATH]"

_PORTS = {"ws": 80, "wss": 443}
_UNIX = "ws+unix:"
_HTTP = {"http": "ws", "https": "wss"}

Login = tuple[str, str]
"""A user's name and password."""


def masked(url: str) -> str:
    """A URL, fit to be shown: a name and a password in it are not."""
    return re.sub(r"^([^:/?#]*://)?.*@", r"\1***@", url, count=1, flags=re.DOTALL)


def parse_userinfo(parts: SplitResult) -> Login | None:
    """The name and password of a URL, decoded; the password is empty where there is none."""
    if "@" not in parts.netloc:
        return None
    name, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return unquote(name), unquote(password)


@attrs.frozen
class Target:
    """Whom to ask for what. `url` is without a name and a password, which are `login`.

    `host` is a name or an address without brackets; `socket` is the path of a
    unix socket, None where there is TCP to be spoken.
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
        """The host for a Host header: with brackets, and the port if it is not the default."""
        host = bracketed(self.host)
        if self.socket is not None or self.port == _PORTS["wss" if self.secure else "ws"]:
            return host
        return f"{host}:{self.port}"

    @property
    def http_url(self) -> str:
        """The same as a URL of HTTP, as whose the cookies for it are kept."""
        return f"http{'s' if self.secure else ''}://{self.authority}{self.resource}"

    def same_origin(self, other: Target) -> bool:
        """Whether what is meant for one may be told to the other."""
        return self._origin() == other._origin()

    def _origin(self) -> tuple[object, ...]:
        return self.secure, self.host, self.port, self.socket


def bracketed(host: str) -> str:
    """A host as URLs and headers have it."""
    return f"[{host}]" if ":" in host else host


def parse(url: str) -> Target:
    """Take a URL apart. Raises `ConfigError` where it is none."""
    problem = f"{masked(url)!r} is not allowed; give a URL like {URL_FORM}"
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ConfigError(problem)
    if "#" in url:
        raise ConfigError(f"{masked(url)!r} is not allowed; a WebSocket URL has no fragment (#...)")
    try:
        return _parse_unix(url) if url.lower().startswith(_UNIX) else _parse_tcp(url)
    except (KeyError, ValueError):
        raise ConfigError(problem) from None


def _parse_tcp(url: str) -> Target:
    parts = urlsplit(url)
    login = parse_userinfo(parts)
    netloc = parts.netloc.rpartition("@")[2]
    host = parse_host(netloc)
    return Target(
        url=url if login is None else parts._replace(netloc=netloc).geturl(),
        secure={"ws": False, "wss": True}[parts.scheme],
        host=host.name.strip("[]"),
        port=host.port or _PORTS[parts.scheme],
        resource=_resource(parts),
        login=login,
    )


def _parse_unix(url: str) -> Target:
    # As npm's ws has it: the path of the socket, a colon, and what to ask for. A
    # socket's own colon is written %3A.
    path, _, resource = url[len(_UNIX) :].partition(":")
    path = unquote(re.sub("^//(?=/)", "", path))
    if not path or path.startswith("//") or "\0" in path or resource[:1] not in ("", "/"):
        raise ValueError(url)
    return Target(url, False, "localhost", _PORTS["ws"], resource or "/", path)


def _resource(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def redirected(target: Target, location: str) -> Target:
    """Where a server's redirect leads. Raises `ConfigError` for where it must not lead.

    Never from TLS to without, to a unix socket that the user did not name, or to
    what is no WebSocket.
    """
    if target.socket is not None and location.startswith("/") and not location.startswith("//"):
        return parse(f"{target.url.partition(':')[0]}:{_socket_part(target)}:{location}")
    try:
        where, _, _ = urljoin(target.http_url, location).partition("#")
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


def _socket_part(target: Target) -> str:
    return target.url[len(_UNIX) :].partition(":")[0]
