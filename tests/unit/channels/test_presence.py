from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from wsservice.channels.hub import LocalHub
from wsservice.channels.presence import MOST_PEOPLE, Person, Presence, PresenceQuestions
from wsservice.server.behaviours import EchoServerProtocol

from ...nodes import Node, cluster
from ...support import Served


class TestOneProcess:
    def test_all_are_counted_and_the_first_are_listed(self) -> None:
        served = Served(EchoServerProtocol)
        for path in ("/a", "/b", "/a", "/a"):
            served.connect().open(path)
        presence: Any = served.hub.presence("a", 2)
        assert presence.result.count == 3
        assert presence.result.channel == "a"
        assert [each.id for each in presence.result.people] == ["1", "3"]
        assert presence.result.is_whole

    def test_what_is_told_of_a_person(self) -> None:
        served = Served(EchoServerProtocol)
        served.connect().ask("/a", "User-Agent: " + "x" * 300)
        connection: Any = next(iter(served.hub))
        (person,) = served.hub.local_presence("a").people
        assert person.id == connection.id
        assert person.peer == connection.who.partition(" ")[2]
        assert person.since.endswith("Z")
        assert person.user_agent == "x" * 255 + "\u2026"

    def test_a_number_alone_lists_nobody(self) -> None:
        served = Served(EchoServerProtocol)
        served.connect().open("/a")
        assert served.hub.local_presence("a", 0) == Presence("a", 1)

    def test_on_a_channel_without_connections_there_is_nobody(self) -> None:
        assert LocalHub().local_presence("a") == Presence("a", 0)

    @pytest.mark.parametrize("limit", [-1, MOST_PEOPLE + 1, 2.5, None, True])
    def test_a_limit_that_is_not_allowed(self, limit: Any) -> None:
        for ask in (LocalHub().presence, LocalHub().local_presence):
            with pytest.raises(ValueError, match="is not allowed; give 0 to 1000"):
                ask("a", limit)

    def test_members_is_a_deprecated_name(self) -> None:
        served = Served(EchoServerProtocol)
        served.connect().open("/a")
        with pytest.warns(DeprecationWarning, match="knows one process only"):
            assert served.hub.members("a") == served.hub.local_members("a")


def test_it_goes_over_a_bus_and_comes_back() -> None:
    person = Person("1", "peer:1", "2026-11-24T04:50:34.123Z", "curl")
    presence = Presence("a", 5, (person,), ("worker 2",))
    assert Presence.of("a", presence.as_json()) == presence
    assert not presence.is_whole


class TestQuestions:
    """Questions to the whole service."""

    def made(self, at_once: int = 2) -> tuple[PresenceQuestions, list[Any], Clock]:
        asked: list[Any] = []
        clock = Clock()

        def ask(channel: str, limit: int) -> Deferred[Presence]:
            answer: Deferred[Presence] = Deferred()
            asked.append((channel, limit, answer))
            return answer

        return PresenceQuestions(ask, at_once, clock), asked, clock

    def test_the_same_question_in_a_turn_is_asked_once(self) -> None:
        questions, asked, clock = self.made()
        answers: list[Any] = []
        for limit in (0, 0, 5):
            questions.ask("a", limit).addCallback(answers.append)
        assert asked == []
        clock.advance(0)
        assert [each[:2] for each in asked] == [("a", 0), ("a", 5)]
        asked[0][2].callback(Presence("a", 3))
        assert answers == [Presence("a", 3)] * 2

    def test_one_that_is_under_way_is_asked_again(self) -> None:
        questions, asked, clock = self.made()
        answers: list[Any] = []
        questions.ask("a", 0).addCallback(answers.append)
        clock.advance(0)
        # Somebody came, and the first answer may be older.
        questions.ask("a", 0).addCallback(answers.append)
        clock.advance(0)
        asked[0][2].callback(Presence("a", 1))
        asked[1][2].callback(Presence("a", 2))
        assert answers == [Presence("a", 1), Presence("a", 2)]

    def test_only_so_many_are_asked_at_once(self) -> None:
        questions, asked, clock = self.made()
        for name in "abcd":
            questions.ask(name, 0)
        clock.advance(0)
        assert [each[0] for each in asked] == ["a", "b"]
        asked[0][2].callback(Presence("a", 1))
        assert [each[0] for each in asked] == ["a", "b", "c"]

    def test_what_fails_fails_for_all_who_asked(self) -> None:
        clock = Clock()
        questions = PresenceQuestions(lambda *_: fail(RuntimeError("no")), 1, clock)
        failed = [questions.ask(name, 0) for name in "aab"]
        clock.advance(0)
        for each in failed:
            each.addErrback(lambda failure: failure.trap(RuntimeError))
            assert each.called

    def test_many_that_are_answered_at_once_are_no_recursion(self) -> None:
        clock = Clock()
        questions = PresenceQuestions(lambda name, _: succeed(Presence(name, 1)), 1, clock)
        asked: list[Any] = [questions.ask(str(number), 0) for number in range(5000)]
        clock.advance(0)
        assert [each.result for each in asked] == [Presence(str(n), 1) for n in range(5000)]

    def test_who_does_not_wait_any_more_is_passed_over(self) -> None:
        clock = Clock()
        questions = PresenceQuestions(lambda *_: succeed(Presence("a", 1)), 1, clock)
        gone, waiting = questions.ask("a", 0), questions.ask("a", 0)
        gone.addErrback(lambda _: None).cancel()
        clock.advance(0)
        assert waiting.result == Presence("a", 1)


class TestNodes:
    @pytest.fixture
    def nodes(self) -> list[Node]:
        return cluster("a", "b")

    def ask(self, node: Node, limit: int = 100, seconds: float = 0.1) -> Any:
        async def asked() -> Presence:
            return await node.cluster.people.presence("x", limit)

        return node.result(asked(), seconds)

    def test_those_of_all_nodes(self, nodes: list[Node]) -> None:
        for node, count in zip(nodes, (2, 1), strict=True):
            node.connect(*["/x"] * count, "/y")
        for node in nodes:
            presence = self.ask(node)
            assert (presence.count, presence.missing) == (3, ())
            assert [each.id for each in presence.people] == ["a.1", "a.2", "b.1"]
            assert [each.id for each in self.ask(node, 1).people] == ["a.1"]
            assert self.ask(node, 0) == attrs.evolve(presence, people=())

    def test_a_node_that_does_not_answer_is_named(self, nodes: list[Node]) -> None:
        for node in nodes:
            node.connect("/x")
        nodes[0].broker.heard[b"wsservice:node:{b}"] = lambda _: None
        presence = self.ask(nodes[0], seconds=5)
        assert (presence.count, presence.missing) == (1, ("b",))
        assert not presence.is_whole

    def test_without_the_broker_it_is_not_whole(self, nodes: list[Node]) -> None:
        nodes[0].connect("/x")
        assert self.ask(nodes[0]).is_whole
        nodes[0].link.cut()
        assert self.ask(nodes[0]).missing == ("b",)

    def test_without_it_from_the_beginning_neither(self) -> None:
        (node,) = cluster("a")
        node.link.cut()
        assert self.ask(node).missing == ("the other nodes",)
