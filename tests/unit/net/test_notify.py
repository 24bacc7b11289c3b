from __future__ import annotations

import os
import socket
import time

import pytest
from twisted.internet.task import Clock

from wsservice.net import notify
from wsservice.net.notify import Channel, ServiceManager

from ...support import Logged


class Systemd:
    """A service manager that keeps the messages it receives."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []
        self.broken: OSError | None = None

    def __call__(self, datagram: bytes) -> None:
        if self.broken is not None:
            raise self.broken
        self.heard.append(datagram.decode().split("\n"))

    def taken(self) -> list[list[str]]:
        heard, self.heard = self.heard, []
        return heard


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


def test_it_is_told_when_the_service_is_ready_reloads_and_stops(
    clock: Clock, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 5_000_999)
    manager = ServiceManager(clock, systemd)
    manager.ready(lambda: "well")
    assert systemd.taken() == [["READY=1", "STATUS=well"]]
    with manager.reload():
        assert systemd.taken() == [["RELOADING=1", "MONOTONIC_USEC=5000"]]
    assert systemd.taken() == [["READY=1", "STATUS=well"]]
    manager.stopping(15.5)
    assert systemd.taken() == [["STOPPING=1", "EXTEND_TIMEOUT_USEC=15500000", "STATUS=well"]]
    manager.stopped()
    assert clock.getDelayedCalls() == []


def test_settings_that_could_not_be_read_anew_leave_it_ready(
    clock: Clock, systemd: Systemd
) -> None:
    manager = ServiceManager(clock, systemd)
    with pytest.raises(ValueError, match="wrong"), manager.reload():
        raise ValueError("wrong")
    assert systemd.taken()[-1][0] == "READY=1"


def test_a_watchdog_gets_a_sign_of_life_twice_as_often_as_it_wants(
    clock: Clock, systemd: Systemd
) -> None:
    manager = ServiceManager(clock, systemd, watchdog=4)
    clock.advance(10)
    assert systemd.taken() == []
    states = iter("abcdefgh")
    manager.ready(lambda: next(states))
    assert systemd.taken() == [["READY=1", "STATUS=a"], ["WATCHDOG=1", "STATUS=b"]]
    clock.advance(1.9)
    assert systemd.taken() == []
    clock.advance(0.2)
    assert systemd.taken() == [["WATCHDOG=1", "STATUS=c"]]
    manager.stopping(1)
    systemd.taken()
    clock.advance(2)
    assert systemd.taken() == [["WATCHDOG=1", "STATUS=e"]]
    manager.stopped()
    clock.advance(10)
    assert systemd.taken() == []


def test_without_a_watchdog_it_is_told_now_and_then_how_it_goes(
    clock: Clock, systemd: Systemd
) -> None:
    ServiceManager(clock, systemd).ready(lambda: "well")
    systemd.taken()
    clock.advance(notify._STATUS_SECONDS)
    assert systemd.taken() == [["STATUS=well"]]


def test_a_service_that_is_started_again_gives_one_sign_at_a_time(
    clock: Clock, systemd: Systemd
) -> None:
    manager = ServiceManager(clock, systemd, watchdog=4)
    manager.ready(str)
    manager.ready(str)
    manager.stopped()
    manager.stopped()
    manager.ready(str)
    assert len(clock.getDelayedCalls()) == 1


def test_nobody_is_told_by_default(clock: Clock, logged: Logged) -> None:
    manager = ServiceManager(clock)
    manager.ready(str)
    with manager.reload():
        manager.stopping(1)
    assert clock.getDelayedCalls() == []
    manager.stopped()
    assert logged.text == ""


def test_what_cannot_be_told_is_one_line_until_it_can(
    clock: Clock, systemd: Systemd, logged: Logged
) -> None:
    systemd.broken = ConnectionRefusedError(111, "Connection refused")
    manager = ServiceManager(clock, systemd, watchdog=4)
    manager.ready(str)
    clock.pump([2] * 5)
    line = "[wsservice#warn] cannot notify the service manager, Connection refused"
    assert logged.text == line
    systemd.broken = None
    clock.advance(2)
    assert systemd.taken() == [["WATCHDOG=1", "STATUS="]]
    systemd.broken = TimeoutError("timed out")
    manager.stopping(1)
    assert logged.text.splitlines()[1:] == [line.replace("Connection refused", "timed out")]


class TestEnvironment:
    @pytest.fixture
    def made(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The addresses of channels that were made."""
        made: list[str] = []

        def channel(address: str) -> Systemd:
            made.append(address)
            return Systemd()

        monkeypatch.setattr(notify, "Channel", channel)
        return made

    def test_without_a_manager_nothing_is_there(self, clock: Clock, made: list[str]) -> None:
        ServiceManager.of({"WATCHDOG_USEC": "2000000"}, clock).ready(str)
        assert made == []
        assert clock.getDelayedCalls() == []

    @pytest.mark.parametrize(
        ("variables", "seconds"),
        [
            ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, 2),
            ({"WATCHDOG_USEC": "4000000"}, 2),
            ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, notify._STATUS_SECONDS),
            ({"WATCHDOG_USEC": "0"}, notify._STATUS_SECONDS),
            ({"WATCHDOG_USEC": "soon"}, notify._STATUS_SECONDS),
            ({"WATCHDOG_USEC": "-4"}, notify._STATUS_SECONDS),
            ({}, notify._STATUS_SECONDS),
        ],
    )
    def test_it_says_where_and_how_often(
        self, clock: Clock, made: list[str], variables: dict[str, str], seconds: float
    ) -> None:
        environment = {"NOTIFY_SOCKET": "/run/notify", "HOME": "/", **variables}
        ServiceManager.of(environment, clock).ready(str)
        assert made == ["/run/notify"]
        assert [call.getTime() for call in clock.getDelayedCalls()] == [seconds]
        assert environment == {"HOME": "/"}


class TestChannel:
    class Socket:
        made: list[TestChannel.Socket]

        def __init__(self, family: int, kind: int) -> None:
            self.sent: list[tuple[bytes, str]] = []
            self.made.append(self)

        def settimeout(self, seconds: float) -> None:
            self.patience = seconds

        def sendto(self, datagram: bytes, address: str) -> None:
            self.sent.append((datagram, address))

    @pytest.mark.parametrize(
        ("address", "name"), [("/run/notify", "/run/notify"), ("@notify", "\0notify")]
    )
    def test_one_socket_serves_for_all_and_does_not_wait_for_long(
        self, monkeypatch: pytest.MonkeyPatch, address: str, name: str
    ) -> None:
        self.Socket.made = []
        monkeypatch.setattr(socket, "socket", self.Socket)
        channel = Channel(address)
        assert self.Socket.made == []
        channel(b"a")
        channel(b"b")
        (made,) = self.Socket.made
        assert made.sent == [(b"a", name), (b"b", name)]
        assert made.patience == notify._PATIENCE_SECONDS
