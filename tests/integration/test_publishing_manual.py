"""docs/publishing.md: its commands do what stands below them, its Python works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from wsservice.client.web import signing

from ..needs import need_program
from .conftest import Connect
from .processes import BIN, PATIENCE, Programs, free_port
from .wire import Wire

MANUAL = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text()
SECTIONS = re.split(r"^## ", MANUAL, flags=re.MULTILINE)


def section(name: str) -> str:
    (found,) = [each for each in SECTIONS if each.startswith(f"{name}\n")]
    return found


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[tuple[str, str]]:
    """Each command of the console's blocks, and what stands below it."""
    found = []
    for block in blocks(text, "console"):
        found += re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    return found


def python(text: str) -> list[str]:
    return blocks(text, "python")


class Manual:
    """The service that the manual starts, and a shell in which its commands are run."""

    def __init__(self, programs: Programs) -> None:
        self._folder = programs.folder
        self._ports = {"8080": str(free_port()), "8081": str(free_port())}
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "WSSERVICE_ADMIN_URL": f"http://127.0.0.1:{self._ports['8081']}",
        }
        (start, _), (listen, _) = commands(SECTIONS[0])
        assert start.startswith("twistd -n wsdemo ")
        assert listen == "python -m wsservice.client ws://localhost:8080/news"
        self._programs = programs
        self._start = self.here(start).split()

    @property
    def port(self) -> int:
        return int(self._ports["8080"])

    def start(self, connect: Connect) -> Wire:
        """Start the service, and somebody who listens."""
        program = self._programs.start(BIN / self._start[0], *self._start[1:])
        program.log.wait_for_ports(2)
        wire = connect(self.port, path="/news")
        assert wire.receive() == "Hello from server"
        return wire

    def here(self, command: str) -> str:
        """A command with the ports of this test."""
        return re.sub(r"\b(8080|8081)\b", lambda match: self._ports[match[1]], command)

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", self.here(command)],
            cwd=self._folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout


@pytest.fixture
def manual(programs: Programs) -> Manual:
    return Manual(programs)


@pytest.mark.parametrize(("name", "least"), [("Publishing", 7), ("Presence", 2)])
def test_its_commands_print_what_it_says(
    manual: Manual, connect: Connect, name: str, least: int
) -> None:
    need_program("curl")
    manual.start(connect)
    given = commands(section(name))
    assert len(given) >= least
    for command, printed in given:
        assert manual.run(command).startswith(printed.removesuffix("\n")), command


def test_its_python_publishes(manual: Manual, connect: Connect) -> None:
    wire = manual.start(connect)
    (code,) = python(section("Publishing"))
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=manual.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert said.stdout == "handed to 1\n"
    assert wire.receive() == "hello"


def test_its_behaviour_tells_who_is_there(programs: Programs, connect: Connect) -> None:
    (code,) = python(section("Presence"))
    (programs.folder / "room.py").write_text(code)
    port = programs.twistd("--port", "0", "--protocol", "room.Room").port
    one = connect(port, path="/r")
    assert one.receive() == "1 here"
    two = connect(port, path="/r")
    assert [one.receive(), two.receive()] == ["2 here"] * 2
    two.close()
    assert one.receive() == "1 here"


def test_its_webhook_can_be_started(manual: Manual) -> None:
    need_program("openssl")
    secret, start = (command for command, _ in commands(section("Webhooks")))
    manual.run(secret)
    said = manual.run(f"{start} --check-config")
    assert 'webhook = "https://app.example/hook"  # --webhook' in said


def test_its_receiver_tells_what_is_genuine() -> None:
    (code,) = python(section("Webhooks"))
    assert len([line for line in code.splitlines() if line]) <= 10
    module: dict[str, Any] = {}
    exec(code, module)
    is_genuine = module["is_genuine"]
    now = int(time.time())
    headers = signing.headers(b"key", "id-1", now, b"{}")
    assert is_genuine(b"key", headers, b"{}")
    assert not is_genuine(b"another", headers, b"{}")
    assert not is_genuine(b"key", headers, b"{ }")
    assert not is_genuine(b"key", {**headers, "webhook-id": "id-2"}, b"{}")
    assert not is_genuine(b"key", signing.headers(b"key", "id-1", now - 301, b"{}"), b"{}")
