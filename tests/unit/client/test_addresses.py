from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import DNSLookupError
from twisted.internet.testing import MemoryReactorClock

from wsservice.client.addresses import Resolver, look_up


class Names:
    """A reactor's own resolver, and what it was asked."""

    def __init__(self, *addresses: Any) -> None:
        self.addresses = addresses
        self.asked: list[Any] = []

    def resolveHostName(
        self, receiver: Any, name: str, port: int, kinds: Any, semantics: str
    ) -> object:
        self.asked.append((name, port, kinds))
        for address in self.addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()
        return "under way"


def resolver(names: Names, pins: Any = None, ip_version: int | None = None) -> Resolver:
    reactor: Any = MemoryReactorClock()
    reactor.nameResolver = names
    return Resolver(reactor, pins or {}, ip_version)


def looked_up(by: Resolver, host: str, port: int = 80) -> Any:
    outcome: list[Any] = []
    look_up(by, host, port).addBoth(outcome.append)
    return outcome[0]


PINS = {("a.example", 80): ("::1", "127.0.0.1"), ("*", 81): ("127.0.0.2",)}


def test_names_are_looked_up_as_the_reactor_does() -> None:
    names = Names(IPv4Address("TCP", "192.0.2.1", 80))
    assert looked_up(resolver(names, PINS), "b.example") == ["192.0.2.1"]
    assert names.asked == [("b.example", 80, None)]


def test_those_that_are_pinned_are_not() -> None:
    names = Names()
    by = resolver(names, PINS)
    assert looked_up(by, "a.example.") == ["::1", "127.0.0.1"]
    assert looked_up(by, "a.example") == ["::1", "127.0.0.1"]
    assert looked_up(by, "a.example", 81) == ["127.0.0.2"]
    assert looked_up(by, "b.example", 81) == ["127.0.0.2"]
    assert names.asked == []
    assert looked_up(by, "a.example", 82).check(DNSLookupError)


@pytest.mark.parametrize(
    ("version", "kind", "address"), [(4, IPv4Address, "127.0.0.1"), (6, IPv6Address, "::1")]
)
def test_only_addresses_of_one_kind(version: int, kind: type, address: str) -> None:
    names = Names()
    by = resolver(names, PINS, version)
    assert looked_up(by, "a.example") == [address]
    looked_up(by, "b.example").check(DNSLookupError)
    assert names.asked == [("b.example", 80, (kind,))]
