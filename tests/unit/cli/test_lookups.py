from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import maybeDeferred

from wsservice.cli import lookups
from wsservice.cli.lookups import Lookups

FOUND = [
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 80, 0, 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)),
    (socket.AF_UNIX, socket.SOCK_STREAM, 6, "", "/run/x"),
]
V4, V6 = IPv4Address("TCP", "127.0.0.1", 80), IPv6Address("TCP", "::1", 80)


class Receiver:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def resolutionBegan(self, resolution: Any) -> None:
        self.told.append(resolution.name)

    def addressResolved(self, address: Any) -> None:
        self.told.append(address)

    def resolutionComplete(self) -> None:
        self.told.append(None)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function from the system's answer for a name to the addresses that are found."""

    def look_up(answer: Any, kinds: Any = None) -> list[Any]:
        def getaddrinfo(host: str, port: int, **_: Any) -> Any:
            assert (host, port) == ("a.example", 80)
            if isinstance(answer, Exception):
                raise answer
            return answer

        def at_once(_reactor: object, _pool: object, function: Any, *arguments: Any) -> Any:
            return maybeDeferred(function, *arguments)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(lookups, "deferToThreadPool", at_once)
        receiver: Any = Receiver()
        Lookups(None).resolveHostName(receiver, "a.example", 80, kinds).cancel()
        told: list[Any] = receiver.told
        return told

    return look_up


def test_all_addresses_of_a_name(told: Any) -> None:
    assert told(FOUND) == ["a.example", V6, V4, None]


def test_those_of_a_kind(told: Any) -> None:
    assert told(FOUND, [IPv4Address]) == ["a.example", V4, None]


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
def test_a_name_that_is_not_known(told: Any, error: Exception) -> None:
    assert told(error) == ["a.example", None]


def test_its_threads_do_not_keep_the_process() -> None:
    pool = Lookups(None)._pool
    assert pool.threadFactory(target=print).daemon
