"""Behaviours of one's own, deployed from the current folder."""

from __future__ import annotations

import json
import shutil
import signal
import textwrap
from pathlib import Path

import pytest

from .conftest import Connect
from .processes import Programs, wait_until
from .wire import PING, Closed, Wire

EXAMPLES = Path(__file__).parents[2] / "examples"

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


def test_the_chat_of_the_examples_closes_who_breaks_its_rules_with_1008(
    programs: Programs, connect: Connect
) -> None:
    shutil.copy(EXAMPLES / "chat.py", programs.folder)
    server = programs.twistd("--port", "0", "--protocol", "chat.Chat")
    stranger, friend = connect(server.port, path="/room"), connect(server.port, path="/room")
    stranger.send("not JSON")
    assert stranger.receive() == Closed(1008, "give such as {type, text}")
    friend.send('{"type": "name", "text": "Ann"}')
    said = friend.receive()
    assert isinstance(said, str)
    assert json.loads(said)["who"] == "Ann"
    assert "Traceback" not in server.log.text


def test_a_behaviour_closes_with_the_code_it_wants(programs: Programs, connect: Connect) -> None:
    write(
        programs.folder,
        """
        class Chat(wsservice.ServerProtocol):
            def onMessage(self, payload, isBinary):
                self.close(int(payload), "grüße")

            def onClose(self, wasClean, code, reason):
                self.log.info("the end: {said}", said=(wasClean, code, reason))
        """,
    )
    server = programs.twistd("--port", "0", "--protocol", "chat.Chat")
    for code in (1001, 1008, 1011, 1012, 1013, 1014, 4999):
        client = connect(server.port)
        client.send(str(code))
        assert client.receive() == Closed(code, "grüße")
        client.send_close(code, "bye")
        server.log.wait_for(f"the end: (True, {code}, 'bye')")


@pytest.mark.parametrize(("code", "status"), [(1001, 0), (1008, 8), (1014, 8)])
def test_the_client_tells_of_it(programs: Programs, code: int, status: int) -> None:
    write(
        programs.folder,
        f"""
        class Chat(wsservice.ServerProtocol):
            def onOpen(self):
                self.close({code}, "so it is")
        """,
    )
    server = programs.twistd("--port", "0", "--protocol", "chat.Chat")
    url = f"ws://127.0.0.1:{server.port}/"
    client = programs.client(url, "--linger", "60")
    assert client.wait() == status
    if status:
        client.stderr.wait_for(f"the server closed with {code} (so it is)")
    assert programs.client(url, "--expect-close", str(code)).wait() == 0


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
