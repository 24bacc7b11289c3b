from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from wsservice.workers.child import __main__ as module
from wsservice.workers.child.__main__ import _adopted, _end_after, _first_message
from wsservice.workers.wire.framing import MessageError, framed
from wsservice.workers.wire.orders import PingWorker, Start

from ....integration.processes import wait_until


def test_the_first_message_is_read_and_no_octet_more() -> None:
    one, two = socket.socketpair()
    with one, two:
        start = Start({}, "x" * 5000, "/", ("/a",), ((2, ["::", 1]),), "text", "log", "", "00")
        two.sendall(framed(start.body()) + b"rest")
        assert _first_message(one) == start
        assert one.recv(10) == b"rest"
        two.close()
        with pytest.raises(EOFError):
            _first_message(one)


def test_another_message_cannot_be_the_first() -> None:
    one, two = socket.socketpair()
    with one, two:
        two.sendall(framed(PingWorker().body()))
        with pytest.raises(MessageError, match="'ping' is not the first message"):
            _first_message(one)


def test_what_it_was_given_is_not_given_on() -> None:
    one, two = socket.socketpair()
    with two:
        number = one.detach()
        os.set_inheritable(number, True)
        with _adopted(number) as adopted:
            assert not adopted.get_inheritable()


def test_the_kernel_ends_what_does_not_end_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[float] = []
    handlers: dict[int, object] = {}
    monkeypatch.setattr(signal, "setitimer", lambda _, seconds: timers.append(seconds))
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    _end_after(7)
    _end_after(0)
    assert timers == [7, 0.1]
    assert handlers == {signal.SIGALRM: signal.SIG_DFL}


@pytest.mark.slow  # a new interpreter
def test_without_a_parent_it_ends_with_status_1(tmp_path: Path) -> None:
    ends = [socket.socketpair() for _ in range(3)]
    pid = os.posix_spawn(
        sys.executable,
        [
            sys.executable,
            "-P",
            "-m",
            "wsservice.workers.child",
            "1",
            "0",
            "twisted.internet.pollreactor",
        ],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, end.fileno(), 3 + n) for n, (end, _) in enumerate(ends)
        ],
    )
    for pair in ends:
        for end in pair:
            end.close()
    status: list[int] = []

    def ended() -> bool:
        found, code = os.waitpid(pid, os.WNOHANG)
        if found:
            status.append(os.waitstatus_to_exitcode(code))
        return bool(found)

    wait_until(ended, "its end")
    assert status == [1]


def test_it_knows_the_argument_that_the_kernel_has_for_it() -> None:
    assert module._PR_SET_PDEATHSIG == 1
