"""docs/rules.md: its commands, as printed, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .processes import BIN, can_connect, free_port, wait_until
from .test_docs_auth import commands
from .test_docs_channels import groups
from .test_docs_client import as_printed

__all__ = ["groups"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "rules.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
PORT = "8094"


def test_each_command_prints_what_is_printed(
    tmp_path: Path, groups: list[subprocess.Popen[bytes]]
) -> None:
    port = free_port()
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    how: dict[str, Any] = {"cwd": tmp_path, "env": environment}
    done, mask = 0, "022"  # the usual one, until the page sets another
    for kind, text in BLOCKS:
        if kind in ("python", "toml"):
            (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
        if kind != "console":
            continue
        for script, expected in list(commands(text.replace(PORT, str(port)).splitlines())):
            if script.startswith("twistd -n"):
                served = f"exec {script.removesuffix(' &')} > server.txt"
                groups.append(
                    subprocess.Popen(["bash", "-c", served], start_new_session=True, **how)
                )
                wait_until(lambda: can_connect(port), "the server")
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
    assert done == 8
    assert '"user.ann"; no rule matches' in (tmp_path / "server.txt").read_text()


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_its_code_is_code(text: str, tmp_path: Path) -> None:
    subprocess.run([BIN / "python", "-c", text], check=True, cwd=tmp_path)
