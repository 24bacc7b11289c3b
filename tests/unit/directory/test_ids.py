from __future__ import annotations

import pytest

from wsservice.directory.ids import Id, is_node


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("7", Id(7)),
        ("a.7", Id(7, "a")),
        ("3f-A_.00012", Id(12, "3f-A_")),
        ("x" * 64 + ".1", Id(1, "x" * 64)),
        ("9" * 20, Id(10**20 - 1)),
    ],
)
def test_what_a_connection_is_called(text: str, id_: Id) -> None:
    assert Id.of(text) == id_
    assert Id.of(str(id_)) == id_


@pytest.mark.parametrize(
    "text",
    ["", "a", ".7", "a.", "a.b.7", "a.-1", "\u0661", "a.7\n", "\xe4.7", "x" * 65 + ".1", "9" * 21],
)
def test_what_none_is(text: str) -> None:
    assert Id.of(text) is None


def test_a_node() -> None:
    assert is_node("a-B_9")
    assert not any(map(is_node, ("", "a.b", "a\n", "x" * 65, None, 7, b"a")))
