"""What is said to a proxy before it passes on what we say. No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator

from .answer import LONGEST_HEAD, parse_head
from .credentials import basic
from .proxies import Proxy
from .trace import Trace
from .urls import bracketed

_SOCKS_REPLIES = {
    1: "the proxy failed",
    2: "its rules do not allow it",
    3: "the network is unreachable",
    4: "the host is unreachable",
    5: "connection refused",
    6: "it took too long",
    7: "it does not know the command",
    8: "it does not know this kind of address",
}


class NegotiationError(Exception):
    """The proxy will not, or makes no sense; the text says which."""


Negotiation = Generator[bytes, bytes, bytes]
"""Yields what to send, maybe nothing, and is sent what came; returns what came too much."""


def http_connect(proxy: Proxy, host: str, port: int, trace: Trace) -> Negotiation:
    """Ask a proxy of HTTP for a tunnel (RFC 9110, 9.3.6)."""
    where = f"{bracketed(host)}:{port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.login is not None:
        lines.append(f"Proxy-Authorization: {basic(*proxy.login)}")
    request = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
    trace.sent(request)
    received = yield request
    while b"\r\n\r\n" not in received:
        if len(received) > LONGEST_HEAD:
            raise NegotiationError("its answer has too long a head")
        received += yield b""
    head, _, rest = received.partition(b"\r\n\r\n")
    try:
        answer = parse_head(head)
    except ValueError as error:
        raise NegotiationError(f"its answer makes no sense, {error}") from None
    trace.received(head)
    if not 200 <= answer.status < 300:
        wants = ""
        if answer.status == 407:
            wants = "; it wants " + ("another" if proxy.login else "a") + " name and password"
        raise NegotiationError(f"it answered {answer.status} {answer.reason}".rstrip() + wants)
    return rest


def socks5(proxy: Proxy, host: str, port: int, trace: Trace) -> Negotiation:
    """Ask a proxy of SOCKS 5 for a tunnel (RFC 1928), with a name and password (RFC 1929)."""
    trace.note(f"asking it for {bracketed(host)}:{port}")
    offered = b"\0" if proxy.login is None else b"\0\2"
    received = yield bytes([5, len(offered)]) + offered
    while len(received) < 2:
        received += yield b""
    (version, method), received = received[:2], received[2:]
    if version != 5:
        raise NegotiationError("it does not speak SOCKS 5")
    if method == 2 and proxy.login is not None:
        name, password = (each.encode() for each in proxy.login)
        said = bytes([1, len(name)]) + name + bytes([len(password)]) + password
        received += yield said
        while len(received) < 2:
            received += yield b""
        if received[1] != 0:
            raise NegotiationError("it does not accept the name and password")
        received = received[2:]
    elif method != 0:
        wants = "; it wants a name and password" if proxy.login is None else ""
        raise NegotiationError(f"it accepts none of our ways to log in{wants}")
    received += yield b"\5\1\0" + _socks_address(host) + port.to_bytes(2, "big")
    # The end of a refusal does not always come.
    while len(received) < 2:
        received += yield b""
    if received[1] != 0:
        why = _SOCKS_REPLIES.get(received[1], f"error {received[1]}")
        raise NegotiationError(f"it says: {why}")
    while len(received) < 5:
        received += yield b""
    sizes = {1: 4, 3: 1 + received[4], 4: 16}
    if received[3] not in sizes:
        raise NegotiationError("its answer makes no sense")
    size = 4 + sizes[received[3]] + 2
    while len(received) < size:
        received += yield b""
    return received[size:]


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode()
        if len(name) > 255:
            raise NegotiationError("the host's name is too long for SOCKS") from None
        return bytes([3, len(name)]) + name
    return (b"\1" if address.version == 4 else b"\4") + address.packed
