"""The message log on real files, through rotation and the end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .conftest import Connect
from .processes import BIN, Output, Programs, wait_until
from .wire import TEXT, frame

MARK = "Message received: "


def test_messages_go_to_a_file_and_not_to_the_log(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--message-log", "messages.log")
    client = connect(server.port)
    peer = f"127.0.0.1:{client.socket.getsockname()[1]}"
    client.send("one\n\x1b[2Jtwo")
    client.send(b"\x00\xff")
    client.close()
    messages = Output(programs.folder / "messages.log")
    messages.wait_for("\n", 2)
    assert messages.lines[0].endswith(f" {peer}] {MARK}one\\n\\x1b[2Jtwo")
    assert messages.lines[1].endswith(f" {peer}] {MARK}(binary, 2 bytes) 00ff")
    assert len(messages.lines) == 2
    assert MARK not in server.log.text
    assert messages.path.stat().st_mode & 0o007 == 0


def test_messages_go_to_standard_output(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--message-log", "-")
    connect(server.port).send("to standard output")
    server.stdout.wait_for(f"{MARK}to standard output\n")
    line = server.stdout.ending("to standard output")[0]
    assert "[-]" not in line, "it went through Twisted's log"


def test_standard_output_that_nobody_reads_holds_up_nobody(
    programs: Programs, connect: Connect
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"):
        server = programs.start(
            *(BIN / "twistd", "-n", "--logfile=twistd.log"),
            *("wsdemo", "--port", "0", "--message-log", "-", "--protocol", "both.Both"),
            environment={"PYTHONPATH": str(_both(programs.folder))},
            stdout=writer,
        )
        os.close(writer)
        port = Output(programs.folder / "twistd.log").wait_for_ports()[0]
        client = connect(port)
        for number in range(100):
            client.send(f"{number} " + "x" * 4000)
            assert str(client.receive()).startswith(f"{number} ")
        server.signal(signal.SIGTERM)
        assert client.answer_close().code == 1001
        assert server.wait() == 0


@pytest.mark.parametrize("signals", [1, 2], ids=["one signal", "two signals"])
def test_a_slow_reader_of_a_pipe_holds_up_nobody_and_loses_nothing(
    programs: Programs, connect: Connect, signals: int
) -> None:
    pipe = programs.folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(reader, "rb") as reading:
        server = programs.twistd(
            *("--port", "0", "--message-log", pipe.name, "--protocol", "both.Both"),
            environment={"PYTHONPATH": str(_both(programs.folder))},
        )
        client = connect(server.port)
        # More than a pipe holds, and nobody reads it.
        for number in range(100):
            client.send(f"{number} " + "x" * 4000)
            assert str(client.receive()).startswith(f"{number} ")
        server.signal(signal.SIGTERM)
        server.log.wait_for("stopping")
        if signals == 1:
            assert client.answer_close().code == 1001
        else:
            server.signal(signal.SIGTERM)
        os.set_blocking(reader, True)
        assert reading.read().decode().count(MARK) == 100
    assert server.wait() == (0 if signals == 1 else 143)


def _both(folder: Path) -> Path:
    (folder / "both.py").write_text(
        "import wsservice\n"
        "class Both(wsservice.EchoServerProtocol):\n"
        "    def onMessage(self, payload, isBinary):\n"
        "        super().onMessage(payload, isBinary)\n"
        "        wsservice.ServerProtocol.onMessage(self, payload, isBinary)\n"
    )
    return folder


def test_the_file_is_reopened_on_sigusr1(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--message-log", "messages.log")
    messages = programs.folder / "messages.log"
    client = connect(server.port)
    client.send("before")
    wait_until(lambda: "before" in messages.read_text(), "the first message")
    moved = messages.rename(programs.folder / "messages.1")
    server.signal(signal.SIGUSR1)
    wait_until(messages.exists, "the new file")
    client.send("after")
    wait_until(lambda: "after" in messages.read_text(), "the second message")
    assert len(messages.read_text().splitlines()) == 1
    assert len(moved.read_text().splitlines()) == 1
    assert server.process.poll() is None


def test_sigusr1_rotates_twistds_log_too(programs: Programs, connect: Connect) -> None:
    daemon = programs.daemon("--port", "0", "--message-log", "messages.log")
    messages = programs.folder / "messages.log"
    client = connect(daemon.port)
    messages.rename(programs.folder / "messages.1")
    daemon.signal(signal.SIGUSR1)
    wait_until((programs.folder / "wsdemo.log.1").exists, "twistd's rotated log")
    wait_until(messages.exists, "the new message log")
    client.send("after")
    wait_until(lambda: "after" in messages.read_text(), "the message")


def test_sigusr1_does_no_harm_where_nothing_rotates(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0")
    client = connect(server.port)
    server.signal(signal.SIGUSR1)
    client.send("after")
    server.log.wait_for(f"{MARK}after\n")
    client.close()


def test_nothing_received_is_lost_on_sigterm(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--message-log", "messages.log")
    client = connect(server.port)
    count = 5000
    client.socket.sendall(b"".join(frame(TEXT, b"message %d" % n) for n in range(count)))
    server.signal(signal.SIGTERM)
    client.answer_close()
    assert server.wait() == 0
    lines = (programs.folder / "messages.log").read_text().splitlines()
    numbers = [int(line.rpartition(" ")[2]) for line in lines]
    # What was sent after the service said goodbye is not received: a beginning, without gaps.
    assert numbers == list(range(len(numbers)))
    assert numbers
