"""The prompt, in a terminal that is in memory."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pyte
import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from wsservice.cli.prompt import console as console_module
from wsservice.cli.prompt.console import Console

from ....support import Logged

PATIENCE = 10.0


class Terminal(io.StringIO):
    """A terminal's screen."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        super().__init__()
        self.size = Size(rows, columns)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.screen)
        self.written = ""
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        self.written += text
        self._stream.feed(text.replace("\n", "\r\n"))  # as a terminal's driver does
        return len(text)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]


class Recorder:
    """Keeps what the person did."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def entered(self, text: str) -> None:
        self.seen.append(text)

    def interrupted(self) -> None:
        self.seen.append(("interrupted",))

    def left(self) -> None:
        self.seen.append(("left",))

    def full(self) -> None:
        self.seen.append(("full",))

    def has_room(self) -> None:
        self.seen.append(("room",))

    def failed(self, error: OSError) -> None:
        self.seen.append(error)


class Run:
    """A prompt, its terminal, and who is told."""

    def __init__(self, typed: PipeInput, history: list[str], terminal: Terminal) -> None:
        self.typed = typed
        self.terminal = terminal
        self.recorder = Recorder()
        self.kept: list[str] = []
        output = Vt100_Output(terminal, lambda: terminal.size, term="xterm", enable_cpr=False)
        self.console = Console(self.recorder, history, self.kept.append, False, typed, output)

    def type(self, text: str) -> None:
        self.typed.send_text(text)

    async def until(self, condition: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while not condition():
            assert loop.time() < end, (self.recorder.seen, self.terminal.lines)
            await asyncio.sleep(0.005)

    async def sees(self, *lines: str) -> None:
        await self.until(lambda: self.terminal.lines[-len(lines) :] == list(lines))

    async def ends(self) -> None:
        await asyncio.wait([self.console.stop()], timeout=PATIENCE)


@contextmanager
def keyboard() -> Iterator[PipeInput]:
    with create_pipe_input() as typed:
        yield typed


def play(
    script: Callable[[Run], Awaitable[None]],
    *history: str,
    terminal: Terminal | None = None,
) -> Run:
    """Play a script with a prompt, and end it."""

    async def main() -> Run:
        with keyboard() as typed:
            run = Run(typed, list(history), terminal or Terminal())
            run.console.start()
            await script(run)
            await run.ends()
            return run

    return asyncio.run(main())


def test_what_is_entered_is_told_and_the_prompt_is_empty_again() -> None:
    async def script(run: Run) -> None:
        await run.sees(">")
        run.type("hello\r")
        run.type("zwölf 漢字 😀\r")
        run.type("\r")
        await run.until(lambda: len(run.recorder.seen) == 2)
        await run.sees(">")

    run = play(script)
    assert run.recorder.seen == ["hello", "zwölf 漢字 😀"]
    assert run.kept == ["hello", "zwölf 漢字 😀"]
    assert run.terminal.lines == []


def test_what_happens_is_printed_above_what_is_typed() -> None:
    async def script(run: Run) -> None:
        run.type("half a li")
        await run.sees("> half a li")
        run.console.print("one\n")
        run.console.print("two\nthree\n")
        await run.sees("one", "two", "three", "> half a li")
        run.type("ne\r")
        await run.until(lambda: run.recorder.seen)
        run.console.print("four\n")
        await run.sees("one", "two", "three", "four", ">")

    run = play(script)
    assert run.recorder.seen == ["half a line"]
    assert run.terminal.lines == ["one", "two", "three", "four"]


def test_in_a_narrow_terminal_long_lines_are_wrapped() -> None:
    async def script(run: Run) -> None:
        run.type("typed " * 4)
        await run.sees("> typed typed typed", "  typed")
        run.console.print("printed " * 4 + "\n")
        await run.sees("printed printed prin", "ted printed", "> typed typed typed", "  typed")

    assert play(script, terminal=Terminal(10, 20)).terminal.lines == [
        "printed printed prin",
        "ted printed",
    ]


def test_a_paste_of_many_lines_is_one_entry() -> None:
    async def script(run: Run) -> None:
        run.type("\x1b[200~one\r\ntwo\nthree\x1b[201~")
        await run.sees("> one", "  two", "  three")
        assert run.recorder.seen == []
        run.type("\r")
        await run.until(lambda: run.recorder.seen)

    run = play(script)
    assert run.recorder.seen == ["one\ntwo\nthree"]
    assert run.kept == ["one\ntwo\nthree"]


def test_alt_enter_begins_another_line() -> None:
    async def script(run: Run) -> None:
        run.type("one\x1b\rtwo\r")
        await run.until(lambda: run.recorder.seen)

    assert play(script).recorder.seen == ["one\ntwo"]


def test_ctrl_c_and_ctrl_d_are_told() -> None:
    async def script(run: Run) -> None:
        run.type("typed\x03")
        await run.until(lambda: run.recorder.seen)
        run.type("\x04")  # deletes, where there is something
        run.type("\x15\x04")
        await run.until(lambda: len(run.recorder.seen) == 2)

    assert play(script).recorder.seen == [("interrupted",), ("left",)]


def test_what_was_typed_before_is_there_again() -> None:
    async def script(run: Run) -> None:
        await run.sees(">")
        run.type("\x1b[A")
        await run.sees("> newer")
        run.type("\x1b[A\x1b[A\x1b[B\x1b[A\r")
        await run.until(lambda: run.recorder.seen)

    run = play(script, "older", "newer")
    assert run.recorder.seen == ["older"]


def test_what_begins_with_a_space_is_not_kept() -> None:
    async def script(run: Run) -> None:
        run.type(" secret\ropen\r")
        await run.until(lambda: len(run.recorder.seen) == 2)
        while run.terminal.lines != ["> open"]:  # which is loaded in a moment
            run.type("\x1b[A")
            await asyncio.sleep(0.05)
        run.type("\x1b[A\x1b[A\r")
        await run.until(lambda: len(run.recorder.seen) == 3)

    run = play(script)
    assert run.recorder.seen == [" secret", "open", "open"]
    assert run.kept == ["open"]


def test_tab_completes() -> None:
    async def script(run: Run) -> None:
        run.type("/pi\t\r")
        await run.until(lambda: run.recorder.seen)
        run.type("/h\t")
        await run.until(lambda: any("/help" in line for line in run.terminal.lines))
        run.type("\t\t\r")
        await run.until(lambda: len(run.recorder.seen) == 2)
        run.type("none\t\r")
        await run.until(lambda: len(run.recorder.seen) == 3)

    assert play(script).recorder.seen == ["/ping", "/help", "none"]


@pytest.mark.slow  # a megabyte through an emulated terminal
def test_a_flood_is_printed_in_few_pieces_and_told_when_it_is_too_much() -> None:
    async def script(run: Run) -> None:
        await run.sees(">")
        for number in range(100):
            run.console.print(f"{number} " + "x" * 70 + "\n")
        assert run.recorder.seen == []
        await run.until(lambda: run.terminal.lines[-1] == ">")
        assert run.terminal.written.count("> ") <= 4
        run.console.print("x" * 1_000_000 + "\n")
        run.console.print("x\n")
        assert run.recorder.seen == [("full",)]
        await run.until(lambda: len(run.recorder.seen) == 2)

    assert play(script).recorder.seen == [("full",), ("room",)]


def test_what_waits_is_printed_before_the_end() -> None:
    async def script(run: Run) -> None:
        await run.sees(">")
        run.console.print("first words\n")
        await run.until(lambda: "first words" in run.terminal.written)
        run.console.print("last words\n")

    assert play(script).terminal.lines == ["first words", "last words"]


def test_it_may_end_before_it_began() -> None:
    async def script(run: Run) -> None:
        run.console.print("last words\n")

    run = play(script)
    assert run.terminal.lines == ["last words"]
    assert run.recorder.seen == []


def test_a_terminal_that_is_gone_is_as_if_left() -> None:
    async def script(run: Run) -> None:
        await run.sees(">")
        run.typed.close()
        await run.until(lambda: run.recorder.seen)
        run.console.print("nobody sees it\n")

    assert play(script).recorder.seen == [("left",)]


def test_a_terminal_that_cannot_be_written_is_told() -> None:
    error = OSError(5, "Input/output error")

    async def script(run: Run) -> None:
        await run.sees(">")
        run.terminal.error = error
        run.console.print("x\n")
        await run.until(lambda: run.recorder.seen)
        run.terminal.error = None

    assert play(script).recorder.seen == [error]


def test_that_it_cannot_be_left_as_it_was_is_told() -> None:
    error = OSError(5, "Input/output error")

    async def script(run: Run) -> None:
        await run.sees(">")
        run.terminal.error = error

    assert play(script).recorder.seen == [error, error]


def test_a_fault_of_the_prompt_is_logged_and_as_if_left(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object, **__: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr("prompt_toolkit.PromptSession.prompt_async", failing)

    async def script(run: Run) -> None:
        await run.until(lambda: run.recorder.seen)

    assert play(script).recorder.seen == [("left",)]
    (failure,) = logged.failures
    assert "a fault" in failure


def test_standard_output_is_never_asked_where_its_cursor_is() -> None:
    output = console_module._standard_output()
    assert not output.responds_to_cpr


@pytest.mark.parametrize(("color", "coloured"), [(True, True), (False, False)])
def test_without_colours_there_are_none(color: bool, coloured: bool) -> None:
    async def main() -> str:
        with keyboard() as typed:
            terminal = Terminal()
            output = Vt100_Output(terminal, lambda: terminal.size, "xterm", enable_cpr=False)
            console = Console(Recorder(), [], print, color, typed, output)
            console.start()
            typed.send_text("/h\t")
            for _ in range(1000):
                if "/headers" in terminal.written:
                    break
                await asyncio.sleep(0.02)
            await asyncio.wait([console.stop()])
            return terminal.written

    written = asyncio.run(main())
    assert "/headers" in written
    codes = {code for each in re.findall(r"\x1b\[([0-9;]*)m", written) for code in each.split(";")}
    assert (codes <= {"0", "1", "7"}) is not coloured, codes
