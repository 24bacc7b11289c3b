"""Behaviours of one's own, deployed from the current folder."""

from __future__ import annotations

import signal
import textwrap
from pathlib import Path

import pytest

from .conftest import Connect
from .processes import Programs, wait_until
from .wire import PING, Closed, Wire

SHOUTING = {
    "plain": """
        class Chat(wsservice.ServerProtocol):
            def onMessage(self, payload, isBinary):
                super().onMessage(payload, isBinary)
                self.sendMessage(payload.upper(), isBinary)
    """,
    "async def": """
        from twisted.internet import reactor
        from twisted.internet.task import deferLater

        class Chat(wsservice.ServerProtocol):
            async def onMessage(self, payload, isBinary):
                super().onMessage(payload, isBinary)
                # The first waits longest: order must not come from speed.
                await deferLater(reactor, 0.1 if payload == b"one" else 0)
                self.sendMessage(payload.upper(), isBinary)
    """,
    "Deferred": """
        from twisted.internet import reactor
        from twisted.internet.task import deferLater

        class Chat(wsservice.ServerProtocol):
            def onMessage(self, payload, isBinary):
                super().onMessage(payload, isBinary)
                waited = deferLater(reactor, 0.1 if payload == b"one" else 0)
                return waited.addCallback(
                    lambda _: self.sendMessage(payload.upper(), isBinary) and None)
    """,
}

FAILING = """
    class Failing(wsservice.ServerProtocol):
        {kind} {callback}(self, *arguments):
            {condition}:
                raise RuntimeError("a secret of the server's")
            return super().{callback}(*arguments)
"""

CONDITIONS = {
    "onConnect": 'if arguments[0].path == "/bad"',
    "onOpen": 'if self.channel == "bad"',
    "onMessage": 'if arguments[0] == b"bad"',
    "onClose": 'if self.channel == "bad"',
    "onPing": 'if self.channel == "bad"',
}


def write(folder: Path, code: str) -> None:
    (folder / "chat.py").write_text("import wsservice\n" + textwrap.dedent(code))


@pytest.mark.parametrize("kind", SHOUTING)
def test_a_module_in_the_current_folder_is_deployed(
    programs: Programs, connect: Connect, kind: str
) -> None:
    write(programs.folder, SHOUTING[kind])
    server = programs.twistd("--port", "0", "--protocol", "chat.Chat")
    client = connect(server.port)
    for message in ("one", "two", "three"):
        client.send(message)
    assert [client.receive() for _ in range(3)] == ["ONE", "TWO", "THREE"]
    client.close()
    server.log.wait_for("Message received: three\n")
    assert server.log.text.count("Message received: ") == 3


def test_twist_and_a_daemon_find_it_too(programs: Programs, connect: Connect) -> None:
    write(programs.folder, SHOUTING["plain"])
    for how in ("twist", "daemon"):
        server = programs.serve(how, "--port", "0", "--protocol", "chat.Chat")
        client = connect(server.port)
        client.send("hear me")
        assert client.receive() == "HEAR ME"


def test_broadcast_reaches_all_on_the_same_path_and_no_other(
    programs: Programs, connect: Connect
) -> None:
    write(
        programs.folder,
        """
        class Chat(wsservice.ServerProtocol):
            def onMessage(self, payload, isBinary):
                self.sendMessage(b"%d" % self.broadcast(payload, isBinary))
        """,
    )
    port = programs.twistd("--port", "0", "--protocol", "chat.Chat").port
    one, two = connect(port, path="/room"), connect(port, path="/room/?who=two")
    other = connect(port, path="/elsewhere")
    one.send("to the room")
    assert [one.receive(), one.receive()] == ["to the room", "2"]
    assert two.receive() == "to the room"
    other.send("alone")
    assert [other.receive(), other.receive()] == ["alone", "1"]


def provoke(client: Wire, callback: str) -> None:
    if callback == "onMessage":
        client.send("bad")
    elif callback == "onPing":
        client.send_frame(PING, b"")


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("callback", ["onOpen", "onMessage", "onPing"])
def test_what_a_callback_raises_costs_its_client_the_connection_and_no_other(
    programs: Programs, connect: Connect, callback: str, kind: str
) -> None:
    write(
        programs.folder,
        FAILING.format(kind=kind, callback=callback, condition=CONDITIONS[callback]),
    )
    server = programs.twistd("--port", "0", "--protocol", "chat.Failing")
    good = connect(server.port, path="/good")
    bad = connect(server.port, path="/bad")
    provoke(bad, callback)
    assert bad.answer_close() == Closed(1011, "")
    good.send("unharmed")
    server.log.wait_for("Message received: unharmed\n")
    good.close()
    wait_until(lambda: server.log.text.count("Traceback") == 1, "the traceback")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.text.count("RuntimeError: a secret") == 1
    assert server.log.text.count("Traceback") == 1


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_onconnect_raises_is_answered_with_500(
    programs: Programs, connect: Connect, kind: str
) -> None:
    condition = CONDITIONS["onConnect"]
    write(programs.folder, FAILING.format(kind=kind, callback="onConnect", condition=condition))
    server = programs.twistd("--port", "0", "--protocol", "chat.Failing")
    good = connect(server.port, path="/good")
    bad = connect(server.port, path="/bad")
    assert bad.status == 500
    assert "secret" not in bad.head
    assert bad.rest() == b""
    assert good.status == 101
    assert good.close() == Closed(1000, "")
    assert server.log.text.count("Traceback") == 1


def test_what_onclose_raises_harms_nobody(programs: Programs, connect: Connect) -> None:
    condition = CONDITIONS["onClose"]
    write(programs.folder, FAILING.format(kind="def", callback="onClose", condition=condition))
    server = programs.twistd("--port", "0", "--protocol", "chat.Failing", "--drain", "60")
    good = connect(server.port, path="/good")
    assert connect(server.port, path="/bad").close() == Closed(1000, "")
    server.log.wait_for("RuntimeError: a secret")
    # The connection is forgotten: the stop does not wait for it.
    server.signal(signal.SIGTERM)
    assert good.answer_close().code == 1001
    assert server.wait() == 0
    assert server.log.text.count("Traceback") == 1
