"""Both logs in JSON, in every way to run the service: nothing in them is anything else."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from wsservice.escape import escape

from .conftest import Connect
from .processes import BIN, WAYS, Output, Programs, wait_until

NASTY = 'a "quoted"\n\\ {braces} \x1b[2J \x7f\u2028 é\N{SMILE}'
JSON = ("--log-format", "json")
MESSAGES = ("--message-log-format", "json")


def parsed(path: Path) -> list[dict[str, Any]]:
    """The objects of the lines of a file, which are nothing else."""
    # What is written while it is read may be there in part.
    wait_until(lambda: path.read_text().endswith("\n"), "the whole line")
    text = path.read_text()
    assert text.replace("\n", "").isprintable()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("how", WAYS)
def test_all_that_is_logged_from_start_to_end_is_json(
    programs: Programs, connect: Connect, how: str
) -> None:
    server = programs.serve(how, "--port", "0", *JSON)
    client = connect(server.port)
    client.send(NASTY)
    client.send(b"\x00\xff")
    client.close()
    server.log.wait_for("(binary, 2 bytes) 00ff")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = parsed(server.log.path)
    assert {tuple(line) for line in lines} == {("time", "level", "namespace", "text")}
    texts = [line["text"] for line in lines]
    assert any(text.endswith(" Message received: " + escape(NASTY)) for text in texts)
    assert sum("starting up" in text for text in texts) == (how != "twist")
    assert any("Main loop terminated" in text for text in texts)


@pytest.mark.parametrize("how", WAYS)
def test_messages_are_objects_among_the_others(
    programs: Programs, connect: Connect, how: str
) -> None:
    server = programs.serve(how, "--port", "0", *JSON, *MESSAGES)
    client = connect(server.port, path="/a/ch?token=secret")
    client.send(NASTY)
    client.close()
    server.log.wait_for('"kind"')
    (message,) = [line for line in parsed(server.log.path) if "kind" in line]
    assert (message["payload"], message["channel"]) == (NASTY, "a/ch")
    assert (message["level"], message["namespace"]) == ("info", "wsservice")


@pytest.mark.parametrize("place", ["messages.log", "-"])
def test_messages_alone_are_json_at_a_place_of_their_own(
    programs: Programs, connect: Connect, place: str
) -> None:
    server = programs.start(
        *(BIN / "twistd", "-n", "--logfile=own.log", "wsdemo", "--port", "0"),
        *("--message-log", place, *MESSAGES),
    )
    client = connect(Output(programs.folder / "own.log").wait_for_ports()[0], path="/chat/")
    for number in range(1000):
        client.send(f"{number} {NASTY}")
    client.send(b"\x00\xff")
    client.close()
    messages = server.stdout if place == "-" else Output(programs.folder / place)
    messages.wait_for('"binary"')
    lines = parsed(messages.path)
    assert [line["payload"] for line in lines[:-1]] == [f"{n} {NASTY}" for n in range(1000)]
    assert list(lines[-1].items())[1:] == [
        ("connection", "1"),
        ("peer", f"127.0.0.1:{client.socket.getsockname()[1]}"),
        ("channel", "chat"),
        ("kind", "binary"),
        ("size", 2),
        ("payload", "AP8="),
        ("cut", False),
    ]


def test_a_behaviour_that_fails_has_its_traceback_in_one_line(
    programs: Programs, connect: Connect
) -> None:
    (programs.folder / "bad.py").write_text(
        "import wsservice\n"
        "class Bad(wsservice.ServerProtocol):\n"
        "    def onMessage(self, payload, isBinary):\n"
        "        print('said')\n"
        "        raise ValueError(payload.decode())\n"
    )
    server = programs.twistd("--port", "0", "--protocol", "bad.Bad", *JSON)
    client = connect(server.port)
    client.send(NASTY)
    assert client.receive_close().code == 1011
    server.log.wait_for('"failure"')
    lines = parsed(server.log.path)
    assert "said" in [line["text"] for line in lines]
    (failed,) = [line for line in lines if "failure" in line]
    assert failed["text"].endswith("a callback failed")
    assert failed["failure"].splitlines()[-1].startswith("builtins.ValueError: a ")


def test_a_rotated_log_is_json_too(programs: Programs, connect: Connect) -> None:
    daemon = programs.daemon("--port", "0", *JSON)
    client = connect(daemon.port)
    daemon.signal(signal.SIGUSR1)
    rotated = Output(programs.folder / "wsdemo.log.1")
    rotated.wait_for("connections")
    client.send(NASTY)
    daemon.log.wait_for("Message received")
    parsed(rotated.path)
    parsed(daemon.log.path)


@pytest.mark.parametrize(
    ("twistd", "options", "words"),
    [
        ([], MESSAGES, "--message-log-format: 'json' is not allowed within a log of text"),
        (["--syslog"], JSON, "--log-format: 'json' is not allowed with twistd's --logger or"),
        ([], ("--log-format", "xml"), "--log-format: 'xml' is not allowed; give text or json"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_1(
    programs: Programs, twistd: list[str], options: tuple[str, ...], words: str
) -> None:
    server = programs.start(BIN / "twistd", "-n", *twistd, "wsdemo", "--port", "0", *options)
    assert server.wait() == 1
    assert server.stderr.text.startswith(f"wsdemo: {words}")
    assert len(server.stderr.lines) == 1
