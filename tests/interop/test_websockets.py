"""Our client against a server on Python's `websockets`, as scripts use it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..integration.processes import Program, Programs

HERE = Path(__file__).parent


def serve(programs: Programs, *role: str) -> tuple[Program, str]:
    server = programs.start(sys.executable, HERE / "websockets_server.py", *role)
    server.stdout.wait_for("listening on ")
    found = re.search(r"listening on (\d+)", server.stdout.text)
    assert found
    return server, f"ws://127.0.0.1:{found[1]}/"


def test_every_size_of_message_comes_back(programs: Programs) -> None:
    server, url = serve(programs)
    lines = ["", "text ✓", "x" * 125, "x" * 126, "é" * 33000, "y" * 1_000_000]
    given = programs.folder / "lines"
    given.write_text("".join(f"{line}\n" for line in lines))
    # The server may answer a close before the messages that came before it.
    with given.open("rb") as stdin:
        client = programs.client(url, "--count", str(len(lines)), stdin=stdin)
    assert client.wait() == 0, client.stderr.text
    assert client.stdout.lines == lines
    server.stdout.wait_for("closed: 1000 \n")


def test_many_messages_come_back_whole_and_in_order(programs: Programs) -> None:
    _server, url = serve(programs)
    given = programs.folder / "lines"
    given.write_text("".join(f"{number}\n" for number in range(30_000)))
    # As above: without a count, answers would be missing.
    with given.open("rb") as stdin:
        client = programs.client(url, "--count", "30000", stdin=stdin)
    assert client.wait(60) == 0, client.stderr.text
    assert client.stdout.path.read_bytes() == given.read_bytes()


def test_files_come_back(programs: Programs) -> None:
    _server, url = serve(programs)
    file = programs.folder / "file"
    file.write_bytes(bytes(range(256)))
    client = programs.client(url, "-f", file, "-m", "text", "--binary", "hex", "--count", "2")
    assert client.wait() == 0, client.stderr.text
    assert client.stdout.lines == [bytes(range(256)).hex(), "text"]


def test_enough_of_a_stream_that_has_no_end(programs: Programs) -> None:
    server, url = serve(programs, "numbers")
    client = programs.client(url, "--until", "^5000$")
    assert client.wait() == 0, client.stderr.text
    assert client.stdout.lines == [str(number) for number in range(5001)]
    server.stdout.wait_for("closed: 1000 \n")


@pytest.mark.parametrize(
    ("code", "options", "status"),
    [
        ("1000", [], 0),
        ("1011", [], 8),
        ("4001", [], 8),
        ("4001", ["--expect-close", "4001"], 0),
        ("1000", ["--expect-close", "4001"], 7),
    ],
)
def test_a_close_by_the_server(
    programs: Programs, code: str, options: list[str], status: int
) -> None:
    server, url = serve(programs, "close", code)
    client = programs.client(url, "-m", "anything", *options, stdin=subprocess.PIPE)
    assert client.wait() == status, client.stderr.text
    server.stdout.wait_for(f"closed: {code} as asked\n")


def test_a_message_that_is_too_large_for_the_server(programs: Programs) -> None:
    _server, url = serve(programs)
    file = programs.folder / "file"
    file.write_bytes(bytes(2_000_000))
    client = programs.client(url, "-f", file, stdin=subprocess.PIPE)
    assert client.wait() == 8, client.stderr.text
    assert "the server closed with 1009" in client.stderr.text


def test_a_refusal(programs: Programs) -> None:
    _server, url = serve(programs, "refuse")
    client = programs.client(url)
    assert client.wait() == 5
    assert "401 Unauthorized" in client.stderr.text
    assert len(client.stderr.lines) == 1


def test_an_interrupt_is_a_close_in_order(programs: Programs) -> None:
    server, url = serve(programs)
    client = programs.client(url, "-m", "hi", stdin=subprocess.PIPE)
    client.stdout.wait_for("hi\n")
    client.signal(2)
    assert client.wait() == 130
    server.stdout.wait_for("closed: 1000 \n")
