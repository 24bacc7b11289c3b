"""The people on a channel of a service in several processes, on one node or on several."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import Connect
from .processes import Program, Programs, wait_until
from .redis import Redis, Redises
from .test_cluster import meet
from .test_workers import workers
from .test_workers_admin import Face
from .wire import Closed, Wire

EXAMPLES = Path(__file__).parents[2] / "examples"

ROOM = """
import json, os
from wsservice import ServerProtocol

class Room(ServerProtocol):
    async def onMessage(self, payload, isBinary):
        presence = await self.factory.hub.presence(self.channel, limit=2)
        said = {
            "count": presence.count,
            "ids": [each.id for each in presence.people],
            "missing": presence.missing,
            "pid": os.getpid(),
        }
        self.sendMessage(json.dumps(said).encode())
"""


@pytest.fixture
def redis(redises: Redises) -> Redis:
    return redises.start()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def said(wire: Wire, message: str = "") -> Any:
    """Return the next message of a connection, after sending one if it is given."""
    if message:
        wire.send(message)
    received = wire.receive()
    assert not isinstance(received, Closed), received
    return json.loads(received)


@pytest.mark.parametrize("options", [(), ("--history", "10"), ("--workers", "1")])
def test_the_chat_counts_the_whole_room(
    programs: Programs, connect: Connect, options: tuple[str, ...]
) -> None:
    shutil.copy(EXAMPLES / "chat.py", programs.folder)
    server = programs.twistd(
        *("--port", "0", "--workers", "2", "--protocol", "chat.Chat", *options)
    )
    here: list[Wire] = []
    for number in range(1, 5):
        wire = connect(server.port, path="/room")
        here.append(wire)
        wire.send(json.dumps({"type": "name", "text": f"person {number}"}))
        # All who are there hear it, those of the other worker too.
        for each in here:
            message = said(each)
            assert message["who"] == f"person {number}"
            assert message["people"] == number
    here.pop().close()
    for each in here:
        assert (message := said(each))["what"] == "left"
        assert message["people"] == 3


def room(programs: Programs, *options: str) -> Program:
    (programs.folder / "room.py").write_text(ROOM)
    return programs.twistd(*("--port", "0", "--workers", "2", "--protocol", "room.Room", *options))


def test_who_is_there_is_listed_wherever_it_is_asked(programs: Programs, connect: Connect) -> None:
    server = room(programs)
    workers(server)
    wires = [connect(server.port, path="/room") for _ in range(4)]
    connect(server.port, path="/other")
    for wire in wires:
        wait_until(lambda wire=wire: said(wire, "who?")["count"] == 4, "all four")  # type: ignore[misc]
    answers = [said(wire, "who?") for wire in wires]
    assert len({each.pop("pid") for each in answers}) == 2
    assert answers == [{"count": 4, "ids": ["1", "2"], "missing": []}] * 4


def test_a_worker_that_does_not_answer_is_not_taken_for_an_empty_one(
    programs: Programs, connect: Connect
) -> None:
    server = room(programs)
    port = server.port
    workers(server)
    wires = [connect(port, path="/room") for _ in range(2)]
    one, other = wires
    wait_until(lambda: said(one, "who?")["count"] == 2, "both")
    stuck = said(other, "who?")["pid"]
    with stopped(stuck):
        answer = said(one, "who?")
        assert answer["count"] == 1
        assert [f"{each} (pid {stuck}): started" for each in answer["missing"]] == [
            line.partition("] ")[2] for line in server.log.ending(f"(pid {stuck}): started")
        ]
    wait_until(lambda: not said(one, "who?")["missing"], "it answers again")
    assert said(one, "who?")["count"] == 2


def test_on_several_nodes_it_is_that_of_all(
    programs: Programs, redis: Redis, connect: Connect
) -> None:
    (programs.folder / "room.py").write_text(ROOM)
    protocol = ("--protocol", "room.Room")
    nodes = meet(programs, redis, (*protocol, "--workers", "2"), protocol)
    wires = [connect(node.port, path="/room") for node in nodes for _ in range(2)]
    for wire in wires:
        wait_until(lambda wire=wire: said(wire, "who?")["count"] == 4, "all four")  # type: ignore[misc]
    first = sorted(f"{node.name}.{number}" for node in nodes for number in (1, 2))[:2]
    for wire in wires:
        answer = said(wire, "who?")
        assert (answer["ids"], answer["missing"]) == (first, [])
    with stopped(said(wires[0], "who?")["pid"]):
        # A part of a node that does not answer is named by those of other nodes.
        answer = said(wires[2], "who?")
        assert answer["count"] == 3
        assert [each.partition(" ")[0] for each in answer["missing"]] == [nodes[0].name]
    with stopped(nodes[0].program.process.pid):
        answer = said(wires[2], "who?")
        assert answer["count"] == 2
        assert answer["missing"] == [nodes[0].name]


def test_what_a_slow_worker_is_asked_to_do_is_not_said_not_to_be_there(
    programs: Programs, connect: Connect
) -> None:
    face = Face(programs)
    client = connect(face.port)
    stuck = int(str(client.receive()))
    ((id_, channel),) = [
        (each["id"], each["channel"]) for each in face.ask("/connections")[1]["connections"]
    ]
    with stopped(stuck):
        for target, body in (("send", "hello"), ("close", "{}"), ("trace", None)):
            status, answer = face.ask(f"/connections/{id_}/{target}", body)
            assert status == 504, answer
            assert f"whether connection {id_} was reached is not known" in answer["error"]
        for target in ("/connections", "/channels", f"/channels/{channel}"):
            answer = face.ask(target)[1]
            assert answer["total"] == 0
            assert one_worker(answer["missing"])
        status, answer = face.ask("/publish/x", "hello")
        assert status == 202
    # It was done all the same.
    assert client.receive() == "hello"
    assert client.answer_close().code == 1000
    assert face.ask(f"/connections/{id_}/send", "hello")[0] == 404


def one_worker(missing: list[str]) -> bool:
    """Return True if one worker is named."""
    return len(missing) == 1 and missing[0] in ("worker 1", "worker 2")


def test_a_sighup_that_a_worker_does_not_answer_changes_nothing(
    programs: Programs, connect: Connect
) -> None:
    file = programs.folder / "ws.toml"
    file.write_text('greeting = "one"\n')
    server = programs.twistd("--port", "0", "--workers", "2", "--config", file)
    pids = workers(server)
    with stopped(pids[1]):
        file.write_text('greeting = "two"\n')
        server.signal(signal.SIGHUP)
        server.log.wait_for("SIGHUP: nothing was changed, worker ")
        assert f"(pid {pids[1]}) did not answer within 5 s" in server.log.text
    for _ in range(6):
        assert connect(server.port).receive() == "one"
    server.signal(signal.SIGHUP)
    server.log.wait_for("SIGHUP: the settings were read anew; changed: greeting")
    wait_until(lambda: {connect(server.port).receive() for _ in range(6)} == {"two"}, "both")
