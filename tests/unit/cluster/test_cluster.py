from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from wsservice import __version__
from wsservice.cluster.asking import WITHIN
from wsservice.cluster.questions import AskFacts, AskSend, asked
from wsservice.cluster.registry import BEAT, EXPIRES
from wsservice.errors import Refused

from ...nodes import LONGEST, Broker, Node, cluster
from ...support import Logged

ID = "0123456789abcdef" * 2


@pytest.fixture
def nodes() -> list[Node]:
    return cluster("a", "b")


def facts(node: Node, seconds: float = 0.1) -> dict[str, Any]:
    said = node.result(node.cluster.facts(), seconds)
    assert isinstance(said, dict)
    json.dumps(said)
    return said


def of(said: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = (each for each in said["nodes"] if each["node"] == name)
    return dict(one)


class TestFacts:
    def test_what_each_node_is_and_does(self, nodes: list[Node]) -> None:
        nodes[0].connect("/x")
        nodes[1].connect("/x", "/x")
        nodes[1].reasons = ["draining"]
        said = facts(nodes[0])
        assert (said["node"], said["connections"], said["missing"]) == ("a", 3, [])
        assert said["problem"] is None
        one, other = of(said, "a"), of(said, "b")
        assert (one["up"], one["connections"], one["rtt"], one["seen"]) == (True, 1, None, None)
        assert other["rtt"] >= 0
        assert other["seen"] >= 0
        assert other["connections"] == 2
        assert other["reasons"] == ["draining"]
        assert other["version"] == __version__
        assert other["workers"] == 1
        assert other["lag"] == 0
        assert other["started"] == "1970-01-01T00:00:00.000Z"
        assert other["brokers"] == [
            {
                "name": "redis://broker.example:6379",
                "up": True,
                "version": "Redis 7.0.15",
                "problem": None,
            }
        ]

    def test_one_that_does_not_answer_is_as_it_was_when_it_was_heard_of(
        self, nodes: list[Node]
    ) -> None:
        nodes[1].connect("/x")
        nodes[0].broker.clock.advance(BEAT)
        nodes[0].broker.heard[b"wsservice:node:{b}"] = lambda _: None
        said = facts(nodes[0], WITHIN)
        other = of(said, "b")
        assert (other["up"], other["rtt"], other["connections"]) == (False, None, 1)
        assert said["missing"] == ["b"]
        assert said["connections"] == 0

    def test_one_of_which_nothing_can_be_read_has_no_facts(self, nodes: list[Node]) -> None:
        nodes[0].broker.rows = [[b"z", b"nonsense", 5000]]
        said = facts(nodes[0])
        other = of(said, "z")
        assert (other["up"], other["host"], other["brokers"]) == (False, None, None)
        assert other["seen"] == 5.0
        assert nodes[0].cluster.malformed == 1

    def test_where_the_broker_is_away(self, nodes: list[Node]) -> None:
        facts(nodes[0])
        nodes[0].link.cut()
        nodes[0].broker.clock.advance(1)
        said = facts(nodes[0])
        assert of(said, "a")["up"] is True
        assert of(said, "a")["brokers"][0]["problem"] == "connection refused"
        assert of(said, "b")["up"] is False
        assert said["missing"] == ["b"]
        assert said["problem"] == "the broker failed: connection refused"

    def test_where_it_is_silent_it_is_waited_for_once(self, nodes: list[Node]) -> None:
        facts(nodes[0])
        nodes[0].link.is_silent = True
        nodes[0].broker.clock.advance(1)
        assert facts(nodes[0], WITHIN)["missing"] == ["b"]


class TestBeats:
    def test_before_there_is_a_broker_nothing_is_said(self) -> None:
        node = Node(Broker(), "a")
        node.link.up = False
        node.start()
        assert node.cluster.beats == {"said": 0, "failed": 0}
        node.link.mend()
        assert node.cluster.beats == {"said": 1, "failed": 0}

    def test_it_says_that_it_is_there_until_it_stops(self, nodes: list[Node]) -> None:
        broker = nodes[0].broker
        for _ in range(10):
            broker.clock.advance(BEAT)
        assert len(broker.index) == 2
        assert nodes[0].cluster.beats == {"said": 11, "failed": 0}
        assert nodes[0].cluster.count == 2
        stopped: list[Any] = []
        nodes[1].cluster.stop().addBoth(stopped.append)
        assert stopped == [None]
        assert broker.index == {b"a"}
        assert list(broker.heard) == [b"wsservice:node:{a}"]
        assert of(facts(nodes[0]), "a")
        assert facts(nodes[0])["missing"] == []

    def test_one_that_is_gone_is_forgotten(self, nodes: list[Node]) -> None:
        nodes[1].cluster._beat.stop()
        nodes[0].broker.heard.pop(b"wsservice:node:{b}")
        assert facts(nodes[0])["missing"] == ["b"]
        for _ in range(4):
            nodes[0].broker.clock.advance(EXPIRES / 4)
        nodes[0].broker.clock.advance(0.5)
        assert [each["node"] for each in facts(nodes[0])["nodes"]] == ["a"]

    def test_once_the_broker_is_back_it_says_so_at_once(self, nodes: list[Node]) -> None:
        nodes[0].link.cut()
        for _ in range(5):
            nodes[0].broker.clock.advance(BEAT)
        assert nodes[0].cluster.count == 0
        assert nodes[0].cluster.beats["failed"] > 1
        nodes[0].link.mend()
        assert nodes[0].broker.index >= {b"a"}
        assert nodes[0].cluster.count >= 1

    def test_a_broker_that_refuses_it_is_told_of_once(
        self, nodes: list[Node], logged: Logged
    ) -> None:
        broker = nodes[0].broker
        broker.is_full = True
        broker.keys.clear()
        for _ in range(3):
            broker.clock.advance(BEAT)
        assert logged.text.count("others cannot see this node: OOM command not allowed") == 2
        broker.is_full = False
        broker.clock.advance(BEAT)
        assert logged.text.count("others see this node again") == 2

    def test_one_that_is_away_tells_by_itself(self, nodes: list[Node], logged: Logged) -> None:
        nodes[0].link.cut()
        nodes[0].broker.clock.advance(BEAT)
        assert logged.text == ""

    def test_one_that_fails_as_nobody_foresees_is_counted_and_followed_by_others(
        self, nodes: list[Node], logged: Logged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object) -> Any:
            raise KeyError("ours")

        node = nodes[0]
        before = node.cluster.beats["said"]
        with monkeypatch.context() as broken:
            broken.setattr("wsservice.cluster.cluster.within", fails)
            nodes[1].cluster._beat.stop()
            for _ in range(3):
                node.broker.clock.advance(BEAT)
        assert node.cluster.beats == {"said": before, "failed": 3}
        assert len(logged.failures) == 1
        node.broker.clock.advance(BEAT)
        assert node.cluster.beats["said"] == before + 1
        assert "others see this node again" in logged.text

    def test_a_beat_waits_for_the_one_before(self, nodes: list[Node]) -> None:
        nodes[0].link.is_silent = True
        calls = nodes[0].broker.calls
        nodes[1].cluster._beat.stop()
        calls.clear()
        for _ in range(3):
            nodes[0].broker.clock.advance(BEAT)
        assert calls == ["say"]


class TestStop:
    def test_a_broker_that_does_not_answer_holds_it_for_a_second(self, nodes: list[Node]) -> None:
        nodes[0].link.is_silent = True
        stopped: list[Any] = []
        nodes[0].cluster.stop().addBoth(stopped.append)
        assert stopped == []
        nodes[0].broker.clock.advance(1)
        assert stopped == [None]

    def test_who_waits_for_an_answer_waits_no_longer(self, nodes: list[Node]) -> None:
        nodes[0].broker.heard[b"wsservice:node:{b}"] = lambda _: None
        said: list[Any] = []
        Deferred.fromCoroutine(nodes[0].cluster.facts()).addCallback(said.append)
        nodes[0].broker.clock.advance(0.1)
        assert said == []
        nodes[0].cluster.stop()
        assert said[0]["missing"] == ["b"]

    def test_once_is_enough_and_without_a_start_it_is_nothing(self) -> None:
        broker = Broker()
        node = Node(broker, "a")
        stopped: list[Any] = []
        node.cluster.stop().addBoth(stopped.append)
        node.start().cluster.start()
        node.cluster.stop().addBoth(stopped.append)
        node.cluster.stop().addBoth(stopped.append)
        assert stopped == [None] * 3
        assert broker.clock.getDelayedCalls() == []


class TestHeard:
    def hear(self, node: Node, octets: bytes) -> list[Any]:
        """Receive a message, and return the messages published in reply."""
        node.broker.published.clear()
        node.broker.heard[f"wsservice:node:{{{node.cluster.node}}}".encode()](octets)
        return [(name, json.loads(said)) for name, said in node.broker.published]

    def test_a_question_is_answered_to_who_asked(self, nodes: list[Node]) -> None:
        ((name, said),) = self.hear(nodes[0], asked("z", ID, AskFacts()))
        assert name == b"wsservice:node:{z}"
        assert (said["from"], said["answer"]) == ("a", ID)
        assert said["said"]["version"] == __version__
        assert nodes[0].cluster.answers["answered"] == 1

    def test_or_told_that_it_is_none(self, nodes: list[Node]) -> None:
        message = {"v": 1, "from": "z", "id": ID, "ask": "nonsense"}
        ((_, said),) = self.hear(nodes[0], json.dumps(message).encode())
        assert said["wrong"] == "there is no such question"
        assert nodes[0].cluster.answers["not understood"] == 1

    @pytest.mark.parametrize(
        "octets",
        [b"", b"\xff\x00", b"[]", b'{"v": 1}', b"x" * 10_000_000, b"\x1b[31m\n"],
    )
    def test_what_makes_no_sense_is_counted(
        self, nodes: list[Node], octets: bytes, logged: Logged
    ) -> None:
        for _ in range(5):
            assert self.hear(nodes[0], octets) == []
        assert nodes[0].cluster.malformed == 5
        nodes[0].broker.clock.advance(60)
        self.hear(nodes[0], octets)
        lines = logged.text.splitlines()
        assert len(lines) == 2
        assert "is malformed, " in lines[0]
        assert lines[1].endswith("; 6 so far")

    def test_a_message_that_is_longer_than_one_may_be(self, nodes: list[Node]) -> None:
        message = asked("z", ID, AskSend(1, bytes(1_000_000), True))
        assert self.hear(nodes[0], message) == []
        assert nodes[0].cluster.malformed == 1
        message = asked("z", ID, AskSend(1, bytes(LONGEST), True))
        assert self.hear(nodes[0], message)

    def test_no_more_than_so_many_are_answered_at_once(
        self, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting: list[Deferred[Any]] = []

        async def slow() -> Any:
            waiting.append(Deferred())
            return await waiting[-1]

        monkeypatch.setattr(nodes[0].home, "doing", slow)
        for _ in range(70):
            self.hear(nodes[0], asked("z", ID, AskFacts()))
        assert len(waiting) == 64
        assert nodes[0].cluster.answers["too many"] == 6
        monkeypatch.undo()
        waiting[0].errback(ZeroDivisionError())
        assert self.hear(nodes[0], asked("z", ID, AskFacts()))

    def test_what_fails_here_is_logged_and_not_told(
        self, nodes: list[Node], monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        async def broken() -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(nodes[0].home, "doing", broken)
        assert self.hear(nodes[0], asked("z", ID, AskFacts())) == []
        assert nodes[0].cluster.answers["failed"] == 1
        assert "cannot answer another node" in logged.failures[0]

    def test_who_may_not_listen_is_told(
        self, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        node = Node(Broker(), "a")
        refused = Refused("NOPERM no access", "NOPERM")
        monkeypatch.setattr(node.link, "subscribe", lambda *_: fail(refused))
        node.start()
        assert "others cannot ask this node: NOPERM no access" in logged.text
