from __future__ import annotations

import pytest

from benchmarks.document import part, with_part
from benchmarks.errors import BenchmarkError

DOCUMENT = "before\n<!-- written: a -->\n\nold\n\n<!-- /written: a -->\nafter\n"


def test_a_part_is_replaced_and_nothing_else_is() -> None:
    made = with_part(DOCUMENT, "a", "\nnew\nlines\n")
    assert made == DOCUMENT.replace("old", "new\nlines")
    assert part(made, "a") == "\nnew\nlines\n\n"
    assert with_part(made, "a", "new\nlines") == made


def test_what_looks_like_the_part_elsewhere_stays() -> None:
    empty = DOCUMENT.replace("\nold\n\n", "")
    assert with_part(empty, "a", "new") == DOCUMENT.replace("old", "new")


@pytest.mark.parametrize(
    "document",
    [
        "",
        DOCUMENT + DOCUMENT,
        "<!-- written: a -->\n" + DOCUMENT,
        DOCUMENT.replace("/written", "x"),
    ],
)
def test_a_part_that_is_not_there_once_is_an_error(document: str) -> None:
    with pytest.raises(BenchmarkError, match="no part 'a', or several"):
        with_part(document, "a", "new")
