from __future__ import annotations

import errno
import fcntl
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import formatTime

from wsservice.log import destination as destination_module
from wsservice.log.destination import FileDestination, prefixed
from wsservice.log.lines import TextLines

from ...support import Logged

STAMP = TextLines().stamp


def polling(poll: Callable[[Any, float], list[int]]) -> type:
    """Stands in for `select.poll`, with that in the place of waiting."""
    return type("Poll", (), {"register": lambda *_: None, "poll": poll})


class Writes:
    """Stands before `os.write`: counts the calls, and fails when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[bytes] = []
        self.script: list[int | OSError] = []
        """For each call how many octets it takes, or what it raises; then all is well."""
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        self.calls.append(data)
        outcome = self.script.pop(0) if self.script else len(data)
        if isinstance(outcome, OSError):
            raise outcome
        return self._write(descriptor, data[:outcome])


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    return Writes(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages"


@pytest.fixture
def disk(path: Path, clock: Clock) -> Iterator[FileDestination]:
    opened: list[int] = []

    def opener() -> int:
        opened.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        return opened[-1]

    yield FileDestination("disk", opener, clock, STAMP)
    os.close(opened[-1])


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def messages(octets: bytes) -> list[str]:
    """Return the messages of a file's lines. No line may be torn."""
    assert octets.endswith(b"\n") or not octets
    return [line.partition(": ")[2] for line in octets.decode().splitlines()]


def test_a_prefix_stands_before_each_line() -> None:
    assert prefixed(b"> ", b"one\n\ntwo\n") == b"> one\n> \n> two\n"


def test_the_time_before_a_line_is_the_time_at_which_it_is_written(
    disk: FileDestination, path: Path, clock: Clock
) -> None:
    for second in range(3):
        disk.write(b"%d\n" % second)
        clock.advance(1)
    stamps = [line.split()[0] for line in path.read_text().splitlines()]
    assert len(set(stamps)) == 3


class TestFullDisk:
    def test_it_is_reported_once_and_counted(self, clock: Clock, logged: Logged) -> None:
        destination = FileDestination(
            "full", lambda: os.open("/dev/full", os.O_WRONLY), clock, STAMP
        )
        for number in range(3):
            destination.write(b"%d\n" % number)
            destination.write(b"%d\n" % number)
            clock.advance(0)
        assert destination.dropped == 6
        assert logged.text.count("No space left on device") == 1
        assert "message log full: No space left on device; lines are dropped" in logged.text

    def test_recovery_is_reported_with_the_number_of_lines_lost(
        self, disk: FileDestination, path: Path, clock: Clock, writes: Writes, logged: Logged
    ) -> None:
        writes.script = [full()]
        for text in (b"lost", b"kept"):
            disk.write(b": " + text + b"\n")
            clock.advance(0)
        assert messages(path.read_bytes()) == ["kept"]
        assert "works again; 1 lines were dropped so far" in logged.text

    def test_a_second_time_is_reported_again(
        self, disk: FileDestination, clock: Clock, writes: Writes, logged: Logged
    ) -> None:
        writes.script = [full(), 1000, full()]
        for text in (b"lost", b"kept", b"lost"):
            disk.write(b": " + text + b"\n")
            clock.advance(0)
        assert logged.text.count("No space left on device") == 2

    def test_a_line_torn_by_it_is_ended_before_the_next(
        self, disk: FileDestination, path: Path, clock: Clock, writes: Writes
    ) -> None:
        writes.script = [20, full()]
        disk.write(b": torn\n")
        clock.advance(0)
        disk.write(b": whole\n")
        clock.advance(0)
        torn, whole = path.read_text().splitlines()
        assert len(torn) == 20
        assert whole.endswith(" : whole")

    def test_a_torn_line_waits_for_its_end_while_the_disk_stays_full(
        self, disk: FileDestination, path: Path, clock: Clock, writes: Writes, logged: Logged
    ) -> None:
        writes.script = [20, full(), full(), full()]
        for text in (b"torn", b"lost", b"lost", b"whole"):
            disk.write(b": " + text + b"\n")
            clock.advance(0)
        torn, whole = path.read_text().splitlines()
        assert len(torn) == 20
        assert whole.endswith("whole")
        assert "works again; 3 lines were dropped" in logged.text

    def test_the_end_of_a_torn_line_that_alone_could_be_written_is_not_written_again(
        self, disk: FileDestination, path: Path, clock: Clock, writes: Writes
    ) -> None:
        writes.script = [20, full(), 1, full()]
        for text in (b"torn", b"lost", b"whole"):
            disk.write(b": " + text + b"\n")
            clock.advance(0)
        torn, whole = path.read_text().splitlines()
        assert len(torn) == 20
        assert whole.endswith("whole")

    def test_whole_lines_written_before_it_are_not_counted_as_lost(
        self, path: Path, clock: Clock, writes: Writes
    ) -> None:
        destination = FileDestination(
            "disk", lambda: os.open(path, os.O_WRONLY | os.O_CREAT), clock, STAMP
        )
        writes.script = [len(f"{formatTime(clock.seconds())} a\n"), full()]
        destination.write(b"a\nb\n")
        assert destination.dropped == 1
        assert path.read_text().endswith(" a\n")

    def test_a_write_that_takes_a_part_is_gone_on_with(
        self, disk: FileDestination, path: Path, clock: Clock, writes: Writes, logged: Logged
    ) -> None:
        writes.script = [10, 3]
        disk.write(b": whole\n")
        clock.advance(0)
        assert messages(path.read_bytes()) == ["whole"]
        assert logged.events == []


class TestSlowPipe:
    @pytest.fixture
    def pipe(self, clock: Clock) -> Iterator[tuple[FileDestination, int]]:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        yield FileDestination("pipe", lambda: writer, clock, STAMP), reader
        os.close(reader)
        os.close(writer)

    def drain(self, reader: int) -> bytes:
        try:
            return os.read(reader, 1 << 20)
        except BlockingIOError:
            return b""

    def all_that_comes(self, reader: int, clock: Clock) -> bytes:
        taken = self.drain(reader)
        clock.advance(1)
        while more := self.drain(reader):
            taken += more
            clock.advance(1)
        return taken

    def test_what_does_not_fit_waits_and_follows_in_order(
        self, pipe: tuple[FileDestination, int], clock: Clock, logged: Logged
    ) -> None:
        destination, reader = pipe
        for number in range(200):
            destination.write(b": %0100d\n" % number)
        clock.advance(0)
        taken = self.drain(reader)
        assert 0 < len(taken) <= 4096
        taken += self.all_that_comes(reader, clock)
        assert [int(line) for line in messages(taken)] == list(range(200))
        assert destination.dropped == 0
        assert logged.events == []
        assert clock.getDelayedCalls() == []

    def test_what_waits_is_bounded_and_the_rest_dropped_in_whole_lines(
        self,
        pipe: tuple[FileDestination, int],
        clock: Clock,
        logged: Logged,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(destination_module, "_BACKLOG", 2000)
        destination, reader = pipe
        for number in range(200):
            destination.write(b": %0100d\n" % number)
            clock.advance(1)
        assert len(destination._rest) <= 2000
        assert logged.text.count("its reader is too slow; lines are dropped") == 1
        taken = self.all_that_comes(reader, clock)
        numbers = [int(line) for line in messages(taken)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) + destination.dropped == 200
        assert f"works again; {destination.dropped} lines were dropped" in logged.text

    def test_a_line_torn_by_dropping_the_backlog_is_ended_before_the_next(
        self,
        pipe: tuple[FileDestination, int],
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(destination_module, "_BACKLOG", 100)
        destination, reader = pipe
        destination.write(b"x" * 9000 + b"\n")
        clock.advance(0)
        assert destination.dropped == 1
        self.drain(reader)
        destination.write(b"whole\n")
        clock.advance(1)
        assert self.drain(reader).startswith(b"\n")

    def test_at_close_it_gets_a_last_bounded_chance(
        self,
        pipe: tuple[FileDestination, int],
        clock: Clock,
        logged: Logged,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        destination, reader = pipe
        taken = b""

        def poll(self_: object, left: float) -> list[int]:
            nonlocal taken
            taken += self.drain(reader)
            return [1]

        monkeypatch.setattr(select, "poll", polling(poll))
        for number in range(200):
            destination.write(b": %0100d\n" % number)
        destination.close()
        taken += self.drain(reader)
        assert len(messages(taken)) == 200
        assert logged.events == []

    def test_a_reader_that_takes_no_more_at_close_loses_the_rest_and_this_is_told(
        self,
        pipe: tuple[FileDestination, int],
        clock: Clock,
        logged: Logged,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        destination, _ = pipe
        waited: list[float] = []

        def poll(self_: object, left: float) -> list[int]:
            waited.append(left)
            return []

        monkeypatch.setattr(select, "poll", polling(poll))
        for number in range(200):
            destination.write(b": %0100d\n" % number)
        destination.close()
        assert waited == [2000.0]
        assert destination.dropped > 100
        assert "its reader is too slow" in logged.text

    def test_a_reader_that_is_gone_is_reported_once(self, clock: Clock, logged: Logged) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        destination = FileDestination("pipe", lambda: writer, clock, STAMP)
        for _ in range(2):
            destination.write(b"x\n")
            clock.advance(0)
        os.close(writer)
        assert logged.text.count("Broken pipe") == 1
        assert destination.dropped == 2
