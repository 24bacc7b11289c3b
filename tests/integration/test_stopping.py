"""How the service ends: in order, within bounds, and at once when told twice."""

from __future__ import annotations

import os
import selectors
import signal
import time

import pytest

from .conftest import Connect
from .processes import BIN, PATIENCE, WAYS, Programs, can_connect, wait_until
from .wire import Wire


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("how", WAYS)
def test_a_signal_closes_every_client_with_1001_and_ends_with_status_0(
    programs: Programs, connect: Connect, how: str, number: int
) -> None:
    # It does not wait so long, since all answer.
    server = programs.serve(how, "--port", "0", "--drain", "60")
    port = server.port
    clients = [connect(port) for _ in range(5)]
    server.signal(number)
    assert [client.answer_close().code for client in clients] == [1001] * 5
    assert server.wait() == 0
    assert not can_connect(port)
    assert "Traceback" not in server.log.text


@pytest.mark.parametrize("how", WAYS)
def test_a_second_signal_ends_it_at_once(programs: Programs, connect: Connect, how: str) -> None:
    server = programs.serve(how, "--port", "0", "--drain", "60")
    mute = connect(server.port)
    server.signal(signal.SIGTERM)
    server.log.wait_for("stopping")
    server.signal(signal.SIGINT)
    # As a shell tells of it: os._exit(130).
    assert server.wait() == 128 + signal.SIGINT
    assert mute.rest()


def test_a_mute_client_holds_it_no_longer_than_drain(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--drain", "1", "--close-timeout", "60")
    mute = connect(server.port)
    started = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - started > 0.9
    assert "1 connections did not close within --drain 1 s" in server.log.text
    assert mute.receive() == "Hello from server"


def test_one_that_was_closed_and_does_not_end_its_side_does_not_hold_it(
    programs: Programs, connect: Connect
) -> None:
    server = programs.twistd("--port", "0", "--drain", "60", "--close-timeout", "60")
    lingering = connect(server.port)
    assert lingering.receive() == "Hello from server"
    lingering.send_frame(3, b"of no kind")
    assert lingering.receive_close().code == 1002
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_many_are_told_one_after_another(programs: Programs, connect: Connect) -> None:
    # Long enough for all of them to answer, on a machine that does other things too.
    server = programs.twistd("--port", "0", "--drain", "3")
    port = server.port
    clients = [connect(port) for _ in range(150)]
    server.signal(signal.SIGTERM)
    told: list[float] = []
    with selectors.DefaultSelector() as selector:
        for client in clients:
            assert client.receive() == "Hello from server"
            selector.register(client.socket, selectors.EVENT_READ, client)
        while len(told) < len(clients):
            ready = selector.select(PATIENCE)
            assert ready, "not all are told"
            for key, _ in ready:
                selector.unregister(key.fileobj)
                told.append(time.monotonic())
                assert key.data.answer_close().code == 1001
    assert told[-1] - told[0] > 0.5, "not spread over half of --drain"
    assert server.wait() == 0
    assert "dropped" not in server.log.text


def test_drain_0_does_not_wait_but_says_goodbye(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--drain", "0")
    mute = connect(server.port)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert mute.rest().endswith(b"\x88\x02" + (1001).to_bytes(2, "big"))


def test_one_who_is_still_shaking_hands_is_told_503(programs: Programs) -> None:
    server = programs.twistd("--port", "0", "--handshake-timeout", "0")
    slow = Wire(server.port)
    try:
        slow.socket.sendall(b"GET / HTTP/1.1\r\n")
        other = Wire(server.port)
        other.upgrade().end()  # so that the first is known to be there
        server.signal(signal.SIGTERM)
        assert slow.rest().startswith(b"HTTP/1.1 503 ")
        assert server.wait() == 0
    finally:
        slow.end()


@pytest.mark.parametrize("how", ["twistd", "twist"])
def test_an_interrupt_that_a_background_shell_ignores_stays_ignored(
    programs: Programs, connect: Connect, how: str
) -> None:
    option = "-n" if how == "twistd" else "--log-format=text"
    server = programs.start(
        *("sh", "-c", 'trap "" INT; exec "$@"', "sh"),
        *(BIN / how, option, "wsdemo", "--port", "0"),
    )
    client = connect(server.port)
    server.signal(signal.SIGINT)
    assert client.receive() == "Hello from server"
    client.send("still here")
    server.log.wait_for("Message received: still here\n")
    assert "SIGINT" not in server.log.text
    server.signal(signal.SIGTERM)
    assert client.answer_close().code == 1001
    assert server.wait() == 0


def test_nobody_is_accepted_once_it_stops(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0")
    port = server.port
    client = connect(port)
    server.signal(signal.SIGTERM)
    wait_until(lambda: not can_connect(port), "the port to be closed")
    assert client.answer_close().code == 1001
    assert server.wait() == 0


def test_a_stopped_process_leaves_no_child(programs: Programs, connect: Connect) -> None:
    server = programs.daemon("--port", "0")
    client = connect(server.port)
    server.signal(signal.SIGTERM)
    client.answer_close()
    assert server.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)
