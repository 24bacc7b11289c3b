"""`python -m wsservice.client`, as a user or a script runs it."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from .conftest import Connect
from .processes import PATIENCE, Program, Programs, free_port
from .test_listening_places import make_certificate
from .wire import Closed, Host


class Hosts:
    """A server that says and does what a test tells it to."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/path?room=1"
        self._ends: list[Host] = []

    def next(self) -> Host:
        """The next who comes, its handshake not answered yet."""
        host = Host(self._listener.accept()[0])
        self._ends.append(host)
        return host

    def next_raw(self) -> socket.socket:
        """The next who comes, of whom nothing was read."""
        accepted = self._listener.accept()[0]
        accepted.settimeout(PATIENCE)
        return accepted

    def end(self) -> None:
        for host in self._ends:
            host.end()
        self._listener.close()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    hosts = Hosts()
    yield hosts
    hosts.end()


SLOW_LOOKUPS = """
import socket, sys, time
socket.getaddrinfo = lambda *_, **__: time.sleep(600)
from wsservice.cli.__main__ import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("option", "status"), [("--timeout", 7), ("--connect-timeout", 3)])
def test_its_time_holds_where_no_dns_server_answers(option: str, status: int) -> None:
    arguments = ["ws://nowhere.example/", option, "200ms"]
    ended = subprocess.run(
        [sys.executable, "-c", SLOW_LOOKUPS, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == status, ended.stderr


def failed(client: Program, status: int, *words: str) -> None:
    """It ended with a status, and one line that has these words."""
    assert client.wait() == status, client.stderr.text
    assert len(client.stderr.lines) == 1, client.stderr.text
    for word in words:
        assert word in client.stderr.text


def test_it_sends_what_m_gives_and_prints_what_comes(hosts: Hosts, programs: Programs) -> None:
    client = programs.client(hosts.url, "-m", "one", "-m", "zwei ✓")
    host = hosts.next()
    assert host.head.startswith("GET /path?room=1 HTTP/1.1\r\n")
    host.accept()
    assert [host.receive(), host.receive()] == ["one", "zwei ✓"]
    assert host.receive() == Closed(1000, "")
    host.send("exactly\tthis\x1b[0m")
    host.send(b"\xff\x00 and this")
    host.send_close(1000)
    host.end()
    assert client.wait() == 0
    assert client.stdout.path.read_bytes() == b"exactly\tthis\x1b[0m\n\xff\x00 and this\n"
    assert client.stderr.text == ""


def test_it_says_nothing_of_its_own_to_a_url(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0")
    client = programs.client(f"ws://localhost:{server.port}/")
    assert client.wait() == 0
    assert client.stdout.text == "Hello from server\n"
    assert client.stderr.text == ""
    assert "Message received" not in server.log.text


def test_each_line_of_a_pipe_is_a_message(hosts: Hosts, programs: Programs) -> None:
    client = programs.client(hosts.url, "-m", "first", stdin=subprocess.PIPE)
    host = hosts.next().accept()
    assert host.receive() == "first"
    pipe = client.process.stdin
    assert pipe is not None
    for line in ("one", "", "trailing space "):
        pipe.write(f"{line}\n".encode())
        pipe.flush()
        assert host.receive() == line
    pipe.write(b"no end of line")
    pipe.close()
    assert host.receive() == "no end of line"
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    assert client.wait() == 0


def test_each_line_of_a_file_is_a_message(hosts: Hosts, programs: Programs) -> None:
    file = programs.folder / "lines"
    file.write_bytes(b"one\ntwo\r\n\xe2\x9c\x93\n")
    with file.open("rb") as lines:
        client = programs.client(hosts.url, stdin=lines)
    host = hosts.next().accept()
    assert [host.receive() for _ in range(3)] == ["one", "two", "✓"]
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    assert client.wait() == 0


def test_input_that_is_not_utf8_is_named_by_its_line(hosts: Hosts, programs: Programs) -> None:
    file = programs.folder / "lines"
    file.write_bytes(b"good\nb\xe9d\nnever sent\n")
    with file.open("rb") as lines:
        client = programs.client(hosts.url, stdin=lines)
    host = hosts.next().accept()
    assert host.receive() == "good"
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    failed(client, 2, "line 2", "not UTF-8")


def test_big_input_is_read_no_faster_than_the_server_takes_it(
    hosts: Hosts, programs: Programs
) -> None:
    client = programs.client(hosts.url, stdin=subprocess.PIPE)
    host = hosts.next().accept()
    pipe = client.process.stdin
    assert pipe is not None
    os.set_blocking(pipe.fileno(), False)
    line = b"x" * 9999 + b"\n"
    total, written = 30_000_000, 0
    waiting = 0
    # Nobody reads at the other end: what the program takes must end soon.
    while waiting < 50 and written < total:
        try:
            written += os.write(pipe.fileno(), (line * 7)[written % 10_000 :][:65536])
            waiting = 0
        except BlockingIOError:
            waiting += 1
            time.sleep(0.01)
    assert written < total / 2, "the program reads all that it is given into its memory"
    os.set_blocking(pipe.fileno(), True)

    def write_the_rest() -> None:
        done = written
        while done < total:
            done += os.write(pipe.fileno(), (line * 7)[done % 10_000 :][: total - done])
        pipe.close()

    writer = threading.Thread(target=write_the_rest)
    writer.start()
    received = 0
    while not isinstance(message := host.receive(), Closed):
        assert message == "x" * 9999
        received += len(message) + 1
    writer.join()
    assert received == total
    host.send_close(1000)
    host.end()
    assert client.wait() == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_closes_with_1000_and_waits_for_the_answer(
    hosts: Hosts, programs: Programs, number: int, status: int
) -> None:
    client = programs.client(hosts.url, "-m", "ready", stdin=subprocess.PIPE)
    host = hosts.next().accept()
    assert host.receive() == "ready"
    client.signal(number)
    assert host.receive() == Closed(1000, "")
    host.send("a last word")
    client.stdout.wait_for("a last word\n")
    assert client.process.poll() is None
    host.send_close(1000)
    host.end()
    assert client.wait() == status
    assert client.stderr.text == ""


def test_a_second_interrupt_does_not_wait(hosts: Hosts, programs: Programs) -> None:
    client = programs.client(
        hosts.url, "-m", "ready", "--close-timeout", "60", stdin=subprocess.PIPE
    )
    host = hosts.next().accept()
    assert host.receive() == "ready"
    client.signal(signal.SIGINT)
    assert host.receive() == Closed(1000, "")
    client.signal(signal.SIGINT)
    assert client.wait() == 130


def test_an_interrupt_while_connecting_gives_up(hosts: Hosts, programs: Programs) -> None:
    client = programs.client(hosts.url)
    hosts.next()
    client.signal(signal.SIGINT)
    assert client.wait() == 130
    assert "Traceback" not in client.stderr.text


def test_nobody_there_is_status_3(programs: Programs) -> None:
    url = f"ws://127.0.0.1:{free_port()}/"
    failed(programs.client(url), 3, url, "connection refused")


def test_an_unknown_host_is_status_3(programs: Programs) -> None:
    failed(programs.client("ws://nowhere.invalid/"), 3, "ws://nowhere.invalid/", "name")


def test_a_certificate_that_is_not_trusted_is_status_4(programs: Programs) -> None:
    key, certificate = make_certificate(programs.folder)
    server = programs.twistd(
        "--listen", f"ssl:0:privateKey={key.name}:certKey={certificate.name}:interface=127.0.0.1"
    )
    failed(programs.client(f"wss://localhost:{server.port}/", "-m", "secret"), 4, "TLS failed")
    assert "secret" not in server.log.text


def test_a_certificate_of_another_name_is_status_4(programs: Programs) -> None:
    key, certificate = make_certificate(programs.folder, "elsewhere.example")
    server = programs.twistd(
        "--listen", f"ssl:0:privateKey={key.name}:certKey={certificate.name}:interface=127.0.0.1"
    )
    client = programs.client(
        f"wss://localhost:{server.port}/", environment={"SSL_CERT_FILE": str(certificate)}
    )
    failed(client, 4, "TLS failed", "not for this host")


def test_no_tls_where_it_was_asked_for_is_status_4(programs: Programs) -> None:
    server = programs.twistd("--port", "0", "--handshake-timeout", "0.5")
    failed(programs.client(f"wss://localhost:{server.port}/"), 4, "TLS failed")


def test_another_answer_than_101_is_status_5(hosts: Hosts, programs: Programs) -> None:
    client = programs.client(hosts.url, "-m", "unsaid")
    host = hosts.next()
    host.answer("404 Not\x1b[2J Found", "Content-Length: 0\r\n")
    host.end()
    failed(client, 5, "404 Not\\x1b[2J Found")
    assert client.stdout.text == ""


def test_nonsense_in_answer_is_status_5(hosts: Hosts, programs: Programs) -> None:
    client = programs.client(hosts.url)
    host = hosts.next()
    host.answer("101 Switching Protocols", "Upgrade: websocket\r\nConnection: Upgrade\r\n")
    failed(client, 5)


def test_an_end_before_the_handshake_is_status_5(hosts: Hosts, programs: Programs) -> None:
    client = programs.client(hosts.url)
    hosts.next().end()
    failed(client, 5)


def test_an_end_without_a_close_frame_is_status_6(hosts: Hosts, programs: Programs) -> None:
    client = programs.client(hosts.url, "-m", "ready", stdin=subprocess.PIPE)
    host = hosts.next().accept()
    assert host.receive() == "ready"
    host.send("said before")
    host.end()
    failed(client, 6, "lost without a close frame")
    assert client.stdout.text == "said before\n"


@pytest.mark.parametrize(("code", "status"), [(1000, 0), (1001, 0), (1011, 8), (4001, 8)])
def test_the_servers_close_code_decides_the_status(
    hosts: Hosts, programs: Programs, code: int, status: int
) -> None:
    client = programs.client(hosts.url, "-m", "ready", stdin=subprocess.PIPE)
    host = hosts.next().accept()
    assert host.receive() == "ready"
    host.send_close(code, "because\x1b[2J" if code != 1000 else "")
    assert host.receive() == Closed(code, "because\x1b[2J" if code != 1000 else "")
    host.end()
    assert client.wait() == status
    said = f"wsservice.client: the server closed with {code} (because\\x1b[2J)\n"
    assert client.stderr.text == ("" if code == 1000 else said)


@pytest.mark.parametrize(
    "arguments",
    [
        ("http://localhost/",),
        ("ws://localhost:port/",),
        ("ws://localhost/#fragment",),
        ("-m", "without a URL"),
        ("ws://localhost/", "--unknown"),
        ("ws://localhost/", "-m"),
        ("ws://localhost/", "-m", b"not \xff UTF-8"),
        ("ws://localhost/\x1b[2J",),
    ],
    ids=str,
)
def test_wrong_usage_is_status_2(programs: Programs, arguments: tuple[str | bytes, ...]) -> None:
    given = [each if isinstance(each, str) else os.fsdecode(each) for each in arguments]
    client = programs.client(*given)
    failed(client, 2, "wsservice.client: ", "see --help")
    assert "\x1b" not in client.stderr.text


def test_nobody_who_reads_its_output_ends_it_in_order(hosts: Hosts, programs: Programs) -> None:
    reading, writing = os.pipe()
    client = programs.client(hosts.url, stdin=subprocess.PIPE, stdout=writing)
    os.close(writing)
    host = hosts.next().accept()
    host.send("wanted")
    with os.fdopen(reading, "rb") as output:
        assert output.readline() == b"wanted\n"
    host.send("one too many")
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    assert client.wait() == 0
    assert client.stderr.text == ""


def test_a_terminal_gets_control_characters_escaped(hosts: Hosts, programs: Programs) -> None:
    ours, theirs = pty.openpty()
    client = programs.client(hosts.url, stdin=subprocess.PIPE, stdout=theirs)
    host = hosts.next().accept()
    host.send("clear\x1b[2J\nand\u202eturn")
    host.send(b"\x1b\x00")
    host.send_close(1000)
    shown = b""
    while shown.count(b"\n") < 2:
        shown += os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
    assert shown.decode().splitlines() == [
        r"clear\x1b[2J\nand\u202eturn",
        "(binary, 2 bytes) 1b00",
    ]
    host.end()
    assert client.wait() == 0


def test_help_names_the_exit_statuses(programs: Programs) -> None:
    client = programs.client("--help-all")
    assert client.wait() == 0
    assert "exit status: 0 closed normally" in " ".join(client.stdout.text.split())
