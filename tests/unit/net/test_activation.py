from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from twisted.internet import endpoints as twisted_endpoints
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.systemd import ListenFDs

from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.net.activation import UNIXPort, adopt
from wsservice.net.listening import endpoints

from ...support import Logged


class Handed:
    """A socket that systemd handed over, by descriptor."""

    family = socket.AF_INET
    accepts = 1

    def __init__(self, fileno: int = -1) -> None:
        self.descriptor = fileno

    def __enter__(self) -> Handed:
        return self

    def __exit__(self, *_: object) -> None:
        """It is closed."""

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return self.accepts


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> type[Handed]:
    """Two of them, whose kind a test may change."""

    class Some(Handed):
        pass

    monkeypatch.setattr(socket, "socket", Some)
    monkeypatch.setattr(os, "dup", lambda descriptor: descriptor)
    listening = ListenFDs([3, 4], ("ws", "other"))
    monkeypatch.setattr(twisted_endpoints._SystemdParser, "_sddaemon", listening)
    return Some


def refused(description: str) -> str:
    with pytest.raises(ConfigError) as caught:
        endpoints(Config(listen=(description,)), MemoryReactorClock())
    message = str(caught.value)
    assert message.startswith(f"--listen {description}: ")
    assert message.isprintable()
    return message.removeprefix(f"--listen {description}: ")


@pytest.mark.parametrize(
    "description",
    [
        "systemd:domain=INET:index=0",
        "systemd:domain=INET:name=other",
        "haproxy:systemd:domain=INET:index=1",
    ],
)
def test_what_systemd_handed_over_is_an_endpoint(handed: type[Handed], description: str) -> None:
    ((option, _),) = endpoints(Config(listen=(description,)), MemoryReactorClock())
    assert option == f"--listen {description}"


@pytest.mark.parametrize(
    "description",
    [
        "systemd:domain=INET:index=2",
        "systemd:domain=INET:name=third",
        "haproxy:systemd:domain=INET:index=2",
    ],
)
def test_one_that_is_not_there_is_answered_with_those_that_are(
    handed: type[Handed], description: str
) -> None:
    assert refused(description) == (
        "systemd handed no such socket over; give index=0 to 1, or name=ws, other"
    )


@pytest.mark.parametrize(
    "description", ["systemd:domain=INET:index=0", "systemd:domain=INET:name=ws"]
)
def test_without_systemd_it_says_how_to_be_started(description: str) -> None:
    assert refused(description) == (
        "systemd handed no socket over; start the service from a .socket unit,"
        " or with systemd-socket-activate --fdname=NAME"
    )


def test_another_error_is_not_taken_for_a_missing_socket(handed: type[Handed]) -> None:
    assert refused("systemd:domain=INET:index=first").startswith("is not an endpoint")
    assert refused("tcp:first").startswith("is not an endpoint")


def test_a_socket_of_another_family_is_named(handed: type[Handed]) -> None:
    handed.family = socket.AF_INET6
    problem = refused("systemd:domain=INET:index=0")
    assert "the socket that systemd handed over is of domain=INET6;" in problem


def test_a_connection_is_no_socket_to_listen_on(handed: type[Handed]) -> None:
    handed.accepts = 0
    assert "set ListenStream= and Accept=no in its unit" in refused("systemd:domain=INET:index=0")


class AdoptingReactor(MemoryReactorClock):
    def __init__(self) -> None:
        super().__init__()
        self.read: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.read.append(reader)


class UNIXSocket(Handed):
    """One that must not be changed: it has nothing to listen or shut down with."""

    family = socket.AF_UNIX

    def fileno(self) -> int:
        return 9

    def getsockname(self) -> str:
        return "/run/ws.sock"

    def close(self) -> None:
        self.closed = True


def test_a_unix_socket_is_listened_on_as_it_is_and_left_so(
    handed: type[Handed], monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    handed.family = socket.AF_UNIX
    reactor, given, factory = AdoptingReactor(), UNIXSocket(), Factory()
    endpoint: Any = serverFromString(reactor, "haproxy:systemd:domain=UNIX:index=0")
    adopt(endpoint)
    inner = endpoint._wrappedEndpoint
    monkeypatch.setattr(socket, "fromfd", lambda *_: given)
    port = inner.reactor.adoptStreamPort(3, socket.AF_UNIX, factory)
    assert isinstance(port, UNIXPort)
    assert reactor.read == [port]
    assert factory.numPorts == 1
    assert "Factory starting on '/run/ws.sock'" in logged.text
    port.stopListening()
    reactor.advance(0)
    assert given.closed
    assert factory.numPorts == 0


def test_other_sockets_are_twisteds_to_take_over(handed: type[Handed]) -> None:
    class Reactor(MemoryReactorClock):
        def adoptStreamPort(self, fd: int, family: int, factory: object) -> Any:
            return fd, family, factory

    endpoint: Any = serverFromString(Reactor(), "systemd:domain=INET:index=1")
    adopt(endpoint)
    factory = Factory()
    assert endpoint.reactor.adoptStreamPort(4, socket.AF_INET, factory) == (
        4,
        socket.AF_INET,
        factory,
    )


def test_an_endpoint_of_another_kind_is_left_alone() -> None:
    endpoint: Any = serverFromString(MemoryReactorClock(), "tcp:80")
    adopt(endpoint)
    assert isinstance(endpoint._reactor, MemoryReactorClock)
