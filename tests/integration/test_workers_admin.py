"""The admin face of a service in several processes: it shows one service."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from typing import Any
from urllib.parse import urlencode

import pytest

from .conftest import Connect
from .processes import PATIENCE, Program, Programs, free_port, wait_until
from .test_workers import BEHAVIOURS, greeted, pids, workers
from .wire import Wire


class Face:
    """A service with two workers, and its face."""

    def __init__(self, programs: Programs, *options: str) -> None:
        (programs.folder / "who.py").write_text(BEHAVIOURS)
        self._port = free_port()
        self.server: Program = programs.twistd(
            *("--port", "0", "--workers", "2", "--protocol", "who.Both"),
            *("--admin", f"tcp:{self._port}:interface=127.0.0.1", *options),
        )
        workers(self.server)
        # The face's own port is said to be listened on too.
        self.port = next(each for each in self.server.log.wait_for_ports(2) if each != self._port)

    def ask(self, target: str, body: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET" if body is None else "POST", target, body)
            response = connection.getresponse()
            said = response.read().decode()
        finally:
            connection.close()
        return response.status, said if target == "/metrics" else json.loads(said)

    def figure(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.ask("/metrics")[1], re.MULTILINE)
        assert found, name
        return float(found[1])


@pytest.fixture
def face(programs: Programs) -> Face:
    return Face(programs)


def test_figures_are_those_of_all_and_never_less_than_before(face: Face, connect: Connect) -> None:
    clients = [connect(face.port) for _ in range(6)]
    assert len({greeted(client) for client in clients}) == 2
    for client in clients:
        client.send("hello")
        assert client.receive() == "hello"
    assert face.figure("wsservice_connections") == 6
    assert face.figure("wsservice_channels") == 1
    assert face.figure("wsservice_channel_connections_max") == 6
    assert face.figure("wsservice_connections_accepted_total") == 6
    assert face.figure("wsservice_handshake_seconds_count") == 6
    assert face.figure('wsservice_messages_total{direction="received"}') == 6
    assert face.figure('wsservice_messages_total{direction="sent"}') == 12
    assert face.figure("wsservice_workers") == 2
    assert face.figure("wsservice_ready") == 1
    assert face.figure("wsservice_max_connections") == 10000
    assert face.figure('wsservice_worker_resident_memory_bytes{worker="2"}') > 1e6
    lag = "wsservice_reactor_lag_seconds_count"
    wait_until(lambda: face.figure(lag) > 0, "how late the reactor is")
    os.kill(pids(face.server)[0], signal.SIGKILL)
    workers(face.server, 3)
    assert face.figure("wsservice_connections") == 3
    assert face.figure("wsservice_connections_accepted_total") == 6
    assert face.figure('wsservice_messages_total{direction="received"}') == 6
    assert face.figure("wsservice_workers_lost_total") == 1
    assert face.figure("wsservice_workers_silent") == 0
    # In a roll each says for the last time what there was.
    rest = [client for client in clients if not _is_over(client)]
    assert len(rest) == 3
    for client in rest:
        client.send("again")
        assert client.receive() == "again"
    assert face.figure('wsservice_messages_total{direction="received"}') == 9
    face.server.signal(signal.SIGUSR2)
    for client in rest:
        client.answer_close()
    face.server.log.wait_for("; it was replaced", 2)
    assert face.figure('wsservice_messages_total{direction="received"}') == 9
    assert face.figure('wsservice_closes_total{code="1001"}') == 3
    assert face.figure("wsservice_connections") == 0


def _is_over(client: Any) -> bool:
    """Return True if a connection was lost with its worker."""
    patience = client.socket.gettimeout()
    client.socket.setblocking(False)
    try:
        return not client.socket.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        client.socket.settimeout(patience)


def test_connections_of_all_are_one_list(face: Face, connect: Connect) -> None:
    for _ in range(5):
        greeted(connect(face.port))
    status, said = face.ask("/connections?limit=2")
    assert status == 200
    assert said["total"] == 5
    assert [each["id"] for each in said["connections"]] == ["1", "2"]
    assert said["next"] == "2"
    _, rest = face.ask("/connections?after=2&limit=100")
    assert [each["id"] for each in rest["connections"]] == ["3", "4", "5"]
    assert rest["next"] is None
    assert {each["state"] for each in rest["connections"]} == {"open"}


def test_any_of_them_is_closed_by_its_id(face: Face, connect: Connect) -> None:
    clients = [connect(face.port) for _ in range(4)]
    for client in clients:
        greeted(client)
    for number in (2, 3):
        assert face.ask(f"/connections/{number}/close", '{"code": 4001}') == (
            202,
            {"closing": str(number)},
        )
        assert clients[number - 1].answer_close().code == 4001
    wait_until(lambda: face.ask("/connections/2/close", "")[0] == 404, "it to be gone")
    assert face.ask("/connections/99/close", "")[0] == 404


def test_any_of_them_is_traced(face: Face, connect: Connect) -> None:
    clients = [connect(face.port) for _ in range(2)]
    for client in clients:
        greeted(client)
    for number, client in enumerate(clients, 1):
        connection = http.client.HTTPConnection("127.0.0.1", face._port, timeout=PATIENCE)
        connection.request("GET", f"/connections/{number}/trace")
        response = connection.getresponse()
        assert response.status == 200
        assert response.readline() == b": connection %d\n" % number
        client.send("watched")
        assert client.receive() == "watched"
        events = [response.readline().decode() for _ in range(4)]
        assert events[1] == "event: frame\n"
        shown = json.loads(events[2].removeprefix("data: "))
        assert (shown["direction"], shown["payload"]) == ("received", "watched")
        if number == 1:
            client.close()
            rest = response.read().decode()
            assert 'event: closed\ndata: {"time":' in rest
        else:
            for pid in pids(face.server):
                os.kill(pid, signal.SIGKILL)
            response.read()  # which ends with its worker
        connection.close()
    assert face.ask("/connections/99/trace")[0] == 404


def test_what_is_published_reaches_all_and_any_is_sent_to(face: Face, connect: Connect) -> None:
    clients = [connect(face.port, path="/news") for _ in range(5)]
    assert len({greeted(client) for client in clients}) == 2
    for number in range(20):
        assert face.ask("/publish/news", str(number)) == (200, {"handed": 5, "dropped": 0})
    for client in clients:
        assert [client.receive() for _ in range(20)] == [str(number) for number in range(20)]
    lines = "".join(json.dumps({"channel": "news", "data": each}) + "\n" for each in "ab")
    assert face.ask("/publish", lines) == (200, {"messages": 2, "handed": 10, "dropped": 0})
    for client in clients:
        assert [client.receive(), client.receive()] == ["a", "b"]
    for number, client in enumerate(clients, 1):
        outcome = face.ask(f"/connections/{number}/send", "for you")
        assert outcome == (200, {"handed": 1, "dropped": 0})
        assert client.receive() == "for you"
    assert face.ask("/connections/99/send", "x")[0] == 404
    assert face.ask("/channels")[1]["channels"] == [{"channel": "news", "connections": 5}]
    _, said = face.ask("/channels/news")
    assert [each["id"] for each in said["connections"]] == ["1", "2", "3", "4", "5"]


def test_it_says_whether_the_service_is_ready(face: Face, connect: Connect) -> None:
    assert face.ask("/healthz") == (200, {"alive": True})
    assert face.ask("/readyz") == (200, {"ready": True, "reasons": []})
    client = connect(face.port)
    greeted(client)
    face.server.signal(signal.SIGTERM)
    face.server.log.wait_for("stopping")
    wait_until(lambda: face.ask("/readyz")[0] == 503, "the draining")
    assert face.ask("/readyz")[1]["reasons"][0] == "draining"
    assert client.answer_close().code == 1001
    assert face.server.wait() == 0


def test_one_that_does_not_answer_is_left_out(face: Face, connect: Connect) -> None:
    clients = [connect(face.port) for _ in range(2)]
    stuck = greeted(clients[0])
    greeted(clients[1])
    assert face.figure("wsservice_connections") == 2
    os.kill(stuck, signal.SIGSTOP)
    try:
        assert face.figure("wsservice_workers_silent") == 1
        assert face.figure("wsservice_connections") == 2
        assert face.ask("/connections")[1]["total"] == 1
    finally:
        os.kill(stuck, signal.SIGCONT)


def _names(number: int) -> str:
    """A path and a query with 17 channels of the longest names, each of which JSON doubles."""
    names = [f"{number}-{each}".ljust(255, "\\") for each in range(17)]
    return f"/{names[0]}?" + "&".join(f"channel={name}" for name in names[1:])


def test_figures_are_small_whatever_channels_are_called(face: Face, connect: Connect) -> None:
    clients = [connect(face.port, path=_names(number)) for number in range(60)]
    served = {greeted(client) for client in clients}
    assert len(served) == 2
    assert face.figure("wsservice_channels") == 60 * 17
    assert face.figure("wsservice_channel_connections_max") == 1
    assert face.figure("wsservice_connections") == 60
    seen: list[str] = []
    after = ""
    while True:
        _, said = face.ask(f"/channels?limit=500{after}")
        assert said["missing"] == []
        assert said["at_most"] == 60 * 17
        seen += [each["channel"] for each in said["channels"]]
        if said["next"] is None:
            break
        after = "&" + urlencode({"after": said["next"]})
    assert len(set(seen)) == len(seen) == 60 * 17
    assert len(face.ask("/metrics")[1]) < 32 * 1024
    assert face.figure("wsservice_workers_lost_total") == 0


def test_an_answer_that_is_too_long_costs_nobody_the_connection(
    programs: Programs, connect: Connect
) -> None:
    (programs.folder / "short.py").write_text(
        "import os, wsservice\n"
        "from wsservice.workers.wire import framing\n"
        "framing.LONGEST = 20_000\n"
        "class Short(wsservice.EchoServerProtocol):\n"
        "    def onOpen(self):\n"
        "        self.sendMessage(str(os.getpid()).encode())\n"
    )
    face = Face(programs, "--protocol", "short.Short")
    started = workers(face.server)
    clients = [connect(face.port, path=_names(number)) for number in range(20)]
    assert {greeted(client) for client in clients} == set(started)
    said = face.ask("/channels?limit=1000")[1]
    assert (said["channels"], said["missing"]) == ([], ["worker 1", "worker 2"])
    face.server.log.wait_for("a message from the parent cannot be handled", 2)
    face.server.log.wait_for("TooLongError", 2)
    assert len(face.ask("/channels?limit=10")[1]["channels"]) == 10
    for client in clients:
        client.send("still here")
        assert client.receive() == "still here"
    assert pids(face.server) == started


def test_without_it_a_worker_needs_nothing_of_it(programs: Programs) -> None:
    (programs.folder / "needs.py").write_text(
        "import sys, wsservice\n"
        "class Needs(wsservice.ServerProtocol):\n"
        "    def onOpen(self):\n"
        "        self.sendMessage(str('prometheus_client' in sys.modules).encode())\n"
    )
    server = programs.twistd("--port", "0", "--workers", "2", "--protocol", "needs.Needs")
    client = Wire(server.port).upgrade()
    assert client.receive() == "False"
    client.end()
