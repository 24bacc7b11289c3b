"""Passwords in a file, and an application that is asked, at services that run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import argon2
import bcrypt
import pytest

from .processes import Programs
from .test_auth_jwt import ask, private, status
from .test_webhook import KEY, Receiver, elsewhere, endless, failing, garbage
from .wire import Wire


def login(port: int, name: str, password: str) -> int:
    basic = base64.b64encode(f"{name}:{password}".encode()).decode()
    wire = Wire(port).upgrade(headers=f"Authorization: Basic {basic}\r\n")
    wire.end()
    return wire.status


@pytest.fixture
def application() -> Iterator[Receiver]:
    """An application that knows the token `good`, refuses `eve`, and knows nobody else."""
    made = Receiver()

    def knowing(request: BaseHTTPRequestHandler) -> None:
        text = json.loads(made.posted[-1][1])["credential"]["text"]
        answer(request, {"good": 200, "eve": 403}.get(text, 401), {"user": "tom"})

    made.answer = knowing
    yield made
    made.end()


def answer(request: BaseHTTPRequestHandler, status: int, said: Any) -> None:
    octets = json.dumps(said).encode()
    request.send_response(status)
    request.send_header("Content-Length", str(len(octets)))
    request.end_headers()
    request.wfile.write(octets)


def test_passwords_of_both_kinds(programs: Programs) -> None:
    small = argon2.PasswordHasher(time_cost=1, memory_cost=1024)
    lines = [
        f"tom:{bcrypt.hashpw(b'hunter2', bcrypt.gensalt(5)).decode()}",
        f"eve:{small.hash('hunter3')}",
    ]
    htpasswd = shutil.which("htpasswd")
    if htpasswd is not None:
        made = subprocess.run(
            [htpasswd, "-nbB", "ann", "hunter4"], capture_output=True, text=True, check=True
        )
        lines.append(made.stdout.strip())
    file = private(programs.folder / "users", "\n".join(lines).encode())
    program = programs.twistd("--port", "0", "--auth", f"htpasswd:{file}", "--auth-failures", "0")
    port = program.port
    assert [login(port, "tom", "hunter2") for _ in range(3)] == [101, 101, 101]
    assert login(port, "eve", "hunter3") == 101
    if htpasswd is not None:
        assert login(port, "ann", "hunter4") == 101
    assert login(port, "tom", "hunter3") == login(port, "bob", "hunter2") == 401
    assert status(port, "hunter2") == status(port, None) == 401
    file.write_text(lines[1])
    program.signal(signal.SIGHUP)
    program.log.wait_for("the users of --auth htpasswd")
    assert login(port, "tom", "hunter2") == 401
    assert login(port, "eve", "hunter3") == 101
    file.write_text("eve:$apr1$mEnTXsDk$0C1Fkjm0Q5fYx1LhCbGs81")
    program.signal(signal.SIGHUP)
    program.log.wait_for("line 1: apr1 is too weak a hash")
    assert login(port, "eve", "hunter3") == 101
    assert "hunter" not in program.log.text
    assert "Traceback" not in program.log.text
    program.signal(signal.SIGTERM)
    program.wait()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_is_asked(programs: Programs, application: Receiver, workers: int) -> None:
    secret = private(programs.folder / "secret", b"whsec_" + base64.b64encode(KEY))
    program = programs.twistd(
        *("--port", "0", "--workers", str(workers), "--auth-failures", "0"),
        *("--auth", f"webhook:{application.url}", "--auth-secret-file", str(secret)),
    )
    if workers > 1:
        program.log.wait_for("): started", workers)
    port = program.port
    wire = ask(port, "good")
    assert wire.status == 101
    assert wire.receive() == "Hello from server"
    wire.end()
    headers, body = application.posted[0]
    said = json.loads(body)
    assert said["credential"]["form"] == "token"
    assert said["credential"]["text"] == "good"
    assert (said["peer"], said["path"], said["channels"]) == (
        "127.0.0.1",
        "/websockets/",
        ["websockets"],
    )
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert status(port, "eve") == 403
    assert status(port, "unknown") == 401
    assert status(port, None) == 401
    for bad in (failing, elsewhere, endless, garbage):
        application.answer = bad
        assert status(port, "good") == 503
    application.answer = lambda request: answer(request, 200, {"user": "tom", "cache": 60})
    count = len(application.posted)
    assert [status(port, "good") for _ in range(10)] == [101] * 10
    assert len(application.posted) <= count + workers
    application.end()
    assert status(port, "other") == 503
    assert "Traceback" not in program.log.text


def test_an_application_that_is_slow(programs: Programs, application: Receiver) -> None:
    secret = private(programs.folder / "secret", b"secret")
    over = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        over.wait(60)

    application.answer = slow
    program = programs.twistd(
        *("--port", "0", "--handshake-timeout", "1"),
        *("--auth", f"webhook:{application.url}", "--auth-secret-file", str(secret)),
    )
    assert status(program.port, "good") == 503
    over.set()
