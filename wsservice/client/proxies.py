"""Proxies: what their URLs say, and which one to take."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs

from ..errors import ConfigError
from ..request import parse_host
from .urls import Login, Target, bracketed, masked, parse_userinfo

PROXY_FORM = "[http|https|socks5|socks5h://][USER:PASS@]HOST[:PORT]"
ENVIRONMENT = "environment"
"""In place of a proxy's URL: the one that the environment variables name."""

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
# Not HTTP_PROXY: a CGI program's client sets it with a header named Proxy.
_VARIABLES = {
    False: ("ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"),
    True: ("wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
}
_LONGEST_LOGIN = 255
"""Octets that a name, or a password, may have in SOCKS (RFC 1929)."""


@attrs.frozen
class Proxy:
    """A proxy. `scheme` is http, https, socks5 (names are looked up here) or socks5h (there)."""

    scheme: str
    host: str
    port: int
    login: Login | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


def parse_proxy(url: str, given_by: str = "--proxy") -> Proxy:
    """A proxy from its URL. Raises `ConfigError` that names by what it was given."""
    problem = f"{given_by}: {masked(url)!r} is not allowed; give {PROXY_FORM}"
    if not (url.isascii() and url.isprintable()) or set(url) & set(" ?#"):
        raise ConfigError(problem)
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host = parse_host(parts.netloc.rpartition("@")[2])
        default = _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise ConfigError(problem) from None
    if parts.path not in ("", "/"):
        raise ConfigError(problem)
    login = parse_userinfo(parts)
    if parts.scheme.startswith("socks") and login is not None:
        for each in login:
            if not 1 <= len(each.encode()) <= _LONGEST_LOGIN:
                raise ConfigError(
                    f"{given_by}: SOCKS takes a name and a password of 1 to 255 octets each"
                )
    return Proxy(parts.scheme, host.name.strip("[]"), host.port or default, login)


def proxy_for(target: Target, setting: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy to reach a target through, None for none.

    `setting` is a proxy's URL, "" for none, or `ENVIRONMENT`: then it is the
    first of these variables that is not empty, `ws_proxy` (`wss_proxy`),
    `http_proxy` (`https_proxy`), `all_proxy`, unless `no_proxy` exempts the host;
    all but `http_proxy` also in capitals.
    """
    if target.socket is not None or not setting:
        return None
    if setting != ENVIRONMENT:
        return parse_proxy(setting)
    if exempt(target.host, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    for name in _VARIABLES[target.secure]:
        if environment.get(name):
            return parse_proxy(environment[name], name)
    return None


def exempt(host: str, no_proxy: str) -> bool:
    """Whether a host is on a list such as `example.com, .example.org, 192.0.2.0/24`, or `*`.

    A name means itself and all names that end in it after a dot.
    """
    entries = [each.strip("[]") for each in re.split(r"[\s,]+", no_proxy.lower()) if each]
    if "*" in entries:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.rstrip(".")
        names = [each.strip(".") for each in entries]
        return any(name == each or (each and name.endswith(f".{each}")) for each in names)
    return any(_is_within(address, each) for each in entries)


def _is_within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
