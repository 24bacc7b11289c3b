from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from wsservice.broker.receiving import receiving
from wsservice.protocol.owner import Hold
from wsservice.server.behaviours import EchoServerProtocol, GreetingServerProtocol, ServerProtocol

from ...support import BINARY, CLOSE, TEXT, Client, Served, close_payload, frame

TURNED_AWAY = (CLOSE, close_payload(1013, b"messages cannot be taken now"))


class Box:
    """An inbox that has room, or not."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.is_pressed = False
        self.held: list[Any] = []
        self.taken: list[Any] = []

    @property
    def refuses(self) -> bool:
        return not self.room

    def wait(self, go_on: Any) -> None:
        self.held.append(go_on)

    def take(self, sender: Any, payload: bytes, is_binary: bool) -> bool:
        if not self.room:
            return False
        self.room -= 1
        self.taken.append((sender.id, sender.channel, payload, is_binary))
        return True


def connect(box: Any, protocol: type[ServerProtocol] = EchoServerProtocol) -> Client:
    return Served(receiving(protocol, box)).connect().open("/chat/")


def test_a_message_goes_there_and_to_the_behaviour() -> None:
    box = Box()
    client = connect(box)
    client.text("hello")
    client.send(frame(BINARY, b"\x00"))
    assert box.taken == [("1", "chat", b"hello", False), ("1", "chat", b"\x00", True)]
    assert client.frames() == [(TEXT, b"hello"), (BINARY, b"\x00")]


def test_the_default_behaviour_logs_it_too() -> None:
    box: Any = Box()
    served = Served(receiving(ServerProtocol, box))
    client = served.connect().open()
    client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
    assert [each[2] for each in box.taken] == [b"a", b"b"]
    assert len(served.log.lines) == 2


def test_who_sends_what_cannot_be_taken_is_turned_away() -> None:
    box = Box(room=1)
    client = connect(box)
    client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
    assert client.frames() == [(TEXT, b"a"), TURNED_AWAY]


class Slow(EchoServerProtocol):
    """Takes its time for each message."""

    waits: Deferred[None] | None = None

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        super().onMessage(payload, isBinary)
        self.waits = Deferred()
        return self.waits


def test_what_comes_behind_it_is_not_taken_either() -> None:
    class Moody(Box):
        """It has room again for what comes behind one that it has refused."""

        def take(self, sender: Any, payload: bytes, is_binary: bool) -> bool:
            return super().take(sender, payload, is_binary) and payload != b"b"

    box = Moody()
    client = connect(box, Slow)
    client.send(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(TEXT, b"c"))
    client.protocol.waits.callback(None)
    client.text("d")
    assert [each[2] for each in box.taken] == [b"a", b"b"]
    assert client.frames() == [(TEXT, b"a"), TURNED_AWAY]


def test_who_waits_for_room_is_told_once() -> None:
    box = Box()
    client = connect(box, Slow)
    box.is_pressed = True
    client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
    box.held.pop()()
    client.protocol._reader.hold(Hold.INBOX)
    client.protocol.waits.callback(None)
    assert [each[2] for each in box.taken] == [b"a", b"b"]
    assert box.held == []


def test_who_sends_more_than_is_appended_is_read_no_further() -> None:
    box = Box()
    client = connect(box)
    box.is_pressed = True
    client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
    client.text("c")
    assert [each[2] for each in box.taken] == [b"a"]
    assert client.transport.is_paused()
    (go_on,) = box.held
    go_on()
    assert [each[2] for each in box.taken] == [b"a", b"b"]
    box.is_pressed = False
    box.held.pop()()
    assert client.frames() == [(TEXT, b"a"), (TEXT, b"b"), (TEXT, b"c")]
    assert not client.transport.is_paused()


def test_what_came_before_the_end_is_taken_and_nothing_is_read_again() -> None:
    box = Box()
    client = connect(box)
    box.is_pressed = True
    client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
    client.lose()
    assert [each[2] for each in box.taken] == [b"a", b"b"]
    while box.held:
        box.held.pop()()
    assert [each[2] for each in box.taken] == [b"a", b"b"]


def test_a_sender_is_turned_away_with_the_code_of_the_configuration() -> None:
    box: Any = Box(room=0)
    client = Served(receiving(EchoServerProtocol, box), overload_code=4013).connect().open()
    assert client.frames() == [(CLOSE, close_payload(4013, b"messages cannot be taken now"))]


def test_who_is_new_is_turned_away_without_a_greeting() -> None:
    box = Box(room=0)
    client = connect(box, GreetingServerProtocol)
    assert client.frames() == [TURNED_AWAY]
    client.close(1013)
    client.lose()
    assert box.taken == []
    assert len(client.protocol.factory.hub) == 0


def test_the_behaviour_itself_is_as_it_was() -> None:
    box: Any = Box()
    class_ = receiving(EchoServerProtocol, box)
    assert issubclass(class_, EchoServerProtocol)
    assert repr(class_) == repr(EchoServerProtocol)
    assert not hasattr(EchoServerProtocol, "_inbox")
