"""Settings from a file, the environment and the command line, in every way to run the service."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from .conftest import Connect
from .processes import BIN, WAYS, Program, Programs

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.mark.parametrize("how", WAYS)
def test_a_file_is_taken_in_every_way_to_run_it(
    programs: Programs, connect: Connect, how: str
) -> None:
    (programs.folder / "ws.toml").write_text('port = 0\ngreeting = "from a file"\n')
    server = programs.serve(how, "--config", "ws.toml")
    assert connect(server.port).receive() == "from a file"


def test_the_environment_overrules_the_file_and_options_both(
    programs: Programs, connect: Connect
) -> None:
    (programs.folder / "ws.toml").write_text('greeting = "file"\nlisten = ["nonsense"]\nport = -1')
    server = programs.twistd(
        *("--port", "0"),
        environment={
            "WSSERVICE_CONFIG": "ws.toml",
            "WSSERVICE_GREETING": "environment",
            "WSSERVICE_LISTEN": "tcp:0:interface=127.0.0.1 unix:ws.sock",
        },
    )
    assert connect(server.port).receive() == "environment"
    assert connect(str(programs.folder / "ws.sock")).receive() == "environment"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 80\nport = 81", "wsdemo: ws.toml: is not TOML, Cannot overwrite a value (at"),
        ("prot = 80", "wsdemo: ws.toml: prot: unknown setting; did you mean port?"),
        ("port = '80'", "wsdemo: ws.toml: port: '80' is not allowed; give a whole number"),
        ("listen = ['tcp:x']", "wsdemo: ws.toml: listen tcp:x: is not an endpoint to"),
        ("protocol = 'absent.A'", "wsdemo: ws.toml: protocol: 'absent.A' cannot be imported"),
        ("message_log = '/'", "wsdemo: ws.toml: message_log: / cannot be written"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_and_status_1(
    programs: Programs, text: str, said: str
) -> None:
    (programs.folder / "ws.toml").write_text(text)
    server = programs.twistd("--config", "ws.toml")
    assert server.wait() == 1
    assert server.stderr.text.startswith(said)
    assert len(server.stderr.lines) == 1
    assert server.stdout.text == ""


def checked(programs: Programs, name: str) -> Program:
    program = programs.start(
        *(BIN / name, "wsdemo", "--config", "ws.toml", "--port", "9000", "--check-config"),
        environment={"WSSERVICE_DRAIN": "30"},
    )
    assert program.wait() == 0
    assert program.stderr.text == ""
    return program


@pytest.mark.parametrize("name", ["twistd", "twist"])
def test_checking_says_where_each_setting_was_given_and_starts_nothing(
    programs: Programs, name: str
) -> None:
    (programs.folder / "ws.toml").write_text("max_message_size = 65536")
    printed = checked(programs, name).stdout
    manual = OPERATIONS.read_text().partition("--check-config\n")[2].partition("```")[0]
    shown = re.findall(r"^\w+ = .+  # \S+$", manual, re.MULTILINE)
    assert len(shown) == 3
    assert set(shown) <= set(printed.lines)
    assert "compression = false  # default" in printed.lines
    (programs.folder / "ws.toml").write_text(printed.text)
    assert tomllib.loads(checked(programs, name).stdout.text) == tomllib.loads(printed.text)
    assert sorted(path.name for path in programs.folder.iterdir() if path.suffix == ".pid") == []


def test_checking_a_wrong_configuration_has_status_1(programs: Programs) -> None:
    program = programs.twistd("--check-config", environment={"WSSERVICE_PROTOCOL": "a.B"})
    assert program.wait() == 1
    assert program.stdout.text == ""
    assert program.stderr.text.startswith("wsdemo: WSSERVICE_PROTOCOL: 'a.B' cannot be imported")
    assert len(program.stderr.lines) == 1


@pytest.mark.parametrize("option", ["--check-config", "--version"])
def test_a_reader_that_has_enough_is_no_error(option: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [str(BIN / "twistd"), "wsdemo", option]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
