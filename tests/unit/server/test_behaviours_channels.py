"""The events of channels that a behaviour gets."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from wsservice.server.behaviours import ServerProtocol

from ...support import TEXT, Logged, Served, close_payload


class Told(ServerProtocol):
    seen: list[Any]

    def onConnect(self, request: Any) -> Any:
        self.seen = []

    def onOpen(self) -> Any:
        self.seen.append("open")

    def onJoin(self, channel: str) -> Any:
        self.seen.append(("join", channel, len(self.factory.hub.local_members(channel))))

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        self.seen.append(payload)

    def onLeave(self, channel: str) -> Any:
        self.seen.append(("leave", channel, len(self.factory.hub.local_members(channel))))
        self.factory.hub.publish(channel, b"somebody left")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> Any:
        self.seen.append("close")


def test_coming_and_leaving_in_their_order() -> None:
    made = Served(Told)
    stays, leaves = made.connect().open("/room"), made.connect().open("/room/")
    leaves.text("hello")
    leaves.close()
    leaves.lose()
    assert leaves.protocol.seen == [
        "open",
        ("join", "room", 2),
        b"hello",
        ("leave", "room", 1),
        "close",
    ]
    assert stays.protocol.seen == ["open", ("join", "room", 1)]
    assert (TEXT, b"somebody left") in stays.frames()


def test_each_of_several_channels_is_told() -> None:
    class Several(Told):
        @property
        def channels(self) -> tuple[str, ...]:
            return ("a", "b")

    client = Served(Several).connect().open("/a")
    client.lose()
    assert [each[:2] for each in client.protocol.seen if isinstance(each, tuple)] == [
        ("join", "a"),
        ("join", "b"),
        ("leave", "a"),
        ("leave", "b"),
    ]


def test_who_was_refused_or_failed_to_open_was_never_there(logged: Logged) -> None:
    class Failing(Told):
        def onOpen(self) -> None:
            raise RuntimeError("no")

    client = Served(Failing).connect().open("/room")
    client.lose()
    assert client.protocol.seen == ["close"]
    refused = Served(Told).connect()
    refused.ask("bad")
    refused.lose()
    assert not hasattr(refused.protocol, "seen")
    assert len(logged.failures) == 1


def test_who_joined_leaves_whatever_fails_meanwhile(logged: Logged) -> None:
    waited: Deferred[None] = Deferred()

    class Failing(Told):
        def onMessage(self, payload: bytes, isBinary: bool) -> Any:
            return waited

    client = Served(Failing).connect().open("/room")
    client.text("x")
    client.lose()
    assert client.protocol.seen == ["open", ("join", "room", 1)]
    waited.errback(RuntimeError("no"))
    assert client.protocol.seen[2:] == [("leave", "room", 0), "close"]


def test_what_it_raises_closes_with_1011(logged: Logged) -> None:
    class Failing(Told):
        def onJoin(self, channel: str) -> None:
            raise RuntimeError("no")

    client = Served(Failing).connect().open("/room")
    assert client.frames() == [(8, close_payload(1011))]
    client.lose()
    assert client.protocol.seen == ["open", ("leave", "room", 0), "close"]


def test_a_coroutine_is_waited_for() -> None:
    waited: Deferred[None] = Deferred()

    class Slow(Told):
        async def onJoin(self, channel: str) -> None:
            await waited
            self.seen.append("joined")

    client = Served(Slow).connect().open("/room")
    client.text("x")
    assert client.protocol.seen == ["open"]
    waited.callback(None)
    assert client.protocol.seen == ["open", "joined", b"x"]


def test_nobody_is_called_where_nobody_wants_to_be() -> None:
    class Plain(ServerProtocol):
        def onOpen(self) -> None:
            """Nothing."""

    assert not Plain._tells_of_channels
    assert Told._tells_of_channels
    client = Served(Plain).connect().open("/room")
    assert client.protocol._told_of == ()
