"""`tools.prose` counts headless sentences and comments, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import prose
from tools.prose import Bound


def headless(text: str) -> list[str]:
    return [each.text for each in prose.of_markdown(text) if each.is_headless]


@pytest.mark.parametrize(
    "text",
    [
        "Who asks gets it.",
        "Fine. What waits is dropped.",
        "The rule: Where it fails, it ends.",
        "One thing; Which of them is open.",
        "A start.\n\nWhoever comes is served.",
        "- Of two the first counts",
        "2. Thus it ends",
        "> So many are kept",
        "**Who may ask.** The operator.",
        "| a | b |\n| - | - |\n| one | Whether it is on |",
        "[What it does](x.md) is said there.",
    ],
)
def test_a_headless_sentence_is_found(text: str) -> None:
    assert len(headless(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Who asks?",
        "Is it so? **What waits?** Nothing.",
        "The server drops what waits.",
        "Whole messages are kept.",
        "# What it does",
        "```\nWho asks gets it.\n```",
        "~~~text\nWho asks\n```\nWhat waits\n~~~",
        "<!-- What it is\nWhere it is -->",
        "`Who` is a name.",
        "| What | Where |\n| --- | :-: |\n| one | two |",
        "The version is 1.What and v0.Who is not.",
    ],
)
def test_other_text_is_not(text: str) -> None:
    assert headless(text) == []


def test_a_sentence_has_the_line_on_which_it_begins() -> None:
    text = "One [link\nof two](x) lines.\n\n```\ncode\n```\nA `b\nc` d.\nWhat\nwaits. Next."
    assert [(each.line, each.text) for each in prose.of_markdown(text)] == [
        (1, "One link of two lines."),
        (7, "A CODE d."),
        (9, "What waits."),
        (10, "Next."),
    ]


def test_a_cell_of_a_table_is_a_sentence_with_its_pipes() -> None:
    text = "| a |\n| --- |\n| one \\| two | three |"
    assert [each.text for each in prose.of_markdown(text)] == ["one \\| two", "three"]


MODULE = '''"""What a module is."""

SIZE = 1
"""What an attribute is."""


class A:
    """
    The class.

    Who asks: a question?

        What code = 1
    """

    def f(self) -> str:
        """As `A` has it."""
        return "What a string is."
'''


def test_docstrings_are_those_of_all_that_can_have_one() -> None:
    found = [
        (each.line, each.text)
        for line, text in prose.docstrings(MODULE)
        for each in prose.of_docstring(line, text)
    ]
    assert found == [
        (1, "What a module is."),
        (4, "What an attribute is."),
        (9, "The class."),
        (11, "Who asks:"),
        (11, "a question?"),
        (17, "As CODE has it."),
    ]


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ("a = 1  # why\n", (1, 1)),
        ("# why\n# more\na = (\n    1,\n)\n", (2, 3)),
        (
            '"""A docstring\nof two lines."""\n\n\ndef f():\n    """Another."""\n    return 1\n',
            (0, 2),
        ),
        ("import x  # noqa: F401\n#!/bin/sh\ny = x  # type: ignore[a]\n", (0, 2)),
        ('text = """\n# no comment\n"""\n', (0, 3)),
    ],
)
def test_comments_are_counted_by_line(source: str, counts: tuple[int, int]) -> None:
    assert prose.commented(source) == counts


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("Who asks gets it. The server answers.")
    (tmp_path / "p").mkdir()
    (tmp_path / "p/m.py").write_text(MODULE + "    # why\n")
    monkeypatch.setattr(prose, "BOUNDS", {"docs": Bound(("docs",), 0.5), "p": Bound(("p",), 1, 1)})
    monkeypatch.setattr(prose, "COMMENTS", {"p": 0.1})
    return tmp_path


def test_what_is_within_its_bounds_passes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prose.main(["--quiet"], root) == 0
    assert "docs: 1 of 2 sentences are headless" in (said := capsys.readouterr().out)
    assert "docs/a.md:1:" not in said
    assert prose.main([], root) == 0
    assert "docs/a.md:1: Who asks gets it.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({"docs": Bound(("docs",), 0.49)}, "docs/a.md:1: Who asks"),
        ({"p": Bound(("p",), 1, 0)}, "p/m.py:17: As `A` has it."),
    ],
)
def test_what_is_beyond_them_is_shown_and_fails(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bounds: dict[str, Bound],
    told: str,
) -> None:
    monkeypatch.setattr(prose, "BOUNDS", bounds)
    assert prose.main(["--quiet"], root) == 1
    assert told in capsys.readouterr().out


def test_too_few_comments_fail(root: Path) -> None:
    assert prose.main(["--quiet", "p=0.9"], root) == 1
    assert prose.main(["--quiet", "p"], root) == 0


def test_a_path_without_files_is_an_error(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        prose.counted(["gone"], root)
    with pytest.raises(FileNotFoundError, match="gone"):
        prose.share_of_comments("gone", root)


def test_files_that_others_write_are_left_out(root: Path) -> None:
    (root / "p/node_modules").mkdir()
    (root / "p/node_modules/README.md").write_text("What it is.")
    assert len(prose.counted(["p"], root).headless) == 3


@pytest.mark.slow  # it reads all documents, and `make lint` does
def test_each_bound_has_files() -> None:
    for bound in prose.BOUNDS.values():
        assert prose.counted(bound.paths).total > 100
    assert all(prose.share_of_comments(each) for each in prose.COMMENTS)
