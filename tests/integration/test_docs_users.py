"""docs/users.md: its commands, as printed, and what they print."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from .processes import BIN, can_connect, free_port, wait_until
from .test_docs_auth import commands
from .test_docs_channels import groups
from .test_docs_client import as_printed

__all__ = ["groups"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "users.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
SERVICE, ADMIN = "8094", "8095"


def total(port: str) -> int:
    with urlopen(f"http://127.0.0.1:{port}/connections", timeout=20) as answer:
        return int(json.load(answer)["total"])


def test_each_command_prints_what_is_printed(
    tmp_path: Path, groups: list[subprocess.Popen[bytes]]
) -> None:
    ports = {SERVICE: str(free_port()), ADMIN: str(free_port())}
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    environment["WSSERVICE_ADMIN_URL"] = f"http://localhost:{ports[ADMIN]}"
    how: dict[str, Any] = {"cwd": tmp_path, "env": environment}
    clients = done = 0
    mask = "022"  # the usual one, until the page sets another
    for kind, text in BLOCKS:
        if kind != "console":
            continue
        for port, free in ports.items():
            text = text.replace(port, free)
        for script, expected in list(commands(text.splitlines())):
            if script.endswith(" &"):
                served = f"umask {mask}; exec {script.removesuffix(' &')}"
                served += "" if " > " in script else " > server.txt"
                started = subprocess.Popen(["bash", "-c", served], start_new_session=True, **how)
                groups.append(started)
                if script.startswith("twistd"):
                    wait_until(lambda: all(can_connect(int(p)) for p in ports.values()), "it")
                else:
                    clients += 1
                    wait_until(lambda count=clients: total(ports[ADMIN]) == count, "it")  # type: ignore[misc]
                continue
            mask = script.removeprefix("umask ") if script.startswith("umask ") else mask
            result = subprocess.run(
                ["bash", "-c", f"umask {mask}; {script}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
                **how,
            )
            assert as_printed(expected).fullmatch(result.stdout), (script, result.stdout)
            done += 1
    assert done == 12
    for name in ("one.txt", "two.txt"):
        assert (tmp_path / name).read_text().splitlines() == [
            "Hello from server",
            "only you",
            "from Python",
        ]


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_its_code_is_code(text: str, tmp_path: Path) -> None:
    subprocess.run([BIN / "python", "-c", text], check=True, cwd=tmp_path)
