"""The settings of a client's connection: one frozen, validated value."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from http.cookiejar import CookieJar
from typing import Any

import attrs

from .. import __version__
from ..config import SECONDS, SWITCH, WHOLE, Limits, setting
from ..errors import ConfigError
from ..request import parse_host
from .cookies import check_cookies
from .credentials import check_bearer, check_login, is_secret
from .proxies import ENVIRONMENT, parse_proxy
from .urls import Login, Target, masked, parse

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_ONCE = {"host", "origin", "user-agent", "authorization", "cookie"}
# The handshake's own, and those that would make a body of what follows it.
_NOT_THE_USERS = {"connection", "upgrade", "content-length", "transfer-encoding"}

Pins = dict[tuple[str, int], tuple[str, ...]]
"""Of a host and a port, the addresses to connect to."""


def _header(name: str, value: str) -> tuple[str, str]:
    if not _TOKEN.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
        shown = "its value" if is_secret(name) else repr(value)
        raise ConfigError(f"header {name!r}: {shown} is not allowed; give printable ASCII")
    return name, value.strip()


def _headers(headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    names = [name.lower() for name, _ in pairs]
    for name in names:
        if name in _NOT_THE_USERS or name.startswith("sec-websocket-"):
            raise ConfigError(f"header {name!r} is not allowed; it is the handshake's own")
        if name in _ONCE and names.count(name) > 1:
            raise ConfigError(f"header {name!r}: is given more than once; give it once")
    return tuple(_header(name, value) for name, value in pairs)


def _shown_headers(headers: tuple[tuple[str, str], ...]) -> str:
    return repr([(name, "***" if is_secret(name) else value) for name, value in headers])


def _subprotocols(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if not _TOKEN.fullmatch(name):
            raise ConfigError(f"subprotocol {name!r} is not allowed; give a token (RFC 9110)")
        if list(names).count(name) > 1:
            raise ConfigError(f"subprotocol {name!r}: is given more than once; give it once")
    return tuple(names)


def _checked_proxy(url: str) -> str:
    if url not in ("", ENVIRONMENT):
        parse_proxy(url)
    return url


def _pins(entries: Sequence[str]) -> tuple[str, ...]:
    for entry in entries:
        parse_pin(entry)
    return tuple(entries)


def parse_pin(entry: str) -> tuple[str, int, tuple[str, ...]]:
    """A host, a port and addresses from `HOST:PORT:ADDRESS[,ADDRESS]`, as curl has it.

    An IPv6 address stands in brackets. The host may be `*`. Raises `ConfigError`
    for anything else.
    """
    match = re.fullmatch(r"(\*|\[[^\]]*\]|[^:\[\]]+):([0-9]+):(.+)", entry)
    try:
        if match is None:
            raise ValueError(entry)
        name, port, rest = match.groups()
        host = name if name == "*" else parse_host(name).name.strip("[]")
        parse_host(f"localhost:{port}")
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

    What is said in the opening handshake:

    - `url`: `ws://HOST[:PORT][/PATH]`, `wss:`, or `ws+unix:SOCKET[:/PATH]` for the
      path of a unix socket. A name and a password in it become `auth`.
    - `origin`, `user_agent` (None sends none), `subprotocols` (the best first).
    - `headers`, a mapping or pairs: stand in place of ours of the same name. Those
      that make the handshake are not allowed.
    - `auth`, a name and a password, or `bearer`, a token.
    - `cookies`, such as `a=b; c=d`, and `cookie_jar`, a `http.cookiejar.CookieJar`
      that gives each host its own, and keeps what servers set.

    How the server is reached:

    - `connect_timeout`, in seconds, is for name, network and proxy; 0: no limit.
    - `resolve`: entries such as `HOST:PORT:ADDRESS[,ADDRESS]`, in place of DNS.
    - `ip_version`: 4 or 6 for addresses of that kind only; None takes both, and the
      one that answers first.
    - `proxy`: the URL of one, http, https, socks5 (names are looked up here) or
      socks5h (there); "" for none, "environment" for what the usual variables name.
    - `max_redirects`: so many are followed. To another origin go no credentials and
      no `headers`; never from `wss:` to `ws:`.

    TLS, which is always verified unless `insecure`:

    - `ca`: a file of certificates to trust in place of the system's.
    - `cert`, a file with our certificate and its chain, `key`, one with its key, if
      that is not in the same file, and `key_password`, if it is encrypted.

    `trace` is called with each line of the handshakes, printable, without secrets.
    """

    url: str
    origin: str | None = None
    headers: tuple[tuple[str, str], ...] = attrs.field(
        default=(), converter=_headers, repr=_shown_headers
    )
    subprotocols: tuple[str, ...] = attrs.field(default=(), converter=_subprotocols)
    user_agent: str | None = f"wsservice/{__version__}"
    auth: Login | None = attrs.field(default=None, converter=check_login, repr=False)
    bearer: str | None = attrs.field(default=None, converter=check_bearer, repr=False)
    cookies: str = attrs.field(default="", converter=check_cookies, repr=False)
    cookie_jar: CookieJar | None = attrs.field(default=None, repr=False, eq=False)
    connect_timeout: float = setting(
        30.0, SECONDS, "SECONDS", "how long finding and reaching the server may take; 0: no limit"
    )
    resolve: tuple[str, ...] = attrs.field(default=(), converter=_pins)
    ip_version: int | None = attrs.field(default=None, converter=_ip_version)
    proxy: str = attrs.field(
        default="", converter=_checked_proxy, repr=lambda url: repr(masked(url))
    )
    max_redirects: int = setting(
        5, WHOLE, "COUNT", "follow so many redirects of the handshake; 0: none"
    )
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    key_password: str | None = attrs.field(default=None, repr=False)
    insecure: bool = setting(False, SWITCH, "on|off", "verify no certificate, and no name")
    trace: Callable[[str], None] | None = attrs.field(default=None, repr=False, eq=False)
    target: Target = attrs.field(init=False, repr=False, eq=False)
    """Whom the URL says to ask for what."""

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
    def pins(self) -> Pins:
        """What `resolve` says. Of the host `*`, it is for those that are not named."""
        return {(host, port): addresses for host, port, addresses in map(parse_pin, self.resolve)}
