"""Behaviours that only log handle many messages at once as `onMessage` handles each."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from wsservice.server.behaviours import GreetingServerProtocol, ServerProtocol

from ...support import BINARY, PING, PONG, TEXT, Served, frame

OCTETS = (
    frame(TEXT, b"one")
    + frame(BINARY, b"\x00\x02")
    + frame(TEXT, b"a\nb")
    + frame(PING, b"p")
    + frame(TEXT, b"last")
)
SAID = ["one", "(binary, 2 bytes) 0002", r"a\nb", "last"]


class OneByOne(ServerProtocol):
    """Logs as the others do, but is asked for each message."""

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        return super().onMessage(payload, isBinary)


def said(served: Served) -> list[str]:
    return [line.partition("Message received: ")[2] for line in served.log.lines]


@pytest.mark.parametrize("protocol", [ServerProtocol, GreetingServerProtocol, OneByOne])
@pytest.mark.parametrize("step", [1, 7, len(OCTETS)])
def test_each_message_has_its_line_however_it_came(
    protocol: type[ServerProtocol], step: int
) -> None:
    served = Served(protocol, greeting="")
    client = served.connect().open()
    for start in range(0, len(OCTETS), step):
        client.send(OCTETS[start : start + step])
    assert said(served) == SAID
    assert client.frames() == [(PONG, b"p")]


def test_messages_of_several_connections_keep_their_order_and_names() -> None:
    served = Served()
    clients = [served.connect().open() for _ in range(2)]
    for number in range(4):
        clients[number % 2].send(frame(TEXT, b"%d" % number) * 2)
    assert said(served) == ["0", "0", "1", "1", "2", "2", "3", "3"]
    assert [line.split()[0] for line in served.log.lines] == ["[1", "[1", "[2", "[2"] * 2


def test_what_waits_for_a_callback_is_not_overtaken() -> None:
    class Slow(ServerProtocol):
        ready: Deferred[None] = Deferred()

        def onOpen(self) -> Any:
            return self.ready

    served = Served(Slow)
    client = served.connect().open()
    client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
    assert said(served) == []
    Slow.ready.callback(None)
    client.send(frame(TEXT, b"c"))
    assert said(served) == ["a", "b", "c"]


def test_a_callback_that_an_instance_was_given_is_called() -> None:
    served = Served()
    client = served.connect().open()
    seen: list[bytes] = []
    client.protocol.onMessage = lambda payload, isBinary: seen.append(payload)
    client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
    assert seen == [b"a", b"b"]
    assert said(served) == []


@pytest.mark.parametrize("owner", [ServerProtocol, GreetingServerProtocol])
@pytest.mark.parametrize("early", [True, False])
def test_a_callback_that_a_class_was_given_later_is_called(
    monkeypatch: pytest.MonkeyPatch, owner: type[ServerProtocol], early: bool
) -> None:
    seen: list[bytes] = []

    def replace() -> None:
        monkeypatch.setattr(owner, "onMessage", lambda _, payload, __: seen.append(payload))

    if early:
        replace()
    served = Served(GreetingServerProtocol, greeting="")
    client = served.connect().open()
    if not early:
        replace()
    client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
    assert seen == [b"a", b"b"]
    assert said(served) == []
