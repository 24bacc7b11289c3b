from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from wsservice.workers.wire.records import (
    RecordDestination,
    RecordReader,
    RecordWriter,
    pair,
    text_file,
)


class Reactor(Clock):
    """A reactor that knows its readers."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)


class Log:
    """Both ends: what was written at one, and read at the other."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.reading, self.end = pair()
        self.written: list[bytes] = []
        self.over = 0
        self.reader = RecordReader(self.reading, self.reactor, self.written.append, self._end)

    def _end(self) -> None:
        self.over += 1

    def read(self) -> bytes:
        """Return the lines received since the last call."""
        before = len(self.written)
        self.reader.doRead()
        return b"".join(self.written[before:])

    def close(self) -> None:
        self.end.close()
        self.reader.close()


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    yield log
    log.close()


def test_lines_come_as_they_were_written(log: Log) -> None:
    writer = RecordWriter(log.end)
    assert writer.writable()
    assert writer.fileno() == log.end.fileno()
    assert writer.write(b"one\ntwo\n") == 8
    writer.write(b"three\n")
    assert log.read() == b"one\ntwo\nthree\n"
    assert log.reader.fileno() == log.reading.fileno()
    assert log.reader.logPrefix() == "wsservice"


@pytest.mark.parametrize("lines", [b"x" * 99 + b"\n", b"x" * 200_000 + b"\n"])
def test_many_and_long_ones_come_whole(log: Log, lines: bytes) -> None:
    writing = threading.Thread(target=RecordWriter(log.end).write, args=[lines * 20])
    writing.start()
    got = b""
    while len(got) < 20 * len(lines):
        got += log.read()
        assert got[-1:] in (b"\n", b""), "never a part of a line"
    writing.join()
    assert got == lines * 20


def test_it_is_a_file_of_text_for_an_observer(log: Log) -> None:
    file = text_file(log.end)
    file.write("n\xe9ws \udcff\n")
    file.flush()
    assert log.read() == b"n\xc3\xa9ws \\udcff\n"


def test_it_is_a_destination_of_the_message_log(log: Log) -> None:
    log.reactor.advance(7)
    destination = RecordDestination(log.end, log.reactor, lambda now: b"%d " % now)
    destination.write(b"one\ntwo\n")
    destination.reopen()
    destination.close()
    destination.write(b"late\n")
    assert log.read() == b"7 one\n7 two\n7 late\n"


def test_the_end_is_told_and_a_line_without_one_gets_it(log: Log) -> None:
    RecordWriter(log.end).write(b"whole\npart")
    assert log.read() == b"whole\n"
    log.end.close()
    assert log.reader.doRead() is CONNECTION_DONE
    assert log.written == [b"whole\n", b"part\n"]
    assert log.reactor.readers == [log.reader]
    log.reader.connectionLost(Failure(CONNECTION_DONE))
    assert log.over == 1
    assert log.reactor.readers == []
    assert log.reader.finish()


def test_it_can_be_finished_out_of_turn(log: Log) -> None:
    writer = RecordWriter(log.end)
    for number in range(40):
        writer.write(b"%d\n" % number)
    assert not log.reader.finish()
    assert b"".join(log.written).split() == [b"%d" % number for number in range(40)]
    writer.write(b"last\n")
    log.end.close()
    assert log.reader.finish()
    assert log.written[-1] == b"last\n"


def test_where_nobody_reads_any_more_what_is_written_is_lost(log: Log) -> None:
    log.reader.close()
    assert RecordWriter(log.end).write(b"lost\n") == 5


def test_writing_waits_for_room() -> None:
    reading, end = pair()
    with reading, end:
        assert end.gettimeout() is None
        assert reading.gettimeout() == 0
        assert end.type == socket.SOCK_SEQPACKET
