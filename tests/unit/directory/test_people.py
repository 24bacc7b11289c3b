from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from wsservice.directory.listing import Closing, Wanted
from wsservice.directory.outcomes import SendOutcome, TraceRefusal
from wsservice.directory.people import LocalPeople
from wsservice.directory.presence import ChannelsWanted
from wsservice.directory.tracing import MOST_TRACES, Trace, Traces
from wsservice.server.behaviours import EchoServerProtocol

from ...support import CLOSE, TEXT, Served, close_payload


class Local:
    """The connections of a server in memory."""

    def __init__(self) -> None:
        self.served = Served(EchoServerProtocol)
        hub: Any = self.served.hub
        self.people = LocalPeople(lambda: hub, hub, Traces(self.served.clock))

    def do(self, what: str, *arguments: Any) -> Any:
        done: list[Any] = []
        Deferred.fromCoroutine(getattr(self.people, what)(*arguments)).addCallback(done.append)
        return done[0]


@pytest.fixture
def local() -> Local:
    return Local()


def test_the_lists_are_of_this_process(local: Local) -> None:
    for path in ("/news", "/chat", "/news"):
        local.served.connect().open(path)
    assert local.do("listed", Wanted(1))["total"] == 3
    assert local.do("members", "news", Wanted())["total"] == 2
    assert local.do("channels", ChannelsWanted(1))["channels"] == [
        {"channel": "chat", "connections": 1}
    ]


def test_one_is_closed(local: Local) -> None:
    client = local.served.connect().open()
    assert local.do("close", "1", Closing(4001, "enough")) is True
    assert client.frames() == [(CLOSE, close_payload(4001, b"enough"))]
    assert local.do("close", "2", Closing()) is False


def test_one_is_sent_a_message(local: Local) -> None:
    client, _ = local.served.connect().open(), local.served.connect()
    assert local.do("send", "1", b"hi", False) is SendOutcome.HANDED
    assert client.frames() == [(TEXT, b"hi")]
    assert local.do("send", "2", b"hi", False) is SendOutcome.OPENING
    client.protocol.go_away()
    assert local.do("send", "1", b"hi", False) is SendOutcome.CLOSING
    assert local.do("send", "3", b"hi", False) is SendOutcome.GONE


def test_what_a_connection_does_not_take_is_dropped(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = local.served.connect().open()
    monkeypatch.setattr(client.protocol, "sendMessage", lambda *_: False)
    assert local.do("send", "1", b"hi", False) is SendOutcome.DROPPED


def test_one_is_traced_or_the_reason_is_told(local: Local) -> None:
    local.served.connect().open()
    local.served.connect()
    for _ in range(MOST_TRACES):
        assert isinstance(local.do("trace", "1"), Trace)
    assert local.do("trace", "1") is TraceRefusal.TOO_MANY
    assert local.do("trace", "2") is TraceRefusal.OPENING
    assert local.do("trace", "3") is TraceRefusal.GONE
