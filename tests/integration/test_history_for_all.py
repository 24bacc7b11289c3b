"""The history for all: `?history=`, `hub.history()` and `GET /history`, wherever it is kept."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .processes import BIN, Program, Programs, wait_until
from .redis import Redis, Redises
from .wire import Closed, Wire

BEHAVIOUR = """
import json
import os
from wsservice import ServerProtocol
from wsservice.errors import HistoryError


class Feed(ServerProtocol):
    def onOpen(self):
        self.sendMessage(b"pid %d" % os.getpid())

    async def onMessage(self, payload, isBinary):
        if payload != b"history":
            self.broadcast(payload, isBinary)
            return
        try:
            page = await self.factory.hub.history("news", limit=3)
        except HistoryError as error:
            self.sendMessage(type(error).__name__.encode())
        else:
            said = [message.payload.decode() for message in page.messages]
            self.sendMessage(json.dumps([said, page.position.offset, page.gap, page.more]).encode())
"""
OFFER = "Sec-WebSocket-Protocol: wsservice.v1\r\n"
KEPT = ("--history", "50000")


class Service:
    """A service, and its admin face."""

    def __init__(self, programs: Programs, *options: str) -> None:
        self.wires: list[Wire] = []
        self.program: Program = programs.start(
            *(BIN / "twistd", "-n", "--pidfile=", "wsdemo"),
            *("--port", "0", "--protocol", "feed.Feed", "--ping-interval", "0"),
            *("--admin", "tcp:0:interface=127.0.0.1", *options),
        )
        self.port, self.admin = self.program.log.wait_for_ports(2)
        wait_until(lambda: self.ask("/readyz")[0] == 200, "the service to be ready")

    def ask(self, target: str, body: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", target, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def publish(self, *messages: str) -> None:
        lines = [json.dumps({"channel": "news", "data": each}) for each in messages]
        status, said = self.ask("/publish", "\n".join(lines))
        assert status in (200, 202), said

    def join(self, query: str, headers: str = "") -> Wire:
        wire = Wire(self.port, path=f"/news{query}")
        self.wires.append(wire)
        return wire.upgrade(headers=headers)


@pytest.fixture(params=["one process", "workers", "redis", "redis and workers"])
def make(
    programs: Programs, redises: Redises, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Service]]:
    (programs.folder / "feed.py").write_text(BEHAVIOUR)
    made: list[Service] = []

    def make(*options: str) -> Service:
        if "redis" in request.param:
            options = (*options, "--broker", redises.start().url)
        if "workers" in request.param:
            options = (*options, "--workers", "2")
        made.append(Service(programs, *options))
        return made[-1]

    yield make
    for service in made:
        for wire in service.wires:
            wire.end()


def greeted(wire: Wire) -> Wire:
    """A client that was greeted, which comes first."""
    greeting = wire.receive()
    assert isinstance(greeting, str)
    assert greeting.startswith("pid ")
    return wire


def test_the_last_messages_for_operators_behaviours_and_clients(
    make: Callable[..., Service],
) -> None:
    service = make(*KEPT)
    service.publish("one", "two", "three", "four")
    status, said = service.ask("/history/news?limit=3")
    assert status == 200
    assert [each["data"] for each in said["messages"]] == ["two", "three", "four"]
    assert (said["gap"], said["next"]) == (False, None)
    status, said = service.ask(f"/history/news?limit=3&since=0&epoch={said['epoch']}")
    assert [each["offset"] for each in said["messages"]] == [1, 2, 3]
    assert (status, said["offset"], said["next"]) == (200, 3, 3)
    status, said = service.ask(f"/history/news?since=1&epoch={said['epoch']}x")
    assert (said["gap"], len(said["messages"])) == (True, 4)
    assert service.ask("/history/nothing%2Fsaid")[1]["messages"] == []

    wire = greeted(service.join("?history=2"))
    assert [wire.receive() for _ in range(2)] == ["three", "four"]
    wire.send("history")
    answer = wire.receive()
    assert isinstance(answer, str)
    assert json.loads(answer) == [["two", "three", "four"], 4, False, False]
    wire.send("five")
    assert wire.receive() == "five"

    speaking = service.join("?history=2", OFFER)
    envelopes = []
    for _ in range(4):
        text = speaking.receive()
        assert isinstance(text, str)
        envelopes.append(json.loads(text))
    assert envelopes[0]["data"].startswith("pid ")
    assert (envelopes[1]["joined"], envelopes[1]["offset"]) == (True, 3)
    assert [(each["offset"], each["data"]) for each in envelopes[2:]] == [(4, "four"), (5, "five")]


def test_without_a_history_there_is_none(make: Callable[..., Service]) -> None:
    service = make()
    assert service.ask("/history/news") == (404, {"error": "no history is kept; give --history"})
    wire = greeted(service.join("?history=20"))
    wire.send("history")
    assert wire.receive() == "NoHistoryError"


class Joining(threading.Thread):
    """Joins now and then while messages are published, and reads all until the end."""

    def __init__(self, service: Service, seed: int, end: threading.Event) -> None:
        super().__init__()
        self._service = service
        self._random = random.Random(seed)
        self._end = end
        self.asked: list[int] = []
        self.came: list[list[int]] = []
        self.cut: list[list[int]] = []
        self.problem: str | None = None

    def run(self) -> None:
        try:
            # The last one joins before the end is published, and has all until there.
            while True:
                is_last = self._end.is_set()
                self._join(until="end" if is_last else None)
                if is_last:
                    return
        except Exception as error:
            self.problem = repr(error)

    def _join(self, until: str | None) -> None:
        count = 1000 if until else self._random.choice([1, 5, 20, 64, 65, 200, 1000])
        try:
            wire = greeted(Wire(self._service.port, path=f"/news?history={count}").upgrade())
        except (OSError, EOFError, AssertionError):
            return  # its worker was killed
        numbers: list[int] = []
        try:
            for _ in range(10**9 if until else self._random.randrange(3000)):
                said = wire.receive()
                if isinstance(said, Closed):
                    self.problem = f"{said} after {numbers[-1:]}"
                    return
                if said == until or (until is None and self._end.is_set()):
                    break
                if said != "end":
                    numbers.append(int(said))
        except (OSError, EOFError):
            self.cut.append(numbers)
        else:
            self.came.append(numbers)
        finally:
            self.asked.append(count)
            wire.end()


def test_each_comes_once_and_in_order_while_others_publish_at_full_speed(
    make: Callable[..., Service], request: pytest.FixtureRequest
) -> None:
    service = make(*KEPT)
    end = threading.Event()
    total = 20_000
    with_workers = "workers" in request.node.callspec.params["make"]
    joining = [Joining(service, seed, end) for seed in range(3)]
    service.publish(*map(str, range(1, 1001)))
    for each in joining:
        each.start()
    try:
        for start in range(1001, total + 1, 500):
            service.publish(*map(str, range(start, start + 500)))
            if with_workers and start in (6001, 13_001):
                # A worker that is replaced in the midst of it.
                pid = greeted_pid(service)
                os.kill(pid, signal.SIGKILL)
    finally:
        end.set()
    last = [greeted(service.join("?history=1000")) for _ in range(2)]
    for each in joining:
        # They may join a moment after it.
        while each.is_alive():
            service.publish("end")
            each.join(0.5)
        assert each.problem is None
    for each in joining:
        assert each.came
        for numbers in (*each.came, *each.cut):
            assert (
                numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
            )
        assert each.came[-1][-1] == total
    for wire in last:
        came = [wire.receive()]
        while came[-1] != str(total):
            came.append(wire.receive())
        first = int(str(came[0]))
        assert came == [str(number) for number in range(first, total + 1)]


def greeted_pid(service: Service) -> int:
    wire = Wire(service.port, path="/other").upgrade()
    greeting = wire.receive()
    wire.end()
    assert isinstance(greeting, str)
    return int(greeting.removeprefix("pid "))


def test_what_redis_has_while_it_is_away(programs: Programs, redises: Redises) -> None:
    (programs.folder / "feed.py").write_text(BEHAVIOUR)
    server: Redis = redises.start()
    service = Service(programs, *KEPT, "--broker", server.url)
    service.publish("one")
    wire = greeted(service.join(""))
    server.kill()
    service.program.log.wait_for("broker", 2)
    wait_until(lambda: service.ask("/readyz")[0] == 503, "the service to know")
    status, said = service.ask("/history/news")
    assert status == 503
    assert "is away" in said["error"]
    wire.send("history")
    assert wire.receive() == "HistoryAwayError"
    wire.end()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_many_who_ask_for_all_and_never_read_cost_no_memory(
    programs: Programs, workers: str
) -> None:
    (programs.folder / "feed.py").write_text(BEHAVIOUR)
    service = Service(
        programs,
        *("--history", "100000,1h", "--memory-for-messages", "16MiB", "--workers", workers),
        *("--max-connections", "2000", "--handshake-timeout", "60"),
    )
    # 64 MiB of the history, in messages of 64 KiB.
    for _ in range(70):
        service.publish(*["x" * 65_000] * 15)
    before = _resident(service)
    silent = []
    for number in range(1000):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", service.port))
        value = "1000000" if number % 10 else "9" * 100
        sock.sendall(
            f"GET /news?history={value} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        silent.append(sock)
    try:
        wait_until(lambda: service.ask("/connections?limit=1")[1]["total"] >= 850, "all to be in")
        most = 0
        for _ in range(5):
            service.publish("y")
            most = max(most, _resident(service))
        # For each worker the budget, thrice (an allocator keeps some), and 20 kB a connection.
        assert most - before < 3 * 16 * 2**20 * int(workers) + 1000 * 40_000
        reader = greeted(service.join("?history=1"))
        assert reader.receive() == "y"
    finally:
        for sock in silent:
            sock.close()
        for wire in service.wires:
            wire.end()


def _resident(service: Service) -> int:
    """Octets of memory of all processes of a service."""
    total = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/status") as file:
                facts = dict(line.split(":", 1) for line in file)
        except OSError:
            continue
        pid = service.program.process.pid
        if int(name) == pid or int(facts["PPid"]) == pid:
            total += 1024 * int(facts.get("VmRSS", "0 kB").split()[0])
    return total
