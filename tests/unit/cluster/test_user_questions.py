"""Users of several nodes: questions, answers, sums."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wsservice.auth.contract import User
from wsservice.channels.presence import Presence
from wsservice.cluster import user_questions
from wsservice.cluster.asking import WITHIN
from wsservice.cluster.checking import MalformedError
from wsservice.cluster.questions import AskCount, asked, read
from wsservice.cluster.rows import ChannelsPart, ConnectionCount
from wsservice.cluster.user_questions import (
    AskCloseUser,
    AskSendUser,
    AskUserCount,
    AskUserList,
    AskUsers,
)
from wsservice.directory.listing import Closing, Wanted
from wsservice.directory.outcomes import UserReached
from wsservice.directory.presence import ChannelsWanted

from ...nodes import Node, cluster
from ...support import CLOSE, TEXT, close_payload
from .test_answering import One

QUESTIONS: list[Any] = [
    AskUserCount("tom"),
    AskUserList("a/b*é", 5, 7),
    AskUsers(5, None),
    AskUsers(5, "tom"),
    AskSendUser("tom", b"\xff", True),
    AskSendUser("tom", "é".encode(), False),
    AskCloseUser("tom", Closing(4001, "bye")),
    AskCount("a", True),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_comes_as_it_was_sent(question: Any) -> None:
    came: Any = read(asked("n", "0" * 32, question), 10_000)
    assert came.question == question


def test_all_are_known() -> None:
    assert user_questions.KNOWN.keys() == {each.ask for each in QUESTIONS[:-1]}


@pytest.mark.parametrize("user", ["", "x" * 256, "a\nb", 7, None, "\ud800"])
@pytest.mark.parametrize("kind", sorted(user_questions.KNOWN.keys() - {"users"}))
def test_an_id_that_is_none_is_not_understood(kind: str, user: object) -> None:
    said = {"ask": kind, "user": user, "limit": 5, "after": 0, "code": 1000, "reason": ""}
    said |= {"data64": "", "binary": True}
    with pytest.raises(MalformedError, match="user"):
        user_questions.KNOWN[kind](said)


@pytest.mark.parametrize(
    "said",
    [
        {"rows": [["tom"]], "more": False, "total": 1, "exact": True},
        {"rows": [["b", 1], ["a", 1]], "more": False, "total": 2, "exact": True},
        {"rows": [["a\n", 1]], "more": False, "total": 1, "exact": True},
        {"rows": [["a", 0]], "more": False, "total": 1, "exact": True},
        {"rows": [], "more": True, "total": 1, "exact": True},
        {"rows": [["a", 1]], "more": False, "total": 0, "exact": True},
    ],
)
def test_an_answer_that_is_none_is_malformed(said: Any) -> None:
    with pytest.raises(MalformedError):
        AskUsers(5, None).answer_of(said)


@pytest.mark.parametrize("marks", [[-1], ["a"], list(range(1025)), 7, [2, 1], [0] * 1024])
def test_marks_are_checked(marks: Any) -> None:
    with pytest.raises(MalformedError):
        AskCount("a", True).answer_of({"total": 1, "marks": marks})


def test_an_earlier_version_is_asked_as_before_and_answers_as_before() -> None:
    assert AskCount("a").as_json() == {"channel": "a"}
    assert AskCount("a", True).answer_of({"total": 3}) == ConnectionCount(3)


def name(node: Node, *users: str) -> None:
    """Give the last connections of a node users."""
    everybody: list[Any] = list(node.served.hub)
    for each, user in zip(everybody[-len(users) :], users, strict=True):
        each.user = User(user)


class TestOne:
    def test_it_answers_for_itself(self) -> None:
        one = One()
        clients = one.node.connect("/a", "/b", "/a", "/c")
        name(one.node, "tom", "ann", "tom")
        assert one.ask(AskUserCount("tom")) == ConnectionCount(2)
        part = one.ask(AskUserList("tom", 1, 0))
        assert ([(each["id"], each["user"]) for each in part.rows], part.more) == (
            [("2", "tom")],
            True,
        )
        assert one.ask(AskUsers(1, None)) == ChannelsPart((("ann", 1),), True, 2)
        assert one.ask(AskUsers(1, "ann")) == ChannelsPart((("tom", 2),), False, 2)
        assert one.ask(AskSendUser("tom", b"hi", False)) == UserReached(2)
        assert [each.frames() for each in clients] == [[], [(TEXT, b"hi")], [], [(TEXT, b"hi")]]
        assert one.ask(AskCloseUser("tom", Closing(4001, "x"))) == UserReached(2)
        assert clients[3].frames() == [(CLOSE, close_payload(4001, b"x"))]
        assert len(one.ask(AskCount("c", True)).marks) == 1
        assert one.ask(AskCount("c")).marks == ()


@pytest.fixture
def nodes() -> list[Node]:
    made = cluster("a", "b", "c")
    for node, users in zip(made, (("tom", "ann"), ("eve",), ("tom", "tom")), strict=True):
        node.connect(*["/x"] * (len(users) + 1))
        name(node, *users)
    return made


class TestAll:
    def test_the_same_wherever_it_is_asked_for(self, nodes: list[Node]) -> None:
        for node in nodes:
            people = node.cluster.people
            said = node.result(people.listed(Wanted(user="tom")))
            assert [each["id"] for each in said["connections"]] == ["a.2", "c.2", "c.3"]
            assert {each["user"] for each in said["connections"]} == {"tom"}
            assert (said["total"], said["missing"]) == (3, [])
            paged = node.result(people.listed(Wanted(1, 2, "a", "tom")))
            assert ([each["id"] for each in paged["connections"]], paged["next"]) == (
                ["c.2"],
                "c.2",
            )
            assert node.result(people.users(ChannelsWanted(2))) == {
                "total": 3,
                "at_most": 3,
                "users": [{"id": "ann", "connections": 1}, {"id": "eve", "connections": 1}],
                "next": "eve",
                "missing": [],
                "problem": None,
            }

    def test_a_message_reaches_all(self, nodes: list[Node]) -> None:
        people = nodes[1].cluster.people
        sending = people.send_user("tom", b"hi", False)
        assert nodes[1].result(sending) == UserReached(3)
        assert nodes[1].result(people.send_user("nobody", b"hi", False)) == UserReached()

    def test_all_are_closed(self, nodes: list[Node]) -> None:
        people = nodes[1].cluster.people
        assert nodes[1].result(people.close_user("tom", Closing(4001, ""))) == UserReached(3)
        assert nodes[1].result(people.close_user("tom", Closing(4001, ""))) == UserReached()

    def test_who_does_not_answer_is_named(self, nodes: list[Node]) -> None:
        nodes[2].broker.heard[b"wsservice:node:{c}"] = lambda _: None
        people = nodes[0].cluster.people
        sent = nodes[0].result(people.send_user("tom", b"hi", False), seconds=2 * WITHIN)
        assert sent == UserReached(1, 0, ("c",))

    def test_distinct_users_are_counted_once(self, nodes: list[Node]) -> None:
        presence: Presence = nodes[1].result(nodes[1].cluster.people._presence("x", 2))
        assert (presence.count, presence.users) == (8, 3)
        assert [(each.id, each.user) for each in presence.people] == [("a.1", ""), ("a.2", "tom")]
        assert nodes[0].result(nodes[0].cluster.people.present("x")).users == 3


def test_workers_that_did_not_answer_their_node_are_told() -> None:
    one = One()

    async def send_user(*_: object) -> UserReached:
        return UserReached(1, 0, ("worker 2",))

    one.node.people.send_user = send_user  # type: ignore
    assert one.ask(AskSendUser("tom", b"", False)) == UserReached(1, 0, ("worker 2",))
    assert json.loads(json.dumps(AskUsers(1, "é").as_json())) == {"limit": 1, "after": "é"}
