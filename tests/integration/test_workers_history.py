"""One history for all workers: nothing is missed, nothing comes twice, whatever becomes of them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import Connect
from .processes import Program, Programs, free_port, wait_until
from .test_resuming import OFFER
from .test_workers import pids, workers
from .wire import Wire

BEHAVIOUR = """
import os
import wsservice

class Feed(wsservice.ServerProtocol):
    def onOpen(self):
        self.sendMessage(b"pid %d" % os.getpid())

    def onMessage(self, payload, isBinary):
        self.broadcast(payload, isBinary)
"""


class Service:
    """A service with two workers, a history, and an admin face."""

    def __init__(self, programs: Programs, *options: str) -> None:
        (programs.folder / "feed.py").write_text(BEHAVIOUR)
        self._admin = free_port()
        self._programs = programs
        self.server: Program = programs.twistd(
            *("--port", "0", "--workers", "2", "--protocol", "feed.Feed"),
            *("--admin", f"tcp:{self._admin}:interface=127.0.0.1", *options),
        )
        workers(self.server)
        self.port = next(each for each in self.server.log.wait_for_ports(2) if each != self._admin)

    def ask(self, target: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=20)
        try:
            connection.request("GET" if body is None else "POST", target, body)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def publish(self, message: str) -> dict[str, Any]:
        """Publish over HTTP; the counts that are answered."""
        status, said = self.ask("/publish/news", message)
        assert status in (200, 202), said
        counts: dict[str, Any] = json.loads(said)
        return counts

    def figure(self, name: str) -> float:
        found = re.search(rf"^wsservice_{re.escape(name)} (\S+)$", self.ask("/metrics")[1], re.M)
        assert found, name
        return float(found[1])

    def client(self) -> Program:
        """A client that comes back, until it gets `end`."""
        url = f"ws://127.0.0.1:{self.port}/news"
        return self._programs.client(url, "--resume", "--until", "^end$")


@pytest.fixture
def service(programs: Programs) -> Service:
    return Service(programs, "--history", "100000")


class Speaking:
    """A client that speaks the subprotocol, and the worker that it is on."""

    def __init__(self, port: int, query: str = "") -> None:
        self.wire = Wire(port, path=f"/news{query}").upgrade(headers=OFFER)
        self._came: list[dict[str, Any]] = []
        while "offset" in (said := self._receive()):
            self._came.append(said)
        self.worker = int(said["data"].removeprefix("pid "))

    def _receive(self) -> dict[str, Any]:
        said = self.wire.receive()
        assert isinstance(said, str), said
        members: dict[str, Any] = json.loads(said)
        return members

    def next(self) -> dict[str, Any]:
        """The next envelope but the greeting."""
        return self._came.pop(0) if self._came else self._receive()

    def joined(self) -> Speaking:
        """Wait until it is told where the channel is."""
        self.place = self.next()
        assert self.place["joined"]
        return self


Speak = Callable[..., Speaking]


@pytest.fixture
def speak() -> Iterator[Speak]:
    """A client that speaks; ended with the test."""
    made: list[Speaking] = []

    def speak(port: int, query: str = "") -> Speaking:
        made.append(Speaking(port, query))
        return made[-1]

    yield speak
    for each in made:
        each.wire.end()


def since(place: dict[str, Any]) -> str:
    """A query that goes on from a place."""
    return f"?since={place['offset']}&epoch={place['epoch']}"


def on_each(port: int, kind: Callable[[], Any], pid: Callable[[Any], int]) -> list[Any]:
    """Two clients, on different workers."""
    found: dict[int, Any] = {}
    for _ in range(10):
        made = kind()
        found.setdefault(pid(made), made)
        if len(found) == 2:
            return list(found.values())
    raise AssertionError("one worker gets all")


def payloads(client: Program) -> list[str]:
    return [line for line in client.stdout.lines if not line.startswith("pid ")]


def test_all_have_one_order_and_one_history_wherever_they_are(
    service: Service, connect: Connect, speak: Speak
) -> None:
    port = service.port
    speaking = on_each(port, lambda: speak(port).joined(), lambda each: each.worker)
    plain = on_each(
        port,
        lambda: connect(port, path="/news"),
        lambda wire: int(str(wire.receive()).removeprefix("pid ")),
    )
    everybody = int(service.figure("connections"))
    assert service.publish("first") == {"handed": everybody, "dropped": 0}

    def publish() -> None:
        for number in range(50):
            service.publish(f"http {number}")

    over_http = threading.Thread(target=publish)
    over_http.start()
    for number in range(500):
        for name, wire in enumerate(plain):
            wire.send(f"{name} {number}")
    over_http.join()
    count = 1 + 50 + 1000
    envelopes = [[each.next() for _ in range(count)] for each in speaking]
    for said in envelopes:
        assert [each["offset"] for each in said] == list(range(1, count + 1))
    first, second = [[each["data"] for each in said] for said in envelopes]
    assert first == second
    for wire in plain:
        assert [wire.receive() for _ in range(count)] == first
    for publisher in ("0", "1", "http"):
        mine = [each for each in first if each.startswith(f"{publisher} ")]
        assert mine == [f"{publisher} {number}" for number in range(len(mine))]
    # Who comes back gets the rest, whichever worker has it then.
    middle = envelopes[0][count // 2]
    again = on_each(port, lambda: speak(port, since(middle)), lambda each: each.worker)
    for each in again:
        rest = [each.next()["data"] for _ in range(count - middle["offset"])]
        assert rest == first[middle["offset"] :]
    assert service.figure("history_messages") == count
    assert service.figure("history_channels") == 1


def test_one_that_is_killed_while_all_publish_costs_nobody_a_message(
    service: Service, connect: Connect
) -> None:
    port = service.port
    clients = [service.client() for _ in range(4)]
    for client in clients:
        client.stdout.wait_for("pid ")
    sender = connect(port, path="/other?channel=news")
    victim = int(str(sender.receive()).removeprefix("pid "))
    for number in range(300):
        service.publish(str(number))
        if number == 150:
            os.kill(victim, signal.SIGKILL)
    service.server.log.wait_for("was ended by SIGKILL")
    for client in clients:
        client.stdout.wait_for("\n299\n")
    service.publish("end")
    for client in clients:
        assert client.wait() == 0
        assert "missed" not in client.stderr.text
    expected = [*map(str, range(300)), "end"]
    assert [payloads(client) for client in clients] == [expected] * 4
    assert sum("trying again" in client.stderr.text for client in clients) == 2


def test_what_a_worker_publishes_as_it_is_killed_all_have_or_none(
    service: Service, connect: Connect
) -> None:
    port = service.port
    clients = [service.client() for _ in range(4)]
    for client in clients:
        client.stdout.wait_for("pid ")
    sender = connect(port, path="/news")
    victim = int(str(sender.receive()).removeprefix("pid "))
    over = threading.Event()

    def send() -> None:
        number = 0
        try:
            while not over.is_set():
                sender.send(str(number))
                number += 1
        except OSError:
            pass

    sending = threading.Thread(target=send)
    sending.start()
    clients[0].stdout.wait_for("\n1000\n")
    os.kill(victim, signal.SIGKILL)
    over.set()
    sending.join()
    workers(service.server, 3)
    service.publish("end")
    for client in clients:
        assert client.wait() == 0
        assert "missed" not in client.stderr.text
    first, *others = (payloads(client) for client in clients)
    assert first == [*map(str, range(len(first) - 1)), "end"]
    assert others == [first] * 3
    assert len(first) > 1000


def test_a_roll_and_settings_read_anew_keep_the_history(service: Service, speak: Speak) -> None:
    port = service.port
    before = speak(port).joined()
    clients = [service.client() for _ in range(4)]
    for client in clients:
        client.stdout.wait_for("pid ")
    service.server.signal(signal.SIGHUP)
    service.server.log.wait_for("SIGHUP: the settings were read anew")
    service.publish("0")
    service.server.signal(signal.SIGUSR2)
    number = 1
    while "all workers are replaced" not in service.server.log.text:
        service.publish(str(number))
        number += 1
    assert len(set(pids(service.server))) == 4
    for client in clients:
        client.stdout.wait_for(f"\n{number - 1}\n")
    service.publish("end")
    for client in clients:
        assert client.wait() == 0
        assert "missed" not in client.stderr.text
        assert "trying again" in client.stderr.text
        assert payloads(client) == [*map(str, range(number)), "end"]
    after = speak(port, since(before.place))
    first = after.next()
    assert (first["offset"], first["data"]) == (1, "0")
    assert speak(port).joined().place["epoch"] == first["epoch"]


def test_one_that_was_stuck_fetches_what_found_no_room_on_its_way(
    programs: Programs, connect: Connect, speak: Speak
) -> None:
    service = Service(programs, "--history", "100", "--send-buffer", "0")
    port = service.port
    first, second = on_each(port, lambda: speak(port).joined(), lambda each: each.worker)
    plain = on_each(
        port,
        lambda: connect(port, path="/news"),
        lambda wire: int(str(wire.receive()).removeprefix("pid ")),
    )
    wire = connect(port, path="/news")
    sound = int(str(wire.receive()).removeprefix("pid "))
    stuck = next(each for each in (first, second) if each.worker != sound)
    well = next(each for each in (first, second) if each.worker == sound)
    count = 24
    os.kill(stuck.worker, signal.SIGSTOP)
    try:
        for number in range(count):
            wire.send(str(number).ljust(1_000_000))
            assert well.next()["data"].strip() == str(number), "it delays no other"
    finally:
        os.kill(stuck.worker, signal.SIGCONT)
    # Nothing more is published: that some are missing it has to be told.
    said = [stuck.next() for _ in range(count)]
    assert [each["offset"] for each in said] == list(range(1, count + 1))
    assert [each["data"].strip() for each in said] == [str(number) for number in range(count)]
    for each in plain:
        got = [str(each.receive()).strip() for _ in range(count)]
        assert got == [str(number) for number in range(count)]
    assert "reads too slowly: publications to it are dropped" in service.server.log.text
    assert service.figure("publications_dropped_total") > 0
    assert pids(service.server) == pids(service.server)[:2], "nobody was replaced"
    service.publish("after")
    for client in (first, second):
        assert client.next()["offset"] == count + 1


def test_what_is_gone_until_it_is_fetched_is_a_gap(
    programs: Programs, connect: Connect, speak: Speak
) -> None:
    service = Service(programs, "--history", "3", "--send-buffer", "0")
    port = service.port
    first, second = on_each(port, lambda: speak(port).joined(), lambda each: each.worker)
    wire = connect(port, path="/news")
    sound = int(str(wire.receive()).removeprefix("pid "))
    stuck = next(each for each in (first, second) if each.worker != sound)
    well = next(each for each in (first, second) if each.worker == sound)
    os.kill(stuck.worker, signal.SIGSTOP)
    try:
        for number in range(24):
            wire.send(str(number).ljust(1_000_000))
            well.next()
    finally:
        os.kill(stuck.worker, signal.SIGCONT)
    offsets = []
    while not (said := stuck.next()).get("gap"):
        offsets.append(said["offset"])
    assert offsets == list(range(1, len(offsets) + 1))
    assert said["offset"] == 24
    assert len(offsets) < 21
    service.publish("after")
    said = stuck.next()
    assert (said["offset"], said["data"]) == (25, "after")


def test_what_takes_memory_is_bounded_once_for_all(programs: Programs) -> None:
    service = Service(programs, "--history", "1000", "--history-bytes", "65536")
    for number in range(200):
        service.publish(str(number).ljust(1000))
    assert service.figure("history_octets_max") == 65536
    assert 50_000 < service.figure("history_octets") <= 65536
    wait_until(lambda: service.figure("workers") == 2, "both workers")
