"""docs/auth-jwt.md: its commands, as printed, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import joserfc  # noqa: F401 - the extra `auth`

from .processes import BIN, can_connect, free_port, wait_until
from .test_docs_auth import commands, groups
from .test_docs_client import as_printed

__all__ = ["groups"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "auth-jwt.md"
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
        if kind != "console":
            continue
        for port, free in ports.items():
            text = text.replace(port, free)
        for script, expected in list(commands(text.splitlines())):
            command = f"umask 077; {script.removesuffix(' &')}"
            if script.startswith("twistd"):
                server = ["bash", "-c", f"{command} > server-{done}.txt"]
                groups.append(subprocess.Popen(server, start_new_session=True, **how))
                taken = int(script.partition("--port ")[2].split()[0])
                wait_until(lambda taken=taken: can_connect(taken), "the server")  # type: ignore[misc]
                continue
            result = subprocess.run(
                ["bash", "-c", command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
                **how,
            )
            assert as_printed(expected).fullmatch(result.stdout), (script, result.stdout)
            if script.startswith("kill -HUP"):
                (log,) = tmp_path.glob("server-*.txt")
                wait_until(lambda log=log: "SIGHUP: " in log.read_text(), "the reload")  # type: ignore[misc]
            done += 1
    assert done == 11
