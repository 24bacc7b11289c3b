"""The message log: one line for each incoming message.

The module `lines` has the format of a line. Nothing in a message can start a second line,
move a cursor or change a colour.

Messages are held until the reactor's turn ends. Then all of them become lines at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from ..config.config import Config
from ..errors import JournalError
from ..escape import escape
from .destination import Destination, FileDestination, StandardOutput
from .lines import FORMATS, Lines
from .twistedlog import TwistedLog

_BATCH = 256 * 1024
"""Octets of held messages after which a batch is written before the reactor's turn ends."""

_HELD = 64
"""Octets of overhead for each held message. The connection's name counts besides, since in JSON
it contains the channel's name."""


class Journal:
    """Writes the line of each message to a destination, in batches.

    A batch is the messages of one turn of the reactor, up to 256 KiB. `lines` is the format.
    `limit` is the number of octets of a message to show, `Config.log_payload`.
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
        self._room = -1  # negative too while no flush is scheduled, so that one test suffices
        self._scheduled = False
        self._closed = False

    def received(self, who: str, payload: bytes, is_binary: bool) -> None:
        """Log a message. `who` is the name of the connection, from `Lines.name`."""
        # Called for every message. The list is flat, since a list of tuples is work for the
        # garbage collector. The tuple is made first: making it may collect garbage, which may log
        # and so flush, and `self._held` is then another list.
        message = (who, payload, is_binary)
        self._held.extend(message)
        self._room -= len(payload) + len(who) + _HELD
        if self._room < 0:
            self._make_room()

    def received_all(self, who: str, messages: list[tuple[bytes, bool, int]]) -> None:
        """Log messages of one connection: tuples that begin with payload and `is_binary`."""
        held = [each for payload, is_binary, _ in messages for each in (who, payload, is_binary)]
        self._held.extend(held)
        octets = sum([len(message[0]) for message in messages])
        self._room -= octets + (len(who) + _HELD) * len(messages)
        if self._room < 0:
            self._make_room()

    @property
    def dropped(self) -> int:
        """Return the number of lines lost so far, since they could not be written."""
        return self._destination.dropped

    def flush(self) -> None:
        """Write the messages that are held."""
        fresh: list[Any] = []
        held, self._held = self._held, fresh
        if held and self._destination.wanted:
            self._destination.write(self._lines(held, self._limit))

    def prepare(self, config: Config) -> Callable[[], None]:
        """Return a function that applies a configuration: see `Reloadable`."""

        def commit() -> None:
            self._limit = config.log_payload

        return commit

    def reopen(self) -> None:
        """Open the same path again, after the file was moved away."""
        self.flush()
        self._destination.reopen()

    def close(self) -> None:
        """Write the messages that are held. Later messages are written at once."""
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
    """Return the journal of a configuration. Raises `JournalError` if it cannot be opened."""
    lines = FORMATS[config.message_log_format]()
    destination: Destination
    if config.message_log == "log":
        destination = TwistedLog(reactor, records=config.message_log_format == "json")
    else:
        destination = open_destination(config, reactor, lines.stamp)
    return journal_to(destination, config, reactor)


def journal_to(destination: Destination, config: Config, reactor: IReactorTime) -> Journal:
    """Return the journal of a configuration, which writes to a destination that is open already."""
    lines = FORMATS[config.message_log_format]()
    journal = Journal(destination, lines, config.log_payload, reactor)
    if isinstance(destination, TwistedLog):
        destination.keep_order(journal.flush)
    return journal


def open_destination(
    config: Config, reactor: IReactorTime, stamp: Callable[[float], bytes]
) -> Destination:
    """Return the destination of a message log that has a file of its own, or standard output.

    `stamp` returns the prefix of a line for a time, in seconds since 1970. Raises
    `JournalError` if the destination cannot be opened.
    """
    if config.message_log == "-":
        # sys.stdout would be wrong: twistd replaces it with its log.
        return StandardOutput(reactor, stamp)
    path = os.path.abspath(config.message_log)

    def opener() -> int:
        # O_NONBLOCK: opening a pipe without a reader must fail, and not block the service.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(path, flags, 0o640)

    try:
        return FileDestination(path, opener, reactor, stamp)
    except OSError as error:
        raise JournalError(
            f"--message-log: {escape(config.message_log)} cannot be written, {error.strerror};"
            " give log, - or the path of a file that can be"
        ) from error
