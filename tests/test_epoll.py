from __future__ import annotations

import select
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.logger import globalLogPublisher
from twisted.python import log
from twisted.python.failure import Failure

from wsservice.epoll import WSEPollReactor
from wsservice.reactor import install

from .support import Logged

FD = 7


class Poller:
    """An epoll of which the test says what it has seen."""

    def __init__(self) -> None:
        self.events: list[tuple[int, int]] = []

    def poll(self, timeout: float | None, most: int) -> list[tuple[int, int]]:
        return self.events

    def register(self, fd: int, flags: int) -> None: ...

    def unregister(self, fd: int) -> None: ...

    def modify(self, fd: int, flags: int) -> None: ...


class Selectable:
    def __init__(self, raises: BaseException | None = None) -> None:
        self.did: list[str] = []
        self.raises = raises

    def fileno(self) -> int:
        return FD

    def logPrefix(self) -> str:
        raise AssertionError("nobody asks")

    def doRead(self) -> None:
        self.did.append("read")
        if self.raises is not None:
            raise self.raises

    def doWrite(self) -> None:
        self.did.append("write")

    def connectionLost(self, reason: Failure) -> None:
        self.did.append(type(reason.value).__name__)
        if self.raises is not None:
            raise self.raises


@pytest.fixture
def reactor() -> Iterator[Any]:
    reactor = WSEPollReactor()
    reactor._poller.close()
    reactor._poller = Poller()
    yield reactor
    for each in list(reactor._internalReaders):
        each.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def logged() -> Iterator[Logged]:
    logged = Logged()
    globalLogPublisher.addObserver(logged)
    yield logged
    globalLogPublisher.removeObserver(logged)


def turn(reactor: Any, selectable: Selectable, event: int) -> list[str]:
    """What was done with it when an event came."""
    reactor.addReader(selectable)
    reactor._poller.events = [(FD, event)]
    reactor.doIteration(0)
    return selectable.did


@pytest.mark.parametrize(
    ("event", "did"),
    [
        (select.EPOLLIN, ["read"]),
        (select.EPOLLOUT, ["write"]),
        (select.EPOLLIN | select.EPOLLOUT, ["read", "write"]),
        (select.EPOLLIN | select.EPOLLHUP, ["read"]),
        (select.EPOLLHUP, ["ConnectionDone"]),
        (select.EPOLLERR, ["ConnectionDone"]),
    ],
)
def test_events_are_worked_off_as_twisted_does(reactor: Any, event: int, did: list[str]) -> None:
    assert turn(reactor, Selectable(), event) == did


def test_what_is_no_longer_there_is_passed_over(reactor: Any) -> None:
    reactor._poller.events = [(FD, select.EPOLLIN)]
    reactor.doIteration(0)


def test_one_that_raises_is_dropped_and_logged_and_so_is_what_its_end_raises(
    reactor: Any, logged: Logged
) -> None:
    assert turn(reactor, Selectable(ValueError("oops")), select.EPOLLIN) == ["read", "ValueError"]
    assert [str(event["failure"].value) for event in logged.events] == ["oops", "oops"]


def test_an_interrupt_that_its_end_raises_is_not_swallowed(reactor: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        turn(reactor, Selectable(KeyboardInterrupt()), select.EPOLLIN)


def test_no_context_is_made_for_the_old_log(reactor: Any, logged: Logged) -> None:
    class Logging(Selectable):
        def doRead(self) -> None:
            log.msg("hello")

    turn(reactor, Logging(), select.EPOLLIN)
    assert [event["log_system"] for event in logged.events] == ["-"]


def test_where_there_is_no_epoll_it_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wsservice.epoll", None)
    with pytest.raises(SystemExit, match=r"^--reactor: wsepoll needs epoll") as caught:
        install()
    assert "\n" not in str(caught.value)
