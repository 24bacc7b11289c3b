from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.cluster.checking import LARGEST, MalformedError
from wsservice.cluster.questions import (
    MOST_OF_ANSWER,
    Answered,
    AskChannels,
    AskClose,
    AskCount,
    Asked,
    AskFacts,
    AskList,
    AskSend,
    answered,
    asked,
    not_understood,
    part_of,
    read,
)
from wsservice.cluster.rows import ChannelsPart, ConnectionCount, ListPart
from wsservice.directory.listing import Closing, Wanted, list_of
from wsservice.server.behaviours import EchoServerProtocol

from ...support import Served
from .test_facts import FACTS, as_read

ID = "0123456789abcdef" * 2
MOST = 1_000_000

QUESTIONS: list[Any] = [
    AskFacts(),
    AskCount(None),
    AskCount("news \ud800\n"),
    AskList(None, 100, 0),
    AskList("", 1, LARGEST),
    AskChannels(1000, None),
    AskChannels(1, "a"),
    AskClose(7, Closing(4001, "enough \u00e4")),
    AskSend(7, b"\xff\x00", True),
    AskSend(7, "h\u00e4".encode(), False),
]


def rows(count: int) -> list[dict[str, Any]]:
    """Connections as a node has them."""
    served = Served(EchoServerProtocol)
    for number in range(count):
        served.connect().open(f"/{number}")
    everybody: Any = served.hub
    listed = list_of(everybody, Wanted(1000))["connections"]
    return list(json.loads(json.dumps(listed)))


class TestQuestions:
    @pytest.mark.parametrize("question", QUESTIONS)
    def test_what_is_asked_is_read(self, question: Any) -> None:
        assert read(asked("one", ID, question), MOST) == Asked("one", ID, question)

    @pytest.mark.parametrize(
        ("ask", "said"),
        [
            ("nonsense", {}),
            ("list", {}),
            ("list", {"channel": None, "limit": 0, "after": 0}),
            ("list", {"channel": None, "limit": 1001, "after": 0}),
            ("list", {"channel": None, "limit": 1, "after": -1}),
            ("list", {"channel": 5, "limit": 1, "after": 0}),
            ("count", {"channel": "x" * 256}),
            ("count", {"channel": "\u00e4" * 128}),
            ("channels", {"limit": 1, "after": "x" * 256}),
            ("channels", {"limit": True, "after": None}),
            ("channels", {"limit": 1, "after": 1}),
            ("close", {"connection": 1, "code": 1006, "reason": ""}),
            ("close", {"connection": 1, "code": 1000, "reason": "x" * 124}),
            ("close", {"connection": 1, "code": 1000, "reason": "\ud800"}),
            ("close", {"connection": 1, "code": 1000, "reason": None}),
            ("close", {"connection": 1, "code": 1000, "reason": ["x"]}),
            ("close", {"connection": 1, "code": True, "reason": ""}),
            ("close", {"connection": 1, "code": 1000.0, "reason": ""}),
            ("close", {"connection": 1, "code": "1000", "reason": ""}),
            ("close", {"connection": "1", "code": 1000, "reason": ""}),
            ("close", {"connection": 2**63, "code": 1000, "reason": ""}),
            ("send", {"connection": 1, "data64": "!", "binary": True}),
            ("send", {"connection": 1, "data64": "\u00e4", "binary": True}),
            ("send", {"connection": 1, "data64": 7, "binary": True}),
            ("send", {"connection": 1, "data64": "/w==", "binary": False}),
            ("send", {"connection": 1, "data64": "aGk=", "binary": 0}),
        ],
    )
    def test_what_cannot_be_asked_is_told_so(self, ask: str, said: Any) -> None:
        message = {"v": 1, "from": "one", "id": ID, "ask": ask, **said}
        came = read(json.dumps(message).encode(), MOST)
        assert isinstance(came, Asked)
        assert came.question is None
        assert came.wrong.isprintable()

    def test_of_another_version_too(self) -> None:
        message = {"v": 2, "from": "one", "id": ID, "ask": "facts"}
        came = read(json.dumps(message).encode(), MOST)
        assert came == Asked("one", ID, None, "there is no such question")

    @pytest.mark.parametrize(
        "message",
        [
            {"v": 1, "id": ID, "ask": "facts"},
            {"v": 1, "from": "a.b", "id": ID, "ask": "facts"},
            {"v": 1, "from": "", "id": ID, "ask": "facts"},
            {"v": 1, "from": "x" * 65, "id": ID, "ask": "facts"},
            {"v": 1, "from": "a\n", "id": ID, "ask": "facts"},
            {"v": 1, "from": ["one"], "id": ID, "ask": "facts"},
            {"v": 1, "from": "one", "ask": "facts"},
            {"v": 1, "from": "one", "id": ID + "0", "ask": "facts"},
            {"v": 1, "from": "one", "id": 7, "ask": "facts"},
            {"v": 1, "from": "one", "id": ID, "ask": []},
            {"v": 1, "from": "one", "id": ID},
            {"v": 1, "from": "one", "answer": "x", "said": {}},
            {"v": 1, "from": "one", "answer": ID, "said": []},
        ],
    )
    def test_what_nobody_can_be_told_makes_no_sense(self, message: Any) -> None:
        with pytest.raises(MalformedError):
            read(json.dumps(message).encode(), MOST)

    def test_nor_does_what_is_too_long(self) -> None:
        message = asked("one", ID, AskSend(1, bytes(1000), True))
        with pytest.raises(MalformedError, match="more than 1000 octets"):
            read(message, 1000)

    @given(st.binary(max_size=200))
    def test_octets_of_no_kind_do_harm(self, octets: bytes) -> None:
        with pytest.raises(MalformedError):
            read(octets, MOST)


class TestAnswers:
    def test_what_is_answered_is_read(self) -> None:
        message = answered("two", ID, {"total": 5})
        assert read(message, MOST) == Answered("two", ID, {"total": 5})

    def test_or_was_not_understood(self) -> None:
        assert read(not_understood("two", ID, "no"), MOST) == Answered("two", ID, None)
        later = {"v": 2, "from": "two", "answer": ID, "said": {}}
        assert read(json.dumps(later).encode(), MOST) == Answered("two", ID, None)

    def test_right(self) -> None:
        assert AskFacts().answer_of(as_read(FACTS)) == FACTS
        assert AskCount(None).answer_of({"total": 0}) == ConnectionCount(0)
        said = {"total": 1, "missing": ["worker 2"]}
        assert AskCount(None).answer_of(said) == ConnectionCount(1, ("worker 2",))
        assert AskClose(1, Closing()).answer_of({"closed": True}) is True
        for outcome in ("opening", "closing", "handed", "dropped", None):
            assert AskSend(1, b"", True).answer_of({"outcome": outcome}).value == outcome
        part = {"rows": [["a", 1], ["b", 2]], "more": True, "total": 3}
        assert AskChannels(2, None).answer_of(part) == ChannelsPart((("a", 1), ("b", 2)), True, 3)
        assert not AskChannels(2, None).answer_of({**part, "exact": False}).is_exact

    def test_connections_as_they_are_listed(self) -> None:
        listed = rows(3)
        part = AskList(None, 3, 0).answer_of({"rows": listed, "more": False})
        assert part == ListPart(tuple(listed), False)
        listed[0]["more"] = "of a later version"
        part = AskList(None, 3, 0).answer_of({"rows": listed, "more": False})
        assert "more" not in part.rows[0]

    @pytest.mark.parametrize(
        ("question", "said"),
        [
            (AskCount(None), {"total": -1}),
            (AskCount(None), {}),
            (AskCount(None), {"total": 1, "missing": "worker 2"}),
            (AskCount(None), {"total": 1, "missing": ["\x1b[2J"]}),
            (AskCount(None), {"total": 1, "missing": ["w"] * 1025}),
            (AskClose(1, Closing()), {"closed": 1}),
            (AskSend(1, b"", True), {"outcome": "gone"}),
            (AskSend(1, b"", True), {"outcome": []}),
            (AskSend(1, b"", True), {}),
            (AskChannels(2, None), {"rows": [["b", 1], ["a", 1]], "more": False, "total": 2}),
            (AskChannels(2, None), {"rows": [["a", 1], ["a", 1]], "more": False, "total": 2}),
            (AskChannels(2, "a"), {"rows": [["a", 1]], "more": False, "total": 2}),
            (AskChannels(1, None), {"rows": [["a", 1], ["b", 1]], "more": False, "total": 2}),
            (AskChannels(2, None), {"rows": [["a", 1], ["b", 1]], "more": False, "total": 1}),
            (AskChannels(2, None), {"rows": [["a", 0]], "more": False, "total": 1}),
            (AskChannels(2, None), {"rows": [["a"]], "more": False, "total": 1}),
            (AskChannels(2, None), {"rows": [[1, 1]], "more": False, "total": 1}),
            (AskChannels(2, None), {"rows": [], "more": True, "total": 1}),
            (AskList(None, 1, 0), {"rows": [], "more": True}),
            (AskList(None, 1, 0), {"rows": [5], "more": False}),
            (AskList(None, 1, 0), {"rows": {}, "more": False}),
        ],
    )
    def test_wrong(self, question: Any, said: Any) -> None:
        with pytest.raises(MalformedError):
            question.answer_of(said)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("id", 1),
            ("id", "-1"),
            ("id", "\u0661"),
            ("id", "1" * 21),
            ("peer", "x" * 301),
            ("channel", "x" * 257),
            ("state", "well"),
            ("state", ["open"]),
            ("since", "a\x1b[0m"),
            ("messages", {"received": 1}),
            ("messages", {"received": 1, "sent": -1}),
            ("octets", None),
            ("queue", 0.5),
            ("rtt", "1"),
            ("rtt", -1.0),
            ("user_agent", None),
        ],
    )
    def test_each_member_of_a_connection_is_checked(self, name: str, value: Any) -> None:
        (row,) = rows(1)
        with pytest.raises(MalformedError):
            AskList(None, 1, 0).answer_of({"rows": [{**row, name: value}], "more": False})

    def test_connections_that_are_out_of_order(self) -> None:
        one, two = rows(2)
        for listed in ([two, one], [one, one]):
            with pytest.raises(MalformedError, match="order"):
                AskList(None, 2, 0).answer_of({"rows": listed, "more": False})
        with pytest.raises(MalformedError, match="order"):
            AskList(None, 2, 1).answer_of({"rows": [one], "more": False})


class TestPartOf:
    def test_what_fits_is_all(self) -> None:
        assert part_of(["a", "b"], False) == (["a", "b"], False)
        assert part_of(["a", "b"], True) == (["a", "b"], True)

    def test_what_does_not_comes_later(self) -> None:
        half = "x" * (MOST_OF_ANSWER // 2 - 2)
        assert part_of([half, half, "c"], False) == ([half, half], True)

    def test_there_is_one_at_least(self) -> None:
        large = "x" * (MOST_OF_ANSWER + 1)
        assert part_of([large, "b"], False) == ([large], True)
        assert part_of([], False) == ([], False)
