"""A class is asked for the private names that it knows."""

from __future__ import annotations

from typing import Any

from wsservice.private import absent


class Library:
    _set_on_the_class = 1

    def __init__(self) -> None:
        self._set_in_a_method = 1

    def _method(self) -> Any:
        return lambda: self._set_later

    @classmethod
    def make(cls) -> Any:
        return cls()._read_by_a_class_method  # type: ignore[attr-defined]

    _set_later: int


class Ours(Library):
    pass


class Bare:
    """It has no code to read."""

    _known = 1


def test_names_of_the_class_of_its_bases_and_of_their_methods_are_known() -> None:
    names = [
        "_set_on_the_class",
        "_set_in_a_method",
        "_method()",
        "_set_later",
        "_read_by_a_class_method",
    ]
    assert absent(Ours, names) == []


def test_others_are_absent() -> None:
    assert absent(Ours, ["_method()", "_gone", "_renamed()"]) == ["_gone", "_renamed()"]


def test_a_method_is_absent_even_if_another_calls_it() -> None:
    assert absent(Ours, ["_set_in_a_method()"]) == ["_set_in_a_method()"]


def test_a_class_without_code_has_every_name_but_that_of_a_method() -> None:
    # As where a library is compiled: nobody can tell which attributes its methods set.
    assert absent(Bare, ["_known", "_unknown", "_method()"]) == ["_method()"]
