from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.python.failure import Failure

from wsservice.cluster.asking import WITHIN
from wsservice.directory.listing import Closing, Wanted
from wsservice.directory.outcomes import (
    SendOutcome,
    TracedElsewhere,
    TraceRefusal,
    UnansweredError,
    Unreached,
)
from wsservice.directory.presence import ChannelsWanted
from wsservice.directory.tracing import Trace

from ...nodes import LONGEST, Node, cluster
from ...support import CLOSE, TEXT, Logged, close_payload


@pytest.fixture
def nodes() -> list[Node]:
    return cluster("a", "b", "c")


def listed(node: Node, limit: int = 100, after: int = 0, behind: str = "", **more: Any) -> Any:
    """A part of the list, its ids, and where it goes on."""
    said = node.result(node.cluster.people.listed(Wanted(limit, after, behind)), **more)
    return [each["id"] for each in said["connections"]], said["next"], said["total"]


class TestListed:
    def test_the_same_list_wherever_it_is_asked_for(self, nodes: list[Node]) -> None:
        for node, count in zip(nodes, (2, 0, 3), strict=True):
            node.connect(*["/x"] * count)
        for node in nodes:
            assert listed(node) == (["a.1", "a.2", "c.1", "c.2", "c.3"], None, 5)
            assert listed(node, 3) == (["a.1", "a.2", "c.1"], "c.1", 5)
            assert listed(node, 3, 1, "c") == (["c.2", "c.3"], None, 5)
        said = nodes[0].result(nodes[0].cluster.people.listed(Wanted()))
        assert (said["missing"], said["problem"]) == ([], None)

    def test_a_number_alone_is_one_of_this_node(self, nodes: list[Node]) -> None:
        for node in nodes:
            node.connect("/x", "/x")
        assert listed(nodes[1], 100, 1) == (["b.2", "c.1", "c.2"], None, 6)
        assert listed(nodes[1], 100, 10**19) == (["c.1", "c.2"], None, 6)

    def test_behind_a_number_that_no_connection_has_there_is_nobody(
        self, nodes: list[Node]
    ) -> None:
        nodes[0].connect("/x")
        said = nodes[1].result(nodes[1].cluster.people.listed(Wanted(9, 10**19, "a")))
        assert (said["connections"], said["total"], said["missing"]) == ([], 1, [])

    def test_who_is_on_a_channel(self, nodes: list[Node]) -> None:
        for node in nodes:
            node.connect("/x", "/y")
        said = nodes[2].result(nodes[2].cluster.people.members("y", Wanted(2)))
        assert [each["id"] for each in said["connections"]] == ["a.2", "b.2"]
        assert (said["channel"], said["total"], said["next"]) == ("y", 3, "b.2")

    def test_workers_that_did_not_answer_their_node_are_named_with_it(
        self, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for node in nodes:
            node.connect("/x")
        own = nodes[1].people.members

        async def members(channel: str, wanted: Wanted) -> dict[str, Any]:
            return {**await own(channel, wanted), "missing": ["worker 2"]}

        monkeypatch.setattr(nodes[1].people, "members", members)
        for node in nodes[:2]:
            said = node.result(node.cluster.people.members("x", Wanted()))
            assert (said["total"], said["missing"]) == (3, ["b worker 2"])


class TestChannels:
    def test_they_are_added_up(self, nodes: list[Node]) -> None:
        for node in nodes:
            node.connect("/x", "/" + node.cluster.node)
        said = nodes[0].result(nodes[0].cluster.people.channels(ChannelsWanted(3)))
        assert said == {
            "total": 4,
            "at_most": 4,
            "channels": [
                {"channel": "a", "connections": 1},
                {"channel": "b", "connections": 1},
                {"channel": "c", "connections": 1},
            ],
            "next": "c",
            "missing": [],
            "problem": None,
        }
        rest = nodes[0].result(nodes[0].cluster.people.channels(ChannelsWanted(3, "c")))
        assert rest["channels"] == [{"channel": "x", "connections": 3}]


class TestMissing:
    def test_who_does_not_answer_in_time_is_named(self, nodes: list[Node]) -> None:
        for node in nodes:
            node.connect("/x")
        nodes[2].broker.heard[b"wsservice:node:{c}"] = lambda _: None
        people = nodes[0].cluster.people
        for what in (people.listed(Wanted()), people.channels(ChannelsWanted())):
            said = nodes[0].result(what, 2 * WITHIN)
            assert said["missing"] == ["c"]
        assert said["channels"] == [{"channel": "x", "connections": 2}]

    def test_who_is_gone_and_not_forgotten_yet_is_named_at_once(self, nodes: list[Node]) -> None:
        nodes[0].connect("/x")
        del nodes[2].broker.heard[b"wsservice:node:{c}"]
        said = nodes[0].result(nodes[0].cluster.people.listed(Wanted()))
        assert (said["total"], said["missing"]) == (1, ["c"])

    def test_where_the_broker_is_away_it_is_this_node_alone(self, nodes: list[Node]) -> None:
        for node in nodes:
            node.connect("/x")
        listed(nodes[0])
        nodes[0].link.cut()
        nodes[0].broker.clock.advance(1)
        said = nodes[0].result(nodes[0].cluster.people.listed(Wanted()))
        assert [each["id"] for each in said["connections"]] == ["a.1"]
        assert said["missing"] == ["b", "c"]
        assert said["problem"] == "the broker failed: connection refused"
        said = nodes[0].result(nodes[0].cluster.people.channels(ChannelsWanted()))
        assert said["channels"] == [{"channel": "x", "connections": 1}]
        assert said["missing"] == ["b", "c"]

    def test_one_that_is_silent_is_waited_for_once(self, nodes: list[Node]) -> None:
        nodes[0].connect("/x")
        listed(nodes[0])
        nodes[0].link.is_silent = True
        nodes[0].broker.clock.advance(1)
        people = nodes[0].cluster.people
        for what in (people.listed(Wanted()), people.channels(ChannelsWanted())):
            said = nodes[0].result(what, WITHIN)
            assert said["missing"] == ["b", "c"]
            assert said["problem"] == "the broker did not answer within 2 s"


class TestOne:
    def close(self, node: Node, id_: str, **more: Any) -> Any:
        return node.result(node.cluster.people.close(id_, Closing(4001)), **more)

    def send(self, node: Node, id_: str, payload: bytes = b"hi", **more: Any) -> Any:
        return node.result(node.cluster.people.send(id_, payload, False), **more)

    def test_wherever_it_is_it_is_closed(self, nodes: list[Node]) -> None:
        (client,) = nodes[1].connect("/x")
        assert self.close(nodes[0], "b.1") is True
        assert client.frames() == [(CLOSE, close_payload(4001))]
        assert self.close(nodes[0], "b.2") is False
        assert self.close(nodes[0], "d.1") is False
        assert self.close(nodes[0], "b." + "9" * 20) is False
        assert self.close(nodes[0], "1") is False

    def test_or_sent_to(self, nodes: list[Node]) -> None:
        clients = [node.connect("/x")[0] for node in nodes]
        for id_, client in zip(("a.1", "b.1", "c.1"), clients, strict=True):
            assert self.send(nodes[1], id_) is SendOutcome.HANDED
            assert client.frames() == [(TEXT, b"hi")]
        assert self.send(nodes[1], "1") is SendOutcome.HANDED
        assert clients[1].frames() == [(TEXT, b"hi")]
        assert self.send(nodes[1], "a.2") is SendOutcome.GONE
        assert self.send(nodes[1], "d.1") is SendOutcome.GONE

    def test_what_is_too_long_for_another_is_not_sent(self, nodes: list[Node]) -> None:
        nodes[0].connect("/x")
        assert self.send(nodes[0], "a.1", bytes(LONGEST + 1)) is SendOutcome.HANDED
        failed(
            self.send(nodes[0], "b.1", bytes(LONGEST + 1)),
            Unreached.TOO_LONG,
            f"at most {LONGEST} octets",
        )
        nodes[1].connect("/x")
        assert self.send(nodes[0], "b.1", bytes(LONGEST)) is SendOutcome.HANDED

    def test_where_its_node_does_not_answer_it_is_said_what_is_known(
        self, nodes: list[Node]
    ) -> None:
        broker = nodes[0].broker
        broker.heard[b"wsservice:node:{c}"] = lambda _: None
        outcome = self.send(nodes[0], "c.1", seconds=2 * WITHIN)
        failed(outcome, Unreached.UNKNOWN, "whether connection c.1 was reached is not known")
        del broker.heard[b"wsservice:node:{c}"]
        failed(self.close(nodes[0], "c.1"), Unreached.AWAY, "connection c.1 was not reached")

    def test_where_a_worker_of_its_node_does_not_answer_neither_does_the_node(
        self, nodes: list[Node], monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        async def unanswered(*_: Any) -> None:
            raise UnansweredError(Unreached.UNKNOWN, "worker 2 gave no answer")

        for name in ("send", "close"):
            monkeypatch.setattr(nodes[2].people, name, unanswered)
        for outcome in (
            self.send(nodes[0], "c.1", seconds=2 * WITHIN),
            self.close(nodes[0], "c.1", seconds=2 * WITHIN),
        ):
            failed(outcome, Unreached.UNKNOWN, "whether connection c.1 was reached is not known")
        failed(self.send(nodes[2], "c.1"), Unreached.UNKNOWN, "worker 2 gave no answer")
        assert nodes[2].cluster.answers["failed"] == 2
        assert "Traceback" not in logged.text

    def test_where_it_does_not_understand(self, nodes: list[Node]) -> None:
        nodes[1].cluster._most = 10
        heard = nodes[0].broker.heard
        from wsservice.cluster.questions import Asked, not_understood, read

        def answer(octets: bytes) -> None:
            asked = read(octets, 10_000)
            assert isinstance(asked, Asked)
            nodes[1].link.publish(b"wsservice:node:{a}", not_understood("b", asked.id, "no"))

        heard[b"wsservice:node:{b}"] = answer
        failed(self.close(nodes[0], "b.1"), Unreached.NOT_UNDERSTOOD, "node b does not understand")

    def test_where_the_broker_is_away_only_what_is_here_is_reached(self, nodes: list[Node]) -> None:
        (client,) = nodes[0].connect("/x")
        nodes[0].link.cut()
        why = "connection b.1 is on another node, and the broker failed: connection refused"
        failed(self.close(nodes[0], "b.1"), Unreached.AWAY, why)
        failed(self.send(nodes[0], "b.1"), Unreached.AWAY, why)
        assert self.send(nodes[0], "a.1") is SendOutcome.HANDED
        assert client.frames() == [(TEXT, b"hi")]


def failed(outcome: Any, why: Unreached, text: str) -> None:
    assert isinstance(outcome, Failure)
    assert outcome.check(UnansweredError)
    assert isinstance(outcome.value, UnansweredError)
    assert outcome.value.why is why
    assert text in str(outcome.value)


class TestTrace:
    def trace(self, node: Node, id_: str) -> Any:
        return node.result(node.cluster.people.trace(id_))

    def test_one_of_this_node_is_traced(self, nodes: list[Node]) -> None:
        nodes[0].connect("/x")
        assert isinstance(self.trace(nodes[0], "1"), Trace)
        assert isinstance(self.trace(nodes[0], "a.1"), Trace)
        assert self.trace(nodes[0], "a.2") is TraceRefusal.GONE

    def test_of_another_it_is_said_where_to_ask(self, nodes: list[Node]) -> None:
        assert self.trace(nodes[0], "b.7") == TracedElsewhere("b", 7, socket.gethostname())
        assert self.trace(nodes[0], "d.7") is TraceRefusal.GONE

    def test_where_the_broker_is_away(self, nodes: list[Node]) -> None:
        nodes[0].link.cut()
        failed(self.trace(nodes[0], "d.7"), Unreached.AWAY, "connection d.7 is on another node")
