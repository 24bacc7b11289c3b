"""docs/tickets.md: its commands, as printed, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from wsservice.auth.tickets import LASTS, MOST_BYTES, MOST_TICKETS

from .processes import BIN, can_connect, free_port, wait_until
from .test_docs_auth import commands
from .test_docs_channels import groups
from .test_docs_client import as_printed

__all__ = ["groups"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "tickets.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
PORTS = ("8094", "8095")


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
            continue
        for port, free in ports.items():
            text = text.replace(port, free)
        for script, expected in list(commands(text.splitlines())):
            if script.startswith("twistd"):
                served = f"exec {script.removesuffix(' &')} > server.txt"
                started = subprocess.Popen(["bash", "-c", served], start_new_session=True, **how)
                groups.append(started)
                for free in ports.values():
                    wait_until(lambda free=free: can_connect(int(free)), "the server")  # type: ignore[misc]
                continue
            result = subprocess.run(
                ["bash", "-c", script],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
                **how,
            )
            assert as_printed(expected).fullmatch(result.stdout), (script, result.stdout)
            done += 1
    assert done == 4


@pytest.mark.parametrize(
    "figure", [f"within {LASTS} seconds", f"{MOST_TICKETS:,}", f"{MOST_BYTES // 2**20} MiB"]
)
def test_figures_are_those_of_the_code(figure: str) -> None:
    assert figure in DOCUMENT.read_text()
