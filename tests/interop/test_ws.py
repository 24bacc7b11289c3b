"""npm's `ws` against our server, and our client against a `ws` server."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from wsservice.auth.tokens import line_of

from ..integration.processes import Program, Programs
from ..needs import need, need_program

HERE = Path(__file__).parent


@pytest.fixture
def node() -> str:
    """The path of node, where it has ws."""
    program = need_program("node")
    there = (HERE / "node_modules" / "ws" / "package.json").exists()
    need(there, "ws from npm: make tests/interop/node_modules/.installed")
    return program


def ws_server(programs: Programs, node: str, *role: str) -> tuple[Program, str]:
    server = programs.start(node, HERE / "server.js", *role)
    server.stdout.wait_for("listening on ")
    found = re.search(r"listening on (\d+)", server.stdout.text)
    assert found
    return server, f"ws://127.0.0.1:{found[1]}/websockets/"


def test_the_tutorials_client_on_ws_talks_to_our_server(programs: Programs, node: str) -> None:
    server = programs.twistd("--port", "0")
    url = f"ws://localhost:{server.port}/websockets/"
    client = programs.start(node, HERE / "client.js", url)
    client.stdout.wait_for("Msg received in client: Hello from server\n")
    server.log.wait_for("Message received: Msg from client\n")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert client.wait() == 0
    assert client.stdout.lines[-1] == "closed: 1001 "


def test_our_client_talks_to_the_tutorials_server_on_ws(programs: Programs, node: str) -> None:
    server, url = ws_server(programs, node)
    client = programs.client(url, "-m", "Msg from client")
    assert client.wait() == 0
    assert client.stdout.text == "Hello from server\n"
    server.stdout.wait_for("closed: 1000 \n")
    assert "Message received: Msg from client" in server.stdout.lines


@pytest.mark.parametrize("options", [[], ["--compression", "on"]], ids=["plain", "compressed"])
def test_every_kind_of_message_comes_back_to_ws(
    programs: Programs, node: str, options: list[str]
) -> None:
    server = programs.twistd("--port", "0", "--protocol", "echo", *options)
    url = f"ws://localhost:{server.port}/"
    client = programs.start(node, HERE / "client.js", url, "echo")
    assert client.wait() == 0
    extensions, *answers, closed = client.stdout.lines
    # ws offers compression: we decline it unless told otherwise.
    assert extensions == f"extensions: {'permessage-deflate' if options else 'none'}"
    sizes = ["0 text", "13 text", "0 binary", "4 binary", "65535 text", "80000 text"]
    sizes += ["65536 binary", "1000000 binary", "15 text"]
    assert [each for each in answers if "pong" not in each] == [f"same: {size}" for size in sizes]
    assert "pong: between" in answers
    assert closed == "closed: 1000 "


@pytest.mark.parametrize("deflate", [[], ["deflate"]], ids=["plain", "deflate"])
def test_every_size_of_message_comes_back_from_ws(
    programs: Programs, node: str, deflate: list[str]
) -> None:
    _server, url = ws_server(programs, node, "echo", *deflate)
    lines = ["", "text ✓", "x" * 125, "x" * 126, "é" * 33000, "y" * 1_000_000]
    given = programs.folder / "lines"
    given.write_text("".join(f"{line}\n" for line in lines))
    with given.open("rb") as stdin:
        client = programs.client(url, stdin=stdin)
    assert client.wait() == 0, client.stderr.text
    assert client.stdout.lines == lines


@pytest.mark.parametrize("bits", ["8:8", "8:15", "15:8", "9:10"])
def test_every_window_that_ws_chooses_is_spoken(programs: Programs, node: str, bits: str) -> None:
    server, url = ws_server(programs, node, "echo", f"deflate:{bits}")
    # Text that repeats within 256 octets, within more than that, and from message to message.
    words = [f"{number:04} " for number in range(200)]
    lines = ["".join(words[:20]) * 9, "".join(words) * 3, "".join(words) * 3, "x" * 70_000, "ü"]
    lines += [each[::-1] for each in lines]
    given = programs.folder / "lines"
    given.write_text("".join(f"{line}\n" for line in lines))
    with given.open("rb") as stdin:
        client = programs.client(url, "--compression", "on", stdin=stdin)
    assert client.wait() == 0, client.stderr.text
    assert client.stdout.lines == lines
    assert "extensions: permessage-deflate" in server.stdout.lines


@pytest.mark.parametrize("code", ["1012", "1013"])
def test_close_codes_of_the_registry_are_waited_for(
    programs: Programs, node: str, code: str
) -> None:
    server, url = ws_server(programs, node, "close", code)
    client = programs.client(url, "-m", "anything", "--expect-close", code)
    assert client.wait() == 0, client.stderr.text
    server.stdout.wait_for(f"closed: {code} as asked\n")


@pytest.mark.parametrize("code", ["1000", "1001", "3000", "4999"])
def test_the_close_code_of_ws_is_answered(programs: Programs, node: str, code: str) -> None:
    server = programs.twistd("--port", "0")
    url = f"ws://localhost:{server.port}/"
    client = programs.start(node, HERE / "client.js", url, "close", code)
    assert client.wait() == 0
    assert client.stdout.lines[-1] == f"closed: {code} as asked"


@pytest.mark.parametrize(("code", "status"), [("1000", 0), ("1011", 8), ("4001", 8)])
def test_a_close_by_the_ws_server_reaches_our_client(
    programs: Programs, node: str, code: str, status: int
) -> None:
    server, url = ws_server(programs, node, "close", code)
    client = programs.client(url, "-m", "anything", stdin=subprocess.PIPE)
    assert client.wait() == status
    server.stdout.wait_for(f"closed: {code} as asked\n")


def test_ws_sees_an_interrupted_client_close_in_order(programs: Programs, node: str) -> None:
    server, url = ws_server(programs, node)
    client = programs.client(url, stdin=subprocess.PIPE)
    client.stdout.wait_for("Hello from server\n")
    client.signal(signal.SIGINT)
    assert client.wait() == 130
    server.stdout.wait_for("closed: 1000 \n")


def test_files_and_texts_come_back_from_ws_as_asked_for(programs: Programs, node: str) -> None:
    _server, url = ws_server(programs, node, "echo")
    file = programs.folder / "file"
    file.write_bytes(bytes(range(256)) * 4000)
    client = programs.client(
        *(url, "-f", file, "-m", "a\nb", "-m", "never printed"),
        *("--null", "--binary", "base64", "--count", "2"),
    )
    assert client.wait() == 0, client.stderr.text
    binary, text, nothing = client.stdout.path.read_bytes().split(b"\0")
    assert base64.b64decode(binary) == file.read_bytes()
    assert (text, nothing) == (b"a\nb", b"")


@pytest.mark.parametrize(("code", "status"), [("4001", 0), ("1000", 7), ("4002", 8)])
def test_a_close_by_ws_that_was_expected_or_not(
    programs: Programs, node: str, code: str, status: int
) -> None:
    _server, url = ws_server(programs, node, "close", code)
    client = programs.client(url, "-m", "anything", "--expect-close", "4001")
    assert client.wait() == status, client.stderr.text


def logged_in(programs: Programs, node: str, *options: str) -> Callable[..., list[str]]:
    """A server with users; a function that logs in, and returns what ws saw."""
    token, line = line_of("tom")
    path = programs.folder / "tokens.txt"
    path.touch(0o600)
    path.write_text(line)
    server = programs.twistd("--port", "0", "--auth", "tokens:tokens.txt", *options)
    url = f"ws://localhost:{server.port}/"

    def login(way: str, given: str = token) -> list[str]:
        client = programs.start(node, HERE / "login.js", url, way, given)
        assert client.wait() == 0
        return client.stdout.lines

    return login


def test_ws_logs_in_by_a_header_and_by_a_subprotocol(programs: Programs, node: str) -> None:
    login = logged_in(programs, node)
    greeted = ["received: Hello from server", "closed: 1005 "]
    assert login("header") == ["open: no subprotocol", *greeted]
    assert login("subprotocol") == ["open: chat", *greeted]
    # As browsers do, ws wants a subprotocol where it offered one.
    (error, closed) = login("alone")
    assert (error, closed) == ("error: Server sent no subprotocol", "closed: 1006 ")
    (refused,) = login("header", "nonsense")
    assert refused == 'refused: 401 Bearer realm="websocket"'


def test_ws_logs_in_by_its_first_message(programs: Programs, node: str) -> None:
    # ws compresses it, which is more than one octet long.
    login = logged_in(programs, node, "--auth-first-message", "--compression", "on")
    greeted = ["received: Hello from server", "closed: 1005 "]
    assert login("message") == ["open: no subprotocol", *greeted]
    assert login("message", "n" * 2000) == [
        "open: no subprotocol",
        "closed: 1008 the token is unknown",
    ]
    assert login("message", "n" * 9000)[1].startswith("closed: 1008 the ")
