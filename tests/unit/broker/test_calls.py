"""The calls of scripts. `integration/test_broker_scripts.py` tests the scripts themselves."""

from __future__ import annotations

import pytest

from wsservice.broker import calls
from wsservice.broker.calls import Appended, ChannelPlace, EntryPage, KeptTerms, Terms
from wsservice.broker.standing import UNKNOWN, MisplacedError, Standing
from wsservice.channels.query import Latest, Position
from wsservice.config.config import Config


def test_the_terms_are_those_of_a_configuration() -> None:
    assert KeptTerms.of(Config()).of_channel("a").size == 0
    terms = KeptTerms.of(Config(history="100,1.5", history_bytes=70_000)).of_channel("a")
    assert terms == Terms(100, 1.5, 70_000)
    assert (terms.milliseconds, terms.remembered) == (1500, 86_400_000)
    assert Terms(1, 0, 1).milliseconds == 0
    assert Terms(1, 0, 1).remembered == 30 * 86_400_000


def test_each_channel_has_its_own_terms_and_all_are_remembered_as_long() -> None:
    rules = [{"match": "long.*", "keep": "5,0"}, {"match": "none", "keep": 0}]
    config = Config(history="100,1.5", channels=rules)  # type: ignore[arg-type]
    terms = KeptTerms.of(config)
    usual, long, none = (terms.of_channel(each) for each in ("a", "long.1", "none"))
    assert [(each.size, each.seconds) for each in (usual, long, none)] == [
        *((100, 1.5), (5, 0.0), (0, 0.0))
    ]
    assert {usual.remembered, long.remembered} == {30 * 86_400_000}
    assert terms.of_channel("b") is usual
    terms.keeps.prepare(Config(history="100,1.5"))()
    assert terms.of_channel("long.1") == Terms(100, 1.5, config.history_bytes)


def test_messages_that_are_kept_for_days_have_their_place_remembered_as_long() -> None:
    assert Terms(1, 86_400, 1).remembered >= 86_400_000


def test_what_a_script_is_told() -> None:
    terms = Terms(100, 1.5, 70_000, 5)
    told = calls.to_append(terms, Standing(b"L.x", 6), False, b"SPUBLISH", 7, b"body")
    numbers = [100, 1500, 70_000, 5, 86_400_000, 3_600_000]
    assert told[1:] == [b"L.x", 6, 0, 7, *numbers, b"SPUBLISH", b"body"]
    assert calls.to_look(None, b"")[1:] == ["", "", b""]
    assert calls.to_look(Position(3, "E.1"), b"t n 3\n")[1:] == [3, "E.1", b"t n 3\n"]
    assert calls.to_read(terms, Position(3, "E.1"))[1:4] == [3, "E.1", 1500]
    assert calls.to_read(terms, Position(3, "E.1"))[-1] == 0
    assert calls.to_read(terms, Latest(20))[1:] == [0, "", 1500, 64, 1024 * 1024, 20]


def test_no_two_calls_bring_the_same_beginning() -> None:
    terms = Terms(100, 1.5, 70_000)
    begins = [calls.to_look(None, b"")[0] for _ in range(100)]
    begins += [calls.to_read(terms, Position(3, "E.1"))[0] for _ in range(100)]
    begins += [calls.to_append(terms, UNKNOWN, False, b"", 1, b"")[0] for _ in range(100)]
    assert len(set(begins)) == 300


def test_what_a_script_answers() -> None:
    assert calls.appended([2, 0]) == Appended(2)
    assert calls.appended([0, 1]) == Appended(0, healed=True)
    with pytest.raises(MisplacedError) as raised:
        calls.appended([b"L.x", 17, 1])
    assert raised.value.standing == Standing(b"L.x", 17)
    assert raised.value.healed
    assert calls.looked([5, b"E.1", 1, 0]) == ChannelPlace(Position(5, "E.1"), rolled=True)
    assert calls.looked([5, b"E.1", 0, 1]) == ChannelPlace(Position(5, "E.1"), healed=True)
    assert calls.read([0, 5, b"E.1", b"4-1", b"x", b"5-1", b"y"]) == EntryPage(
        Position(5, "E.1"), False, [(b"4-1", b"x"), (b"5-1", b"y")]
    )
    assert calls.read([1, 5, b"E.1"]) == EntryPage(Position(5, "E.1"), True, [])
    assert calls.read([2, 5, b"E.1"]) == EntryPage(Position(5, "E.1"), True, [], healed=True)


@pytest.mark.parametrize(
    "answer",
    [
        *(None, 5, [], [1], [-1, b"E.1", 0, 0], [5, b"E 1", 0, 0], [2**53, b"E.1", 0, 0]),
        *(
            [0, 5, "E.1"],
            [b"", 1, 0],
            [b"L" * 41 + b".x", 1, 0],
            [b"L.x", -1, 0],
            [b"L.x", b"x", 0],
        ),
    ],
)
def test_and_what_it_never_does(answer: object) -> None:
    for read in (calls.appended, calls.looked, calls.read):
        with pytest.raises(calls.AnswerError, match="makes no sense"):
            read(answer)


def test_nor_half_an_entry() -> None:
    with pytest.raises(calls.AnswerError):
        calls.read([0, 5, b"E.1", b"4-1"])
    with pytest.raises(calls.AnswerError):
        calls.read([0, 5, b"E.1", b"4-1", 7])
