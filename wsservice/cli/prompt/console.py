"""Edit a line at the bottom of a terminal, and print other lines above it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.filters import Condition, has_completions
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from twisted.logger import Logger

from .completer import TypedCompleter
from .history import is_kept

_FULL = 256 * 1024
"""Characters to be printed after which the source is told to pause."""

_PAUSE = 0.02
"""Seconds between two prints: each print draws the prompt again."""


_log = Logger(namespace="wsservice.client")

_COMPLETER = TypedCompleter()
_ON_TAB = CompleteEvent(completion_requested=True)


class ConsoleListener(Protocol):
    """The receiver of a person's actions, and of the state of the terminal."""

    def entered(self, text: str) -> None:
        """Take a line, or several, that the person entered."""

    def interrupted(self) -> None:
        """Handle Ctrl-C."""

    def left(self) -> None:
        """Handle Ctrl-D, or the loss of the terminal."""

    def full(self) -> None:
        """Pause: much text waits to be printed."""

    def has_room(self) -> None:
        """Resume: the text was printed."""

    def failed(self, error: OSError) -> None:
        """Handle an error of writing to the terminal."""


class _History(InMemoryHistory):
    """The lines that were entered, now and in earlier runs; `keep` is called with new ones."""

    def __init__(self, lines: Iterable[str], keep: Callable[[str], None]) -> None:
        super().__init__(list(lines))
        self._keep = keep

    def append_string(self, string: str) -> None:
        if is_kept(string):
            super().append_string(string)
            self._keep(string)


def _standard_output() -> Output:
    output = Vt100_Output.from_pty(sys.stdout, os.environ.get("TERM"))
    # prompt_toolkit asks the terminal for the position of its cursor. The answer may take seconds,
    # or never come, and a line that grows downwards does not need it.
    output.enable_cpr = False
    return output


class Console:
    """Edit lines on standard input and output, and print above them.

    `history` holds earlier lines; `keep` is called with each line to keep. It needs a running
    asyncio loop. No other code may use the terminal from `start` until the result of `stop` is
    done.
    """

    def __init__(
        self,
        listener: ConsoleListener,
        history: Iterable[str],
        keep: Callable[[str], None],
        color: bool,
        input: Input | None = None,  # noqa: A002 - prompt_toolkit's name
        output: Output | None = None,
    ) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._output = output or _standard_output()
        self._session: PromptSession[None] = PromptSession(
            "> ",
            prompt_continuation="  ",
            history=_History(history, keep),
            completer=_COMPLETER,
            complete_while_typing=False,
            enable_suspend=True,
            erase_when_done=True,
            key_bindings=self._bindings(),
            color_depth=None if color else ColorDepth.MONOCHROME,
            input=input,
            output=self._output,
        )
        # The prompt keeps running after each line. Between two prompts, the terminal would echo by
        # itself.
        self._session.default_buffer.accept_handler = self._accepted
        self._app = self._session.app
        self._waiting: list[str] = []
        self._size = 0
        self._is_full = False
        self._printing: asyncio.TimerHandle | None = None
        self._print_at = 0.0

    def start(self) -> None:
        """Show the prompt."""
        self._task = self._loop.create_task(self._prompt())

    def print(self, text: str) -> None:
        """Print lines above the prompt, after at most `_PAUSE`."""
        self._waiting.append(text)
        self._size += len(text)
        if self._printing is None:
            self._printing = self._loop.call_at(self._print_at, self._print_soon)
        if self._size > _FULL and not self._is_full:
            self._is_full = True
            self._listener.full()

    def stop(self) -> asyncio.Future[Any]:
        """Print what is queued, and remove the prompt.

        The result is done once the terminal is restored.
        """
        self._print_soon()
        if not self._app.is_running:
            self._task.cancel()
        elif not self._app.is_done:
            self._app.exit()
        return asyncio.gather(self._task, return_exceptions=True)

    async def _prompt(self) -> None:
        try:
            await self._session.prompt_async(set_exception_handler=False, handle_sigint=False)
        except EOFError:
            self._listener.left()
        except OSError as error:
            self._listener.failed(error)
        except Exception:
            _log.failure("the prompt failed")
            self._listener.left()

    def _accepted(self, buffer: Buffer) -> bool:
        if buffer.text:
            self._listener.entered(buffer.text)
        return False

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()
        empty = Condition(lambda: not self._session.default_buffer.text)

        @bindings.add("c-c")
        def interrupted(_event: KeyPressEvent) -> None:
            self._listener.interrupted()

        @bindings.add("c-d", filter=empty)
        def left(_event: KeyPressEvent) -> None:
            self._listener.left()

        @bindings.add("tab", filter=~has_completions)
        def complete(event: KeyPressEvent) -> None:
            # A single completion is applied at once: the text that is typed next must not overtake
            # it.
            buffer = event.current_buffer
            found = islice(_COMPLETER.get_completions(buffer.document, _ON_TAB), 2)
            first, *more = [*found, None]
            if first is not None and more == [None]:
                buffer.apply_completion(first)
            else:
                buffer.start_completion(insert_common_part=True)

        @bindings.add("escape", "enter")
        def another_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        return bindings

    def _print_soon(self) -> None:
        try:
            self._print()
        except OSError as error:
            self._listener.failed(error)
        self._print_at = self._loop.time() + _PAUSE
        if self._is_full:
            self._is_full = False
            self._listener.has_room()

    def _print(self) -> None:
        if self._printing is not None:
            self._printing.cancel()
            self._printing = None
        text = "".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        if self._app.is_running and not self._app.is_done:
            self._app.renderer.erase()
            self._app.invalidate()
        self._output.write_raw(text)
        self._output.flush()
