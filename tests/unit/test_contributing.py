"""CONTRIBUTING.md and the pages of decisions name modules, targets and extras that are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
STEMS = {path.stem for path in (ROOT / "wsservice").rglob("*.py")} | {
    path.parent.name for path in (ROOT / "wsservice").rglob("__init__.py")
}


def part(title: str) -> str:
    """The part of CONTRIBUTING.md that has a title."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_where_new_things_go_names_modules_and_documents_that_are_there() -> None:
    places = rows(part("Where new things go"))
    assert len(places) > 8
    for what, touched, documents in places:
        # A name in parentheses is within the module before it.
        names = quoted(re.sub(r"\([^)]*\)", "", touched))
        assert names, what
        for name in names:
            found = [ROOT / "wsservice" / f"{name}.py", ROOT / "wsservice" / name, ROOT / name]
            assert any(path.exists() for path in found), f"{what}: {name}"
        for name in quoted(re.sub(r"\([^)]*\)", "", documents)):
            assert (ROOT / name).exists() or name == "make hostile", f"{what}: {name}"


def test_the_targets_that_it_names_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", " ".join(re.findall(r"`[^`]*`|^\$.*", TEXT))))
    assert {"check", "unit", "wheel"} <= named
    for target in named:
        assert f"\n{target}:" in makefile, target


def test_its_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {name for cells in rows(part("Set-up")) for name in quoted(cells[0])}
    assert named == set(project["optional-dependencies"])


def test_the_index_of_decisions_has_each_page_and_names_modules_that_are_there() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    table = rows(index)
    linked = {name for cells in table for name in re.findall(r"\(([^)]+)\)", cells[0])}
    assert linked == {path.name for path in DECISIONS} - {"README.md"}
    for _, modules in table:
        assert quoted(modules)
        assert set(quoted(modules)) <= STEMS, modules


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_links_of_a_decision_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert (path.parent / link).exists(), link
