"""The broker of a service that runs: what is wrong at start, and a password that changes."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import Programs, wait_until
from .redis import Asking, Redises
from .test_inbox import Watched


def written(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_password_that_changes(programs: Programs, redises: Redises, workers: str) -> None:
    server = redises.start("--requirepass", "first")
    written(programs.folder / "password", "first\n")
    service = Watched(
        programs,
        *("--broker", server.url, "--broker-password-file", "password", "--workers", workers),
    )
    log = service.program.log
    count = 1 if workers == "1" else 3
    log.wait_for("connected to Redis", count)
    asking = Asking(server.port)
    asking.ask("AUTH", "first")
    asking.ask("CONFIG", "SET", "requirepass", "second")
    asking.ask("CLIENT", "KILL", "TYPE", "normal")
    asking.ask("CLIENT", "KILL", "TYPE", "pubsub")
    wait_until(lambda: "WRONGPASS" in service.ready()[1], "what is wrong")
    written(programs.folder / "password", "second")
    service.program.signal(signal.SIGHUP)
    log.wait_for("the password of --broker")
    log.wait_for("connected to Redis", 2 * count)
    service.until_ready()
    assert "first" not in log.text
    assert "second" not in log.text
    asking.end()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("password", [b"hunter2", b" p\xc3\xa4ss  w\xc3\xb6rd ", b"\xff:@/%"])
def test_a_user_whose_password_is_in_a_file(
    programs: Programs, redises: Redises, password: bytes, workers: str
) -> None:
    server = redises.start()
    rules = ("on", b">" + password, "~*", "&*", "+@all")
    assert server.ask("ACL", "SETUSER", "app%1", *rules) == b"OK"
    assert server.ask("ACL", "SETUSER", "default", "resetpass") == b"OK"
    file = written(programs.folder / "password", "")
    file.write_bytes(password + b"\r\n")
    url = f"redis://app%251@127.0.0.1:{server.port}"
    service = Watched(
        programs,
        *("--broker", url, "--broker-password-file", "password", "--workers", workers),
    )
    service.program.log.wait_for("connected to Redis")
    service.until_ready()
    assert "app%" not in service.program.log.text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--broker", "http://:hunter2@h"], "--broker: its scheme is not allowed; give redis://"),
        (["--broker", "redis://:hunter2@h/x"], "--broker: a database is a number from 0 to 65535"),
        (
            ["--broker", "redis://:hunter2@h", "--broker", "redis://h"],
            "--broker: redis://h:6379 twice",
        ),
        (["--broker", "rediss://:hunter2@h?ca=none.pem"], "--broker: ca: cannot read 'none.pem'"),
        (["--broker", "redis://h", "--broker-prefix", "a b"], "--broker-prefix: 'a b' is not"),
        (
            ["--broker", "redis://h", "--broker-password-file", "x"],
            "--broker-password-file: x cannot",
        ),
        (["--broker", "redis://u@h"], "--broker: a user without a password is not allowed; give"),
        (["--broker", "redis://u:@h"], "--broker: an empty password is not allowed, USER@ is one"),
        (["--inbox", "x"], "--inbox: 'x' is not allowed without --broker"),
        (["--broker", "redis://h", "--inbox", "x", "--inbox-away", "wait"], "--inbox-away: 'wait'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    programs: Programs, options: list[str], problem: str
) -> None:
    program = programs.twistd("--port", "0", *options, "--check-config")
    assert program.wait() == 1
    (line,) = program.stderr.lines
    assert line.startswith(f"wsdemo: {problem}")
    assert "hunter2" not in line
    assert program.stdout.text == ""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nothing_starts_with_what_is_wrong(programs: Programs, workers: str) -> None:
    program = programs.twistd("--port", "0", "--broker", "http://h", "--workers", workers)
    assert program.wait() == 1
    assert program.stderr.text.startswith("wsdemo: --broker: its scheme is not allowed; give")
    assert program.stdout.text == ""


class Deceived(Watched):
    """A service that does not get ready."""

    def until_ready(self) -> None:
        """Wait for nothing."""


class Impostor:
    """Something that listens where Redis should, and says `octets` to each that connects."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(1000)
                connection.sendall(self._octets)
                while connection.recv(1000):
                    pass

    def end(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)


@pytest.fixture
def impostor(request: pytest.FixtureRequest) -> Iterator[Impostor]:
    made = Impostor(request.param)
    yield made
    made.end()


@pytest.mark.parametrize(
    ("impostor", "problem"),
    [
        (b"*1025\r\n", "claims 1025 elements in an answer that can have 1024"),
        (b">17\r\n", "claims 17 elements in a push that can have 16"),
        (b"$65537\r\n", "sent more than 65536 octets in one answer"),
        (b"*1\r\n" * 9, "nests an answer deeper than 8 levels"),
        (b"%1\r\n*1\r\n+a\r\n+b\r\n", "speaks something else than RESP"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks something else than RESP"),
    ],
    indirect=["impostor"],
)
def test_an_impostor_is_found_out_and_harms_nobody(
    programs: Programs, impostor: Impostor, problem: str
) -> None:
    service = Deceived(programs, "--broker", f"redis://127.0.0.1:{impostor.port}")
    wait_until(lambda: problem in service.ready()[1], "what is wrong")
    log = service.program.log
    log.wait_for(problem)
    assert log.text.count(problem) == 1  # however often it is tried
    assert "Traceback" not in log.text
