from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from wsservice.admin.exchange import Answer, Asked
from wsservice.admin.listing import WrongError
from wsservice.admin.publishing import (
    MOST_LINES,
    Delivery,
    Publication,
    Publishing,
    answered,
    message_of,
    publications_of,
)
from wsservice.errors import NotPublishedError, UncertainError
from wsservice.sending import Gathering


def asked(body: bytes, content_type: str | None = None) -> Asked:
    headers = {} if content_type is None else {"content-type": (content_type,)}
    return Asked("POST", "/publish/a", headers, body)


class TestMessage:
    @pytest.mark.parametrize(
        "content_type",
        [
            None,
            "text/plain",
            "text/plain; charset=utf-8",
            "application/x-www-form-urlencoded",
            "application/json",
            "nonsense",
            "application/octet-streams",
        ],
    )
    def test_text(self, content_type: str | None) -> None:
        assert message_of(asked("\u00e4".encode(), content_type)) == (b"\xc3\xa4", False)

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/octet-stream",
            "Application/Octet-Stream",
            "application/octet-stream; x=y",
            " application/octet-stream ",
        ],
    )
    def test_binary(self, content_type: str) -> None:
        assert message_of(asked(b"\xff", content_type)) == (b"\xff", True)

    def test_an_empty_one(self) -> None:
        assert message_of(asked(b"")) == (b"", False)

    def test_text_that_is_none(self) -> None:
        with pytest.raises(WrongError) as caught:
            message_of(asked(b"ab\xff"))
        assert str(caught.value) == (
            "the body is not UTF-8, from octet 3 on;"
            " give text, or Content-Type: application/octet-stream"
        )


class TestLines:
    def test_several(self) -> None:
        body = (
            b'{"channel": "a", "data": "\\u00e4"}\r\n'
            b'{"data64": "AP8=", "channel": "/b/c/"}\n'
            b"\n"
            b'{"channel": "", "data": ""}\n'
        )
        assert publications_of(body) == [
            Publication("a", "\u00e4".encode(), False),
            Publication("b/c", b"\0\xff", True),
            Publication("", b"", False),
        ]

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            (b"{", "is no JSON"),
            (b"\xff", "is no JSON"),
            (b"[" * 100_000, "is no JSON"),
            (b"[]", "is no object"),
            (b"1", "is no object"),
            (b"{}", "has other members"),
            (b'{"channel": "a"}', "has other members"),
            (b'{"data": "a"}', "has other members"),
            (b'{"channel": "a", "data": "", "data64": ""}', "has other members"),
            (b'{"channel": "a", "data": "", "more": ""}', "has other members"),
            (b'{"channel": 1, "data": ""}', "has a member that is no string"),
            (b'{"channel": "a", "data": null}', "has a member that is no string"),
            (b'{"channel": "a", "data64": "A"}', "its data64 is no base64"),
            (b'{"channel": "a", "data64": "AA==!"}', "its data64 is no base64"),
            (b'{"channel": "a", "data64": "\\u00e4"}', "its data64 is no base64"),
            (b'{"channel": "a", "data": "\\ud800"}', "has text that UTF-8 cannot have"),
            (b'{"channel": "\\udfff", "data": ""}', "has text that UTF-8 cannot have"),
            (b'{"channel": "a\\n", "data": ""}', "its channel has a control character"),
        ],
    )
    def test_a_wrong_one_is_named(self, line: bytes, problem: str) -> None:
        right = b'{"channel": "a", "data": "b"}'
        with pytest.raises(WrongError) as caught:
            publications_of(b"\n".join([right, line, right]))
        assert str(caught.value).startswith(f"line 2: {problem}")
        assert '{"channel": "news", "data": "hello"}' in str(caught.value)

    @pytest.mark.parametrize("body", [b"", b"\n", b" \r\n"])
    def test_none(self, body: bytes) -> None:
        with pytest.raises(WrongError, match="there is no line"):
            publications_of(body)

    def test_too_many(self) -> None:
        line = b'{"channel": "a", "data": "b"}\n'
        assert len(publications_of(line * MOST_LINES)) == MOST_LINES
        with pytest.raises(WrongError, match=f"give at most {MOST_LINES}"):
            publications_of(line * (MOST_LINES + 1))


class Place:
    """Where messages go, which takes its time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.gathering = Gathering()
        self.delivered: list[tuple[Publication, bool]] = []
        self.delivery: Deferred[Delivery] = succeed(Delivery(2, 1))
        #: What each is answered, in their order, before those that have `delivery`.
        self.outcomes: list[Delivery | Exception] = []
        self.takes = 0.0
        self.publishing = Publishing(self.deliver, self.gathering.together, self.clock)

    def deliver(self, channel: str, payload: bytes, is_binary: bool) -> Deferred[Delivery]:
        publication = Publication(channel, payload, is_binary)
        self.delivered.append((publication, self.gathering.under_way))
        if self.takes:
            self.clock.rightNow += self.takes
        if self.outcomes:
            outcome = self.outcomes.pop(0)
            return fail(outcome) if isinstance(outcome, Exception) else succeed(outcome)
        return self.delivery

    def run(self, coroutine: Any) -> list[Answer]:
        outcome: list[Answer] = []
        Deferred.fromCoroutine(coroutine).addCallback(outcome.append)
        return outcome


def said(answer: Answer) -> tuple[int, Any]:
    return answer.status, json.loads(answer.body)


def test_one_message() -> None:
    place = Place()
    (answer,) = place.run(place.publishing.one(asked(b"hi"), "/a%20b/c/"))
    assert place.delivered == [(Publication("a b/c", b"hi", False), False)]
    assert said(answer) == (200, {"handed": 2, "dropped": 1})


def test_many_leave_together_and_are_added_up() -> None:
    place = Place()
    body = b'{"channel": "a", "data": "1"}\n{"channel": "b", "data": "2"}'
    (answer,) = place.run(place.publishing.many(asked(body)))
    assert place.delivered == [
        (Publication("a", b"1", False), True),
        (Publication("b", b"2", False), True),
    ]
    assert not place.gathering.under_way
    assert said(answer) == (200, {"messages": 2, "handed": 4, "dropped": 2})


def test_of_very_many_the_others_have_their_turn_between() -> None:
    place = Place()
    place.takes = 0.004
    body = b'{"channel": "a", "data": "1"}\n' * 7
    outcome = place.run(place.publishing.many(asked(body)))
    assert len(place.delivered) == 3
    assert not place.gathering.under_way
    place.clock.advance(0)
    assert said(outcome[0])[1]["messages"] == len(place.delivered) == 7


def test_nothing_is_published_where_a_line_is_wrong() -> None:
    place = Place()
    with pytest.raises(WrongError):
        place.publishing.many(asked(b'{"channel": "a", "data": "1"}\n{')).send(None)
    assert place.delivered == []


def test_what_is_still_on_its_way_is_answered_with_202() -> None:
    place = Place()
    place.delivery = Deferred()
    outcome = place.run(place.publishing.one(asked(b"hi"), "/a"))
    assert outcome == []
    place.delivery.callback(Delivery(5, 0, is_whole=False))
    assert said(outcome[0]) == (202, {"handed": 5, "dropped": 0})


def test_a_sum_is_whole_where_all_of_it_is() -> None:
    assert Delivery(1, 2).plus(Delivery(3, 4)) == Delivery(4, 6, True)
    assert Delivery(1, 2).plus(Delivery(is_whole=False)) == Delivery(1, 2, False)
    assert said(answered(Delivery(1, 2), messages=3)) == (
        200,
        {"messages": 3, "handed": 1, "dropped": 2},
    )


AWAY, UNCERTAIN = NotPublishedError("published to nobody"), UncertainError("not known")


def test_what_was_published_to_nobody_may_be_tried_again() -> None:
    place = Place()
    place.outcomes = [AWAY]
    (answer,) = place.run(place.publishing.one(asked(b"hi"), "/a"))
    assert said(answer) == (503, {"error": "published to nobody"})
    assert ("Retry-After", "1") in answer.headers


def test_and_what_may_have_been_published_may_not() -> None:
    place = Place()
    place.outcomes = [UNCERTAIN]
    (answer,) = place.run(place.publishing.one(asked(b"hi"), "/a"))
    assert said(answer) == (504, {"error": "not known"})
    assert "Retry-After" not in dict(answer.headers)


def test_of_many_that_reach_nobody_all_may_be_tried_again() -> None:
    place = Place()
    place.outcomes = [AWAY, AWAY]
    body = b'{"channel": "a", "data": "1"}\n' * 2
    (answer,) = place.run(place.publishing.many(asked(body)))
    assert (answer.status, ("Retry-After", "1") in answer.headers) == (503, True)


def test_of_many_it_is_said_how_many_were_published_and_what_was_not_tried_is_not() -> None:
    place = Place()
    place.takes = 0.004
    place.outcomes = [Delivery(1, 0), UNCERTAIN, AWAY]
    body = b'{"channel": "a", "data": "1"}\n' * 7
    (answer,) = place.run(place.publishing.many(asked(body)))
    assert len(place.delivered) == 3
    assert said(answer) == (
        504,
        {
            "error": "of 7 messages 1 were published, and of 1 it is not known; not known",
            "messages": 7,
            "published": 1,
            "uncertain": 1,
        },
    )


def test_how_many_nodes_have_it_is_said_where_nodes_meet() -> None:
    delivery = Delivery(1, 0, False, 3)
    assert said(answered(delivery)) == (202, {"handed": 1, "dropped": 0, "nodes": 3})
    assert delivery.plus(Delivery(1, 0, True, 2)) == Delivery(2, 0, False, 3)
    assert Delivery().plus(Delivery(1, 0, True, 0)).nodes == 0
    assert delivery.plus(Delivery()).nodes == 3
