"""A host's name, as people write it, and in the forms for DNS and certificates. PURE.

DNS accepts more names than RFC 1123 allows for hosts: `_` in the names of containers, `--` in
the third and fourth place in those of content networks. This module accepts all of them. It
refuses a name that DNS cannot hold, so that no query is made for it.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, unquote

from .grammar import IPV6, UNRESERVED

LONGEST_SOCKET_PATH = 107
"""The largest length of a unix socket's path, in octets (unix(7))."""

_LONGEST_NAME = 253
_LONGEST_LABEL = 63
_DOTS = re.compile("[.\u3002\uff0e\uff61]")  # UTS 46 maps each to a dot
_NAME = re.compile(f"{UNRESERVED}+")
# The zone of an address is percent-encoded in a URL (RFC 6874), and is not in `ip address`.
_PLACE = re.compile(
    rf"(?:\[(?P<ipv6>{IPV6})(?:%(?:25)?(?P<zone>{UNRESERVED}+))?\]|(?P<name>[^\[\]:]+))"
    r"(?::(?P<port>[0-9]{0,5}))?"
)


def ascii_name(text: str) -> str:
    """Return the name of a host in the form for DNS, in lower case.

    A name beyond ASCII becomes that of IDNA 2008, mapped as browsers do (UTS 46). A dot at the
    end stays. Raises `ValueError`; its text says why the name is malformed.
    """
    name = text if text.isascii() else _encoded(text)
    if not _NAME.fullmatch(name):
        raise ValueError("a host's name has letters, digits, '-', '_' and '.'")
    labels = name.removesuffix(".").split(".")
    if not all(labels):
        raise ValueError("a host's name has no two dots in a row, and none at its beginning")
    if max(map(len, labels)) > _LONGEST_LABEL or len(name.removesuffix(".")) > _LONGEST_NAME:
        raise ValueError(
            f"a host's name has at most {_LONGEST_LABEL} characters between two dots,"
            f" and {_LONGEST_NAME} in all"
        )
    return name.lower()


def _encoded(text: str) -> str:
    import idna  # slow to import, and only names beyond ASCII need it; Twisted's TLS requires it

    try:
        mapped = idna.uts46_remap(text, std3_rules=False)
        # Label by label: one in ASCII may have what IDNA does not allow, such as '_'.
        return ".".join(
            label if label.isascii() else idna.encode(label).decode()
            for label in _DOTS.split(mapped)
        )
    except UnicodeError:
        raise ValueError("its host is not a valid IDNA name; write it as xn--...") from None


def parse_place(text: str) -> tuple[str, int | None]:
    """Return the host and the port of `HOST[:PORT]`; the port is None where there is none.

    The host is a name as of `ascii_name`, an IPv4 address, or an IPv6 address without its
    brackets, in its shortest form, with its zone behind a `%`. Raises `ValueError`; its text
    says what is wrong.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ValueError("a host is a name, an IPv4 address or an IPv6 address in brackets")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    if match["ipv6"] is None:
        return ascii_name(match["name"]), port
    try:
        address = ipaddress.IPv6Address(match["ipv6"]).compressed
    except ValueError:
        raise ValueError("the text in brackets is not an IPv6 address") from None
    return f"{address}%{match['zone']}" if match["zone"] else address, port


def without_zone(host: str) -> str:
    """Return a host without the zone of its address, which means something on one machine only."""
    return host.partition("%")[0]


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address in a host's text, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def certified_name(host: str) -> str:
    """Return the name or address to look for in a certificate of a host.

    It has neither a zone nor a dot at its end. A TLS client must send this form too (RFC 6066, 3).
    """
    return without_zone(host).removesuffix(".")


def ascii_url(url: str) -> str:
    """Return a URL in ASCII, as browsers send it: its host by `ascii_name`, all else in UTF-8.

    Text beyond ASCII is percent-encoded; all else is left as it is. Raises `ValueError`.
    """
    if url.isascii():
        return url
    match = re.fullmatch(r"(?:([^:/?#]*:)?//([^/?#]*))?(.*)", url, re.DOTALL)
    assert match is not None  # noqa: S101 - it matches everything
    scheme, authority, rest = (each or "" for each in match.groups())
    login, at, place = authority.rpartition("@")
    if not place.isascii():
        name, colon, port = place.partition(":")
        place = f"{ascii_name(unquote(name))}{colon}{port}"
    start = f"{scheme}//" if match[2] is not None else ""
    return f"{start}{_quoted(login)}{at}{place}{_quoted(rest)}"


def _quoted(text: str) -> str:
    return "".join(each if each.isascii() else quote(each) for each in text)
