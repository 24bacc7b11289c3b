"""Show the program's face to a person at a terminal: a prompt, and lines above it."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...errors import ConnectionClosed
from ...escape import escape, shown_subprotocol
from ..command import Command
from ..script import say
from ..session import Session
from . import typed
from .attachment import is_text, read_attachment
from .console import Console
from .display import Display, described, described_file, wants_color
from .history import HistoryFile, history_path
from .stats import Stats, milliseconds

_MOST_TRACED = 1000
"""The most lines of handshakes that are kept, if many connections fail before one opens."""


class Prompt:
    """Send typed messages, carry out commands, and print messages that come."""

    def __init__(self, command: Command) -> None:
        color = wants_color(command.color, os.environ)
        self._display = Display(color=color, json=command.json)
        self._history = _history(command)
        self._trace = command.config.trace
        # The lines of the connection's handshake, and those of a connection in the making.
        self._handshakes: list[str] = []
        self._shaking: deque[str] = deque(maxlen=_MOST_TRACED)
        # Messages that were entered while there was no connection.
        self._kept: list[tuple[str, bytes]] = []
        self._console: Console | None = None
        self._session: Session
        self._stats: Stats

    def traced(self, line: str) -> None:
        """Take a line of the handshake; see `ClientConfig.trace`."""
        self._shaking.append(line)
        if self._trace is not None and self._console is not None:
            self._block([line])
        elif self._trace is not None:
            self._trace(line)

    # Calls of the session

    def opened(self, session: Session) -> None:
        self._session = session
        self._stats = Stats(time.monotonic())
        self._handshakes = [line for line in self._shaking if line[0] in "<>"]
        self._shaking.clear()
        is_first = self._console is None  # later messages were kept while there was no connection
        if self._console is None:
            lines = self._kept_lines()
            self._console = Console(self, lines, self._keep, self._display.color)
            self._console.start()
        self._note(
            f"connected to {escape(session.command.config.target.shown)}{_agreed(session)};"
            " /help for help, Ctrl-D closes"
        )
        for payload, is_binary in session.command.messages if is_first else ():
            self._was_sent(described(payload, is_binary), payload)
        kept, self._kept = self._kept, []
        for what, payload in kept:
            self._was_sent(what, payload)

    def received(self, payload: bytes, is_binary: bool) -> None:
        self._stats.received.add(payload)
        self._print(self._display.received(time.time(), payload, is_binary))

    def say(self, text: str) -> None:
        if self._console is None:
            say(text)
        else:
            self._problem(text)

    def mention(self, text: str) -> None:
        self._note(text)

    def ended(self) -> Deferred[None] | None:
        """Restore the terminal. Fires when that is done."""
        if self._console is None:
            return None
        stopped = Deferred.fromFuture(self._console.stop())
        return stopped.addCallback(lambda _: None)

    # Actions of the person

    def entered(self, text: str) -> None:
        try:
            self._do(typed.parse_typed(text))
        except ValueError as error:
            self._problem(str(error))

    def interrupted(self) -> None:
        if self._session.connection is not None:
            self._note("closing; Ctrl-C again ends at once")
        self._session.interrupt(signal.SIGINT)

    def left(self) -> None:
        self._session.leave()

    # The state of the terminal

    def full(self) -> None:
        self._session.output_full()

    def has_room(self) -> None:
        self._session.output_has_room()

    def failed(self, error: OSError) -> None:
        self._session.output_failed(error)

    # Commands

    def _do(self, action: typed.Action) -> None:
        match action:
            case typed.Send(payload, is_binary):
                self._send(described(payload, is_binary), payload, is_binary)
            case typed.SendFile(path, always_binary):
                self._send_file(path, always_binary)
            case typed.Ping(payload):
                self._ping(payload)
            case typed.Close(code, reason):
                self._session.leave(code, reason)
            case typed.Json(on):
                self._display.json = on
                self._note("JSON is shown indented" if on else "JSON is shown as it comes")
            case typed.Headers():
                self._block(self._handshakes)
            case typed.Statistics():
                self._tell_statistics()
            case typed.Reconnect():
                self._reconnect()
            case typed.Help():
                self._block(typed.help_lines())

    def _send_file(self, path: str, always_binary: bool) -> None:
        payload = read_attachment(path)
        is_binary = always_binary or not is_text(payload)
        self._send(described_file(path, len(payload), is_binary), payload, is_binary)

    def _send(self, what: str, payload: bytes, is_binary: bool) -> None:
        is_open = self._session.is_open
        if not is_open and not self._session.keeps:
            raise ValueError("the connection is not open, nothing was sent")
        self._session.send(payload, is_binary)
        if is_open:
            self._was_sent(what, payload)
        else:
            self._kept.append((what, payload))
            self._print(self._display.kept(time.time(), what))

    def _was_sent(self, what: str, payload: bytes) -> None:
        self._stats.sent.add(payload)
        self._print(self._display.sent(time.time(), what))

    def _tell_statistics(self) -> None:
        session = self._session
        self._block(self._stats.lines(time.monotonic(), session.waiting, session.is_open))

    def _reconnect(self) -> None:
        is_away = self._session.connection is None
        self._note("trying again now" if is_away else "closing, to connect anew")
        self._session.reconnect()

    def _ping(self, payload: bytes | None) -> None:
        connection = self._session.connection
        if connection is None or not self._session.is_open:
            raise ValueError("the connection is not open, nothing was sent")
        answered = connection.ping(payload)
        self._note("ping")
        answered.addCallbacks(self._ponged, _not_ponged)

    def _ponged(self, seconds: float) -> None:
        self._stats.ponged(seconds)
        self._note(f"pong after {milliseconds(seconds)}")

    # Printing

    def _note(self, text: str) -> None:
        self._print(self._display.note(time.time(), text))

    def _block(self, lines: Iterable[str]) -> None:
        self._print(self._display.block(lines))

    def _problem(self, text: str) -> None:
        self._print(self._display.problem(time.time(), text))

    def _print(self, text: str) -> None:
        if self._console is not None:
            self._console.print(text)

    # The history of typed lines

    def _kept_lines(self) -> list[str]:
        try:
            return [] if self._history is None else self._history.load()
        except OSError as error:
            self._no_history(error)
            return []

    def _keep(self, text: str) -> None:
        try:
            if self._history is not None:
                self._history.append(text)
        except OSError as error:
            self._no_history(error)

    def _no_history(self, error: OSError) -> None:
        self._history = None  # said once
        self.say(f"typed lines are not saved, {escape(str(error.filename))}: {error.strerror}")


def _history(command: Command) -> HistoryFile | None:
    path = history_path(os.environ) if command.history else None
    return None if path is None else HistoryFile(path)


def _agreed(session: Session) -> str:
    """Return the subprotocol and compression of the handshake, in brackets."""
    connection = session.connection
    agreed = []
    if connection is not None and connection.websocket_protocol_in_use:
        agreed.append(escape(shown_subprotocol(connection.websocket_protocol_in_use)))
    if connection is not None and connection.websocket_extensions_in_use:
        agreed.append("compressed")
    return f" ({', '.join(agreed)})" if agreed else ""


def _not_ponged(failure: Failure) -> None:
    # The end of the connection is reported by itself.
    failure.trap(ConnectionClosed)
