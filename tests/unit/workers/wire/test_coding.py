from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import attrs
import pytest

from wsservice.workers.wire.coding import BusMessage, BusQuestion, Kinds, Reply, handler
from wsservice.workers.wire.framing import MessageError, WrongFieldError


@attrs.frozen
class Counted:
    """An answer of several members."""

    count: int
    seconds: float
    of_a_later_version: int = 0


@attrs.frozen
class AskCount(BusQuestion[Counted]):
    """A question."""

    kind: ClassVar[str] = "count"

    name: str


@attrs.frozen
class Everything(BusMessage):
    """A message with a field of each type."""

    kind: ClassVar[str] = "everything"

    number: int = 1
    text: str = ""
    switch: bool = False
    length: float = 0.5
    word: Literal["one", "other"] = "one"
    maybe: str | None = None
    row: tuple[int, ...] = ()
    pair: tuple[int, str] | None = None
    pairs: tuple[tuple[int, Any], ...] = ()
    members: Mapping[str, Any] = attrs.field(factory=dict)
    anything: Any = None


KINDS = Kinds(AskCount, Everything, Reply)


@pytest.mark.parametrize(
    "message",
    [
        AskCount("a \udcff", request=7),
        Everything(),
        Everything(
            *(-1, "n\xe9ws \udcff", True, 2, "other", "x", (1, 2), (3, "e")),
            *(((1, "a"), (2, None)), {"a": [1]}, [True]),
        ),
        Reply(3, {"a": 1}),
    ],
)
def test_a_message_comes_as_it_was_sent(message: BusMessage) -> None:
    assert KINDS.message(message.body()) == message


def test_it_is_a_json_object_that_names_its_kind() -> None:
    said = json.loads(AskCount("a", request=7).body())
    assert said == {"say": "count", "request": 7, "name": "a"}


def test_a_member_of_a_later_version_is_ignored() -> None:
    assert KINDS.message(b'{"say": "count", "name": "a", "more": 1}') == AskCount("a")


def test_one_of_an_earlier_version_has_the_defaults() -> None:
    assert KINDS.message(b'{"say": "everything"}') == Everything()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("number", [True, 1.0, "1", None, [1]]),
        ("text", [1, None, ["a"]]),
        ("switch", [0, 1, "true", None]),
        ("length", [True, "1", None]),
        ("word", ["third", 1, None, ["one"]]),
        ("maybe", [1, False, []]),
        ("row", [1, "12", ["1"], [True], {"1": 1}]),
        ("pair", [[1], [1, 2], ["1", "e"], [1, "e", 2], "1e", {}]),
        ("pairs", [[1], [[1]], [[1, 2, 3]], [["1", 2]]]),
        ("members", [[], "a", None]),
    ],
)
def test_a_member_of_a_wrong_type_is_refused(name: str, values: list[Any]) -> None:
    for each in values:
        with pytest.raises(MessageError, match=f"'everything': there is no right '{name}'"):
            KINDS.message(json.dumps({"say": "everything", name: each}).encode())


def test_so_is_a_message_that_lacks_a_member() -> None:
    with pytest.raises(WrongFieldError, match="'count': there is no right 'name'") as caught:
        KINDS.message(b'{"say": "count", "request": 1}')
    assert caught.value.request == 1


def test_so_is_one_of_another_kind() -> None:
    with pytest.raises(MessageError, match="'other' is not known"):
        KINDS.message(b'{"say": "other"}')


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"say": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        KINDS.message(body)


class TestAnswers:
    def test_one_comes_as_it_was_given(self) -> None:
        reply = KINDS.message(AskCount("a", request=7).reply(Counted(3, 0.5)).body())
        assert reply == Reply(7, {"count": 3, "seconds": 0.5, "of_a_later_version": 0})
        assert AskCount("a").answer_of({"count": 3, "seconds": 0.5}) == Counted(3, 0.5)
        assert isinstance(reply, Reply)
        assert AskCount("a").answer_of(reply.answer) == Counted(3, 0.5)

    @pytest.mark.parametrize("said", [None, 1, {}, {"count": 1}, {"count": "1", "seconds": 1}, []])
    def test_one_of_a_wrong_type_is_refused(self, said: Any) -> None:
        with pytest.raises(MessageError, match="'count': that is no answer"):
            AskCount("a").answer_of(said)


def test_a_table_of_handlers_is_by_class() -> None:
    heard: list[Any] = []

    class End:
        def count(self, message: AskCount) -> None:
            heard.append((self, message.name))

    table = dict([handler(AskCount, End.count)])
    end = End()
    table[AskCount](end, AskCount("a"))
    assert heard == [(end, "a")]
