from __future__ import annotations

import errno
import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock

from wsservice.net.accepting import PausingListener, pause_in_shortage

from ...support import Logged


class Socket:
    """A listening socket: what `accept` gives, or raises, one after another."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = [*outcomes]

    def accept(self) -> object:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def fileno(self) -> int:
        return 7


class ListeningPort(Port):
    """One that has such a socket."""

    reading = True

    def __init__(self, *outcomes: object) -> None:
        self.clock = MemoryReactorClock()
        super().__init__(0, Factory(), reactor=self.clock)
        self.connected = True
        self.disconnecting = False
        self.socket: Any = Socket(*outcomes)
        pause_in_shortage(self)

    def startReading(self) -> None:
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False


def short(number: int) -> OSError:
    return OSError(number, os.strerror(number))


SHORTAGES = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]


def test_a_connection_has_the_kind_of_socket_that_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quick(Socket):
        family, type, proto = socket.AF_INET6, socket.SOCK_STREAM, 6

        def _accept(self) -> object:
            return self.accept()

    address = ("::1", 5000, 0, 0)
    listener = PausingListener(SimpleNamespace(socket=Quick((9, address))))
    monkeypatch.setattr(socket, "socket", lambda *kind, fileno: (kind, fileno))
    kind = (int(socket.AF_INET6), int(socket.SOCK_STREAM), 6)
    made: tuple[Any, Any] = listener.accept()
    assert made == ((kind, 9), address)


@pytest.mark.parametrize("number", SHORTAGES)
def test_in_a_shortage_nobody_is_there_and_the_port_is_not_asked_for_a_while(number: int) -> None:
    port = ListeningPort(short(number))
    with pytest.raises(BlockingIOError):
        port.socket.accept()
    reading = [port.reading]
    for seconds in (0.4, 0.2):
        port.clock.advance(seconds)
        reading.append(port.reading)
    assert reading == [False, False, True]
    assert port.clock.getDelayedCalls() == []


def test_twisted_takes_that_for_nobody_and_logs_nothing_of_its_own(logged: Logged) -> None:
    port = ListeningPort(short(errno.EMFILE))
    port.numberAccepts = 16
    port.doRead()
    assert logged.text == (
        "[wsservice#error] cannot accept connections, Too many open files;"
        " they wait until it is over"
    )


def test_a_shortage_is_logged_once_and_so_is_its_end(logged: Logged) -> None:
    number = errno.EMFILE
    port = ListeningPort(short(number), short(number), short(number), 1, 2, short(number), 3)
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            port.socket.accept()
        port.clock.advance(0.5)
    assert len(logged.events) == 1
    assert (port.socket.accept(), port.socket.accept()) == (1, 2)
    assert len(logged.events) == 2
    assert logged.text.endswith("[wsservice#info] connections are accepted again")
    with pytest.raises(BlockingIOError):
        port.socket.accept()
    port.socket.accept()
    assert len(logged.events) == 4


@pytest.mark.parametrize(
    "error", [BlockingIOError(errno.EAGAIN, "no"), OSError(errno.ECONNABORTED, "no")]
)
def test_other_errors_are_twisteds(error: OSError, logged: Logged) -> None:
    port = ListeningPort(error)
    with pytest.raises(type(error)) as caught:
        port.socket.accept()
    assert caught.value is error
    assert port.reading
    assert logged.events == []


@pytest.mark.parametrize(("name", "value"), [("connected", False), ("disconnecting", True)])
def test_a_port_that_was_closed_meanwhile_stays_closed(name: str, value: bool) -> None:
    port = ListeningPort(short(errno.EMFILE))
    with pytest.raises(BlockingIOError):
        port.socket.accept()
    setattr(port, name, value)
    port.clock.advance(1)
    assert not port.reading


def test_all_else_is_the_sockets_own() -> None:
    port = ListeningPort()
    assert isinstance(port.socket, PausingListener)
    assert port.socket.fileno() == 7


def test_a_port_that_is_not_twisteds_is_left_alone() -> None:
    port = type("Other", (), {"socket": 1})()
    pause_in_shortage(port)
    assert port.socket == 1
