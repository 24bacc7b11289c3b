from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.error import ReactorNotRunning

from wsservice.run.process import Held, Signals

from ...support import Logged

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


class Process:
    """A process: its signal handlers, its reactor, and what was done in it."""

    def __init__(self) -> None:
        self.handlers: dict[int, Any] = dict.fromkeys(HANDLED, signal.SIG_DFL)
        self.did: list[Any] = []
        self.turn: list[Callable[[], object]] = []

    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        self.turn.append(lambda: function(*args))

    def stop(self) -> None:
        self.did.append("stop")

    def kill(self, number: int) -> None:
        """A signal arrives, and the reactor turns."""
        self.handlers[number](number, None)
        turn, self.turn = self.turn, []
        for each in turn:
            each()


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    process = Process()
    monkeypatch.setattr(signal, "getsignal", process.handlers.__getitem__)
    monkeypatch.setattr(signal, "signal", process.handlers.__setitem__)
    return process


def install(process: Process, held: Held | None = None) -> None:
    signals = Signals(
        process,
        lambda: process.did.append("reopen"),
        lambda: process.did.append("finish"),
        lambda: process.did.append("reload"),
        process.did.append,
        lambda: process.did.append("roll"),
        held=Held() if held is None else held,
    )
    signals.take_hang_ups()
    signals.install()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_stops_the_reactor(process: Process, number: int, logged: Logged) -> None:
    install(process)
    process.kill(number)
    assert process.did == ["stop"]
    assert f"{signal.Signals(number).name}: stopping" in logged.text


def test_the_reactor_is_stopped_from_its_own_thread_only(process: Process) -> None:
    install(process)
    process.handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert process.did == []
    assert len(process.turn) == 1


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGINT, 130),
    ],
)
def test_the_second_finishes_the_message_log_and_ends_with_128_and_its_number(
    process: Process, first: int, second: int, status: int
) -> None:
    install(process)
    process.kill(first)
    process.kill(second)
    assert process.did == ["stop", "finish", status]


def test_one_while_the_reactor_stops_already_does_no_harm(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise ReactorNotRunning

    monkeypatch.setattr(process, "stop", stop)
    install(process)
    process.kill(signal.SIGTERM)
    assert process.did == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_was_ignored_stays_so(process: Process, number: int) -> None:
    process.handlers[number] = signal.SIG_IGN
    install(process)
    assert process.handlers[number] is signal.SIG_IGN
    assert callable(process.handlers[({signal.SIGTERM, signal.SIGINT} - {number}).pop()])


def test_sigusr1_reopens_the_message_log_then_does_what_it_did_before(process: Process) -> None:
    process.handlers[signal.SIGUSR1] = lambda number, frame: process.did.append(number)
    install(process)
    process.handlers[signal.SIGUSR1](signal.SIGUSR1, None)
    assert process.did == [signal.SIGUSR1]
    process.turn.pop()()
    assert process.did == [signal.SIGUSR1, "reopen"]


@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN, None])
def test_sigusr1_reopens_the_message_log_where_it_did_nothing_before(
    process: Process, before: object
) -> None:
    process.handlers[signal.SIGUSR1] = before
    install(process)
    process.kill(signal.SIGUSR1)
    assert process.did == ["reopen"]


def test_sighup_has_the_settings_read_anew_each_time(process: Process) -> None:
    install(process)
    process.handlers[signal.SIGHUP](signal.SIGHUP, None)
    process.kill(signal.SIGHUP)
    assert process.did == ["reload", "reload"]


def test_while_the_service_stops_they_are_not(process: Process) -> None:
    install(process)
    process.handlers[signal.SIGTERM](signal.SIGTERM, None)
    process.kill(signal.SIGHUP)
    assert process.did == ["stop"]


def test_a_sighup_that_was_ignored_stays_so(process: Process) -> None:
    process.handlers[signal.SIGHUP] = signal.SIG_IGN
    install(process)
    assert process.handlers[signal.SIGHUP] is signal.SIG_IGN


def test_a_terminal_that_was_closed_stops_the_reactor(
    process: Process, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    terminals = {1, 2}
    monkeypatch.setattr(os, "isatty", terminals.__contains__)
    install(process)
    terminals.remove(1)
    process.kill(signal.SIGHUP)
    assert process.did == ["reload"]
    terminals.clear()
    # The kernel tells it, and a shell all that it started.
    process.kill(signal.SIGHUP)
    process.kill(signal.SIGHUP)
    assert process.did == ["reload", "stop"]
    assert "SIGHUP: stopping" in logged.text
    process.kill(signal.SIGTERM)
    assert process.did[-1] == 143


class TestBeforeTheHandlers:
    """Signals that come while the service starts."""

    @pytest.fixture
    def held(self, process: Process) -> Held:
        held = Held()
        held.take()
        return held

    def turn(self, process: Process) -> None:
        turn, process.turn = process.turn, []
        for each in turn:
            each()

    def test_what_comes_before_the_settings_are_read_is_done(
        self, process: Process, held: Held
    ) -> None:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process.kill(number)
        held.forget()
        install(process, held)
        self.turn(process)
        assert process.did == []

    def test_what_comes_after_that_is_done_once_the_reactor_runs(
        self, process: Process, held: Held
    ) -> None:
        held.forget()
        for _ in range(3):
            process.kill(signal.SIGHUP)
            process.kill(signal.SIGUSR1)
        install(process, held)
        assert process.did == []
        self.turn(process)
        assert process.did == ["reload", "reopen"]

    def test_workers_that_are_started_only_then_are_not_replaced(
        self, process: Process, held: Held
    ) -> None:
        held.forget()
        process.kill(signal.SIGUSR2)
        install(process, held)
        self.turn(process)
        assert process.did == []
        process.kill(signal.SIGUSR2)
        assert process.did == ["roll"]

    def test_twistd_takes_sigusr1_for_its_log_and_both_have_it(
        self, process: Process, held: Held
    ) -> None:
        held.forget()
        # As twistd asks whether anybody has it.
        assert not process.handlers[signal.SIGUSR1]
        process.handlers[signal.SIGUSR1] = lambda number, frame: process.did.append("rotate")
        held.chain()
        held.chain()
        process.kill(signal.SIGUSR1)
        assert process.did == ["rotate"]
        install(process, held)
        self.turn(process)
        assert process.did == ["rotate", "reopen"]
        process.kill(signal.SIGUSR1)
        assert process.did == ["rotate", "reopen", "rotate", "reopen"]

    def test_without_a_log_of_twistds_there_is_nothing_to_chain(
        self, process: Process, held: Held
    ) -> None:
        held.chain()
        install(process, held)
        process.kill(signal.SIGUSR1)
        assert process.did == ["reopen"]

    def test_a_sighup_that_was_ignored_stays_so(self, process: Process) -> None:
        process.handlers[signal.SIGHUP] = signal.SIG_IGN
        Held().take()
        assert process.handlers[signal.SIGHUP] is signal.SIG_IGN

    def test_a_terminal_that_was_closed_ends_the_process(
        self, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminals = {1}
        killed: list[Any] = []
        monkeypatch.setattr(os, "isatty", terminals.__contains__)
        monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))
        Held().take()
        process.kill(signal.SIGHUP)
        assert killed == []
        terminals.clear()
        process.kill(signal.SIGHUP)
        assert killed == [(os.getpid(), signal.SIGHUP)]
        assert process.handlers[signal.SIGHUP] == signal.SIG_DFL
