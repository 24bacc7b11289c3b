"""Negotiate with a proxy before it passes on the connection. No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator

from ..trace import HandshakeTrace
from .answer import LONGEST_HEAD, MOST_INTERIM, AnswerHead, is_interim, parse_head
from .credentials import basic
from .proxies import Proxy
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
    """The proxy refuses, or its answer is malformed; the text says which."""


Negotiation = Generator[bytes, bytes, bytes]
"""Yields octets to send, or none, and is sent the octets that came. Returns those behind the
end."""


def http_connect(proxy: Proxy, host: str, port: int, trace: HandshakeTrace) -> Negotiation:
    """Ask an HTTP proxy for a tunnel (RFC 9110, 9.3.6). Raises `NegotiationError`."""
    where = f"{bracketed(host)}:{port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.login is not None:
        lines.append(f"Proxy-Authorization: {basic(*proxy.login)}")
    request = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
    trace.sent(request)
    rest = yield request
    for _ in range(MOST_INTERIM + 1):
        answer, rest = yield from _answer(rest, trace)
        if not is_interim(answer):
            break
    else:
        raise NegotiationError(f"it sent more than {MOST_INTERIM} answers 1xx and no final one")
    if not 200 <= answer.status < 300:
        wants = ""
        if answer.status == 407:
            wants = "; it wants " + ("another" if proxy.login else "a") + " name and password"
            wants += ", as USER:PASS@ in its URL"
        raise NegotiationError(f"it answered {answer.status} {answer.reason}".rstrip() + wants)
    return rest


def _answer(
    received: bytes, trace: HandshakeTrace
) -> Generator[bytes, bytes, tuple[AnswerHead, bytes]]:
    """Return the next answer, and the octets behind its head."""
    while b"\r\n\r\n" not in received:
        if len(received) > LONGEST_HEAD:
            raise NegotiationError("the head of its answer is too long")
        received += yield b""
    head, _, rest = received.partition(b"\r\n\r\n")
    try:
        answer = parse_head(head)
    except ValueError as error:
        raise NegotiationError(f"its answer is malformed, {error}") from None
    trace.received(head)
    return answer, rest


def socks5(proxy: Proxy, host: str, port: int, trace: HandshakeTrace) -> Negotiation:
    """Ask a SOCKS 5 proxy for a tunnel (RFC 1928), with a name and password (RFC 1929).

    Raises `NegotiationError`.
    """
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
        wants = ""
        if proxy.login is None:
            wants = "; it wants a name and password, as USER:PASS@ in its URL"
        raise NegotiationError(f"it accepts no login method that we offer{wants}")
    received += yield b"\5\1\0" + _socks_address(host) + port.to_bytes(2, "big")
    # A refusal may come without its end.
    while len(received) < 2:
        received += yield b""
    if received[1] != 0:
        why = _SOCKS_REPLIES.get(received[1], f"error {received[1]}")
        raise NegotiationError(f"it says: {why}")
    while len(received) < 5:
        received += yield b""
    sizes = {1: 4, 3: 1 + received[4], 4: 16}
    if received[3] not in sizes:
        raise NegotiationError("its answer is malformed")
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
