"""docs/client.md, run: each command as it is printed, and what it prints compared."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from wsservice.cli.command import SHORT_HELP

from ..needs import need_program
from .processes import BIN, PATIENCE, can_connect, free_port, wait_until
from .terminals import People

DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"
EXAMPLES = DOCUMENT.parents[1] / "examples"

_FENCE = re.compile(
    r"^(?:<!-- typed: (?P<typed>[^\n]*) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PORT = re.compile(r"(?<=localhost:)8\d{3}|(?<=127\.0\.0\.1:)8\d{3}|(?<=ssl:)8\d{3}")
_LATER = re.compile(r"\s&(\s+#.*)?$")
"""The end of a command that runs in the background."""
_SECONDS = re.compile(r"(?<!-timeout )(?:(?<=sleep )|(?<=timeout )|(?<=-s INT ))\d+")
"""Those of `sleep` and `timeout`, in which another program is to have begun its work."""
_USUAL = 0.5
"""Seconds in which a program of ours starts, on a machine that does nothing else."""


@attrs.frozen
class Block:
    """One fenced block. `typed` is what is typed, where its command is a prompt."""

    number: int
    kind: str
    text: str
    typed: str | None

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command, and the lines that it prints."""
        commands: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                commands.append((line[2:], []))
            else:
                commands[-1][1].append(line)
        return commands

    def __str__(self) -> str:
        return f"{self.number}-{self.text.splitlines()[0][:40]}"


BLOCKS = [
    Block(number, each["kind"], each["text"], each["typed"])
    for number, each in enumerate(_FENCE.finditer(DOCUMENT.read_text()), 1)
]
PRINTED_PORTS = sorted({each for block in BLOCKS for each in _PORT.findall(block.text)})


def as_printed(lines: list[str]) -> re.Pattern[str]:
    """Return a pattern for output in a document: `…` is any text, alone any number of lines."""
    parts = []
    for line in lines:
        if line == "…":
            parts.append(r"(?:.*\n)*")
        else:
            parts.append(".*".join(map(re.escape, line.split("…"))) + "\n")
    return re.compile("".join(parts))


def paced(command: str) -> str:
    """A command with the seconds that it needs here and now, where it has any."""
    if not _SECONDS.search(command):
        return command
    began = time.monotonic()
    subprocess.run([BIN / "wsclient", "--version"], check=True, capture_output=True)
    times = max(1.0, (time.monotonic() - began) / _USUAL)
    return _SECONDS.sub(lambda seconds: f"{times * int(seconds[0]):.1f}", command)


class Reader:
    """Somebody who does what the document says, in a folder of their own.

    The ports that it prints may be taken: others stand in their place, in what is
    run, and the printed ones in what comes of it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done = 0
        self._people = People(folder)
        self._background: list[subprocess.Popen[bytes]] = []
        self._ports = {port: str(free_port()) for port in PRINTED_PORTS}
        proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in proxies},
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
        }

    def reach(self, block: Block) -> None:
        """Do all that stands above a block, but for what was done already."""
        for each in BLOCKS[self._done : block.number - 1]:
            self.do(each)

    def do(self, block: Block) -> None:
        """Do what a block says."""
        self._done = block.number
        if block.kind == "python":
            name = block.text.partition("\n")[0].removeprefix("# ")
            (self._folder / name).write_text(block.text)
        elif block.typed is not None:
            ((command, screen),) = block.commands
            self._type(command, block.typed, screen)
        else:
            for command, lines in block.commands:
                self._run(command, lines)

    def end(self) -> None:
        self._people.end()
        for each in self._background:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGTERM)
            each.wait(PATIENCE)

    def _run(self, command: str, lines: list[str]) -> None:
        if _LATER.search(command):
            self._begin(command)
            return
        done = subprocess.run(
            ["bash", "-c", paced(self._with_free_ports(command))],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=4 * PATIENCE,
            check=False,
        )
        printed = self._with_printed_ports(done.stdout.decode())
        if printed and not printed.endswith("\n"):
            printed += "\n"
        assert as_printed(lines).fullmatch(printed), f"$ {command}\n{printed}"

    def _begin(self, command: str) -> None:
        for each in self._background:
            each.poll()  # one that was killed holds its process id until somebody asks
        shell = ["bash", "-c", paced(self._with_free_ports(_LATER.sub("", command)))]
        with (self._folder / f"background-{len(self._background)}").open("wb") as output:
            process = subprocess.Popen(
                shell,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that all of it can be ended
            )
        self._background.append(process)
        if "sleep" not in command:
            self._wait_for(command, process)

    def _wait_for(self, command: str, process: subprocess.Popen[bytes]) -> None:
        def is_there() -> bool:
            port = re.search(r"--port (\d+)|http.server (\d+)", self._with_free_ports(command))
            ports = _PORT.findall(command)
            if port is not None:
                return can_connect(int(port[1] or port[2]))
            if ports:
                return can_connect(int(self._ports[ports[0]]))
            return (self._folder / "ws.sock").exists()

        wait_until(lambda: is_there() or process.poll() is not None, command)
        assert process.poll() is None, f"$ {command}"

    def _type(self, command: str, typed: str, screen: list[str]) -> None:
        program, *arguments = shlex.split(self._with_free_ports(command))
        assert program == "wsclient"
        person = self._people.person(*arguments, columns=150, rows=50)
        expected = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in screen]

        def sees(count: int, *prompt: str) -> bool:
            shown = "".join(f"{line}\n" for line in person.lines)
            pattern = as_printed([*expected[:count], *prompt])
            return pattern.fullmatch(self._with_printed_ports(shown)) is not None

        def until_seen(count: int, *prompt: str) -> None:
            try:
                wait_until(lambda: sees(count, *prompt), "the screen")
            except AssertionError:
                raise AssertionError("\n".join(person.lines)) from None

        count = 1
        until_seen(count, ">")
        for step in typed.split(" | "):
            what, lines = re.fullmatch(r"(.*) \((\d+)\)", step).groups()  # type: ignore[union-attr]
            count += int(lines)
            if what.startswith("!"):
                self._run(what[1:], [])
            else:
                person.enters(what)
            is_last = count == len(expected)
            until_seen(count, *([] if is_last else [">"]))
        assert count == len(expected)
        person.wait()

    def _with_free_ports(self, text: str) -> str:
        return re.sub(r"\b8\d{3}\b", lambda port: self._ports.get(port[0], port[0]), text)

    def _with_printed_ports(self, text: str) -> str:
        for printed, free in self._ports.items():
            text = text.replace(f":{free}", f":{printed}")
        return text


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    for program in ("bash", "openssl"):
        need_program(program)
    reader = Reader(tmp_path_factory.mktemp("reader"))
    yield reader
    reader.end()


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_it_is_as_it_says(reader: Reader, block: Block) -> None:
    reader.reach(block)
    reader.do(block)


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {block.kind for block in BLOCKS} == {"console", "python"}
    assert DOCUMENT.read_text().count("```") == 2 * len(BLOCKS)


def test_in_a_script_every_command_says_where_its_input_comes_from() -> None:
    """A command without a source would read the user's terminal."""
    for block in BLOCKS:
        for command, _ in block.commands if block.kind == "console" else ():
            before, _, after = command.partition("wsclient ")
            if block.typed is None and re.search(r"wss?[:+]", after):
                assert "|" in before or "<" in after, command


def test_every_option_is_spoken_of() -> None:
    text = DOCUMENT.read_text()
    for option in re.findall(r"(?<=  )--?[a-z-]+", SHORT_HELP):
        assert option in text, option


@pytest.mark.parametrize("name", ["ask.py", "follow.py", "relay.tac"])
def test_the_examples_are_those_of_the_folder(name: str) -> None:
    """The same names in them are called, so that what is run here is what is there."""
    (there,) = [block.text for block in BLOCKS if block.text.startswith(f"# {name}\n")]
    example = (EXAMPLES / name).read_text()
    called = re.findall(r"(?:client|connection|self)\.(\w+)\(", there)
    assert called
    assert all(f".{each}(" in example for each in called)


def test_a_line_of_dots_is_any_number_of_lines() -> None:
    assert as_printed(["a", "…", "b…c"]).fullmatch("a\n1\n2\nb and c\n")
    assert as_printed(["a", "…"]).fullmatch("a\n")
    assert not as_printed(["a"]).fullmatch("a\nb\n")
