from __future__ import annotations

import attrs
import pytest

from wsservice.workers.parent import process
from wsservice.workers.wire import reports
from wsservice.workers.wire.coding import BusMessage, Reply
from wsservice.workers.wire.framing import MessageError
from wsservice.workers.wire.messages import Publication
from wsservice.workers.wire.reports import (
    AskHistory,
    AskPresence,
    AskSeat,
    AskTicket,
    ChannelsChanged,
    ConnectionsChanged,
    LastFigures,
    Leaving,
    NoReply,
    Pong,
    Ready,
    StartFailed,
    TraceEvent,
    from_worker,
)

MESSAGES: list[tuple[str, BusMessage]] = [
    ("ready", Ready(500)),
    ("failed", StartFailed("--protocol: no")),
    ("leaving", Leaving()),
    ("pong", Pong()),
    ("counts", ConnectionsChanged((1, 2), ())),
    ("answer", Reply(1, {"a": [1]})),
    ("refused", NoReply(1)),
    ("ask", AskHistory(1, "news", (2**53, "e.1"))),
    ("ask", AskHistory(1, "news", None)),
    ("ask_presence", AskPresence(1, "news", 5)),
    ("ask_seat", AskSeat(1, 7, "tom")),
    ("ask_ticket", AskTicket(1, "ab")),
    ("channels", ChannelsChanged(("a \udcff",), ())),
    ("figures", LastFigures({"held": 1})),
    ("traced", TraceEvent(1, None)),
]


@pytest.mark.parametrize(("kind", "message"), MESSAGES)
def test_a_message_comes_as_it_was_sent(kind: str, message: BusMessage) -> None:
    assert message.kind == kind
    assert from_worker(message.body()) == message


def test_members_are_named_as_in_other_builds() -> None:
    assert {
        each.kind: {one.name for one in attrs.fields(each)} for each in reports._KINDS.classes
    } == {
        "ready": {"room"},
        "failed": {"problem"},
        "leaving": set(),
        "pong": set(),
        "counts": {"taken", "left"},
        "answer": {"request", "answer"},
        "refused": {"request"},
        "ask": {"request", "channel", "since", "latest"},
        "ask_presence": {"request", "channel", "limit"},
        "ask_seat": {"request", "connection", "user"},
        "ask_ticket": {"request", "digest"},
        "channels": {"came", "left"},
        "figures": {"figures"},
        "traced": {"trace", "event"},
    }


def test_the_parent_handles_every_message() -> None:
    assert {type(each) for _, each in MESSAGES} == {*reports._KINDS.classes}
    assert {*process._HEARD} == {*reports._KINDS.classes}


def test_a_publication_is_not_read_here() -> None:
    with pytest.raises(MessageError):
        from_worker(Publication("news", b"hi").body())
