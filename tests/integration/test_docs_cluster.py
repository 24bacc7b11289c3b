"""docs/cluster.md: its commands, as printed, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import attrs

from wsservice.broker.naming import Names
from wsservice.cluster import registry
from wsservice.cluster.asking import WITHIN
from wsservice.cluster.facts import Facts

from ..needs import need_program
from .processes import BIN, PATIENCE, Programs, can_connect, free_port, wait_until
from .test_docs_client import as_printed

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
START, CLIENT, *BLOCKS = re.findall(r"^```console\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def test_each_command_prints_what_is_printed(programs: Programs) -> None:
    for name in ("redis-server", "curl"):
        need_program(name)
    ports = {each: str(free_port()) for each in ("6379", "8080", "8081", "8090", "8091")}

    def here(text: str) -> str:
        return re.sub("|".join(ports), lambda match: ports[match[0]], text)

    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    redis, *nodes = commands(here(START))
    programs.start("bash", "-c", f"exec {redis}", environment=environment)
    wait_until(lambda: can_connect(int(ports["6379"])), "the broker")
    for command in nodes:
        started = programs.start("bash", "-c", f"exec {command}", environment=environment)
        started.log.wait_for("up to ")
    (command,) = commands(here(CLIENT))
    client = programs.start(
        "bash", "-c", f"exec {command}", environment=environment, stdin=subprocess.PIPE
    )
    client.stdout.wait_for("Hello from server")
    cluster = ["curl", "-s", f"http://localhost:{ports['8081']}/cluster"]

    def both_are_there() -> bool:
        said = subprocess.run(cluster, capture_output=True, text=True, check=True).stdout
        return said.count('"up":true,"seen"') == 2

    wait_until(both_are_there, "the nodes to see each other")
    for block in BLOCKS:
        lines = here(block).splitlines()
        result = subprocess.run(
            ["bash", "-c", "\n".join(commands(here(block)))],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        expected = [line for line in lines if not line.startswith("$ ")]
        assert as_printed(expected).fullmatch(result.stdout), result.stdout
    assert "only you" in client.stdout.text
    assert len(BLOCKS) == 3


def test_its_figures_are_those_of_the_code() -> None:
    for said in (
        f"within {WITHIN:g} s",
        f"forgotten {registry.EXPIRES:g} s after",
        f"says every {registry.BEAT:g} s that",
        f"{registry.MOST_NODES:,} nodes;",
        Names("wsservice").of("nodes", registry.HOME).decode(),
    ):
        assert said in DOCUMENT, said
    for field in attrs.fields(Facts):
        assert f"`{field.name}`" in DOCUMENT
