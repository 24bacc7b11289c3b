"""docs/scaling.md: its commands, as printed, and what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..needs import need_program
from .processes import BIN, PATIENCE, can_connect, free_port, wait_until
from .test_docs_client import as_printed

DOCUMENT = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    (command, output.splitlines())
    for block in BLOCKS
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]
PRINTED = sorted(set(re.findall(r"\b8\d{3}\b", "\n".join(BLOCKS))))


def is_ready(admin: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz"):
            return True
    except (OSError, urllib.error.HTTPError):
        return False


class Reader:
    """Somebody who does what the document says, in a folder of their own, with free ports."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: str(free_port()) for port in PRINTED}
        self._started: list[subprocess.Popen[bytes]] = []
        proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in proxies},
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }

    def end(self) -> None:
        for each in self._started:
            if each.poll() is None:
                os.killpg(each.pid, signal.SIGTERM)
            each.wait(PATIENCE)

    def run(self, command: str, expected: list[str]) -> None:
        here = re.sub(r"\b8\d{3}\b", lambda port: self._ports[port[0]], command)
        # A client takes longer to start on a machine that has other tests to run.
        here = here.replace("sleep 2;", "sleep 8;")
        if here.endswith(" &"):
            self._begin(here)
            return
        done = subprocess.run(
            ["bash", "-c", here],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=3 * PATIENCE,
            text=True,
            check=False,
        )
        assert as_printed(expected).fullmatch(done.stdout), f"$ {command}\n{done.stdout}"

    def _begin(self, command: str) -> None:
        name = f"background-{len(self._started)}"
        with (self._folder / name).open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", command.removesuffix(" &")],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started.append(process)
        if "--admin" in command:
            (port,) = re.findall(r"--admin tcp:(\d+)", command)
            wait_until(lambda: is_ready(int(port)), command)
        elif command.startswith("redis-server"):
            (port,) = re.findall(r"--port (\d+)", command)
            wait_until(lambda: can_connect(int(port)), command)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    for program in ("bash", "curl", "redis-server", "redis-cli"):
        need_program(program)
    made = Reader(tmp_path)
    yield made
    made.end()


def test_each_command_prints_what_is_printed(reader: Reader) -> None:
    for command, output in COMMANDS:
        reader.run(command, output)
    assert len(COMMANDS) > 10


def test_every_block_is_run() -> None:
    assert DOCUMENT.count("```") == 2 * len(BLOCKS)
    assert sum(block.count("\n$ ") + block.startswith("$ ") for block in BLOCKS) == len(COMMANDS)
