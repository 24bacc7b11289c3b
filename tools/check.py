"""Check a change in half a minute: `make check`, or `make check FILE=broker/ring`.

It runs types and unit tests, with few examples for hypothesis and without tests marked as slow.
Style is checked too. For one module it runs style, types and the tests named after it. `make test`
runs all there is.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from .extras import ROOT, is_optional

PACKAGE = "wsservice"
_MISSING = "  [import-not-found]"


class CheckError(Exception):
    """There is nothing to check. The text is one line."""


class Step(NamedTuple):
    """A program that checks something."""

    name: str
    command: Sequence[str]


# The files and their tests


def module(name: str, root: Path = ROOT) -> Path:
    """Return the file of a module, by its path below `wsservice/`, with or without `.py`.

    Raises `CheckError` if there is none.
    """
    short = name.removeprefix(f"{PACKAGE}/").removesuffix(".py").strip("/")
    package = root / PACKAGE
    for path in (package / f"{short}.py", package / short / "__init__.py"):
        if short and path.is_file():
            return path
    known = [_short(path, root) for path in package.rglob("*.py")]
    near = difflib.get_close_matches(short, known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise CheckError(f"FILE={name}: no such module below {PACKAGE}/{hint}")


def _short(path: Path, root: Path) -> str:
    inner = path.relative_to(root / PACKAGE).with_suffix("")
    return str(inner.parent if inner.name == "__init__" else inner)


def named_after(path: Path, root: Path = ROOT) -> list[Path]:
    """Return the files of unit tests that are named after a module, by the file of the module.

    The tests of `a/b.py` are `tests/unit/a/test_b.py` and `tests/unit/a/test_b_*.py`. Those of a
    package are all in its folder. A module without tests of its own has those of its package.
    """
    parts = Path(_short(path, root)).parts
    is_package = path.name == "__init__.py"
    while parts:
        *folders, name = parts
        unit = root / "tests/unit"
        found = [
            *_named(unit.joinpath(*folders), name),
            *(unit.joinpath(*parts).rglob("test_*.py") if is_package else ()),
        ]
        if found:
            return sorted(found)
        parts, is_package = parts[:-1], True
    return []


def _named(folder: Path, name: str) -> Iterable[Path]:
    return [*folder.glob(f"test_{name}.py"), *folder.glob(f"test_{name}_*.py")]


def unit_tests(root: Path = ROOT) -> list[Path]:
    """Return all files of unit tests."""
    return sorted((root / "tests/unit").rglob("test_*.py"))


def shared_out(files: Iterable[Path], processes: int) -> list[list[Path]]:
    """Share files out to at most so many processes, which should take nearly as long.

    `pytest --numprocesses` would have each process collect all tests, which takes half as long as
    to run them.
    """
    shares: list[list[Path]] = [[] for _ in range(processes)]
    sums = [0] * processes
    for weight, path in sorted(((_weight(each), each) for each in files), reverse=True):
        least = sums.index(min(sums))
        shares[least].append(path)
        sums[least] += weight
    return [sorted(share) for share in shares if share]


def _weight(path: Path) -> int:
    """Return a file's octets, as a measure of time; four times those of tests that repeat much."""
    text = path.read_bytes()
    # Tests that try many examples or look at every module take four times as long for each line.
    return len(text) * (4 if b"hypothesis" in text or b"rglob(" in text else 1)


# How it is checked


def steps(name: str | None, processes: int) -> list[Step]:
    """Return what is to be run for a module, or for everything. Raises `CheckError`."""
    python = [sys.executable, "-m"]
    pytest = [*python, "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    if name is None:
        shares = shared_out(unit_tests(), processes)
        kinds = [
            Step("style", [*python, "ruff", "check", "."]),
            Step("format", [*python, "ruff", "format", "--check", "."]),
            Step("prose", [*python, "tools.prose", "--quiet"]),
            Step("types", [*python, "mypy"]),
        ]
    else:
        path = module(name)
        tests = named_after(path)
        files = [str(each.relative_to(ROOT)) for each in [path, *tests]]
        kinds = [
            Step("style", [*python, "ruff", "check", *files]),
            Step("format", [*python, "ruff", "format", "--check", *files]),
            Step("types", [*python, "mypy", *files]),
        ]
        shares = [tests] if tests else []
        if not tests:
            print(f"no unit test is named after {files[0]}: make check runs them all")
    return [
        *kinds,
        *(
            Step("tests" if len(shares) == 1 else f"tests {number}", [*pytest, *map(str, share)])
            for number, share in enumerate(shares, 1)
        ),
    ]


def environment() -> dict[str, str]:
    """Return the environment of the programs."""
    variables = {"HYPOTHESIS_PROFILE": "quick", **os.environ}
    # To compile and rewrite all tests again would take longer than to run them.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def judged(said: str) -> tuple[str, str]:
    """Return mypy's errors but for files that import a package that is not installed, and a note.

    mypy's errors for such files depend on that package. The note gives their number; it is
    empty if there are none. A package counts only if an extra installs it, so that a misspelt
    import stays an error.
    """
    lines = said.splitlines()
    files, packages = set(), set()
    for line in lines:
        if line.endswith(_MISSING) and is_optional(module := line.split('"')[1]):
            files.add(line.partition(":")[0])
            packages.add(module.partition(".")[0])
    if not files:
        return said, ""
    left = [
        line
        for line in lines
        if line.partition(":")[0] not in files and not line.startswith("Found ")
    ]
    names = ", ".join(sorted(packages))
    return "\n".join(left), f"{len(files)} files not judged without {names}: make environment"


def run(todo: Sequence[Step]) -> bool:
    """Run programs beside each other, and print what each found. Returns whether all is well."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        # Files, since a program whose pipe is full would wait until the one before has ended.
        running = [
            (step, said := stack.enter_context(tempfile.TemporaryFile("w+")), _start(step, said))
            for step in todo
        ]
        succeeded = True
        for step, said, process in running:
            status = process.wait()
            said.seek(0)
            seconds = time.monotonic() - began
            succeeded &= _tell(step, status, said.read(), seconds)
    return succeeded


def _start(step: Step, said: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        step.command, cwd=ROOT, env=environment(), stdout=said, stderr=subprocess.STDOUT, text=True
    )


def _tell(step: Step, status: int, said: str, seconds: float) -> bool:
    """Print what a program found; returns whether that is well."""
    succeeded = status == 0
    note = said.strip().splitlines()[-1] if said.strip() else ""
    if step.name == "types" and not succeeded:
        said, note = judged(said)
        succeeded = note != "" and ": error: " not in said
    print(f"{step.name}: {note if succeeded else 'FAILED'} ({seconds:.0f} s)")
    if not succeeded:
        print(said)
    return succeeded


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, and return the exit status: 0 if all is well, 1 if not, 2 for an unknown module."""
    parser = argparse.ArgumentParser(prog="make check", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", nargs="?", help="a module, by its path below wsservice/")
    try:
        todo = steps(parser.parse_args(arguments).file, os.cpu_count() or 1)
    except CheckError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if run(todo) else 1


if __name__ == "__main__":
    sys.exit(main())
