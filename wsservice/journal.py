"""The message log: one line for each message that came in.

What a line has, `lines` says. Nothing in a message can start a second line,
move a cursor or change a colour.

Messages are held as they came until the reactor's turn ends, and made into
lines then, all at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from .config import Config
from .destination import Destination, FileDestination, StandardOutput
from .errors import JournalError
from .escape import escape
from .lines import FORMATS, Lines
from .twistedlog import TwistedLog

_BATCH = 256 * 1024
"""Octets held after which a batch is written without waiting for the reactor's turn to end."""

_HELD = 64
"""Octets that it takes to hold a message, besides its own."""


class Journal:
    """Writes the line of each message to a destination, in batches.

    A batch is what came in one turn of the reactor, or the first 256 KiB of
    it. `lines` is their form, `limit` how many octets of a message are shown,
    `Config.log_payload`.
    """

    __slots__ = (
        "_closed",
        "_destination",
        "_held",
        "_limit",
        "_lines",
        "_reactor",
        "_room",
        "_scheduled",
        "name",
    )

    def __init__(
        self, destination: Destination, lines: Lines, limit: int, reactor: IReactorTime
    ) -> None:
        self.name = lines.name
        self._lines = lines.lines
        self._destination = destination
        self._limit = limit
        self._reactor = reactor
        self._held: list[Any] = []
        self._room = -1  # negative too while no turn's end is waited for: one test for both
        self._scheduled = False
        self._closed = False

    def received(self, who: str, payload: bytes, isBinary: bool) -> None:
        """Log a message. `who` names the connection, as `name` does."""
        # Called for every message: flat, since a list of tuples is work for the
        # garbage collector. The tuple is made first, since that may collect
        # garbage, which may log, which flushes: into the list that is there then.
        message = (who, payload, isBinary)
        self._held.extend(message)
        self._room -= len(payload) + _HELD
        if self._room < 0:
            self._make_room()

    def received_all(self, who: str, messages: list[tuple[bytes, bool, int]]) -> None:
        """Log messages of one connection: payloads, whether each is binary, and what else."""
        held = [each for payload, isBinary, _ in messages for each in (who, payload, isBinary)]
        self._held.extend(held)
        self._room -= sum([len(message[0]) for message in messages]) + _HELD * len(messages)
        if self._room < 0:
            self._make_room()

    @property
    def dropped(self) -> int:
        """Lines that were lost so far, because they could not be written."""
        return self._destination.dropped

    def flush(self) -> None:
        """Write what is held."""
        fresh: list[Any] = []
        held, self._held = self._held, fresh
        if held and self._destination.wanted:
            self._destination.write(self._lines(held, self._limit))

    def prepare(self, config: Config) -> Callable[[], None]:
        """See `reloading.Part`."""

        def commit() -> None:
            self._limit = config.log_payload

        return commit

    def reopen(self) -> None:
        """Begin anew at the same path, after the file was moved away."""
        self.flush()
        self._destination.reopen()

    def close(self) -> None:
        """Write what is held, and end. What still comes is written at once."""
        self._closed = True
        self._room = -1
        self.flush()
        self._destination.close()

    def _make_room(self) -> None:
        if self._closed:
            self.flush()
            return
        if not self._scheduled:
            self._scheduled = True
            self._room += _BATCH
            self._reactor.callLater(0, self._turn)
        if self._room < 0:
            self._room = _BATCH
            self.flush()

    def _turn(self) -> None:
        self._scheduled = False
        self._room = -1
        self.flush()


def open_journal(config: Config, reactor: IReactorTime) -> Journal:
    """The journal that a configuration asks for. Raises `JournalError` when it cannot be opened."""
    lines = FORMATS[config.message_log_format]()
    destination = _destination(config, lines, reactor)
    journal = Journal(destination, lines, config.log_payload, reactor)
    if isinstance(destination, TwistedLog):
        destination.keep_order(journal.flush)
    return journal


def _destination(config: Config, lines: Lines, reactor: IReactorTime) -> Destination:
    if config.message_log == "log":
        return TwistedLog(reactor, records=config.message_log_format == "json")
    if config.message_log == "-":
        # Not sys.stdout: twistd puts its log in the place of that.
        return StandardOutput(reactor, lines.stamp)
    path = os.path.abspath(config.message_log)

    def opener() -> int:
        # O_NONBLOCK: opening a pipe that nobody reads must fail, not wait.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(path, flags, 0o640)

    try:
        return FileDestination(path, opener, reactor, lines.stamp)
    except OSError as error:
        raise JournalError(
            f"--message-log: {escape(config.message_log)} cannot be written, {error.strerror};"
            " give log, - or the path of a file that can be"
        ) from error
