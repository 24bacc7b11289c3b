"""The URLs that `--auth` names: whether others on the way can read or change what is sent. PURE."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..escape import escape, shown_url
from ..http.hostname import parse_place


def is_safe(kind: str, url: str) -> bool:
    """Return True for https:, and for an http: URL of this machine, whose way nobody else is on.

    `kind` is that of `--auth`. Raises `ConfigError` for what is no URL of HTTP.
    """
    if not (url.isascii() and url.isprintable()) or " " in url or "#" in url:
        raise _refused(kind, url)
    try:
        parts = urlsplit(url)
        host, _ = parse_place(parts.netloc)
    except ValueError:
        raise _refused(kind, url) from None
    if parts.scheme not in ("http", "https"):
        raise _refused(kind, url)
    return parts.scheme == "https" or _is_loopback(host)


def _refused(kind: str, url: str) -> ConfigError:
    return ConfigError(
        f"--auth: '{kind}:{shown(url)}' is not allowed; give an https: or http: URL without a user"
        " or #"
    )


def shown(url: str) -> str:
    """Return a URL that can be shown in a message."""
    return escape(shown_url(url.partition("#")[0]))


def place_of(url: str) -> str:
    """Return a URL's scheme and host for the log: with some servers, the path is a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
