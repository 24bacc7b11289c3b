from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from wsservice.client.web.negotiation import Negotiation, NegotiationError
from wsservice.client.web.tunnel import TunnelEndpoint

from ....support import Peer


def negotiation() -> Negotiation:
    """Asks, wants to hear `yes`, says thanks, wants to hear `go`."""
    heard = yield b"please"
    while len(heard) < 3:
        heard += yield b""
    if heard[:3] != b"yes":
        raise NegotiationError("it says no")
    heard = heard[3:]
    heard += yield b"thanks"
    while len(heard) < 2:
        heard += yield b""
    return heard[2:]


class Inner(Protocol):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def connectionMade(self) -> None:
        self.heard.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.heard.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Inner):
    def readConnectionLost(self) -> None:
        self.heard.append("read")

    def writeConnectionLost(self) -> None:
        self.heard.append("write")


@implementer(IStreamClientEndpoint)
class Tunnelling:
    """A tunnel that is made, and the proxy's end of it."""

    def __init__(self, inner: type[Inner] = Inner, negotiate: Any = negotiation) -> None:
        self._reached: Deferred[Any] = Deferred()
        self.outcome: list[Any] = []
        self.connecting = TunnelEndpoint(self, negotiate).connect(Factory.forProtocol(inner))
        self.connecting.addBoth(self.outcome.append)
        self.tunnel: Any = self._factory.buildProtocol(None)
        self.proxy = Peer(self.tunnel)

    def connect(self, factory: Any) -> Deferred[Any]:
        """The proxy's endpoint."""
        self._factory = factory
        return self._reached

    def reached(self) -> Tunnelling:
        self._reached.callback(self.tunnel)
        return self


def opened(inner: type[Inner] = Inner) -> tuple[Tunnelling, Any]:
    tunnelling = Tunnelling(inner).reached()
    tunnelling.proxy.send(b"yes")
    tunnelling.proxy.send(b"go")
    (protocol,) = tunnelling.outcome
    return tunnelling, protocol


def test_after_the_negotiation_all_is_another_protocols() -> None:
    tunnelling = Tunnelling().reached()
    assert tunnelling.proxy.taken() == b"please"
    tunnelling.proxy.send(b"y")
    assert tunnelling.proxy.taken() == b""
    tunnelling.proxy.send(b"es")
    assert tunnelling.proxy.taken() == b"thanks"
    assert tunnelling.outcome == []
    tunnelling.proxy.send(b"go rest")
    (protocol,) = tunnelling.outcome
    tunnelling.proxy.send(b"more")
    protocol.transport.write(b"said")
    assert tunnelling.proxy.taken() == b"said"
    tunnelling.proxy.lose(ConnectionLost())
    assert protocol.heard == ["made", b" rest", b"more", ConnectionLost]


def test_what_came_early_is_heard() -> None:
    tunnelling = Tunnelling().reached()
    tunnelling.proxy.send(b"yesgo!")
    (protocol,) = tunnelling.outcome
    assert protocol.heard == ["made", b"!"]
    assert tunnelling.proxy.taken() == b"pleasethanks"


def test_a_proxy_that_will_not() -> None:
    tunnelling = Tunnelling().reached()
    tunnelling.proxy.send(b"no!")
    (failure,) = tunnelling.outcome
    assert failure.check(NegotiationError)
    assert tunnelling.proxy.aborted
    tunnelling.proxy.send(b"what it still says is nobody's")
    tunnelling.proxy.lose()
    assert len(tunnelling.outcome) == 1


def broken() -> Negotiation:
    """Fails as nobody foresees."""
    yield b"please"
    raise UnicodeError("unforeseen")


class Broken(Inner):
    def connectionMade(self) -> None:
        raise UnicodeError("unforeseen")


@pytest.mark.parametrize(("inner", "negotiate"), [(Inner, broken), (Broken, negotiation)])
def test_whatever_fails_ends_the_attempt(inner: type[Inner], negotiate: Any) -> None:
    tunnelling = Tunnelling(inner, negotiate).reached()
    tunnelling.proxy.send(b"yesgo")
    (failure,) = tunnelling.outcome
    assert failure.check(UnicodeError)
    assert tunnelling.proxy.aborted


def test_a_proxy_that_breaks_off() -> None:
    tunnelling = Tunnelling().reached()
    tunnelling.proxy.lose(ConnectionLost())
    (failure,) = tunnelling.outcome
    assert failure.check(ConnectionLost)


def test_a_proxy_that_is_not_reached() -> None:
    tunnelling = Tunnelling()
    tunnelling._reached.errback(OSError("no"))
    (failure,) = tunnelling.outcome
    assert failure.check(OSError)


def test_it_can_be_given_up() -> None:
    tunnelling = Tunnelling().reached()
    tunnelling.connecting.cancel()
    (failure,) = tunnelling.outcome
    assert failure.check(CancelledError)
    assert tunnelling.proxy.aborted


def test_a_half_that_is_closed_is_told_to_who_can_hear_it() -> None:
    tunnelling, protocol = opened(HalfCloseable)
    tunnelling.tunnel.readConnectionLost()
    tunnelling.tunnel.writeConnectionLost()
    assert protocol.heard == ["made", "read", "write"]
    assert not tunnelling.proxy.dropped


@pytest.mark.parametrize("begun", [True, False])
def test_else_it_is_the_end(begun: bool) -> None:
    tunnelling = opened()[0] if begun else Tunnelling().reached()
    tunnelling.tunnel.writeConnectionLost()
    assert not tunnelling.proxy.dropped
    tunnelling.tunnel.readConnectionLost()
    assert tunnelling.proxy.dropped
