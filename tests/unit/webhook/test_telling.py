from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from wsservice.auth.contract import User
from wsservice.server.behaviours import EchoServerProtocol, ServerProtocol
from wsservice.webhook import telling

from ...support import BINARY, TEXT, Client, Served, frame


class Hook:
    """A webhook that keeps what it is told."""

    seconds = 1_800_000_000.0

    def __init__(self, *events: str) -> None:
        self.events = frozenset(events)
        self.told: list[dict[str, Any]] = []
        self.peers: set[str] = set()

    def tell(self, event: bytes, peer: str) -> None:
        self.told.append(json.loads(event))
        self.peers.add(peer)


def served(hook: Any, protocol: type[ServerProtocol] = EchoServerProtocol) -> Served:
    made = Served(telling(protocol, hook))
    made.clock.advance(hook.seconds - 5)
    return made


def connect(made: Served) -> Client:
    client = made.connect()
    client.ask("/chat/", "User-Agent: Some/1.0")
    return client


def test_who_comes_and_who_leaves() -> None:
    hook = Hook("connect", "disconnect")
    made = served(hook)
    client = connect(made)
    client.text("hello")
    assert client.frames() == [(TEXT, b"hello")]
    client.close(4001)
    made.clock.advance(5)
    client.lose()
    assert hook.told == [
        {
            "type": "connect",
            "time": "2027-01-15T08:00:00.000Z",
            "connection": "1",
            "peer": "192.0.2.1:5000",
            "channels": ["chat"],
            "user_agent": "Some/1.0",
        },
        {
            "type": "disconnect",
            "time": "2027-01-15T08:00:00.000Z",
            "connection": "1",
            "peer": "192.0.2.1:5000",
            "channels": ["chat"],
            "code": 4001,
            "reason": "",
            "seconds": 5.0,
            "messages": {"received": 1, "sent": 1},
        },
    ]


def test_one_that_is_lost_has_the_code_for_that() -> None:
    hook = Hook("disconnect")
    connect(served(hook)).lose()
    assert [(each["type"], each["code"], each["reason"]) for each in hook.told] == [
        ("disconnect", 1006, "")
    ]


def test_one_that_never_was_open_is_not_told() -> None:
    hook = Hook("connect", "disconnect", "message")
    made = served(hook)
    made.connect().lose()
    made.connect().ask("bad")
    assert hook.told == []


def test_messages_when_asked_for_and_the_behaviour_has_them_too() -> None:
    hook = Hook("message")
    client = connect(served(hook))
    client.text("\u00e4<b>")
    client.send(frame(BINARY, b"\0\xff"))
    assert client.frames() == [(TEXT, "\u00e4<b>".encode()), (BINARY, b"\0\xff")]
    client.lose()
    assert [
        (each["type"], each["channels"], each.get("data"), each.get("data64")) for each in hook.told
    ] == [("message", ["chat"], "\u00e4<b>", None), ("message", ["chat"], None, "AP8=")]


def test_the_default_behaviours_messages_are_told_and_logged() -> None:
    hook = Hook("message")
    made = served(hook, ServerProtocol)
    client = connect(made)
    client.text("one")
    client.text("two")
    assert [each["data"] for each in hook.told] == ["one", "two"]
    assert len(made.log.lines) == 2


@pytest.mark.parametrize("events", [("connect",), ("message",), ("connect", "message")])
def test_the_behaviour_itself_is_as_it_was(events: tuple[str, ...]) -> None:
    hook: Any = Hook(*events)
    class_ = telling(EchoServerProtocol, hook)
    assert issubclass(class_, EchoServerProtocol)
    assert class_ is not EchoServerProtocol
    assert repr(class_) == repr(EchoServerProtocol)
    assert not hasattr(EchoServerProtocol, "_webhook")


def test_what_is_not_asked_for_costs_nothing() -> None:
    hook: Any = Hook("connect")
    assert telling(ServerProtocol, hook).onMessage is ServerProtocol.onMessage
    assert telling(ServerProtocol, hook)._takes_all


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        (IPv4Address("TCP", "192.0.2.7", 5000), "192.0.2.7"),
        (IPv6Address("TCP", "2001:db8::1:2:3:4", 5000), "2001:db8::/64"),
        (IPv6Address("TCP", "::ffff:192.0.2.7", 5000), "192.0.2.7"),
        (UNIXAddress(None), ""),
    ],
)
def test_whose_an_event_is(address: Any, peer: str) -> None:
    hook = Hook("connect", "message", "disconnect")
    made = served(hook)
    client = made.connect(address)
    client.ask("/chat/")
    client.text("hello")
    client.lose()
    assert [each["type"] for each in hook.told] == ["connect", "message", "disconnect"]
    assert hook.peers == {peer}


class Named(EchoServerProtocol):
    def onConnect(self, request: Any) -> None:
        self.user = User('tom \u202e"')


def test_events_name_the_user() -> None:
    hook = Hook("connect", "message", "disconnect")
    client = connect(served(hook, Named))
    client.text("hello")
    client.lose()
    assert [(each["type"], each["user"]) for each in hook.told] == [
        ("connect", 'tom \u202e"'),
        ("message", 'tom \u202e"'),
        ("disconnect", 'tom \u202e"'),
    ]
    assert hook.told[0]["peer"] == "192.0.2.1:5000"
    assert hook.peers == {"192.0.2.1"}


def test_events_without_a_user_have_no_such_member() -> None:
    hook = Hook("connect", "disconnect")
    connect(served(hook)).lose()
    assert [each for each in hook.told if "user" in each] == []
