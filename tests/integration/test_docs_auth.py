"""docs/auth.md: its commands, as printed, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .processes import BIN, can_connect, free_port, wait_until
from .test_docs_channels import groups
from .test_docs_client import as_printed

__all__ = ["groups"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "auth.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
PORTS = ("8092", "8093")


def commands(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each command with the lines that it prints."""
    for line in lines:
        if line.startswith("$ "):
            current: tuple[str, list[str]] = line[2:], []
            yield current
        else:
            current[1].append(line)


def test_each_command_prints_what_is_printed(
    tmp_path: Path, groups: list[subprocess.Popen[bytes]]
) -> None:
    ports = {port: str(free_port()) for port in PORTS}
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    how: dict[str, Any] = {"cwd": tmp_path, "env": environment}
    done = 0
    for kind, text in BLOCKS:
        if kind == "python":
            (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
        if kind != "console":
            continue
        for port, free in ports.items():
            text = text.replace(port, free)
        for script, expected in list(commands(text.splitlines())):
            if script.startswith("twistd"):
                at = script.partition("--port ")[2].split()[0]
                served = f"umask 077; exec {script.removesuffix(' &')} > server-{at}.txt"
                started = subprocess.Popen(["bash", "-c", served], start_new_session=True, **how)
                groups.append(started)
                wait_until(lambda at=at: can_connect(int(at)), "the server")  # type: ignore[misc]
                continue
            result = subprocess.run(
                ["bash", "-c", f"umask 077; {script}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
                **how,
            )
            assert as_printed(expected).fullmatch(result.stdout), (script, result.stdout)
            if script.startswith("kill -HUP"):
                log = next(tmp_path.glob(f"server-{ports['8092']}.txt"))
                wait_until(lambda log=log: "SIGHUP: " in log.read_text(), "the reload")  # type: ignore[misc]
            done += 1
    assert done == 14


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_its_code_is_code(text: str, tmp_path: Path) -> None:
    subprocess.run([BIN / "python", "-c", text], check=True, cwd=tmp_path)
