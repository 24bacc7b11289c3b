"""A connection has few classes and few names: its parts are objects with their own state."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketClientProtocol, WebSocketServerProtocol
from twisted.internet.defer import Deferred

import wsservice.protocol
from wsservice.client.protocol import ClientProtocol
from wsservice.server.behaviours import ServerProtocol

from ...support import TEXT, Connecting, Logged, Recorder, Served, frame

MOST_CLASSES: dict[type, int] = {ServerProtocol: 5, ClientProtocol: 3}
MOST_NAMES: dict[type, int] = {ServerProtocol: 61, ClientProtocol: 31}
"""Our own classes behind a connection, and our own private names on it.

With a mixin for each part there were 14 and 156 of a server, 11 and 119 of a client.
"""

PARTS = [
    "callbacks",
    "closing",
    "compressed",
    "fragments",
    "framing",
    "keepalive",
    "lingering",
    "reading",
    "slowness",
    "unfinished",
]


@pytest.mark.parametrize("protocol", MOST_CLASSES)
def test_few_classes_are_behind_a_connection(protocol: type) -> None:
    ours = [each for each in protocol.__mro__ if each.__module__.startswith("wsservice")]
    assert len(ours) <= MOST_CLASSES[protocol], ours


def served() -> Any:
    client = Served().connect().open()
    client.text("hello")
    return client.protocol


def connected() -> Any:
    connecting = Connecting()
    connecting.server.accept()
    return connecting.protocol


@pytest.mark.parametrize(
    ("protocol", "autobahns", "opened"),
    [
        (ServerProtocol, WebSocketServerProtocol, served),
        (ClientProtocol, WebSocketClientProtocol, connected),
    ],
)
def test_few_private_names_are_on_a_connection(
    protocol: type, autobahns: Any, opened: Callable[[], Any]
) -> None:
    private = {name for name in dir(opened()) if re.match("_[^_]", name)}
    # Some of Autobahn's are on its instances only.
    ours = private - set(dir(autobahns)) - {"_perMessageCompress", "_isMessageCompressed"}
    assert len(ours) <= MOST_NAMES[protocol], sorted(ours)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_reads_no_private_name_of_its_connection(part: str) -> None:
    source = (Path(wsservice.protocol.__file__).parent / f"{part}.py").read_text()
    assert re.findall(r"connection\._\w+", source) == []


@pytest.mark.parametrize("part", ["_reader", "_queue", "_keep_alive"])
def test_a_part_has_no_dictionary(part: str) -> None:
    assert not hasattr(getattr(served(), part), "__dict__")


class Leaving(Recorder):
    """Loses its connection while it handles a message."""

    lose: Callable[[], None]
    answer: Any = None

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        super().onMessage(payload, isBinary)
        self.lose()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [None, Deferred(), RuntimeError("too late")])
def test_a_connection_may_be_lost_while_it_is_read(answer: Any, logged: Logged) -> None:
    client = Served(Leaving).connect().open()
    client.protocol.lose = client.lose
    client.protocol.answer = answer
    client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
    assert client.protocol.seen == [(b"1", False), ("close", False, 1006)]
    assert [each.splitlines()[-1] for each in logged.failures] == (
        ["builtins.RuntimeError: too late"] if isinstance(answer, Exception) else []
    )


def test_what_is_left_of_a_lost_connection_does_no_harm() -> None:
    client = Served(Recorder).connect().open()
    client.text("hello")
    client.lose()
    protocol = client.protocol
    protocol.pause_reading()
    protocol.resume_reading()
    protocol.end_slice()
    client.text("nobody reads this")
    assert not protocol.close()
    assert not protocol.sendMessage(b"")
    assert protocol.traffic().messages_received == 1
    assert (protocol.rtt, protocol.keepalive_timed_out, protocol.failed_with) == (None, False, None)


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (ServerProtocol, "drop_later"),
        (ServerProtocol, "send_envelope"),
        (ServerProtocol, "keeps_context"),
        (ClientProtocol, "take_all"),
    ],
)
def test_a_behaviour_may_not_take_a_name_of_a_part(protocol: type, name: str) -> None:
    with pytest.raises(TypeError, match=f"^Chat has {name}: a connection needs that name itself"):
        type("Chat", (protocol,), {name: None, "__module__": "chat"})


@pytest.mark.parametrize("protocol", [ServerProtocol, ClientProtocol])
def test_it_may_have_autobahns_and_its_own(protocol: type) -> None:
    names = dict.fromkeys(["onMessage", "onCloseFrame", "consumeData", "drop", "room", "_rooms"])
    type("Chat", (protocol,), {**names, "__module__": "chat"})
