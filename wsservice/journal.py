"""The message log: one line for each message that came in.

A line ends in `Message received: ` and the message. Before that stand the
time, the connection's id and its peer. Nothing in a message can start a
second line, move a cursor or change a colour.

Messages are held as they came until the reactor's turn ends, and made into
lines then, all at once: whether text may be printed as it is, is asked once
for all that one connection sent.
"""

from __future__ import annotations

import codecs
import os
from itertools import groupby
from typing import Any

from twisted.internet.interfaces import IReactorTime

from .config import Config
from .destination import Destination, FileDestination, StandardOutput
from .errors import JournalError
from .escape import escape, escape_within, is_plain
from .twistedlog import TwistedLog

_BATCH = 256 * 1024
"""Octets held after which a batch is written without waiting for the reactor's turn to end."""

_HELD = 64
"""Octets that it takes to hold a message, besides its own."""

_decoder = codecs.getincrementaldecoder("utf-8")


def describe(payload: bytes, isBinary: bool, limit: int) -> str:
    """A message as it stands in its line.

    At most `limit` octets of it are shown, escaped, with the full size told
    where that is not all: text as it is, binary as its size and hex digits.
    0 tells sizes only.
    """
    size = len(payload)
    octets = "1 byte" if size == 1 else f"{size} bytes"
    if isBinary:
        if not limit:
            return f"(binary, {octets})"
        shown = payload[: limit // 2]
        dots = "..." if len(shown) < size else ""
        return f"(binary, {octets}) {shown.hex()}{dots}"
    if not limit:
        return f"({octets})"
    if size <= limit and is_plain(payload):
        return payload.decode()
    # Not final: a code point that the cut went through is left out. What is
    # not UTF-8, from a behaviour that logs something of its own, shows as
    # escaped surrogates.
    text = _decoder("surrogateescape").decode(payload[:limit], size <= limit)
    escaped, cut = escape_within(text, limit)
    return f"{escaped}... ({octets})" if cut or size > limit else escaped


def _plain(payloads: list[bytes], kinds: list[bool], limit: int) -> bool:
    """Whether all are shown as they are."""
    if any(kinds) or not limit or max(map(len, payloads)) > limit:
        return False
    # The space keeps the end of one and the beginning of the next from making
    # a character that neither has.
    return is_plain(b" ".join(payloads))


def _lines(held: list[Any], limit: int) -> bytes:
    """The lines of what is held, at least one: id and peer, payload, isBinary, and again."""
    payloads, kinds = held[1::3], held[2::3]
    plain = _plain(payloads, kinds, limit)
    pieces: list[bytes] = []
    start = 0
    for who, run in groupby(held[::3]):
        end = start + len(list(run))
        head = f"\n[{who}] Message received: ".encode()
        texts = payloads[start:end]
        # One peer's escapes make no work of what the others sent.
        if not plain and not _plain(texts, kinds[start:end], limit):
            both = zip(texts, kinds[start:end], strict=True)
            texts = [describe(payload, isBinary, limit).encode() for payload, isBinary in both]
        pieces += head, head.join(texts)
        start = end
    pieces.append(b"\n")
    return b"".join(pieces)[1:]


class Journal:
    """Writes the line of each message to a destination, in batches.

    A batch is what came in one turn of the reactor, or the first 256 KiB of
    it. `limit` is how many octets of a message are shown, `Config.log_payload`.
    """

    __slots__ = ("_closed", "_destination", "_held", "_limit", "_reactor", "_room", "_scheduled")

    def __init__(self, destination: Destination, limit: int, reactor: IReactorTime) -> None:
        self._destination = destination
        self._limit = limit
        self._reactor = reactor
        self._held: list[Any] = []
        self._room = -1  # negative too while no turn's end is waited for: one test for both
        self._scheduled = False
        self._closed = False

    def received(self, who: str, payload: bytes, isBinary: bool) -> None:
        """Log a message. `who` names the connection: its id and peer, printable."""
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

    def flush(self) -> None:
        """Write what is held."""
        fresh: list[Any] = []
        held, self._held = self._held, fresh
        if held:
            self._destination.write(_lines(held, self._limit))

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
    if config.message_log == "log":
        log = TwistedLog(reactor)
        journal = Journal(log, config.log_payload, reactor)
        log.keep_order(journal.flush)
        return journal
    if config.message_log == "-":
        # Not sys.stdout: twistd puts its log in the place of that.
        return Journal(StandardOutput(reactor), config.log_payload, reactor)
    path = os.path.abspath(config.message_log)

    def opener() -> int:
        # O_NONBLOCK: opening a pipe that nobody reads must fail, not wait.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(path, flags, 0o640)

    try:
        destination = FileDestination(path, opener, reactor)
    except OSError as error:
        raise JournalError(
            f"--message-log: {escape(config.message_log)} cannot be written, {error.strerror};"
            " give log, - or the path of a file that can be"
        ) from error
    return Journal(destination, config.log_payload, reactor)
