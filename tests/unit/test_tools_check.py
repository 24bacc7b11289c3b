"""`make check`: what it looks at for a module, and what it makes of the answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import check
from tools.check import CheckError, Step

from ..needs import need_program

FILES = (
    "wsservice/__init__.py",
    "wsservice/protocol/budget.py",
    "wsservice/broker/__init__.py",
    "wsservice/broker/ring.py",
    "wsservice/broker/redis/__init__.py",
    "wsservice/broker/redis/link.py",
    "wsservice/protocol/frames/__init__.py",
    "wsservice/protocol/frames/_python.py",
    "wsservice/lonely.py",
    "tests/unit/protocol/test_budget.py",
    "tests/unit/protocol/test_budget_shared.py",
    "tests/unit/protocol/test_budgets.py",
    "tests/unit/protocol/frames/test_frames.py",
    "tests/unit/protocol/frames/test_alike.py",
    "tests/unit/broker/test_ring.py",
    "tests/unit/broker/test_ring_order.py",
    "tests/unit/broker/test_rings.py",
    "tests/unit/broker/redis/test_link.py",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def found(root: Path, name: str) -> list[str]:
    paths = check.named_after(check.module(name, root), root)
    return [str(path.relative_to(root / "tests")) for path in paths]


def test_the_tests_of_a_module_are_found(root: Path) -> None:
    assert found(root, "protocol/budget") == [
        "unit/protocol/test_budget.py",
        "unit/protocol/test_budget_shared.py",
    ]
    assert found(root, "broker/ring") == [
        "unit/broker/test_ring.py",
        "unit/broker/test_ring_order.py",
    ]
    assert found(root, "broker/redis/link") == ["unit/broker/redis/test_link.py"]


def test_a_package_has_all_tests_below_it(root: Path) -> None:
    assert found(root, "broker") == [
        "unit/broker/redis/test_link.py",
        "unit/broker/test_ring.py",
        "unit/broker/test_ring_order.py",
        "unit/broker/test_rings.py",
    ]


def test_a_module_without_tests_has_those_of_its_package(root: Path) -> None:
    assert found(root, "protocol/frames/_python") == [
        "unit/protocol/frames/test_alike.py",
        "unit/protocol/frames/test_frames.py",
    ]
    assert found(root, "lonely") == []


@pytest.mark.parametrize("name", ["broker/ring.py", "wsservice/broker/ring", "broker/ring/"])
def test_a_module_may_be_named_as_a_file(root: Path, name: str) -> None:
    assert check.module(name, root) == root / "wsservice/broker/ring.py"


@pytest.mark.parametrize("name", ["", "nonsense", "../setup", "rings/broker"])
def test_only_modules_are_taken(root: Path, name: str) -> None:
    with pytest.raises(CheckError, match="no such module"):
        check.module(name, root)


def test_what_was_meant_is_named(root: Path) -> None:
    with pytest.raises(CheckError, match=r"did you mean .*broker/ring"):
        check.module("broker/rings", root)


def test_an_unknown_module_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["nonsense"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "FILE=nonsense" in said.err


def test_for_everything_each_file_of_unit_tests_is_run_once() -> None:
    *kinds, _, _ = steps = check.steps(None, 2)
    tests = steps[-2:]
    assert [step.name for step in kinds] == ["style", "format", "prose", "types"]
    given = [word for step in tests for word in step.command if word.endswith(".py")]
    assert sorted(given) == [str(path) for path in check.unit_tests()]
    assert str(Path(__file__)) in given
    assert all(step.command[step.command.index("-m", 3) + 1] == "not slow" for step in tests)


def test_for_a_module_style_and_types_are_those_of_its_files() -> None:
    *kinds, tests = check.steps("protocol/budget", 2)
    assert [step.name for step in kinds] == ["style", "format", "types"]
    for step in kinds:
        assert "wsservice/protocol/budget.py" in step.command
        assert any(word.endswith("test_budget.py") for word in step.command)
    assert any(word.endswith("test_budget.py") for word in tests.command)


def test_files_are_shared_out_evenly(tmp_path: Path) -> None:
    files = []
    for number, size in enumerate([90, 50, 40, 10, 5, 5]):
        files.append(tmp_path / f"{number}.py")
        files[-1].write_bytes(bytes(size))
    shares = check.shared_out(files, 2)
    assert sorted(path for share in shares for path in share) == files
    assert [sum(path.stat().st_size for path in share) for share in shares] == [100, 100]
    assert len(check.shared_out(files, 10)) == len(files)
    files[3].write_bytes(b"import hypothesis".ljust(30))
    assert files[3] in next(share for share in check.shared_out(files, 2) if files[0] not in share)


def test_the_profile_is_quick_unless_another_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPOTHESIS_PROFILE", raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert check.environment()["HYPOTHESIS_PROFILE"] == "quick"
    assert "PYTHONDONTWRITEBYTECODE" not in check.environment()
    monkeypatch.setenv("HYPOTHESIS_PROFILE", "untimed")
    assert check.environment()["HYPOTHESIS_PROFILE"] == "untimed"


SAID = """\
wsservice/a.py:1: error: Cannot find implementation or library stub for module named \
"hiredis"  [import-not-found]
wsservice/a.py:7: error: Class cannot subclass "Reader" (has type "Any")  [misc]
wsservice/b.py:1: error: Cannot find implementation or library stub for module named \
"{module}"  [import-not-found]
wsservice/b.py:9: error: {other}
Found 4 errors in 2 files (checked 9 source files)
"""


def test_files_are_not_judged_that_import_a_package_that_is_not_installed() -> None:
    said = SAID.format(module="prompt_toolkit.input", other="Untyped decorator  [misc]")
    left, note = check.judged(said)
    assert left == ""
    assert note.startswith("2 files not judged without hiredis, prompt_toolkit: ")


def test_a_misspelt_import_stays_an_error() -> None:
    left, note = check.judged(SAID.format(module="wsservice.nonsense", other="x"))
    assert note.startswith("1 files not judged without hiredis: ")
    assert left.count(": error: ") == 2
    assert "hiredis" not in left


def test_all_is_judged_where_all_is_installed() -> None:
    said = "wsservice/b.py:9: error: x\nFound 1 error in 1 file (checked 9 source files)"
    assert check.judged(said) == (said, "")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_all_programs_run_and_one_that_fails_is_shown_in_full(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # More than a pipe holds.
    noisy = python("print('x' * 200_000); print('well')")
    assert not check.run(
        [Step("one", python("print('why'); raise SystemExit(1)")), Step("two", noisy)]
    )
    said = capsys.readouterr().out
    assert said.startswith("one: FAILED (")
    assert "\nwhy\n" in said
    assert "\ntwo: well (" in said
    assert "xxx" not in said
    assert check.run([Step("two", noisy)])


def test_make_help_lists_every_target() -> None:
    root = Path(check.__file__).parents[1]
    makefile = (root / "Makefile").read_text()
    _, _, phony = makefile.replace("\\\n", " ").partition("\n.PHONY:")
    targets = set(phony.partition("\n")[0].split())
    assert {"check", "test", "help", "unit"} <= targets
    listed = {
        line.removeprefix("#   make ").split()[0]
        for line in makefile.splitlines()
        if line.startswith("#   make ")
    }
    assert listed == targets


def test_each_file_of_tests_is_in_one_of_the_groups() -> None:
    root = Path(check.__file__).parents[1]
    told = subprocess.run(
        [need_program("make"), "--silent", "--file=-", "groups"],
        input="include Makefile\ngroups:\n\t@echo $(UNIT) $(INTEGRATION) $(REDIS) $(PAGES)"
        " $(WHEEL) $(TESTSUITE)\n",
        cwd=root,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    groups = told.stdout.split()
    for path in (root / "tests").rglob("test_*.py"):
        name = path.relative_to(root)
        within = [each for each in groups if name.is_relative_to(each)]
        assert len(within) == 1, f"{name} is in {within or 'no group'}"
