"""docs/publishing.md, on channels and history: its commands, as printed, and what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..needs import need_program
from .conftest import Connect
from .processes import BIN, PATIENCE, Programs, can_connect, free_port, wait_until
from .test_docs_client import as_printed, paced

DOCUMENT = Path(__file__).parents[2] / "docs" / "publishing.md"
SECTIONS = "".join(
    re.findall(
        r"^## (?:Channels|History and resuming)\n.*?(?=^## )",
        DOCUMENT.read_text(),
        re.MULTILINE | re.DOTALL,
    )
)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", SECTIONS, re.MULTILINE | re.DOTALL)
PORT = "8090"
ADMIN = "8091"


@pytest.fixture
def groups() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield a list for processes, each in a group of its own, and end them."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for each in started:
        os.killpg(each.pid, signal.SIGTERM)
        each.wait(PATIENCE)


def test_each_command_prints_what_is_printed(
    tmp_path: Path, groups: list[subprocess.Popen[bytes]]
) -> None:
    need_program("curl")
    port, admin = str(free_port()), str(free_port())
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    commands = 0
    for kind, text in BLOCKS:
        if kind == "python":
            (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
            continue
        lines = text.replace(PORT, port).replace(ADMIN, admin).splitlines()
        script = "\n".join(line[2:] for line in lines if line.startswith("$ "))
        expected = [line for line in lines if not line.startswith("$ ")]
        how: dict[str, Any] = {"cwd": tmp_path, "env": environment}
        if script.startswith("twistd"):
            script = f"exec {script.removesuffix(' &')} > server.txt"
            groups.append(subprocess.Popen(["bash", "-c", script], start_new_session=True, **how))
            wait_until(lambda: can_connect(int(port)), "the server")
            continue
        result = subprocess.run(
            ["bash", "-c", f"{paced(script)}\nwait"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
            **how,
        )
        assert as_printed(expected).fullmatch(result.stdout), result.stdout
        commands += 1
    assert commands == 8


def test_its_behaviour_sends_what_was_said(programs: Programs, connect: Connect) -> None:
    (code,) = [text for kind, text in BLOCKS if kind == "python" and "hub.history" in text]
    joining = "\n    def onOpen(self) -> None:\n        self.broadcast(b'here')\n"
    (programs.folder / "past.py").write_text(code + joining)
    server = programs.twistd("--port", "0", "--protocol", "past.Past", "--history", "100")
    one = connect(server.port, path="/news")
    connect(server.port, path="/news")
    assert [one.receive() for _ in range(2)] == ["here"] * 2
    one.send("what was said?")
    assert [one.receive() for _ in range(2)] == ["here"] * 2


def test_the_program_of_a_client_is_one(tmp_path: Path) -> None:
    (program,) = [text for kind, text in BLOCKS if kind == "python" and "resume=True" in text]
    subprocess.run(
        [BIN / "python", "-c", f"{program}\nassert client.config.url"], check=True, cwd=tmp_path
    )
