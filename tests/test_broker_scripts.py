"""What the scripts do is tested with a real server: `integration/test_broker_scripts.py`."""

from __future__ import annotations

import pytest

from wsservice.broker import scripts
from wsservice.broker.scripts import Appended, Page, Place, Terms
from wsservice.channels import Position
from wsservice.config import Config


def test_the_terms_are_those_of_a_configuration() -> None:
    assert Terms.of(Config()) is None
    terms = Terms.of(Config(history="100,1.5", history_bytes=70_000))
    assert terms == Terms(100, 1.5, 70_000)
    assert (terms.milliseconds, terms.remembered) == (1500, 86_400_000)
    assert Terms(1, 0, 1).milliseconds == 0
    assert Terms(1, 0, 1).remembered == 30 * 86_400_000


def test_messages_that_are_kept_for_days_have_their_place_remembered_as_long() -> None:
    assert Terms(1, 86_400, 1).remembered >= 86_400_000


def test_what_a_script_is_told() -> None:
    terms = Terms(100, 1.5, 70_000, 5)
    told = scripts.to_append(terms, "FRESH", b"SPUBLISH", 7, b"body")
    assert told == ["FRESH", 100, 1500, 70_000, 5, 86_400_000, 3_600_000, b"SPUBLISH", 7, b"body"]
    assert scripts.to_look("FRESH", None, b"") == ["FRESH", "", "", b""]
    assert scripts.to_look("FRESH", Position(3, "E.1"), b"t n 3\n") == [
        "FRESH",
        3,
        "E.1",
        b"t n 3\n",
    ]
    assert scripts.to_read(terms, "FRESH", Position(3, "E.1"))[:4] == ["FRESH", 3, "E.1", 1500]


def test_what_a_script_answers() -> None:
    assert scripts.appended([5, b"E.1", 1, 2, 0]) == Appended(2)
    assert scripts.appended([0, b"", 0, -1, 1]) == Appended(-1, healed=True)
    assert scripts.looked([5, b"E.1", 1]) == Place(Position(5, "E.1"), rolled=True)
    assert scripts.read([0, 5, b"E.1", b"4-1", b"x", b"5-1", b"y"]) == Page(
        Position(5, "E.1"), False, [(b"4-1", b"x"), (b"5-1", b"y")]
    )
    assert scripts.read([1, 5, b"E.1"]) == Page(Position(5, "E.1"), True, [])


@pytest.mark.parametrize(
    "answer", [None, 5, [], [1], [0, -1, b"E.1"], [0, 5, b"E 1"], [0, 2**53, b"E.1"], [0, 5, "E.1"]]
)
def test_and_what_it_never_does(answer: object) -> None:
    for read in (scripts.appended, scripts.looked, scripts.read):
        with pytest.raises(scripts.AnswerError, match="makes no sense"):
            read(answer)


def test_nor_half_an_entry() -> None:
    with pytest.raises(scripts.AnswerError):
        scripts.read([0, 5, b"E.1", b"4-1"])
    with pytest.raises(scripts.AnswerError):
        scripts.read([0, 5, b"E.1", b"4-1", 7])
