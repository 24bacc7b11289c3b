"""Publishing and presence, by the admin face of a service that runs."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from wsservice.errors import NotAcceptedError, NotAnsweredError, NotReachedError
from wsservice.publisher import Published, Publisher

from .conftest import Connect
from .processes import PATIENCE, Program, Programs, free_port, wait_until
from .wire import Closed, Wire

LOOPBACK = "tcp:0:interface=127.0.0.1"


@contextlib.contextmanager
def dripping(begun: bytes) -> Iterator[str]:
    """A face whose answer drips for 20 s unless somebody hangs up before: its URL."""
    hung_up = threading.Event()

    def serve() -> None:
        accepted, _ = listening.accept()
        with accepted:
            try:
                accepted.sendall(begun)
                for _ in range(400):
                    time.sleep(0.05)
                    accepted.sendall(b"1")
            except OSError:
                hung_up.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(PATIENCE)
    assert hung_up.is_set()


class Service:
    """A service, and its admin face by the publisher."""

    def __init__(self, programs: Programs, face: str, *options: str) -> None:
        self.program: Program = programs.twistd(
            "--port", "0", "--greeting", "", "--admin", face, *options
        )
        ports = self.program.log.wait_for_ports(1 if face.startswith("unix:") else 2)
        self.port = ports[0]
        self.place: int | str = (
            str(programs.folder / face.removeprefix("unix:"))
            if face.startswith("unix:")
            else ports[1]
        )
        self.url = (
            f"unix:{self.place}"
            if isinstance(self.place, str)
            else f"http://127.0.0.1:{self.place}"
        )
        if isinstance(self.place, str):
            wait_until(Path(self.place).exists, "the socket")

    def connect(self) -> socket.socket:
        if isinstance(self.place, str):
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(PATIENCE)
            made.connect(self.place)
            return made
        return socket.create_connection(("127.0.0.1", self.place), PATIENCE)

    def ask(
        self, target: str, body: bytes | None = None, *headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer."""
        lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"Content-Length: {len(body or b'')}", "Connection: close", *headers, "", ""]
        with self.connect() as sock:
            sock.sendall("\r\n".join(lines).encode() + (body or b""))
            return answered(b"".join(iter(lambda: sock.recv(65536), b"")))


def answered(octets: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = octets.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.fixture(params=[LOOPBACK, "unix:admin.sock"], ids=["TCP", "unix"])
def service(programs: Programs, request: pytest.FixtureRequest) -> Service:
    return Service(programs, request.param)


@pytest.fixture
def by_tcp(programs: Programs) -> Service:
    return Service(programs, LOOPBACK)


def opened(service: Service, connect: Connect, *paths: str) -> list[Wire]:
    """Connections that are on their channels for sure."""
    wires = [connect(service.port, path=path) for path in paths]
    wait_until(
        lambda: (
            sum(each["connections"] for each in service.ask("/channels")[1]["channels"])
            == len(paths)
        ),
        "all of them on their channels",
    )
    return wires


def test_a_message_reaches_all_on_its_channel(service: Service, connect: Connect) -> None:
    one, two, other = opened(service, connect, "/news", "/news/?x", "/other")
    assert service.ask("/publish/news", "h\u00e4".encode()) == (200, {"handed": 2, "dropped": 0})
    assert one.receive() == two.receive() == "h\u00e4"
    status, _ = service.ask("/publish/news", b"\xff\0", "Content-Type: application/octet-stream")
    assert status == 200
    assert one.receive() == two.receive() == b"\xff\0"
    assert service.ask("/publish/nobody", b"x") == (200, {"handed": 0, "dropped": 0})
    assert service.ask("/publish/other", b"")[1]["handed"] == 1
    assert other.receive() == ""
    status, said = service.ask("/publish/news", b"\xff")
    assert status == 400
    assert said["error"].startswith("the body is not UTF-8, from octet 1 on")


def test_a_channel_is_a_path_whatever_is_in_it(service: Service, connect: Connect) -> None:
    (wire,) = opened(service, connect, "/caf%C3%A9/%25%20/b%3Fc")
    (listed,) = service.ask("/channels")[1]["channels"]
    assert listed == {"channel": "caf\u00e9/% /b?c", "connections": 1}
    assert service.ask("/publish/caf%C3%A9/%25%20/b%3Fc", b"1")[1]["handed"] == 1
    publisher = Publisher(service.url)
    publisher.publish(listed["channel"], "2")
    publisher.publish_many([(listed["channel"], "3"), (listed["channel"], b"4")])
    assert [wire.receive() for _ in range(4)] == ["1", "2", "3", b"4"]


def test_many_in_lines_of_json_all_of_them_or_none(service: Service, connect: Connect) -> None:
    one, other = opened(service, connect, "/a", "/b")
    lines = [{"channel": "a", "data": str(number)} for number in range(100)]
    lines.insert(50, {"channel": "b", "data64": "AP8="})
    body = "\n".join(map(json.dumps, lines)).encode()
    assert service.ask("/publish", body) == (200, {"messages": 101, "handed": 101, "dropped": 0})
    assert [one.receive() for _ in range(100)] == [str(number) for number in range(100)]
    assert other.receive() == b"\0\xff"
    status, said = service.ask("/publish", body + b'\n{"channel": "a"}')
    assert status == 400
    assert said["error"].startswith("line 102: ")
    service.ask("/publish/a", b"the next one")
    assert one.receive() == "the next one"


def test_one_connection(service: Service, connect: Connect) -> None:
    one, two = opened(service, connect, "/a", "/a")
    shown = service.ask("/channels/a")[1]
    assert (shown["channel"], shown["total"], shown["next"]) == ("a", 2, None)
    first, second = (each["id"] for each in shown["connections"])
    sent = service.ask(f"/connections/{second}/send", b"you")
    assert sent == (200, {"handed": 1, "dropped": 0})
    assert two.receive() == "you"
    assert one.close() == Closed(1000, "")
    wait_until(lambda: service.ask("/channels/a")[1]["total"] == 1, "one to be gone")
    assert service.ask(f"/connections/{first}/send", b"x")[0] == 404
    assert service.ask(f"/connections/{second}/send", b"\xff")[0] == 400
    opening = service.connect if isinstance(service.place, str) else None
    assert opening is None or service.ask("/connections/99/send", b"x")[0] == 404


def test_channels_in_pages(by_tcp: Service, connect: Connect) -> None:
    opened(by_tcp, connect, *(f"/{name}" for name in "cabab"))
    first = by_tcp.ask("/channels?limit=2")[1]
    assert first == {
        "total": 3,
        "channels": [
            {"channel": "a", "connections": 2},
            {"channel": "b", "connections": 2},
        ],
        "next": "b",
    }
    assert by_tcp.ask("/channels?limit=2&after=b")[1]["channels"] == [
        {"channel": "c", "connections": 1}
    ]
    assert by_tcp.ask("/channels?limit=0")[0] == 400
    assert len(by_tcp.ask("/channels/a?limit=1")[1]["connections"]) == 1
    assert by_tcp.ask("/channels/nobody")[1]["total"] == 0


@pytest.mark.parametrize(
    "head", ["Content-Length: 1048577", "Transfer-Encoding: chunked"], ids=["length", "chunked"]
)
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"], ids=["at once", "asking"])
def test_a_body_that_is_too_large_is_refused(by_tcp: Service, head: str, expect: str) -> None:
    with by_tcp.connect() as sock:
        request = f"POST /publish/a HTTP/1.1\r\nHost: localhost\r\n{expect}{head}\r\n\r\n"
        sock.sendall(request.encode())
        if "chunked" in head:
            chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
            for _ in range(17):
                sock.sendall(chunk)
        said = b"".join(iter(lambda: sock.recv(65536), b""))
    assert b"HTTP/1.1 413 " in said
    assert b"at most 1048576 octets" in said


def test_chunks_and_who_asks_before_it_sends(by_tcp: Service, connect: Connect) -> None:
    (wire,) = opened(by_tcp, connect, "/a")
    with by_tcp.connect() as sock:
        sock.sendall(
            b"POST /publish/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        for part in (b"2\r\nhe\r\n", b"3\r\nllo\r\n", b"0\r\n\r\n"):
            sock.sendall(part)
        said = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answered(said) == (200, {"handed": 1, "dropped": 0})
    assert wire.receive() == "hello"


def test_without_the_token_nothing_is_published_and_no_large_body_is_read(
    programs: Programs, connect: Connect
) -> None:
    token = programs.folder / "token"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    service = Service(programs, LOOPBACK, "--admin-token-file", str(token))
    wire = connect(service.port, path="/a")
    for target in ("/publish/a", "/publish", "/connections/1/send", "/channels", "/channels/a"):
        assert service.ask(target, None if "channels" in target else b"x")[0] == 401
    assert service.ask("/publish/a", bytes(5000))[0] == 401
    with pytest.raises(NotAcceptedError) as caught:
        Publisher(service.url, token="wrong").publish("a", "x")
    assert caught.value.status == 401
    assert Publisher(service.url, token_file=str(token)).publish("a", "y" * 5000).handed == 1
    assert wire.receive() == "y" * 5000


def test_other_methods_are_refused(by_tcp: Service) -> None:
    assert by_tcp.ask("/publish/a")[0] == 405
    assert by_tcp.ask("/publish")[0] == 405
    assert by_tcp.ask("/channels", b"")[0] == 405
    assert by_tcp.ask("/channels/a", b"")[0] == 405
    assert by_tcp.ask("/publisher", b"")[0] == 404


@pytest.mark.parametrize("policy", ["close", "drop"])
def test_who_reads_too_slowly_is_counted(programs: Programs, connect: Connect, policy: str) -> None:
    service = Service(programs, LOOPBACK, "--slow-client", policy, "--send-buffer", "65536")
    opened(service, connect, "/a", "/a")
    slow, reads = (Wire(service.port, path="/a", receive_buffer=4096).upgrade() for _ in range(2))
    publisher = Publisher(service.url)
    seen: list[Published] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            reads.receive()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(read)
        for _ in range(1000):
            seen.append(publisher.publish("a", bytes(32768)))
            if seen[-1].dropped:
                break
        done.set()
        publisher.publish("a", b"the last one")
    assert seen[-1].dropped >= 1
    slow.end()
    reads.end()


class TestPublisher:
    def test_threads_share_it(self, service: Service, connect: Connect) -> None:
        (wire,) = opened(service, connect, "/a")
        with Publisher(service.url) as publisher, ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda n: publisher.publish("a", str(n)), range(400)))
            assert len(publisher._idle) <= 8
        assert outcomes == [Published(1, 0)] * 400
        assert {wire.receive() for _ in range(400)} == {str(number) for number in range(400)}

    def test_it_outlives_a_restart_of_the_service(
        self, programs: Programs, connect: Connect
    ) -> None:
        port = free_port()
        face = f"tcp:{port}:interface=127.0.0.1"
        first = Service(programs, face)
        publisher = Publisher(first.url)
        publisher.publish("a", "1")
        first.program.end()
        with pytest.raises(NotReachedError):
            publisher.publish("a", "2")
        Service(programs, face)
        assert publisher.publish("a", "3") == Published(0, 0)

    def test_one_who_never_answers_takes_no_longer_than_its_time(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            publisher = Publisher(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
            with pytest.raises(NotAnsweredError, match="it took too long"):
                publisher.publish("a", "b")

    @pytest.mark.parametrize(
        "begun", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"], ids=str
    )
    def test_one_whose_answer_drips_takes_no_longer_than_its_time(self, begun: bytes) -> None:
        with (
            dripping(begun) as url,
            pytest.raises(NotAnsweredError, match="it took too long"),
        ):
            Publisher(url, timeout=0.5).publish("a", "b")

    def test_a_message_that_is_too_large_is_refused_by_name(self, by_tcp: Service) -> None:
        with pytest.raises(NotAcceptedError) as caught:
            Publisher(by_tcp.url).publish("a", bytes(8 * 1024 * 1024))
        assert caught.value.status == 413


class TestProgram:
    def publish(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "wsservice.publish", *arguments],
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    def test_a_conversation(self, service: Service, connect: Connect) -> None:
        (wire,) = opened(service, connect, "/news")
        said = self.publish("news", "hello", "--url", service.url)
        assert (said.returncode, said.stdout, said.stderr) == (0, b"handed to 1 connection\n", b"")
        self.publish("news", "--url", service.url, stdin=b"one\ntwo\n")
        self.publish("news", "--binary", "--whole", "--url", service.url, stdin=b"\xff\n")
        assert [wire.receive() for _ in range(4)] == ["hello", "one", "two", b"\xff\n"]

    def test_an_answer_that_drips(self) -> None:
        with dripping(b"HTTP/1.1 200 OK\r\nX: ") as url:
            said = self.publish("news", "hello", "--url", url, "--timeout", "500ms")
        assert said.returncode == 7

    def test_nobody_there(self) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        said = self.publish("news", "hello", "--url", url)
        assert said.returncode == 3
        line = f"wsservice.publish: {url} cannot be reached, Connection refused\n"
        assert said.stderr.decode() == line
