"""The machine of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from . import building


def processor() -> str:
    """The model of the CPU, and how many cores of it there are."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return f"{value.strip()}, {os.cpu_count()} cores"
    return f"{platform.machine()}, {os.cpu_count()} cores"


def kernel() -> str:
    """Its name and version, without what whoever built it called it."""
    return f"{platform.system()} {platform.release().partition('-')[0]}"


def python() -> str:
    """The Python that runs this, and all servers in Python."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def versions(names: set[str]) -> dict[str, str]:
    """The versions of the servers of these names, and of what they run on."""
    found = {name: version(name) for name in ("wsservice", "autobahn", "twisted")}
    pins = dict(
        line.split("==") for line in (building.HERE / "requirements.txt").read_text().split()
    )
    for name in ("websockets", "picows"):
        if name in names:
            found |= {name: pins[name], "uvloop": pins["uvloop"]}
    if "autobahn" in names and pins["autobahn"] != found["autobahn"]:
        found["autobahn (peer)"] = pins["autobahn"]
    if "ws" in names:
        asked = (
            "for (const name of ['ws', 'bufferutil'])"
            " console.log(name, require(name + '/package.json').version);"
            "console.log('node', process.versions.node)"
        )
        said = subprocess.run(
            ["node", "-e", asked], cwd=building.HERE, capture_output=True, text=True, check=True
        )
        found |= dict(line.split() for line in said.stdout.splitlines())
    return found
