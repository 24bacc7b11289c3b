"""The service as a user starts it, and the tutorial's conversation with it."""

from __future__ import annotations

import errno
import signal
import socket

import pytest

from ..needs import need
from .conftest import Connect
from .processes import WAYS, Programs, wait_until
from .wire import TEXT, Closed, frame


def default_port_is_free() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("::", 8080))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def test_the_tutorials_conversation_runs_on_both_defaults(programs: Programs) -> None:
    try:
        wait_until(default_port_is_free, "port 8080 to be free", 10)
    except AssertionError:
        need(False, "port 8080")
    server = programs.twistd()
    assert server.port == 8080
    client = programs.client()
    client.stdout.wait_for("Msg received in client: Hello from server\n")
    server.log.wait_for("Message received: Msg from client\n")
    assert len(client.stdout.ending("Msg received in client: Hello from server")) == 1
    assert len(server.log.ending("Message received: Msg from client")) == 1
    client.signal(signal.SIGINT)
    assert client.wait() == 130
    assert client.stderr.text == ""


@pytest.mark.parametrize("how", WAYS)
def test_every_way_to_run_it_greets_and_logs(
    programs: Programs, connect: Connect, how: str
) -> None:
    server = programs.serve(how, "--port", "0")
    client = connect(server.port)
    assert client.receive() == "Hello from server"
    client.send("Msg from client")
    assert client.close() == Closed(1000, "")
    server.log.wait_for("Message received: Msg from client\n")


@pytest.mark.parametrize("reactor", ["poll", "asyncio"])
def test_it_runs_and_stops_on_other_reactors(
    programs: Programs, connect: Connect, reactor: str
) -> None:
    server = programs.twistd("--port", "0", reactor=reactor)
    client = connect(server.port)
    assert client.receive() == "Hello from server"
    client.send("hello")
    server.log.wait_for("Message received: hello\n")
    server.signal(signal.SIGTERM)
    assert client.answer_close().code == 1001
    assert server.wait() == 0
    assert reactor in server.log.text.lower()


def test_a_daemon_leaves_neither_pid_file_nor_process(programs: Programs, connect: Connect) -> None:
    daemon = programs.daemon("--port", "0")
    client = connect(daemon.port)
    daemon.signal(signal.SIGTERM)
    client.answer_close()
    assert daemon.wait() == 0
    assert not daemon.pid_file.exists()


def test_an_empty_greeting_greets_nobody(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--greeting", "")
    assert connect(server.port).close() == Closed(1000, "")


def test_a_greeting_of_ones_own_is_sent(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--greeting", "Grüß Gott ✓")
    assert connect(server.port).receive() == "Grüß Gott ✓"


def test_echo_answers_greets_nobody_and_logs_no_message(
    programs: Programs, connect: Connect
) -> None:
    server = programs.twistd("--port", "0", "--protocol", "echo")
    client = connect(server.port, path="/any/path?and=query")
    client.send("text")
    client.send(b"\x00octets")
    assert client.receive() == "text"
    assert client.receive() == b"\x00octets"
    client.close()
    assert "Message received" not in server.log.text


def test_a_message_in_pieces_is_one_message(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0")
    client = connect(server.port)
    whole = frame(TEXT, b"octet by octet")
    for octet in whole:
        client.socket.sendall(bytes([octet]))
    server.log.wait_for("Message received: octet by octet\n")
