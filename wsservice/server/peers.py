"""The address of a connection's client: its peer's, or the one that a trusted proxy names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from ..http.forwarded import Forwarding, Node, TrustedProxies, client_of
from ..http.request import PlainRequest, Request
from ..log.peer import PeerLogger, Seldom
from ..net.transports import peer_name
from .admission import address_key

_log = PeerLogger(namespace="wsservice")


def ip_address(address: object) -> str | None:
    """Return the IP address of an endpoint, None if it has none."""
    return address.host if isinstance(address, IPv4Address | IPv6Address) else None


def address_key_of(connection: Any) -> str | None:
    """Return the key of a connection's client, for limits by address; None without an address."""
    host = ip_address(connection.client_address)
    return None if host is None else address_key(host)


def descriptor(transport: Any) -> int:
    """Return the number of a transport's file descriptor, 0 if it has none of its own."""
    fileno = getattr(transport, "fileno", None)
    return 0 if fileno is None else int(fileno())


def identify(connection: Any) -> None:
    """Set the peer's address. Behind a balancer, the first octets of the connection name it."""
    address, proxies = connection.transport.getPeer(), connection.factory.proxies
    connection._introduce(address)
    if proxies is None or not proxies.trusts(address):
        connection.factory.limits.identify(connection._admission, ip_address(address))
        connection._drop_if_crowded()


class Proxies:
    """The proxies that `--trust-proxy` names. `seconds` is a monotonic clock."""

    def __init__(self, trusted: TrustedProxies, seconds: Callable[[], float]) -> None:
        self._trusted = trusted
        self._seldom = Seldom(seconds)

    def trusts(self, address: object) -> bool:
        """Return True if the peer at this address is a trusted proxy."""
        if isinstance(address, UNIXAddress):
            return self._trusted.unix
        host = ip_address(address)
        return host is not None and self._trusted.trusts(host)

    def learn(self, connection: Any, request: Request | PlainRequest) -> None:
        """Set the client's address of a connection, as of `OpeningProtocol`, from its request.

        Headers of other peers are not looked at. From here on the connection counts for the
        client's address.
        """
        address: Any = connection.transport.getPeer()
        if self.trusts(address):
            found = client_of(request.headers, self._trusted)
            self._report(found, connection)
            connection._shake_hands().scheme = found.scheme
            if found.client is not None:
                connection._named_address = address = _address(found.client)
                connection._introduce(address)
        connection.factory.limits.identify(connection._admission, ip_address(address))
        connection._drop_if_crowded()

    def _report(self, found: Forwarding, connection: Any) -> None:
        if found.problem and connection.factory.says_more:
            _log.detail("[{who}] {problem}", who=connection.who, problem=found.problem)
        if found.disagrees and self._seldom.due():
            _log.warn(
                "--trust-proxy: Forwarded and X-Forwarded-For of a request from {proxy} name"
                " different clients, so neither is believed; have that proxy remove the header"
                " that it does not set",
                proxy=peer_name(connection.transport.getPeer()),
            )


def _address(node: Node) -> IPv4Address | IPv6Address:
    kind = IPv6Address if ":" in node.host else IPv4Address
    return kind("TCP", node.host, node.port)
