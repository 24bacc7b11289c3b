from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IReactorPluggableNameResolver, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from wsservice.net.dialing import HostEndpoint, ReactorWith, resolved

HERE = IPv4Address("TCP", "127.0.0.1", 80)


class Names:
    """A resolver that knows some names, and raises at others."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[Any] = []

    def resolveHostName(self, receiver: Any, name: str, port: int, *given: Any) -> object:
        self.asked.append((name, port))
        if name == "broken":
            raise RuntimeError("the resolver is broken")
        return resolved(receiver, name, [HERE] if name in self.names else [])


def connecting(host: str, names: Names, own: Any = None) -> tuple[Any, list[Any]]:
    reactor: Any = MemoryReactorClock()
    reactor.nameResolver = names
    outcome: list[Any] = []
    endpoint = HostEndpoint(reactor, host, 80, 5, own)
    assert IStreamClientEndpoint.providedBy(endpoint)
    endpoint.connect(Factory.forProtocol(Protocol)).addBoth(outcome.append)
    return reactor, outcome


@pytest.mark.parametrize(
    "host", ["a.example", "a.example.", "my_service", "r3---sn.cdn.example", "xn--bcher-kva.de"]
)
def test_a_name_is_looked_up_as_it_is(host: str) -> None:
    names = Names(host)
    reactor, outcome = connecting(host, names)
    assert names.asked == [(host, 80)]
    (host, port, factory, timeout, _) = reactor.tcpClients[0]
    assert (host, port, timeout) == ("127.0.0.1", 80, 5)
    factory.buildProtocol(None).makeConnection(object())
    assert isinstance(outcome[0], Protocol)


def test_by_a_resolver_of_ones_own() -> None:
    names, own = Names(), Names("my_service")
    reactor, _ = connecting("my_service", names, own)
    assert (names.asked, own.asked) == ([], [("my_service", 80)])
    assert len(reactor.tcpClients) == 1


@pytest.mark.parametrize("host", ["unknown", "a..b", "x" * 64, "", "a b", "\u00fc_"])
def test_one_without_an_address_is_not_known(host: str) -> None:
    names = Names()
    _, outcome = connecting(host, names)
    (failure,) = outcome
    assert failure.check(DNSLookupError)
    # And has nothing of the name that Twisted's endpoint was given in its place.
    assert str(failure.value).endswith("its name is not known.")
    assert names.asked == ([("unknown", 80)] if host == "unknown" else [])


def test_a_resolver_that_raises_fails_the_attempt() -> None:
    _, outcome = connecting("broken", Names())
    (failure,) = outcome
    assert failure.check(RuntimeError)


def test_the_zone_of_an_address_is_kept() -> None:
    names = Names()
    reactor, _ = connecting("fe80::1%lo", names)
    assert reactor.tcpClients[0][0] == "fe80::1%lo"
    assert names.asked == []


def test_the_reactor_with_another_resolver_is_the_reactor_otherwise() -> None:
    reactor = MemoryReactorClock()
    names: Any = Names()
    other = ReactorWith(reactor, names)
    assert verifyObject(IReactorPluggableNameResolver, other)
    assert other.nameResolver is names
    assert other.connectTCP == reactor.connectTCP
    with pytest.raises(TypeError):
        other.installNameResolver(names)
