"""Finding `wstest`, which runs on CPython 2.7 only, and running it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

SUITE = "autobahntestsuite==25.10.1"
IMAGE = "crossbario/autobahn-testsuite:25.10.1"

HOW_TO = (
    "wstest not found: put it on the path, name it in $WSTEST, name a Python 2.7 in $PYTHON27"
    " (or install one with pyenv), or start a container engine"
)


class NoSuiteError(Exception):
    """There is no way to run the suite here; the text says how to get one."""


@attrs.frozen
class Suite:
    """A way to run `wstest`.

    `container` holds the command of a container engine where the suite runs in one.
    """

    command: tuple[str, ...]
    container: tuple[str, ...] = ()

    def run(self, mode: str, spec: dict[str, object], folder: Path) -> subprocess.Popen[str]:
        """Start `wstest` in a mode, with its spec and reports in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{mode}.json"
        path.write_text(json.dumps({"outdir": str(folder), **spec}))
        inside = (*self.container, "-v", f"{folder}:{folder}", IMAGE) if self.container else ()
        arguments = ("-m", mode, "-s", str(path), "-u", "0")
        return subprocess.Popen(
            [*inside, *self.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Of its own, so that Ctrl-C reaches us alone, and we end it.
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
        )

    def version(self) -> str:
        """Return the version that `wstest` reports."""
        inside = (*self.container, IMAGE) if self.container else ()
        said = subprocess.run(
            [*inside, *self.command, "-a"], capture_output=True, text=True, check=False, timeout=60
        )
        words = [line.strip() for line in said.stdout.splitlines() if "utobahn" in line]
        return ", ".join(words) or SUITE


def find(environments: Path) -> Suite:
    """The suite, installed in an environment under `environments` if it must be.

    Raises `NoSuiteError`.
    """
    named = os.environ.get("WSTEST")
    if named:
        found = shutil.which(named)
        if found is None:
            raise NoSuiteError(f"$WSTEST: {named!r} is no program; {HOW_TO}")
        return Suite((found,))
    installed = environments / "bin" / "wstest"
    if installed.exists():
        return Suite((str(installed),))
    on_path = shutil.which("wstest")
    if on_path:
        return Suite((on_path,))
    python = _python27()
    if python:
        return Suite((_install(python, environments),))
    for engine in ("docker", "podman"):
        if shutil.which(engine) and _works([engine, "info"]):
            return Suite(("wstest",), (engine, "run", "--rm", "--init", "--network", "host"))
    raise NoSuiteError(HOW_TO)


def _works(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _python27() -> str | None:
    """A Python 2.7 that runs: pyenv's `python2.7` on the path may be a shim that refuses."""
    named = os.environ.get("PYTHON27")
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = (
        [named]
        if named
        else [
            shutil.which("python2.7"),
            shutil.which("python2"),
            *map(str, sorted(root.glob("versions/2.7*/bin/python2.7"), reverse=True)),
        ]
    )
    asked = "import sys; sys.exit(sys.version_info[:2] != (2, 7))"
    for candidate in candidates:
        if candidate and _works([candidate, "-c", asked]):
            return candidate
    if named:
        raise NoSuiteError(f"$PYTHON27: {named!r} is no Python 2.7 that runs; {HOW_TO}")
    return None


def _install(python: str, environments: Path) -> str:
    """The suite in an environment of its own, made in two steps: this Python makes that one."""
    print(f"installing {SUITE} for {python}, once", flush=True)
    maker = environments / "maker"
    steps = [
        [sys.executable, "-m", "venv", str(maker)],
        # The last virtualenv that makes environments for 2.7.
        [str(maker / "bin" / "pip"), "install", "--quiet", "virtualenv<20.22"],
        [str(maker / "bin" / "virtualenv"), "--quiet", "-p", python, str(environments)],
        # wsaccel: without it groups 9, 12 and 13 take hours.
        [str(environments / "bin" / "pip"), "install", "--quiet", SUITE, "wsaccel==0.6.6"],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=900)
        if done.returncode:
            shutil.rmtree(environments, ignore_errors=True)
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise NoSuiteError(f"{' '.join(step)}: failed, {' '.join(last)}")
    return str(environments / "bin" / "wstest")
