"""Hold the settings of a client's connection in one frozen, validated value."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from http.cookiejar import CookieJar
from typing import Any

import attrs

from .. import __version__
from ..config.fields import SECONDS, TO_SECONDS, TO_SWITCH, setting, to_whole
from ..config.limits import Limits
from ..errors import ConfigError
from ..escape import (
    MASK,
    PUBLIC_SUBPROTOCOLS,
    is_secret,
    secret_parameters,
    shown_subprotocol,
    shown_url,
    to_mask,
)
from ..http.headers import TOKEN
from ..http.hostname import parse_place
from .web.cookies import check_cookies
from .web.credentials import basic, check_bearer, check_login
from .web.proxies import ENVIRONMENT, parse_proxy
from .web.urls import Login, UrlTarget, parse

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_ONCE = {"host", "origin", "user-agent", "authorization", "cookie"}
# Headers of the handshake, and those that would turn the bytes behind it into a body.
_NOT_THE_USERS = {"connection", "upgrade", "content-length", "transfer-encoding"}

Pins = dict[tuple[str, int], tuple[str, ...]]
"""The addresses to connect to, by host and port."""


def _header(name: str, value: str) -> tuple[str, str]:
    if not TOKEN.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
        shown = "its value" if is_secret(name) else repr(value)
        raise ConfigError(f"header {name!r}: {shown} is not allowed; give printable ASCII")
    return name, value.strip()


def _headers(headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    names = [name.lower() for name, _ in pairs]
    for name in names:
        if name in _NOT_THE_USERS or name.startswith("sec-websocket-"):
            raise ConfigError(f"header {name!r} is not allowed; the handshake sets it")
        if name in _ONCE and names.count(name) > 1:
            raise ConfigError(f"header {name!r} is given more than once; give it once")
    return tuple(_header(name, value) for name, value in pairs)


def _shown_headers(headers: tuple[tuple[str, str], ...]) -> str:
    return repr([(name, MASK if is_secret(name) else value) for name, value in headers])


def _subprotocols(names: Sequence[str]) -> tuple[str, ...]:
    # The error names the position, because the text may be a secret.
    for number, name in enumerate(names, 1):
        if not TOKEN.fullmatch(name):
            raise ConfigError(
                f"subprotocol number {number} is not allowed; give letters, digits and"
                " !#$%&'*+-.^_`|~ (RFC 9110)"
            )
        if name in names[: number - 1]:
            raise ConfigError(f"subprotocol number {number} is given twice; give it once")
    return tuple(names)


def _shown_subprotocols(names: tuple[str, ...]) -> str:
    return repr(tuple(map(shown_subprotocol, names)))


def _checked_proxy(url: str) -> str:
    if url not in ("", ENVIRONMENT):
        parse_proxy(url)
    return url


def _pins(entries: Sequence[str]) -> tuple[str, ...]:
    for entry in entries:
        parse_pin(entry)
    return tuple(entries)


def parse_pin(entry: str) -> tuple[str, int, tuple[str, ...]]:
    """Return host, port and addresses of `HOST:PORT:ADDRESS[,ADDRESS]`, the form of curl.

    An IPv6 address stands in brackets. The host may be `*`. Raises `ConfigError` for
    every other form.
    """
    match = re.fullmatch(r"(\*|\[[^\]]*\]|[^:\[\]]+):([0-9]+):(.+)", entry)
    try:
        if match is None:
            raise ValueError(entry)
        name, port, rest = match.groups()
        # A name with a dot at its end is the same host.
        host = name if name == "*" else parse_place(name)[0].removesuffix(".")
        parse_place(f"localhost:{port}")
        addresses = [ipaddress.ip_address(each.strip("[]")).compressed for each in rest.split(",")]
    except ValueError:
        raise ConfigError(
            f"--resolve: {entry!r} is not allowed; give HOST:PORT:ADDRESS, IPv6 in brackets"
        ) from None
    return host, int(port), tuple(addresses)


def _ip_version(value: Any) -> int | None:
    if value not in (None, 4, 6):
        raise ConfigError(f"ip_version: {value!r} is not allowed; give 4, 6 or None")
    return value  # type: ignore[no-any-return]


@attrs.frozen(kw_only=True)
class ClientConfig(Limits):
    """How to connect. Raises `ConfigError` for a value that is not allowed.

    The opening handshake:

    - `url`: `ws://HOST[:PORT][/PATH]`, `wss:`, or `ws+unix:SOCKET[:/PATH]` for the
      path of a unix socket. A name and a password in it become `auth`.
    - `origin`, `user_agent` (None sends none), `subprotocols` (the preferred one first).
    - `headers`, a mapping or pairs, replace the client's own headers of the same name.
      Headers that make the handshake are not allowed.
    - `auth`, a name and a password, or `bearer`, a token.
    - `cookies`, such as `a=b; c=d`, and `cookie_jar`, a `http.cookiejar.CookieJar` that
      keeps the cookies of servers. A cookie goes only to the host that set it, whatever
      its Domain.

    The way to the server:

    - `connect_timeout`, in seconds or as `"500ms"`: time for DNS, network and proxy; 0: no
      limit. All redirects share it, and share `handshake_timeout` for the servers' answers.
    - `resolve`: entries such as `HOST:PORT:ADDRESS[,ADDRESS]`, in place of DNS.
    - `ip_version`: 4 or 6 uses addresses of that version only; None tries both, and takes
      the first that answers.
    - `proxy`: the URL of an http, https, socks5 (names are looked up here) or socks5h
      (names are looked up by the proxy) proxy; "" for none, "environment" for the usual
      variables.
    - `max_redirects`: most redirects to follow. Another origin gets no credentials, no
      `origin`, no `headers`, and only `subprotocols` that many servers share. A redirect
      from `wss:` to `ws:` is never followed.

    TLS, which verifies the server's certificate unless `insecure`:

    - `ca`: a file of certificates to trust in place of the system's.
    - `cert`, a file with the client's certificate and its chain, `key`, a file with its
      key, if not in the same file, and `key_password`, if the key is encrypted.

    `trace` is called with each line of the handshakes, printable, without secrets.
    """

    url: str = attrs.field(repr=lambda url: repr(shown_url(url)))
    origin: str | None = None
    headers: tuple[tuple[str, str], ...] = attrs.field(
        default=(), converter=_headers, repr=_shown_headers
    )
    subprotocols: tuple[str, ...] = attrs.field(
        default=(), converter=_subprotocols, repr=_shown_subprotocols
    )
    user_agent: str | None = f"wsservice/{__version__}"
    auth: Login | None = attrs.field(default=None, converter=check_login, repr=False)
    bearer: str | None = attrs.field(default=None, converter=check_bearer, repr=False)
    cookies: str = attrs.field(default="", converter=check_cookies, repr=False)
    cookie_jar: CookieJar | None = attrs.field(default=None, repr=False, eq=False)
    connect_timeout: float = setting(
        30.0,
        TO_SECONDS,
        SECONDS,
        "time for DNS, network and proxy; 0: no limit",
    )
    resolve: tuple[str, ...] = attrs.field(default=(), converter=_pins)
    ip_version: int | None = attrs.field(default=None, converter=_ip_version)
    proxy: str = attrs.field(
        default="", converter=_checked_proxy, repr=lambda url: repr(shown_url(url))
    )
    max_redirects: int = setting(
        5,
        to_whole(0),
        "COUNT",
        "most redirects to follow; 0: none",
        unit="redirects",
    )
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    key_password: str | None = attrs.field(default=None, repr=False)
    insecure: bool = setting(False, TO_SWITCH, "on|off", "do not verify certificates")
    trace: Callable[[str], None] | None = attrs.field(default=None, repr=False, eq=False)
    target: UrlTarget = attrs.field(init=False, repr=False, eq=False)
    """The server and the resource of the URL."""

    def __attrs_post_init__(self) -> None:
        target = parse(self.url)
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "url", target.url)
        if target.login is not None and self.auth is None and self.bearer is None:
            object.__setattr__(self, "auth", check_login(target.login))
        if self.auth is not None and self.bearer is not None:
            raise ConfigError("auth and bearer are not allowed together; give one")
        _header("Origin", self.origin or "")
        _header("User-Agent", self.user_agent or "")

    @property
    def secrets(self) -> list[str]:
        """The secret parts of these settings, the longest first."""
        found = [*self.subprotocols, self.bearer or "", *secret_parameters(self.target.url)]
        found += [value for name, value in self.headers if is_secret(name)]
        found += [value.partition(" ")[2] for name, value in self.headers if is_secret(name)]
        found += [pair.partition("=")[2] for pair in self.cookies.split("; ")]
        if self.auth is not None:
            found += [self.auth[1], basic(*self.auth).partition(" ")[2]]
        return to_mask({*found} - PUBLIC_SUBPROTOCOLS)

    @property
    def pins(self) -> Pins:
        """The entries of `resolve`. Those of the host `*` hold for all hosts without an entry."""
        return {(host, port): addresses for host, port, addresses in map(parse_pin, self.resolve)}
