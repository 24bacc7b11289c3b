"""The message log as a part of Twisted's log, wherever that goes: no line is lost, torn or late."""

from __future__ import annotations

import json
import os
import re
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Connect
from .processes import (
    BIN,
    Daemon,
    Output,
    Program,
    Programs,
    can_connect,
    free_port,
    wait_until,
)
from .wire import TEXT, Wire, frame

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[wsservice#info\]"
    r" \[\d+ 127\.0\.0\.1:\d+\] Message received: message (\d+)"
)
COUNT = 20_000
"""Messages sent at once: more than a batch, more than twistd's log holds before it rotates."""


def flood(client: Wire, first: int = 0, count: int = COUNT) -> None:
    client.socket.sendall(
        b"".join(frame(TEXT, b"message %d" % number) for number in range(first, first + count))
    )


def numbers(text: str) -> list[int]:
    """Return the numbers in the lines of the message log. No line may be torn."""
    lines = [line for line in text.splitlines() if "Message received" in line]
    matches = [LINE.fullmatch(line) for line in lines]
    assert None not in matches, lines[matches.index(None)]
    return [int(match[1]) for match in matches if match]


def rotated(log: Path) -> str:
    """The text of a log and of all that it left behind, the oldest first.

    While it is rotated, a part may be missing, and is there the next time.
    """
    older = sorted(log.parent.glob(f"{log.name}.*"), key=lambda path: int(path.suffix[1:]))
    return "".join(Output(path).text for path in [*reversed(older), log])


Serve = Callable[[Programs], tuple[Program | Daemon, Path]]


def _standard_output(programs: Programs) -> tuple[Program | Daemon, Path]:
    server = programs.twistd("--port", "0")
    return server, server.stdout.path


def _log_file(programs: Programs) -> tuple[Program | Daemon, Path]:
    server = programs.start(BIN / "twistd", "-n", "--logfile=own.log", "wsdemo", "--port", "0")
    return server, programs.folder / "own.log"


def _daemon(programs: Programs) -> tuple[Program | Daemon, Path]:
    return programs.daemon("--port", "0"), programs.folder / "wsdemo.log"


def _twist(programs: Programs) -> tuple[Program | Daemon, Path]:
    server = programs.twist("--port", "0")
    return server, server.stdout.path


def _twist_log_file(programs: Programs) -> tuple[Program | Daemon, Path]:
    log = ("--log-file=own.log", "--log-format=text")
    server = programs.start(BIN / "twist", *log, "wsdemo", "--port", "0")
    return server, programs.folder / "own.log"


WAYS: list[Serve] = [_standard_output, _log_file, _daemon, _twist, _twist_log_file]
way = pytest.mark.parametrize("serve", WAYS, ids=lambda each: each.__name__.strip("_"))


@way
def test_every_line_is_there_in_order_and_in_twisteds_form(
    programs: Programs, connect: Connect, serve: Serve
) -> None:
    _, log = serve(programs)
    port = Output(log).wait_for_ports()[0]
    client = connect(port)
    flood(client)
    client.close()
    wait_until(lambda: f"message {COUNT - 1}\n" in rotated(log), "the last line")
    assert numbers(rotated(log)) == list(range(COUNT))


@way
def test_at_the_end_what_came_is_written_before_the_last_lines_of_the_log(
    programs: Programs, connect: Connect, serve: Serve
) -> None:
    server, log = serve(programs)
    client = connect(Output(log).wait_for_ports()[0])
    flood(client, count=2000)
    server.signal(signal.SIGTERM)
    client.answer_close()
    assert server.wait() == 0
    text = log.read_text()
    seen = numbers(text)
    # What was sent after the service said goodbye is not received: a beginning, without gaps.
    assert seen == list(range(len(seen)))
    assert seen
    assert text.rindex("Message received") < text.index("Main loop terminated")


@pytest.mark.parametrize("serve", [_log_file, _daemon], ids=["log file", "daemon"])
def test_sigusr1_rotates_under_load(programs: Programs, connect: Connect, serve: Serve) -> None:
    server, log = serve(programs)
    client = connect(Output(log).wait_for_ports()[0])
    for turn in range(3):
        flood(client, turn * 2000, 2000)
        before = len(list(log.parent.glob(f"{log.name}.*")))
        server.signal(signal.SIGUSR1)
        wait_until(
            lambda before=before: len(list(log.parent.glob(f"{log.name}.*"))) > before,  # type: ignore[misc]
            "the rotated log",
        )
    client.close()
    wait_until(lambda: "message 5999\n" in rotated(log), "the last line")
    assert numbers(rotated(log)) == list(range(6000))


def test_the_log_rotates_by_its_size(programs: Programs, connect: Connect) -> None:
    _, log = _daemon(programs)
    client = connect(Output(log).wait_for_ports()[0])
    flood(client)
    client.close()
    wait_until(lambda: f"message {COUNT - 1}\n" in rotated(log), "the last line")
    sizes = [path.stat().st_size for path in log.parent.glob(f"{log.name}.*")]
    assert sizes
    assert all(1_000_000 <= size <= 1_000_000 + 64 * 1024 for size in sizes)


def test_an_event_that_follows_a_message_follows_its_line(
    programs: Programs, connect: Connect
) -> None:
    (programs.folder / "chatty.py").write_text(
        "import wsservice\n"
        "from twisted.logger import Logger\n"
        "class Chatty(wsservice.ServerProtocol):\n"
        "    def onMessage(self, payload, isBinary):\n"
        "        super().onMessage(payload, isBinary)\n"
        "        Logger().info('about {what}', what=payload.decode())\n"
    )
    server = programs.twistd("--port", "0", "--protocol", "chatty.Chatty")
    client = connect(server.port)
    flood(client, count=100)
    client.close()
    server.log.wait_for("about message 99\n")
    said = re.findall(r"(received: |about )message (\d+)\n", server.log.text)
    assert said == [(what, str(n)) for n in range(100) for what in ("received: ", "about ")]


@pytest.mark.parametrize("signals", [1, 2], ids=["one signal", "more signals"])
def test_a_reader_of_standard_output_that_comes_late_misses_nothing_and_holds_no_end_up(
    programs: Programs, connect: Connect, signals: int
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as reading, os.fdopen(writer, "wb") as writing:
        port = free_port()
        server = programs.start(BIN / "twistd", "-n", "wsdemo", f"--port={port}", stdout=writer)
        wait_until(lambda: can_connect(port), "the port")
        client = connect(port)
        # More than a pipe holds: Twisted's log waits for its reader.
        flood(client, count=3000)
        wait_until(lambda: not select.select([], [writing], [], 0)[1], "a full pipe")
        server.signal(signal.SIGTERM)
        if signals == 2:
            # Python takes two of one kind for one while it is busy: until it ends.
            def ended() -> bool:
                server.signal(signal.SIGTERM)
                return server.process.poll() is not None

            wait_until(ended, "the end")
            assert server.wait() == 143
            return
        text = b""
        while b"message 2999\n" not in text:
            text += reading.read1()
        client.answer_close()
        assert server.wait() == 0
        assert numbers(text.decode()) == list(range(3000))


_OBSERVER = """
from zope.interface import implementer
from twisted.logger import ILogObserver, globalLogPublisher
import wsservice

file = open("observed", "a", buffering=1)

@implementer(ILogObserver)
def observer(event):
    if "line" in event:
        file.write(event["line"] + "\\n")
    elif event.get("log_format"):
        file.write(event["log_format"].format(**event) + "\\n")

def make():
    return observer

class Observed(wsservice.ServerProtocol):
    def onMessage(self, payload, isBinary):
        if payload == b"observe":
            globalLogPublisher.addObserver(observer)
        elif payload == b"do not":
            globalLogPublisher.removeObserver(observer)
        else:
            super().onMessage(payload, isBinary)
"""


def _seen(programs: Programs) -> list[int]:
    text = Output(programs.folder / "observed").text
    return [int(number) for number in re.findall(r"\] Message received: message (\d+)\n", text)]


def test_an_observer_of_the_users_gets_each_line_as_an_event(
    programs: Programs, connect: Connect
) -> None:
    (programs.folder / "observing.py").write_text(_OBSERVER)
    programs.start(
        *(BIN / "twistd", "-n", "--logger=observing.make", "wsdemo", "--port", "0"),
        environment={"PYTHONPATH": str(programs.folder)},
    )
    client = connect(Output(programs.folder / "observed").wait_for_ports()[0])
    flood(client, count=1000)
    client.close()
    wait_until(lambda: len(_seen(programs)) >= 1000, "all lines")
    assert _seen(programs) == list(range(1000))


def test_an_observer_added_at_run_time_gets_each_line_from_then_on(
    programs: Programs, connect: Connect
) -> None:
    (programs.folder / "observing.py").write_text(_OBSERVER)
    server = programs.twistd("--port", "0", "--protocol", "observing.Observed")
    client = connect(server.port)
    flood(client, 0, 1000)
    # A turn of the reactor lies between, since each answer is waited for.
    for what in ("observe", "do not"):
        server.log.wait_for("message 999\n" if what == "observe" else "message 1999\n")
        client.send(what)
        if what == "observe":
            flood(client, 1000, 1000)
    flood(client, 2000, 1000)
    client.close()
    server.log.wait_for("message 2999\n")
    assert numbers(server.log.text) == list(range(3000))
    seen = _seen(programs)
    assert seen == list(range(1000, 2000))


_SYSLOG = """
import functools

def write(priority, line):
    with open("syslog.txt", "a") as file:
        file.write(line + "\\n")

# Not functions: Twisted has them in a class.
openlog = functools.partial(lambda *arguments: None)
syslog = functools.partial(write)

def __getattr__(name):
    return 0
"""


def test_syslog_gets_each_line(programs: Programs, connect: Connect) -> None:
    # The C library's would need a daemon to write to.
    (programs.folder / "syslog.py").write_text(_SYSLOG)
    programs.start(
        *(BIN / "twistd", "-n", "--syslog", "wsdemo", "--port", "0"),
        environment={"PYTHONPATH": str(programs.folder)},
    )
    log = Output(programs.folder / "syslog.txt")
    client = connect(log.wait_for_ports()[0])
    flood(client, count=500)
    client.close()
    log.wait_for("message 499\n")
    said = re.findall(r"Message received: message (\d+)\n", log.text)
    assert [int(number) for number in said] == list(range(500))


def test_twists_json_gets_each_line_as_an_event(programs: Programs, connect: Connect) -> None:
    server = programs.start(BIN / "twist", "--log-format=json", "wsdemo", "--port", "0")

    def lines() -> list[str]:
        records = server.stdout.text.split("\x1e")
        events = [json.loads(record) for record in records if record.endswith("\n")]
        return [event["line"] for event in events if "line" in event]

    client = connect(server.port)
    flood(client, count=500)
    client.close()
    wait_until(lambda: len(lines()) >= 500, "all events")
    assert [line.rpartition(" ")[2] for line in lines()] == [str(n) for n in range(500)]


def test_a_level_of_twists_that_leaves_lines_out_is_respected(
    programs: Programs, connect: Connect
) -> None:
    log = ("--log-format=text", "--log-level=warn")
    port = free_port()
    server = programs.start(BIN / "twist", *log, "wsdemo", f"--port={port}")
    wait_until(lambda: can_connect(port), "the port")
    client = connect(port)
    flood(client, count=500)
    client.close()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Message received" not in server.stdout.text + server.stderr.text
