"""History and resuming with real processes: cut connections, restarts, peers that do not read."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from .conftest import Connect
from .processes import Program, Programs, free_port
from .wire import Wire

BEHAVIOUR = """
from wsservice import ServerProtocol


class Feed(ServerProtocol):
    def onOpen(self):
        self.sendMessage(b"hello")

    def onMessage(self, payload, isBinary):
        if payload != b"cut":
            self.broadcast(payload, isBinary)
            return
        for each in self.factory.hub:
            if each is not self:
                each.transport.abortConnection()
"""
OFFER = "Sec-WebSocket-Protocol: wsservice.v1\r\n"


@pytest.fixture
def behaviour(tmp_path: Path) -> str:
    (tmp_path / "feed.py").write_text(BEHAVIOUR)
    return "feed.Feed"


def speak(port: int, path: str = "/news", receive_buffer: int = 0) -> Wire:
    """An open connection that speaks the subprotocol."""
    return Wire(port, path=path, receive_buffer=receive_buffer).upgrade(headers=OFFER)


def envelope(wire: Wire) -> dict[str, Any]:
    """The next one that has a place."""
    while True:
        said = wire.receive()
        assert isinstance(said, str), said
        members: dict[str, Any] = json.loads(said)
        if "offset" in members:
            return members


def received(client: Program) -> list[str]:
    return [line for line in client.stdout.lines if line != "hello"]


def test_cut_off_again_and_again_a_client_misses_nothing_and_gets_nothing_twice(
    programs: Programs, connect: Connect, behaviour: str
) -> None:
    server = programs.twistd("--port", "0", "--protocol", behaviour, "--history", "10000")
    publisher = connect(server.port, path="/news")
    url = f"ws://127.0.0.1:{server.port}/news"
    client = programs.client(url, "--resume", "--until", "^4999$")
    for cut in range(5):
        client.stdout.wait_for("hello\n", cut + 1)
        for number in range(1000):
            if number == 500 and cut < 4:
                publisher.send("cut")
            publisher.send(str(1000 * cut + number))
    assert client.wait() == 0
    assert received(client) == [str(number) for number in range(5000)]
    assert client.stderr.text.count("trying again") == 4
    assert "missed" not in client.stderr.text


def test_cut_off_before_the_first_message_it_does_not_miss_that(
    programs: Programs, connect: Connect, behaviour: str
) -> None:
    server = programs.twistd("--port", "0", "--protocol", behaviour, "--history", "100")
    publisher = connect(server.port, path="/news")
    url = f"ws://127.0.0.1:{server.port}/news"
    client = programs.client(url, "--resume", "--until", "^first$")
    client.stdout.wait_for("hello\n")
    publisher.send("cut")
    publisher.send("first")
    assert client.wait() == 0
    assert received(client) == ["first"]


def test_after_a_restart_it_is_told_that_there_is_a_gap_and_goes_on(
    programs: Programs, connect: Connect, behaviour: str
) -> None:
    port = free_port()
    options = ("--port", str(port), "--protocol", behaviour, "--history", "100")
    server = programs.twistd(*options)
    assert server.port == port
    client = programs.client(f"ws://127.0.0.1:{port}/news", "--resume", "--until", "^after$")
    client.stdout.wait_for("hello\n")
    connect(port, path="/news").send("before")
    client.stdout.wait_for("before\n")
    server.signal(signal.SIGKILL)
    server.wait()
    again = programs.twistd(*options)
    assert again.port == port
    client.stderr.wait_for('messages of the channel "news" were missed\n')
    connect(port, path="/news").send("after")
    assert client.wait() == 0
    assert received(client) == ["before", "after"]


def test_who_does_not_read_what_it_missed_is_neither_closed_nor_waited_for(
    programs: Programs, connect: Connect, behaviour: str
) -> None:
    server = programs.twistd(
        "--port", "0", "--protocol", behaviour, "--history", "10000", "--send-buffer", "65536"
    )
    publisher = connect(server.port, path="/news")
    first = speak(server.port)
    place = envelope(first)
    assert (place["joined"], place["offset"]) == (True, 0)
    first.end()

    def publish(start: int, end: int) -> None:
        for number in range(start, end):
            publisher.send(f"{number:05}".ljust(5000, "x"))
            while publisher.receive() != f"{number:05}".ljust(5000, "x"):
                pass

    publish(0, 2000)
    slow = speak(server.port, f"/news?since=0&epoch={place['epoch']}", receive_buffer=4096)
    publish(2000, 2500)
    said = [envelope(slow) for _ in range(2500)]
    assert [each["offset"] for each in said] == list(range(1, 2501))
    assert [each["data"][:5] for each in said] == [f"{number:05}" for number in range(2500)]
    publish(2500, 2501)
    assert envelope(slow)["offset"] == 2501
    slow.close()
    slow.end()
    assert "1013" not in server.log.text


def test_a_connection_may_be_on_several_channels_and_no_log_has_its_query(
    programs: Programs, connect: Connect, behaviour: str
) -> None:
    server = programs.twistd("--port", "0", "--protocol", behaviour)
    several = connect(server.port, path="/home?token=secret&channel=news&channel=caf%C3%A9")
    assert several.receive() == "hello"
    for path in ("/news", "/caf%C3%A9", "/other", "/home"):
        connect(server.port, path=path).send(path)
    assert sorted(str(several.receive()) for _ in range(3)) == ["/caf%C3%A9", "/home", "/news"]
    assert connect(server.port, path="/home?token=secret&channel=").status == 400
    server.log.wait_for("refused with 400: channel 1 of the query has no name\n")
    server.signal(signal.SIGTERM)
    several.answer_close()
    server.wait()
    assert "secret" not in server.log.text
