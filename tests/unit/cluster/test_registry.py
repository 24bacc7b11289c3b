from __future__ import annotations

import gc
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from wsservice.broker.naming import Names
from wsservice.cluster.registry import EXPIRES, KnownNodes, Registry
from wsservice.errors import Away, Refused

from ...nodes import Broker, Link
from ...support import Logged
from .test_facts import FACTS

INDEX = b"wsservice:nodes:{cluster}"


class Meeting:
    """Registries at one broker."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.links: dict[str, Link] = {}
        self.registries = {each: self.registry(each) for each in ("one", "two", "three")}

    def registry(self, node: str) -> Registry:
        link = self.links[node] = Link(self.broker)
        return Registry(link, Names("wsservice"), node, self.broker.clock)

    def run(self, coroutine: Any) -> Any:
        done: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(done.append)
        if not done:
            self.broker.clock.advance(2)
        return done[0]

    def say(self, *nodes: str) -> None:
        for node in nodes:
            assert self.run(self.registries[node].say(FACTS)) is None

    def left(self, node: str) -> list[Any]:
        done: list[Any] = []
        self.registries[node].leave().addBoth(done.append)
        return done

    def known(self, node: str) -> KnownNodes:
        self.broker.clock.advance(0.5)
        known = self.run(self.registries[node].known())
        assert isinstance(known, KnownNodes)
        return known


@pytest.fixture
def meeting() -> Meeting:
    return Meeting()


def test_who_says_so_is_known_to_the_others(meeting: Meeting) -> None:
    meeting.say("one", "two", "three")
    known = meeting.known("one")
    assert known.problem is None
    assert list(known.others) == ["three", "two"]
    assert known.others["two"].facts == FACTS
    assert known.others["two"].seen == 0.5
    assert meeting.registries["three"].count == 3
    assert set(meeting.broker.keys) == {INDEX + each for each in (b":one", b":two", b":three")}


def test_who_says_it_no_more_is_forgotten(meeting: Meeting) -> None:
    meeting.say("one", "two")
    meeting.broker.clock.advance(EXPIRES - 1)
    meeting.say("one")
    assert list(meeting.known("one").others) == ["two"]
    meeting.broker.clock.advance(1)
    assert meeting.known("one").others == {}
    meeting.say("one")
    assert meeting.registries["one"].count == 1


def test_who_leaves_is_forgotten_at_once(meeting: Meeting) -> None:
    meeting.say("one", "two")
    assert meeting.left("two") == [None]
    assert meeting.known("one").others == {}
    assert meeting.broker.index == {b"one"}


def test_what_was_read_is_good_for_a_moment(meeting: Meeting) -> None:
    meeting.say("one", "two")
    meeting.known("one")
    meeting.run(meeting.registries["one"].known())
    assert meeting.broker.calls.count("read") == 1
    meeting.known("one")
    assert meeting.broker.calls.count("read") == 2


class TestTrouble:
    def test_who_cannot_say_that_it_leaves_does_so_all_the_same(
        self, meeting: Meeting, logged: Logged
    ) -> None:
        meeting.links["one"].cut()
        assert meeting.left("one") == [None]
        gc.collect()
        assert logged.failures == []

    def test_where_the_broker_is_away_those_of_the_last_time(self, meeting: Meeting) -> None:
        meeting.say("one", "two")
        meeting.known("one")
        meeting.links["one"].cut()
        # What was read a moment ago is no good any more.
        known = meeting.run(meeting.registries["one"].known())
        assert list(known.others) == ["two"]
        assert known.problem == "the broker failed: connection refused"
        meeting.links["one"].mend()
        assert meeting.known("one").problem is None

    def test_saying_it_fails_and_no_node_is_counted(self, meeting: Meeting) -> None:
        meeting.say("one", "two")
        meeting.links["one"].cut()
        failure = meeting.run(meeting.registries["one"].say(FACTS))
        assert failure.check(Away)
        assert meeting.registries["one"].count == 0

    def test_one_that_does_not_answer_holds_nobody_for_long(self, meeting: Meeting) -> None:
        meeting.links["one"].is_silent = True
        known = meeting.known("one")
        assert known == KnownNodes({}, "the broker did not answer within 2 s")

    def test_where_it_is_full_who_is_there_stays(self, meeting: Meeting) -> None:
        meeting.say("one")
        meeting.broker.is_full = True
        meeting.broker.clock.advance(EXPIRES - 1)
        meeting.say("one")
        assert meeting.run(meeting.registries["two"].say(FACTS)).check(Refused)
        meeting.broker.clock.advance(EXPIRES - 1)
        assert list(meeting.known("two").others) == ["one"]

    def test_the_brokers_words_are_printable(self, meeting: Meeting) -> None:
        meeting.links["one"].cut()
        meeting.links["one"].problem = "a\x1b[0m"
        problem = meeting.known("one").problem
        assert problem is not None
        assert problem.isprintable()


class TestNonsense:
    @pytest.mark.parametrize(
        "said",
        [b"", b"{", b"[]", b"\xff", b'{"host": 1}', b'{"a": NaN}', b"[" * 60_000],
    )
    def test_facts_that_are_none_make_a_node_without(self, meeting: Meeting, said: bytes) -> None:
        meeting.broker.rows = [[b"two", said, 9000]]
        entry = meeting.known("one").others["two"]
        assert (entry.facts, entry.seen) == (None, 1.0)
        assert meeting.registries["one"].malformed == 1

    @pytest.mark.parametrize(
        "row",
        [
            [b"a.b", b"", 1],
            [b"", b"", 1],
            [b"\xff", b"", 1],
            [b"a\n", b"", 1],
            [b"x" * 65, b"", 1],
            ["two", b"", 1],
            [b"two", b""],
            [b"two", b"", b"1"],
            b"two",
            None,
        ],
    )
    def test_what_is_no_node_is_left_out(self, meeting: Meeting, row: Any) -> None:
        meeting.broker.rows = [row]
        assert meeting.known("one") == KnownNodes({})
        assert meeting.registries["one"].malformed == 1

    @pytest.mark.parametrize("rows", [None, b"", 5])
    def test_what_is_no_list_has_nobody(self, meeting: Meeting, rows: Any) -> None:
        meeting.broker.rows = rows
        assert meeting.known("one").others == {}
