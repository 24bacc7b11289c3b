"""The broker of a service that runs: what is wrong at start, and a password that changes."""

from __future__ import annotations

import signal
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
