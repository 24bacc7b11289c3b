"""The container's files, as far as they can be checked without an engine for containers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import yaml

from wsservice.config.config import DEFAULT_PORT, Config

from ..needs import need
from .processes import BIN, Programs, free_port
from .wire import Wire

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "deploy" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Each with what it is told."""
    text = CONTAINERFILE.read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def final() -> dict[str, str]:
    """Those of the image that is left: what each was told last."""
    told = instructions()
    start = max(index for index, (name, _) in enumerate(told) if name == "FROM")
    return dict(told[start:])


def copied() -> list[str]:
    """Return the paths that the image copies from the project's folder."""
    sources = [rest.split()[:-1] for name, rest in instructions() if name == "COPY"]
    return [each for some in sources for each in some if not each.startswith(("--from", "/"))]


def command() -> list[str]:
    """Return the command that the container runs."""
    told = final()
    whole: list[str] = [*json.loads(told["ENTRYPOINT"]), *json.loads(told["CMD"])]
    return whole


def test_the_containerfile_is_in_order() -> None:
    need((BIN / "hadolint").exists(), "hadolint")
    done = subprocess.run(
        [BIN / "hadolint", "--no-color", CONTAINERFILE], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_image_has_no_compiler_and_no_root() -> None:
    told = instructions()
    stages = [rest for name, rest in told if name == "FROM"]
    assert len(stages) == 2
    assert stages[0] == f"{stages[1]} AS build"
    runs = [index for index, (name, _) in enumerate(told) if name == "RUN"]
    assert runs
    assert max(runs) < [name for name, _ in told].index("FROM", 1)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", final()["USER"])


def test_signals_reach_the_service_and_its_port_is_the_one_that_it_says() -> None:
    told = final()
    assert json.loads(told["ENTRYPOINT"])[0] == "/opt/wsservice/bin/twistd"
    assert told["EXPOSE"] == str(DEFAULT_PORT)
    assert ("STOPSIGNAL", "SIGTERM") in told.items()
    assert "-n" in command()
    assert "--pidfile=" in command()


def test_the_container_serves_and_is_healthy_while_it_does(programs: Programs) -> None:
    # As the image has it, but with ports that are free here.
    port, admin = free_port(), free_port()
    _, _, check = final()["HEALTHCHECK"].partition(" CMD ")

    def here(arguments: list[str]) -> list[str]:
        text = json.dumps(arguments).replace("/opt/wsservice/bin", str(BIN))
        for documented, free in ((str(DEFAULT_PORT), port), ("8081", admin)):
            assert documented in json.dumps([*command(), check])
            text = text.replace(documented, str(free))
        changed: list[str] = json.loads(text)
        return changed

    def is_healthy() -> bool:
        return subprocess.run(here(json.loads(check)), capture_output=True).returncode == 0

    assert not is_healthy()
    server = programs.start(*here(command()))
    server.log.wait_for("starting on", 2)
    assert is_healthy()
    client = Wire(port)
    assert client.upgrade().receive() == "Hello from server"
    server.signal(signal.SIGTERM)
    assert client.answer_close().code == 1001
    client.end()
    assert server.wait() == 0
    assert not is_healthy()


def test_what_is_copied_is_there_and_is_all_that_is_built_from() -> None:
    sources = copied()
    assert all((ROOT / each).exists() for each in sources)
    assert {"wsservice", "twisted", "pyproject.toml", "setup.py"} <= set(sources)


def test_what_it_is_to_be_run_with_leaves_it_time_and_files() -> None:
    composed: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    (service,) = composed["services"].values()
    assert service["build"]["dockerfile"] == str(CONTAINERFILE.relative_to(ROOT))
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert grace > Config().drain + 5
    files = service["ulimits"]["nofile"]
    assert files >= Config().max_connections + 350
    assert service["ports"] == [f"{DEFAULT_PORT}:{DEFAULT_PORT}"]
    (manual,) = re.findall(r"podman run (.*)", (ROOT / "docs" / "operations.md").read_text())
    for each in (f"nofile={files}", f"--stop-timeout {grace:.0f} ", "--init", "--read-only"):
        assert each in manual
    assert service["init"]
    assert service["read_only"]
