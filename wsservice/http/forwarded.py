"""Find the client's address in the headers of trusted proxies (RFC 7239; X-Forwarded-For). PURE.

A client can send these headers too, and a proxy adds its own value behind the client's. So lists
are read from their right end: each address was written by the proxy to its right, and counts as
long as that proxy is trusted. Nothing to the left of the first address that is not trusted is
looked at, so a client cannot make the part that its proxy wrote unreadable.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from .grammar import TCHAR, TOKEN

UNIX = "unix"
"""The word that trusts all peers at unix sockets."""

MOST_HOPS = 32
"""The most addresses of one list that are looked at. No client is behind so many proxies."""

_MOST_READ = 2048
"""The most characters of a header that are looked at, at its end: room for so many addresses."""

_FORWARDED, _FOR, _PROTO = "forwarded", "x-forwarded-for", "x-forwarded-proto"

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""The scheme of the page that may connect, by the name that a proxy has for it. Traefik says ws."""

_MARK = re.compile('[,"]')
# Possessive, since two runs of white space that may both match one would take quadratic time. A
# port and IPv6 need quotes (RFC 7239, 6), but proxies exist that leave them out.
_PAIR = re.compile(
    rf'[ \t]*+(?:({TOKEN})=((?:{TCHAR}|[:\[\]])+|"(?:[^"\\]|\\.)*"))?[ \t]*+(?:;|\Z)',
)
_QUOTED_PAIR = re.compile(r"\\(.)")
_NODE = re.compile(
    r"(?:(?P<ipv4>[0-9.]{7,15})|\[(?P<ipv6>[0-9A-Fa-f.]{0,4}:[0-9A-Fa-f:.]{1,44})\])"
    r"(?::(?:(?P<port>[0-9]{1,5})|_[A-Za-z0-9._-]+))?"
)
"""An address, and a port, which may be obfuscated (RFC 7239, 6)."""
_NAMELESS = re.compile(r"(?:unknown|_[A-Za-z0-9._-]+)(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?", re.I)
_BARE_IPV6 = re.compile(r"(?=[^:]*:[^:]*:)[0-9A-Fa-f:.]{2,45}")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class TrustedProxies:
    """The proxies whose headers are believed: IP networks, and the peers at unix sockets."""

    networks: tuple[_Network, ...] = ()
    unix: bool = False

    @classmethod
    def of(cls, texts: Iterable[str]) -> TrustedProxies:
        """Return those of addresses, networks such as `10.0.0.0/8`, and `unix`.

        Raises `ValueError` for any other text, and for a network with bits behind its prefix.
        """
        texts = tuple(texts)
        networks = tuple(_network(text) for text in texts if text != UNIX)
        return cls(networks, UNIX in texts)

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def trusts(self, host: str | None) -> bool:
        """Return True for the IP address of a trusted proxy. `host` None is a unix socket."""
        if host is None:
            return self.unix
        try:
            address = _parsed(host.partition("%")[0])
        except ValueError:
            return False  # a plugin's endpoint may have any text as its host
        return any(address in network for network in self.networks)


@attrs.frozen
class Node:
    """The IP address of a client or proxy, in its short form, and its port, 0 if unknown."""

    host: str
    port: int = 0


@attrs.frozen
class Forwarding:
    """The answer of the headers of one request.

    `client` is None if they name none; the peer itself is the client then. `scheme` is `http`,
    `https`, or "" if unknown. `problem` says what could not be read, without text of the peer.
    `disagrees` is True if two headers name different clients; neither is believed then.
    """

    client: Node | None = None
    scheme: str = ""
    problem: str = ""
    disagrees: bool = False


@attrs.define
class _Chain:
    """The answer of one header."""

    client: Node | None = None
    scheme: str = ""
    problem: str = ""


@attrs.frozen
class _Hop:
    """One element of a list. `node` is None if it names no address."""

    node: Node | None = None
    scheme: str = ""
    is_unix: bool = False


def client_of(headers: Mapping[str, str], trusted: TrustedProxies) -> Forwarding:
    """Return the client by the headers of a request from a trusted proxy. Raises nothing.

    Names of `headers` are in lower case; the lines of a repeated header are one value, joined by
    commas. The client is the rightmost address that is not trusted. If all are trusted, it is the
    leftmost. At an element that is malformed, or names nobody (`unknown`, `_hidden`), it is the
    address to the right of that element.
    """
    lists = (
        (_from_right(_end_of(headers, _FORWARDED)), _hop, "Forwarded"),
        (reversed(_end_of(headers, _FOR).split(",")), _plain_hop, "X-Forwarded-For"),
    )
    walked = [_walk(*each, trusted) for each in lists]
    chains = [each for each in walked if each is not None]
    scheme, proto_problem = _scheme_of(_end_of(headers, _PROTO))
    problem = "; ".join(filter(None, [*(each.problem for each in chains), proto_problem]))
    schemes = {*(each.scheme for each in chains), scheme} - {""}
    agreed = schemes.pop() if len(schemes) == 1 else ""
    clients = [each.client for each in chains]
    if len({None if each is None else each.host for each in clients}) > 1:
        return Forwarding(None, agreed, problem, disagrees=True)
    # Only one of the two may have the port.
    client = max(filter(None, clients), key=lambda each: each.port, default=None)
    return Forwarding(client, agreed, problem)


def _end_of(headers: Mapping[str, str], name: str) -> str:
    """Return as much of a header's end as is looked at."""
    value = headers.get(name, "")
    # The question mark makes the element that was cut malformed: its end may be an address too.
    return value if len(value) <= _MOST_READ else f"?{value[-_MOST_READ:]}"


def _walk(
    elements: Iterable[str], read: Callable[[str], _Hop], name: str, trusted: TrustedProxies
) -> _Chain | None:
    """Follow a list from its right end, as long as the proxies that wrote it are trusted.

    Return None for a list without elements.
    """
    chain = _Chain()
    hops = 0
    for element in elements:
        text = element.strip(" \t")
        if not text:
            continue  # RFC 9110, 5.6.1.2
        hops += 1
        if hops > MOST_HOPS:
            chain.problem = f"{name} has more than {MOST_HOPS} trusted addresses"
            break
        try:
            hop = read(text)
        except ValueError:
            chain.problem = f"{name} has a malformed element"
            break
        chain.scheme = hop.scheme
        if hop.is_unix and trusted.unix:
            continue
        if hop.node is None:
            break
        chain.client = hop.node
        if not trusted.trusts(hop.node.host):
            break
    return chain if hops else None


def _from_right(value: str) -> Iterator[str]:
    """Yield the elements of a list from its right end. A comma within quotes is part of one.

    Read from the left, a quotation mark that the client left open would swallow the element that
    its proxy wrote.
    """
    backwards = value[::-1]
    begin = 0
    quoted = False
    for mark in _MARK.finditer(backwards):
        at = mark.start()
        if mark[0] == '"':
            quoted = not quoted or _is_escaped(backwards, at)
        elif not quoted:
            yield backwards[begin:at][::-1]
            begin = at + 1
    yield backwards[begin:][::-1]


def _is_escaped(backwards: str, at: int) -> bool:
    """Return True if an odd number of backslashes stands before a mark, in reversed text."""
    end = at + 1
    while backwards[end : end + 1] == "\\":
        end += 1
    return (end - at - 1) % 2 == 1


def _hop(element: str) -> _Hop:
    """Return the hop of an element of `Forwarded`. Raises `ValueError`."""
    pairs: dict[str, str] = {}
    at = 0
    while at < len(element):
        match = _PAIR.match(element, at)
        if match is None:
            raise ValueError("malformed")
        at = match.end()
        name, value = match.groups()
        if name is None:
            continue
        if name.lower() in pairs:  # RFC 7239, 4
            raise ValueError("twice")
        pairs[name.lower()] = _unquoted(value)
    scheme = _SCHEMES.get(pairs.get("proto", "").lower(), "")
    named = pairs.get("for")
    if named is None or _NAMELESS.fullmatch(named):
        return _Hop(None, scheme)
    return _Hop(_node(named), scheme)


def _plain_hop(element: str) -> _Hop:
    """Return the hop of an element of `X-Forwarded-For`. Raises `ValueError`.

    An address may have a port, as Azure's gateways write it, and IPv6 may have brackets. nginx
    writes `unix:` for a client at a unix socket.
    """
    if element == "unix:":
        return _Hop(is_unix=True)
    if _NAMELESS.fullmatch(element):
        return _Hop()
    if _BARE_IPV6.fullmatch(element):
        return _Hop(Node(_short(element)))
    return _Hop(_node(element))


def _unquoted(value: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def _node(text: str) -> Node:
    match = _NODE.fullmatch(text)
    if match is None:
        raise ValueError("no address")
    port = int(match["port"] or 0)
    if port > 65535:
        raise ValueError("no port")
    return Node(_short(match["ipv4"] or match["ipv6"]), port)


def _scheme_of(value: str) -> tuple[str, str]:
    """Return the rightmost scheme of `X-Forwarded-Proto`, and what is wrong with it, or ""."""
    last = next(filter(None, (each.strip(" \t") for each in reversed(value.split(",")))), "")
    scheme = _SCHEMES.get(last.lower(), "")
    return scheme, "X-Forwarded-Proto names no scheme that is known" if last and not scheme else ""


def _short(text: str) -> str:
    return str(_parsed(text))


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address. One of IPv4 that is mapped into IPv6 is returned as IPv4."""
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _network(text: str) -> _Network:
    if "%" in text:
        raise ValueError(text)  # a zone means something on one machine only
    network = ipaddress.ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
    return network
