from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from typing import Any

import pytest

from wsservice.publish import http as module
from wsservice.publish.http import Deadline, FaceConnection, FacePlace


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Dripping:
    """A socket whose every operation lasts a second and moves one octet."""

    def __init__(self, clock: Clock, says: bytes = b"") -> None:
        self.clock = clock
        self.says = io.BytesIO(says)
        self.took = b""
        self.timeouts: list[float] = []

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def send(self, data: memoryview) -> int:
        self.clock.now += 1
        self.took += data[:1]
        return 1

    def recv_into(self, buffer: memoryview) -> int:
        self.clock.now += 1
        return self.says.readinto(buffer[:1])

    def makefile(self, mode: str, buffering: int) -> Any:
        assert (mode, buffering) == ("rb", 0)
        dripping = self

        class File(io.RawIOBase):
            def readinto(self, buffer: Any) -> int:
                return dripping.recv_into(memoryview(buffer))

        return File()

    def close(self) -> None:
        """It is over."""


def connection(dripping: Dripping, seconds: float) -> FaceConnection:
    made = FacePlace.of("http://h", None).connection()
    made.sock = module._BoundedSocket(dripping, Deadline(seconds))  # type: ignore[arg-type]
    return made


def test_an_answer_that_drips_ends_with_the_deadline(clock: Clock) -> None:
    dripping = Dripping(clock, b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1000)
    with pytest.raises(TimeoutError):
        http.client.HTTPResponse(connection(dripping, 30).sock).begin()
    assert clock.now == 130
    assert dripping.timeouts == list(range(30, 0, -1))


def test_so_does_a_body(clock: Clock) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    dripping = Dripping(clock, head + b"a" * 1000)
    answer = http.client.HTTPResponse(connection(dripping, 60).sock)
    answer.begin()
    with pytest.raises(TimeoutError):
        answer.read(2000)
    assert clock.now == 160


def test_so_does_a_request_that_is_taken_octet_by_octet(clock: Clock) -> None:
    dripping = Dripping(clock)
    made = connection(dripping, 30)
    with pytest.raises(TimeoutError):
        made.sock.sendall(b"x" * 1000)
    assert len(dripping.took) == 30


def test_what_arrives_in_time_is_whole(clock: Clock) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    dripping = Dripping(clock, head + b"ok")
    made = connection(dripping, 60)
    made.sock.sendall(b"abc")
    answer = http.client.HTTPResponse(made.sock)
    answer.begin()
    assert (dripping.took, answer.read()) == (b"abc", b"ok")


def test_a_connection_that_was_kept_gets_the_next_calls_deadline(clock: Clock) -> None:
    made = connection(Dripping(clock), 1)
    clock.now += 5
    made.limit(Deadline(3))
    made.sock.sendall(b"ab")
    with pytest.raises(TimeoutError):
        made.sock.sendall(b"cd")


def test_it_never_connects_anew_without_a_deadline() -> None:
    with pytest.raises(http.client.NotConnected):
        FacePlace.of("http://h", None).connection().request("POST", "/")


def test_looking_up_a_name_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def getaddrinfo(*_: Any) -> list[Any]:
        release.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(TimeoutError):
        FacePlace.of("http://h", None).connection().open(Deadline(0.05))
    release.set()


class TestAddresses:
    """A name with several addresses."""

    @pytest.fixture(autouse=True)
    def names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = [(socket.AF_INET, 1, 6, "", (f"192.0.2.{n}", 80)) for n in (1, 2, 3)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)

    def test_one_that_does_not_answer_leaves_time_for_the_next(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = []

        def connected(_family: int, address: Any, deadline: Deadline) -> Any:
            tried.append((address[0], deadline.left()))
            if address[0] == "192.0.2.3":
                return Dripping(clock)
            clock.now += deadline.left()
            raise TimeoutError

        monkeypatch.setattr(module, "_connected", connected)
        FacePlace.of("http://h", None).connection().open(Deadline(6))
        assert tried == [("192.0.2.1", 2), ("192.0.2.2", 2), ("192.0.2.3", 2)]

    def test_the_last_one_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def connected(_family: int, address: Any, _deadline: Deadline) -> Any:
            raise OSError(111, address[0])

        monkeypatch.setattr(module, "_connected", connected)
        with pytest.raises(OSError, match=r"192\.0\.2\.3"):
            FacePlace.of("http://h", None).connection().open(Deadline(6))

    def test_a_name_without_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
        with pytest.raises(OSError, match="has no address"):
            FacePlace.of("http://h", None).connection().open(Deadline(6))


@pytest.mark.parametrize(
    ("url", "port", "host"),
    [
        ("http://h", 80, "h"),
        ("https://h", 443, "h"),
        ("https://h:80", 80, "h:80"),
        ("http://[::1]:2", 2, "[::1]:2"),
        ("unix:/run/x", 80, "localhost"),
    ],
)
def test_the_host_header_names_a_port_where_it_is_not_the_schemes(
    url: str, port: int, host: str
) -> None:
    made = FacePlace.of(url, None).connection()
    sent = io.BytesIO()
    made.sock = type("Sent", (), {"sendall": lambda _, data: sent.write(data)})()
    made.request("POST", "/")
    assert made.port == port
    assert f"\r\nHost: {host}\r\n".encode() in sent.getvalue()


def test_a_context_is_for_tls_only() -> None:
    context = ssl.create_default_context()
    assert FacePlace.of("http://h", context).context is None
    assert FacePlace.of("https://h", context).context is context


def test_a_url_is_shown_without_its_secrets() -> None:
    with pytest.raises(ValueError, match="is not allowed") as caught:
        FacePlace.of("ftp://me:hunter2@h/?token=hunter2", None)
    assert "hunter2" not in str(caught.value)
