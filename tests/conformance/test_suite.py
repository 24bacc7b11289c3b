"""Finding the suite, on machines that have it in one way or another, or not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from . import suite
from .suite import NoSuiteError, Suite, find


def program(path: Path, text: str = "exit 0") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No suite, no Python 2.7, no container engine; `bin` is the path."""
    for name in ("WSTEST", "PYTHON27"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def test_without_any_way_it_says_in_one_line_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NoSuiteError, match=r"^wstest not found: .*\$WSTEST.*\$PYTHON27.*$"):
        find(tmp_path / "env")


def test_the_one_that_is_named_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "wstest")
    named = program(tmp_path / "elsewhere" / "wstest")
    monkeypatch.setenv("WSTEST", named)
    assert find(tmp_path / "env") == Suite((named,))
    monkeypatch.setenv("WSTEST", str(tmp_path / "nowhere"))
    with pytest.raises(NoSuiteError, match=r"\$WSTEST"):
        find(tmp_path / "env")


def test_the_one_on_the_path_is_taken(tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin" / "wstest")
    assert find(tmp_path / "env") == Suite((on_path,))


def test_the_one_installed_before_is_taken(tmp_path: Path) -> None:
    installed = program(tmp_path / "env" / "bin" / "wstest")
    assert find(tmp_path / "env") == Suite((installed,))


@pytest.mark.parametrize("place", ["named", "path", "pyenv"])
def test_a_python27_is_found_and_a_shim_that_refuses_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    places = {
        "named": tmp_path / "named" / "python",
        "path": tmp_path / "bin" / "python2",
        "pyenv": tmp_path / "pyenv" / "versions" / "2.7.18" / "bin" / "python2.7",
    }
    good = program(places[place])
    program(tmp_path / "bin" / "python2.7", "exit 127")
    if place == "named":
        monkeypatch.setenv("PYTHON27", good)
    asked: list[str] = []

    def install(python: str, _environments: Path) -> str:
        asked.append(python)
        return "wstest"

    monkeypatch.setattr(suite, "_install", install)
    assert find(tmp_path / "env") == Suite(("wstest",))
    assert asked == [good]


def test_a_named_python_that_is_no_27_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON27", program(tmp_path / "python3", "exit 1"))
    with pytest.raises(NoSuiteError, match=r"\$PYTHON27"):
        find(tmp_path / "env")


def test_an_installation_that_fails_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "python2.7")
    monkeypatch.setattr(sys, "executable", program(tmp_path / "py", "echo no room >&2; exit 1"))
    with pytest.raises(NoSuiteError, match="failed, no room"):
        find(tmp_path / "env")
    assert not os.path.exists(tmp_path / "env")


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_container_engine_that_runs_is_the_last_resort(tmp_path: Path, engine: str) -> None:
    path = program(tmp_path / "bin" / engine, "exit 1")
    with pytest.raises(NoSuiteError):
        find(tmp_path / "env")
    program(Path(path))
    found = find(tmp_path / "env")
    assert found.command == ("wstest",)
    assert found.container[0] == engine
