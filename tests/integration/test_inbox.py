"""The inbox of a service that runs, a real Redis, and the worker of the manual."""

from __future__ import annotations

import http.client
import re
import signal
import sys
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ..needs import need
from .conftest import Connect
from .processes import Program, Programs, wait_until
from .redis import Redis, Redises
from .test_publishing import LOOPBACK
from .wire import TEXT, Closed, frame

MANUAL = (Path(__file__).parents[2] / "docs" / "inbox.md").read_text()
STREAM = "from-clients"
REFUSED = Closed(1013, "messages cannot be taken now")


def entries(server: Redis, stream: str = STREAM) -> list[dict[str, bytes]]:
    """Return the entries of the stream."""
    found: list[Any] = server.ask("XRANGE", stream, "-", "+")
    return [
        {name.decode(): value for name, value in zip(fields[::2], fields[1::2], strict=True)}
        for _, fields in found
    ]


def payloads(server: Redis) -> list[bytes]:
    return [each["payload"] for each in entries(server)]


class Watched:
    """A service and its admin face."""

    def __init__(self, programs: Programs, *options: str | Path, **how: Any) -> None:
        self.program: Program = programs.twistd(
            "--listen", LOOPBACK, "--admin", LOOPBACK, "--protocol", "echo", *options, **how
        )
        self.port, self.admin = self.program.log.wait_for_ports(2)
        self.until_ready()

    def ask(self, path: str) -> tuple[int, str]:
        asking = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=20)
        try:
            asking.request("GET", path)
            answer = asking.getresponse()
            return answer.status, answer.read().decode()
        finally:
            asking.close()

    def metrics(self) -> str:
        return self.ask("/metrics")[1]

    def ready(self) -> tuple[int, str]:
        return self.ask("/readyz")

    def until_ready(self) -> None:
        wait_until(lambda: self.ready()[0] == 200, "that it is ready")


class Box(Watched):
    """One with an inbox."""

    def __init__(self, programs: Programs, server: Redis, *options: str) -> None:
        super().__init__(programs, "--broker", server.url, "--inbox", STREAM, *options)

    def figures(self) -> Mapping[str, float]:
        line = r'^wsservice_inbox_(\w+?)(?:_total\{outcome="(\w+)"\})? (\S+)$'
        found = re.findall(line, self.metrics(), re.MULTILINE)
        return {outcome or name: float(value) for name, outcome, value in found}


def test_what_clients_send_is_in_the_stream(
    programs: Programs, redises: Redises, connect: Connect
) -> None:
    server = redises.start()
    box = Box(programs, server)
    one, other = connect(box.port, path="/chat/room"), connect(box.port)
    one.send("h\u00e4llo")
    assert one.receive() == "h\u00e4llo"
    other.send(b"\x00\xff")
    other.receive()
    wait_until(lambda: len(entries(server)) == 2, "both messages")
    first, second = entries(server)
    host, port = one.socket.getsockname()[:2]
    assert first.pop("time").endswith(b"Z")
    node = first.pop("node")
    assert len(node) == 16
    assert first.pop("service") == node
    assert first == {
        "number": b"1",
        "connection": b"1",
        "peer": f"{host}:{port}".encode(),
        "user": b"",
        "channel": b"chat/room",
        "payload": "h\u00e4llo".encode(),
        "binary": b"0",
    }
    assert (second["payload"], second["binary"], second["number"]) == (b"\x00\xff", b"1", b"2")
    wait_until(lambda: box.figures()["appended"] == 2, "the figures")
    assert box.figures() == {"appended": 2, "dropped": 0, "refused": 0, "waiting": 0}


def test_the_manuals_worker_works(programs: Programs, redises: Redises, connect: Connect) -> None:
    need(find_spec("redis") is not None, "the package redis")
    server = redises.start()
    box = Box(programs, server)
    (code,) = re.findall(r"```python\n# worker\.py\n(.*?)```", MANUAL, re.DOTALL)
    (programs.folder / "worker.py").write_text(code)
    environment = {"REDIS_URL": server.url}
    workers = [
        programs.start(sys.executable, "worker.py", environment=environment) for _ in range(2)
    ]
    wire = connect(box.port, path="/chat")
    texts = [f"message {number}" for number in range(200)]
    for text in texts:
        wire.send(text)

    def seen() -> list[str]:
        return [line for worker in workers for line in worker.stdout.lines]

    wait_until(lambda: len(seen()) >= 200, "all messages")
    assert sorted(seen()) == sorted(f"chat b'{text}'" for text in texts)
    pending = server.ask("XPENDING", STREAM, "workers")
    wait_until(lambda: server.ask("XPENDING", STREAM, "workers")[0] == 0, f"{pending}")


def test_the_stream_is_bounded(programs: Programs, redises: Redises, connect: Connect) -> None:
    server = redises.start()
    box = Box(programs, server, "--inbox-size", "300")
    wire = connect(box.port)
    for number in range(2000):
        wire.send(str(number))
    wait_until(lambda: box.figures()["appended"] == 2000, "all messages")
    # Redis keeps whole blocks of 100.
    assert 300 <= server.ask("XLEN", STREAM) <= 400
    assert payloads(server)[-1] == b"1999"


def test_nothing_is_lost_or_there_twice_across_a_kill(
    programs: Programs, redises: Redises, connect: Connect
) -> None:
    server = redises.start("--appendonly", "yes", "--appendfsync", "always")
    box = Box(programs, server, "--inbox-away", "buffer,100000")
    wires = [connect(box.port) for _ in range(3)]
    for number in range(6000):
        if number % 2000 == 1000:
            server.kill()
        if number % 2000 == 1500:
            server.start()
        wires[number % 3].send(str(number))
    wait_until(lambda: box.figures()["appended"] == 6000, "all messages")
    found = entries(server)
    assert [int(each["number"]) for each in found] == list(range(1, 6001))
    for place, connection in enumerate([b"1", b"2", b"3"]):
        own = [int(each["payload"]) for each in found if each["connection"] == connection]
        assert own == list(range(place, 6000, 3))


def test_who_sends_more_than_redis_takes_is_read_more_slowly(
    programs: Programs, redises: Redises, connect: Connect
) -> None:
    server = redises.start()
    box = Box(programs, server, "--protocol", "wsservice.ServerProtocol")
    wire = connect(box.port)
    server.pause()
    frames = b"".join(frame(TEXT, b"%d" % number, True) for number in range(20_000))
    sending = threading.Thread(target=wire.socket.sendall, args=(frames,))
    sending.start()
    wait_until(lambda: box.figures()["waiting"] >= 5000, "that it is full by half")
    assert box.figures()["waiting"] == 5000
    server.resume()
    sending.join(20)
    wait_until(lambda: box.figures()["appended"] == 20_000, "all messages")
    assert box.figures()["refused"] == 0


def test_refuse(programs: Programs, redises: Redises, connect: Connect) -> None:
    server = redises.start()
    box = Box(programs, server, "--inbox-away", "refuse")
    sender, listener = connect(box.port), connect(box.port)
    server.stop()
    wait_until(lambda: box.ready()[0] == 503, "that it is not ready")
    assert f"broker redis://127.0.0.1:{server.port}: " in box.ready()[1]
    sender.send("too late")
    assert sender.receive() == REFUSED
    assert connect(box.port).receive() == REFUSED
    assert box.figures()["refused"] == 1
    server.start()
    box.until_ready()
    listener.send("here")
    assert listener.receive() == "here"
    wait_until(lambda: payloads(server) == [b"here"], "the message")


def test_drop(programs: Programs, redises: Redises, connect: Connect) -> None:
    server = redises.start()
    box = Box(programs, server, "--inbox-away", "drop")
    wire = connect(box.port)
    server.stop()
    wait_until(lambda: box.ready()[0] == 503, "that it is not ready")
    for _ in range(3):
        wire.send("lost")
        assert wire.receive() == "lost"
    assert box.figures()["dropped"] == 3
    box.program.log.wait_for("inbox: 1 messages dropped so far")
    server.start()
    box.until_ready()
    wire.send("kept")
    wait_until(lambda: payloads(server) == [b"kept"], "the message")


def test_buffer(programs: Programs, redises: Redises, connect: Connect) -> None:
    server = redises.start()
    box = Box(programs, server, "--inbox-away", "buffer,3")
    wire, other = connect(box.port), connect(box.port)
    server.stop()
    wait_until(lambda: box.ready()[0] == 503, "that it is not ready")
    for number in range(3):
        wire.send(str(number))
        assert wire.receive() == str(number)
    assert box.figures()["waiting"] == 3
    other.send("no room")
    assert other.receive() == REFUSED
    server.start()
    wait_until(lambda: payloads(server) == [b"0", b"1", b"2"], "what waited")
    wire.send("3")
    assert wire.receive() == "3"
    wait_until(lambda: payloads(server)[3:] == [b"3"], "what came later")


@pytest.mark.parametrize("trouble", ["full", "poisoned", "forbidden"])
def test_a_server_that_takes_nothing_is_as_if_it_were_away(
    programs: Programs, redises: Redises, connect: Connect, trouble: str
) -> None:
    server = redises.start()
    begin: dict[str, list[Any]] = {
        "full": ["CONFIG", "SET", "maxmemory", "1"],
        "poisoned": ["SET", STREAM, "no stream"],
        "forbidden": ["ACL", "SETUSER", "default", "-xadd"],
    }
    end: dict[str, list[Any]] = {
        "full": ["CONFIG", "SET", "maxmemory", "0"],
        "poisoned": ["DEL", STREAM],
        "forbidden": ["ACL", "SETUSER", "default", "+xadd"],
    }
    kind = {"full": "OOM", "poisoned": "WRONGTYPE", "forbidden": "can't run this command"}
    box = Box(programs, server, "--inbox-away", "buffer,2")
    wire = connect(box.port)
    server.ask(*begin[trouble])
    wire.send("a")
    wait_until(lambda: kind[trouble] in box.ready()[1], "what is wrong")
    wire.send("b")
    wire.send("c")
    assert [wire.receive() for _ in range(3)] == ["a", "b", REFUSED]
    server.ask(*end[trouble])
    wait_until(lambda: payloads(server) == [b"a", b"b"], "what waited")
    box.until_ready()


def test_at_the_end_what_waits_is_appended(
    programs: Programs, redises: Redises, connect: Connect
) -> None:
    server = redises.start()
    box = Box(programs, server)
    wire = connect(box.port)
    server.pause()
    for number in range(100):
        wire.send(str(number))
        wire.receive()
    box.program.signal(signal.SIGTERM)
    assert wire.receive_close().code == 1001
    wire.send_close(1001)
    assert wire.at_end()
    server.resume()
    assert box.program.wait() in (0, -signal.SIGTERM)
    assert payloads(server) == [b"%d" % number for number in range(100)]


def test_at_the_end_what_cannot_be_appended_is_said(
    programs: Programs, redises: Redises, connect: Connect
) -> None:
    server = redises.start()
    box = Box(programs, server, "--drain", "1")
    wire = connect(box.port)
    server.pause()
    wire.send("lost")
    wire.receive()
    box.program.signal(signal.SIGTERM)
    box.program.wait()
    box.program.log.wait_for("inbox: 1 messages could not be appended before the end")


def test_workers_are_nodes_of_their_own(
    programs: Programs, redises: Redises, connect: Connect
) -> None:
    server = redises.start()
    box = Box(programs, server, "--workers", "2")
    wait_until(lambda: "\nwsservice_workers 2.0\n" in box.metrics(), "both workers")
    wires = [connect(box.port) for _ in range(4)]
    for number in range(40):
        wires[number % 4].send(str(number))
        wires[number % 4].receive()
    wait_until(lambda: box.figures()["appended"] == 40, "all messages")
    found = entries(server)
    assert sorted(int(each["payload"]) for each in found) == list(range(40))
    assert len({each["node"] for each in found}) == 2
    (service,) = {each["service"] for each in found}
    assert f"this is node {service.decode()}" in box.program.log.text
    assert len({each["connection"] for each in found}) == 4
    text = box.metrics()
    label = f'server="redis://127.0.0.1:{server.port}"'
    assert f"wsservice_broker_up{{{label}}} 1.0" in text
    assert f"wsservice_broker_connects_total{{{label}}} 2.0" in text
    server.stop()
    wait_until(lambda: box.ready()[0] == 503, "that it is not ready")
    wait_until(
        lambda: f"wsservice_broker_up{{{label}}} 0.0" in box.metrics(),
        "that the figures say so",
    )


def test_no_password_is_shown(programs: Programs, redises: Redises, connect: Connect) -> None:
    server = redises.start("--requirepass", "hunter2")
    password = programs.folder / "password"
    password.touch(0o600)
    password.write_text("hunter2\n")
    url = f"redis://:hunter2@127.0.0.1:{server.port}"
    shown = []
    for options in (
        ["--broker", url],
        ["--broker", server.url, "--broker-password-file", password],
    ):
        service = Watched(programs, *options)
        shown.append(service.metrics())
        service.program.signal(signal.SIGTERM)
        service.program.wait()
        checked = programs.twistd(*options, "--check-config")
        assert checked.wait() == 0
        shown += [service.program.log.text, service.program.stderr.text, checked.stdout.text]
    assert not [text for text in shown if "hunter2" in text]
