"""A mistake is reported in one line, with status 1, and nothing is left behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from .processes import WAYS, Program, Programs, can_connect, free_port

WRONG = [
    ("--port", "http"),
    ("--port", "65536"),
    ("--drain", "-1"),
    ("--log-payload", "much"),
    ("--listen", "nonsense:1"),
    ("--listen", "ssl:0:privateKey=absent.pem"),
    ("--listen", "systemd:domain=INET:index=0"),
    ("--admin", "nonsense"),
    ("--admin", "tcp:0"),
    ("--admin", "systemd:domain=INET:index=0"),
    ("--admin-token-file", "absent"),
    ("--protocol", "absent.Behaviour"),
    ("--protocol", "os.path"),
    ("--message-log", "absent/folder/messages.log"),
    ("--prot", "8080"),
    ("--greeting",),
    ("argument",),
]


def run(programs: Programs, how: str, *options: str | Path) -> Program:
    if how == "daemon":
        return programs.start(*programs.daemon_command(*options))
    started = programs.serve(how, *options)
    assert isinstance(started, Program)
    return started


def refused(program: Program, *words: str) -> None:
    """It ended with status 1 and one line on standard error that has these words."""
    assert program.wait() == 1
    assert len(program.stderr.lines) == 1, program.stderr.text
    assert program.stderr.text.startswith("wsdemo: ")
    for word in words:
        assert word in program.stderr.text
    assert program.stdout.text == ""


def left_behind(folder: Path) -> list[str]:
    """The files of a run, but those that hold its output."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("program-"))


@pytest.mark.parametrize("option", WRONG, ids=" ".join)
def test_a_wrong_option_is_one_line_and_status_1(
    programs: Programs, option: tuple[str, ...]
) -> None:
    port = free_port()
    program = programs.twistd("--port", str(port), *option)
    refused(program, option[0])
    assert not can_connect(port)
    assert left_behind(programs.folder) == []


@pytest.mark.parametrize("how", ["twist", "daemon"])
@pytest.mark.parametrize(
    "option", [("--drain", "soon"), ("--unknown", "1"), ("--message-log", "absent/file")]
)
def test_it_is_so_in_every_way_to_run_it(
    programs: Programs, how: str, option: tuple[str, str]
) -> None:
    port = free_port()
    refused(run(programs, how, "--port", str(port), *option), option[0])
    assert not can_connect(port)
    assert left_behind(programs.folder) == []


@pytest.mark.parametrize("how", WAYS)
def test_a_port_in_use_is_one_line_and_status_1(programs: Programs, how: str) -> None:
    free = free_port()
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        listen = ["--listen", f"tcp:{free}:interface=127.0.0.1"]
        program = run(programs, how, "--listen", f"tcp:{port}", *listen)
        refused(program, f"tcp:{port}", "in use")
        refused(run(programs, how, "--port", str(port), *listen), f"--port {port}", "in use")
    assert not can_connect(free)
    assert left_behind(programs.folder) == []


def test_a_message_log_that_may_not_be_written_is_one_line(programs: Programs) -> None:
    folder = programs.folder / "messages"
    folder.mkdir()
    refused(programs.twistd("--port", "0", "--message-log", folder), "--message-log", str(folder))
    os.mkfifo(programs.folder / "pipe")
    refused(programs.twistd("--port", "0", "--message-log", "pipe"), "--message-log", "pipe")


def test_a_daemon_has_no_standard_output_to_log_to(programs: Programs) -> None:
    refused(run(programs, "daemon", "--port", "0", "--message-log", "-"), "--message-log", "daemon")
    assert left_behind(programs.folder) == []
