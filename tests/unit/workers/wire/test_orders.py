from __future__ import annotations

from typing import Any

import attrs
import pytest

from wsservice.channels.history import Missed
from wsservice.channels.presence import Person, Presence
from wsservice.channels.query import Position
from wsservice.workers.child import report, service
from wsservice.workers.wire import orders
from wsservice.workers.wire.coding import BusMessage, BusQuestion, Reply
from wsservice.workers.wire.framing import MessageError
from wsservice.workers.wire.messages import DeliveredCounts, MissedPage, Publication
from wsservice.workers.wire.orders import (
    BeginTrace,
    CloseConnection,
    CloseUser,
    CommitConfig,
    DeliveryLost,
    DrainWorker,
    MakeWay,
    PingWorker,
    PrepareConfig,
    PresenceTold,
    ReopenLog,
    SeatGiven,
    SendTo,
    SendToUser,
    Start,
    SteerTrace,
    TellChannels,
    TellConnections,
    TellDoing,
    TellFigures,
    TellMembers,
    TellPresence,
    TellState,
    TellUsers,
    TicketTold,
    UserCounts,
    WorkerDoing,
    from_parent,
)
from wsservice.workers.wire.reports import from_worker

MESSAGES: list[tuple[str, BusMessage]] = [
    ("lost", DeliveryLost("news")),
    ("presence", PresenceTold(1, None)),
    ("ticket", TicketTold(1, '{"user": "tom"}')),
    ("ping", PingWorker()),
    ("drain", DrainWorker(roll=True)),
    ("reopen", ReopenLog()),
    ("commit", CommitConfig({"drain": 7})),
    ("trace", BeginTrace(1, "5")),
    ("flow", SteerTrace(1, "stop")),
    ("prepare", PrepareConfig({"drain": 7}, request=1)),
    ("ask_presence", TellPresence("news", 5, request=1)),
    ("figures", TellFigures(request=1)),
    ("doing", TellDoing(request=1)),
    ("list", TellConnections(5, 0, request=1)),
    ("members", TellMembers("news", 5, 0, request=1)),
    ("channels", TellChannels(5, None, request=1)),
    ("close", CloseConnection("5", 4001, "bye", request=1)),
    ("send", SendTo("5", "aGk=", True, request=1)),
    ("users", TellUsers(5, None, request=1)),
    ("send_user", SendToUser("tom", "aGk=", True, request=1)),
    ("close_user", CloseUser("tom", 4001, "bye", request=1)),
    ("seat", SeatGiven(1, True)),
    ("make_way", MakeWay("tom", (1, 2))),
    ("look", TellState("5", request=1)),
    ("start", Start({"port": 1}, "/a", "/b", ("/c",), ((2, "x"),), "text", "log", "", "00")),
    ("publication", Publication("news", b"hi", request=1)),
]


@pytest.mark.parametrize(("kind", "message"), MESSAGES)
def test_a_message_comes_as_it_was_sent(kind: str, message: BusMessage) -> None:
    assert message.kind == kind
    assert from_parent(message.body()) == message


def test_members_are_named_as_in_other_builds() -> None:
    # After a roll, a parent may have workers of a later build.
    assert {
        each.kind: {one.name for one in attrs.fields(each)} for each in orders._KINDS.classes
    } == {
        "start": {
            "config",
            "folder",
            "folder_now",
            "path",
            "places",
            "log",
            "messages",
            "service",
            "key",
        },
        "lost": {"channel"},
        "presence": {"request", "answer"},
        "ticket": {"request", "content"},
        "ping": set(),
        "drain": {"roll"},
        "reopen": set(),
        "commit": {"config"},
        "trace": {"trace", "connection"},
        "flow": {"trace", "to"},
        "prepare": {"request", "config"},
        "ask_presence": {"request", "channel", "limit"},
        "figures": {"request"},
        "doing": {"request"},
        "list": {"request", "limit", "after", "user"},
        "members": {"request", "channel", "limit", "after"},
        "channels": {"request", "limit", "after"},
        "close": {"request", "connection", "code", "reason"},
        "send": {"request", "connection", "data64", "binary"},
        "users": {"request", "limit", "after"},
        "send_user": {"request", "user", "data64", "binary"},
        "close_user": {"request", "user", "code", "reason"},
        "seat": {"request", "given"},
        "make_way": {"user", "connections"},
        "look": {"request", "connection"},
    }


def test_a_page_comes_too() -> None:
    page = MissedPage(1, "news", Missed((), Position(0, "e.0"), gap=True))
    assert isinstance(from_parent(page.body()), MissedPage)


def test_a_worker_handles_every_message_but_the_first() -> None:
    known = {type(each) for _, each in MESSAGES}
    assert known == {*orders._KINDS.classes, Publication}
    assert {*service._HEARD, *report._ASKED} == (known | {MissedPage}) - {Start}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (PrepareConfig({}), "no"),
        (TellPresence("a", 5), Presence("a", 1, (Person("1", "b", "c", "d"),), ("worker 2",))),
        (TellPresence("a", 5), Presence("a", 1, (Person("1", "b", "c", "d", "tom"),), (), 1, (7,))),
        (TellUsers(5, None), {"total": 1}),
        (SendToUser("tom", "", False), UserCounts(2, 1)),
        (CloseUser("tom", 1000, ""), UserCounts(2, 0)),
        (TellFigures(), {"held": 1}),
        (TellDoing(), WorkerDoing(3, 0.5)),
        (TellConnections(5, 0), {"total": 1}),
        (CloseConnection("5", 1000, ""), True),
        (SendTo("5", "", False), "handed"),
        (SendTo("5", "", False), None),
        (TellState("5"), None),
        (Publication("a", b""), DeliveredCounts(1, 2)),
    ],
)
def test_its_answer_comes_as_it_was_given(question: BusQuestion[Any], answer: Any) -> None:
    reply = from_worker(question.reply(answer).body())
    assert isinstance(reply, Reply)
    assert reply.request == question.request
    assert question.answer_of(reply.answer) == answer


@pytest.mark.parametrize("said", [None, [], {}, {"count": 1, "people": [1], "missing": []}])
def test_a_presence_that_is_none_is_refused(said: Any) -> None:
    with pytest.raises(MessageError, match="'ask_presence': that is no answer"):
        TellPresence("a", 5).answer_of(said)


def test_a_parent_of_an_earlier_build_asks_for_all_users() -> None:
    assert from_parent(b'{"say":"list","request":1,"limit":5,"after":0}') == TellConnections(
        5, 0, request=1
    )


def test_a_presence_without_users_is_that_of_earlier_builds() -> None:
    presence = Presence("a", 1, (Person("1", "b", "c", "d"),))
    assert presence.as_json() == {"count": 1, "people": [("1", "b", "c", "d")], "missing": []}


def test_a_payload_comes_as_it_was_given() -> None:
    to_user = SendToUser.of("tom", b"\x00\xff", True)
    assert (to_user.data64, to_user.payload) == ("AP8=", b"\x00\xff")
    sent = SendTo.of("5", b"\x00\xff", True)
    assert sent.data64 == "AP8="
    assert sent.payload == b"\x00\xff"
