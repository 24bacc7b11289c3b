"""Parse the URLs of proxies, and choose the proxy for a target."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs

from ...errors import ConfigError
from ...escape import shown_url
from ...http.hostname import address_of, ascii_url, parse_place
from .urls import Login, UrlTarget, bracketed, parse_userinfo

PROXY_FORM = "[http|https|socks|socks5|socks5h://][USER:PASS@]HOST[:PORT]"
ENVIRONMENT = "environment"
"""The setting that takes the proxy from the environment variables."""

_PORTS = {"http": 80, "https": 443, "socks": 1080, "socks5": 1080, "socks5h": 1080}
# GNOME writes socks: into all_proxy, and its own library lets the proxy look up names.
_SAME = {"socks": "socks5h"}
# HTTP_PROXY is not read: the client of a CGI program could set it by a header named Proxy.
_VARIABLES = {
    False: ("ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"),
    True: ("wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
}
_LONGEST_LOGIN = 255
"""The most octets of a name, and of a password, in SOCKS (RFC 1929)."""


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
    """Parse the URL of a proxy.

    Raises `ConfigError`, which names the option or variable `given_by`.
    """
    problem = f"{given_by}: {shown_url(url)!r} is not allowed; give {PROXY_FORM}"
    if not url.isprintable() or set(url) & set(" ?#"):
        raise ConfigError(problem)
    try:
        parts = urlsplit(ascii_url(url if "://" in url else f"http://{url}"))
        host, port = parse_place(parts.netloc.rpartition("@")[2])
        default = _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise ConfigError(problem) from None
    scheme = _SAME.get(parts.scheme, parts.scheme)
    if parts.path not in ("", "/"):
        raise ConfigError(problem)
    login = parse_userinfo(parts)
    if scheme.startswith("socks") and login is not None:
        for each in login:
            if not 1 <= len(each.encode()) <= _LONGEST_LOGIN:
                raise ConfigError(
                    f"{given_by}: SOCKS takes a name and a password of 1 to 255 octets each"
                )
    return Proxy(scheme, host, port or default, login)


def proxy_for(target: UrlTarget, setting: str, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a target; None for none. Raises `ConfigError`.

    `setting` is a proxy's URL, "" for none, or `ENVIRONMENT`: then it is the first of these
    variables that is not empty, `ws_proxy` (`wss_proxy`), `http_proxy` (`https_proxy`),
    `all_proxy`, unless `no_proxy` exempts the host; all but `http_proxy` also in capitals.
    """
    if target.socket is not None or not setting:
        return None
    if setting != ENVIRONMENT:
        return parse_proxy(setting)
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if exempt(target.host, target.port, no_proxy):
        return None
    for name in _VARIABLES[target.secure]:
        if environment.get(name):
            return parse_proxy(environment[name], name)
    return None


def exempt(host: str, port: int, no_proxy: str) -> bool:
    """Return True if a host is on a list of hosts that are reached without a proxy.

    The list is like `example.com, .example.org, *.example.net, 192.0.2.0/24, host:8080`, or `*`. A
    name means itself and all names that end in it after a dot; with `*.` these only. With a port,
    it is for that port.
    """
    return any(_is_meant(host, port, each) for each in re.split(r"[\s,]+", no_proxy.lower()))


def _is_meant(host: str, port: int, entry: str) -> bool:
    match = re.fullmatch(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})", entry)
    if match is not None and int(match[2]) != port:
        return False
    meant = (match[1] if match else entry).strip("[]")
    if meant == "*":
        return True
    address = address_of(host)
    if address is not None:
        return _is_within(address, meant)
    name, end = host.rstrip("."), meant.removeprefix("*").strip(".")
    return bool(end) and (name.endswith(f".{end}") or (name == end and not meant.startswith("*")))


def _is_within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
