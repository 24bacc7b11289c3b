"""The client as a library: real programs that use it, and servers that come and go."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..needs import need
from .processes import BIN, PATIENCE, Programs
from .test_listening_places import make_certificate
from .wire import PING, PONG, Closed, Host

EXAMPLES = Path(__file__).parents[2] / "examples"


class Place:
    """A port where a server is, or is not, as a test says."""

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        self._port = 0
        self.listen()
        self._port = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self._port}/"

    def listen(self) -> None:
        """There is a server."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._listener.settimeout(PATIENCE)

    def next(self) -> Host:
        """The next who comes, its handshake not answered yet."""
        host = Host(self._listener.accept()[0])
        self._hosts.append(host)
        return host

    def end(self) -> None:
        """There is none, and who talked to it is told nothing."""
        for host in self._hosts:
            with contextlib.suppress(OSError):
                # Reset, as by a machine that was restarted: no port is kept either.
                host.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            host.end()
        self._hosts.clear()
        self._listener.close()


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.end()


def test_one_may_ask_and_be_answered(programs: Programs, place: Place) -> None:
    asking = programs.start(sys.executable, EXAMPLES / "ask.py", place.url, "zwölf?")
    host = place.next().accept()
    assert host.receive() == "zwölf?"
    host.send("ja ✓")
    opcode, payload = host._frame()
    assert opcode == PING
    host.send_frame(PONG, payload)
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    assert asking.wait() == 0
    assert asking.stdout.text == "ja ✓\n"
    assert asking.stderr.text.startswith("a round trip takes 0.")


def test_one_may_follow_a_server_that_comes_and_goes(programs: Programs, place: Place) -> None:
    following = programs.start(sys.executable, EXAMPLES / "follow.py", place.url)
    host = place.next().accept()
    assert host.receive() == "follow"
    host.send("one")
    following.stdout.wait_for("one\n")
    place.end()
    time.sleep(0.2)
    place.listen()
    host = place.next().accept()
    host.send("two")
    host.send_close(1001)
    host.end()
    host = place.next().accept()
    host.send("three")
    following.stdout.wait_for("three\n")
    assert following.stdout.text == "one\ntwo\nthree\n"
    # Trying again would not help: it ends, and says why.
    place.end()
    place.listen()
    host = place.next()
    host.answer("403 Forbidden")
    host.end()
    assert following.wait() == 1
    assert "403 Forbidden" in following.stderr.text


@pytest.mark.parametrize("reactor", ["", "asyncio"])
def test_it_lives_under_twistd_and_says_goodbye(
    programs: Programs, place: Place, reactor: str
) -> None:
    chosen = [f"--reactor={reactor}"] if reactor else []
    relay = programs.start(
        BIN / "twistd",
        *chosen,
        "-noy",
        EXAMPLES / "relay.tac",
        environment={"URL": place.url},
    )
    host = place.next().accept()
    assert host.receive() == "subscribe"
    host.send("one")
    relay.log.wait_for("got b'one'")
    place.end()
    relay.log.wait_for("trying again in")
    place.listen()
    host = place.next().accept()
    assert host.receive() == "subscribe"
    host.send("two")
    relay.log.wait_for("got b'two'")
    relay.signal(signal.SIGTERM)
    assert host.receive() == Closed(1000, "")
    time.sleep(0.2)
    assert relay.process.poll() is None, "it did not wait for the answer"
    host.send_close(1000)
    host.end()
    assert relay.wait() == -signal.SIGTERM
    assert "Traceback" not in relay.log.text


SENDING = """
import sys
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from wsservice.client import ReconnectingClient

class Client(ReconnectingClient):
    def may_be_lost(self, count):
        print("may be lost", count, flush=True)

async def main(reactor):
    async with Client(sys.argv[1], reactor=reactor) as client:
        for line in ("one", "two", "-", "three", "four", "-"):
            if line == "-":
                print("kept", flush=True)
                await deferToThread(sys.stdin.readline)
            else:
                await client.send(line)
        await client.when_sent()
    print("sent", flush=True)

react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


def test_what_was_not_sent_is_kept_and_what_may_be_lost_is_told(
    programs: Programs, place: Place
) -> None:
    program = programs.folder / "sending.py"
    program.write_text(SENDING)
    place.end()
    sending = programs.start(sys.executable, program, place.url, stdin=subprocess.PIPE)
    pipe = sending.process.stdin
    assert pipe is not None
    sending.stdout.wait_for("kept\n")
    pipe.write(b"\n")
    pipe.flush()
    sending.stdout.wait_for("kept\n", 2)
    place.listen()
    pipe.write(b"\n")
    pipe.flush()
    host = place.next().accept()
    assert [host.receive() for _ in range(4)] == ["one", "two", "three", "four"]
    assert host.receive() == Closed(1000, "")
    # Gone without an answer: nothing tells that they arrived.
    place.end()
    assert sending.wait() == 0
    assert sending.stdout.lines == ["kept", "kept", "may be lost 4", "sent"]


ASYNCIO = """
import asyncio, sys
from twisted.internet import asyncioreactor
loop = asyncio.new_event_loop()
asyncioreactor.install(loop)
from twisted.internet import reactor
from wsservice.client import connect

async def task():
    connection = await connect(sys.argv[1]).asFuture(loop)
    await connection.send("from a task").asFuture(loop)
    print(await connection.recv().asFuture(loop))
    await connection.close().asFuture(loop)

def begin():
    loop.create_task(task()).add_done_callback(lambda done: (done.result(), reactor.stop()))

reactor.callWhenRunning(begin)
reactor.run()
"""


def test_a_task_of_asyncio_can_use_it_too(programs: Programs, place: Place) -> None:
    program = programs.folder / "tasks.py"
    program.write_text(ASYNCIO)
    task = programs.start(sys.executable, program, place.url)
    host = place.next().accept()
    assert host.receive() == "from a task"
    host.send("to a task")
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    assert task.wait() == 0, task.stderr.text
    assert task.stdout.text == "to a task\n"


def test_a_certificate_that_is_not_trusted_ends_it(programs: Programs) -> None:
    key, certificate = make_certificate(programs.folder)
    server = programs.twistd(
        "--listen", f"ssl:0:privateKey={key.name}:certKey={certificate.name}:interface=127.0.0.1"
    )
    url = f"wss://localhost:{server.port}/"
    following = programs.start(sys.executable, EXAMPLES / "follow.py", url)
    assert following.wait() == 1
    assert "the certificate cannot be trusted: self-signed certificate" in following.stderr.text


def test_a_program_that_uses_it_is_typed(programs: Programs) -> None:
    need((BIN / "mypy").exists(), "mypy")
    program = programs.folder / "user.py"
    program.write_text(
        (EXAMPLES / "ask.py").read_text()
        + "async def check() -> None:\n"
        + "    connection = await connect('ws://a/', compression=True)\n"
        + "    reveal_type(connection)\n"
        + "    reveal_type([message async for message in connection])\n"
        + "    reveal_type(await connection.recv())\n"
        + "    reveal_type(await connection.ping())\n"
        + "    await connection.send(1)\n"
    )
    # Without the plugin and the settings that this project has for itself.
    mypy = programs.start(BIN / "mypy", "--strict", "--config-file=", program)
    assert mypy.wait(120) == 1
    errors = [line.partition("error: ")[2] for line in mypy.stdout.lines if "error: " in line]
    (error,) = errors
    assert 'Argument 1 to "send" of "ClientConnection" has incompatible type "int"' in error
    assert [line.split('"')[1] for line in mypy.stdout.lines if "Revealed" in line] == [
        "wsservice.client.stream.ClientConnection",
        "list[str | bytes]",
        "str | bytes",
        "float",
    ]
