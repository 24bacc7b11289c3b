from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select as select_module
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from wsservice import journal as journal_module
from wsservice.config import Config
from wsservice.errors import JournalError
from wsservice.journal import FileDestination, Journal, describe, open_journal

from .support import Lines, Logged


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
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages"


@pytest.fixture
def journal(path: Path, clock: Clock) -> Journal:
    return open_journal(Config(message_log=str(path)), clock)


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def messages(octets: bytes) -> list[str]:
    """What the lines of a file end in. None may be torn."""
    assert octets.endswith(b"\n") or not octets
    return [line.partition(": ")[2] for line in octets.decode().splitlines()]


class TestDescribe:
    @pytest.mark.parametrize(
        ("payload", "shown"),
        [
            (b"Msg from client", "Msg from client"),
            (b"", ""),
            ("Grüße".encode(), "Grüße"),
            (b"a\nMessage received: forged", r"a\nMessage received: forged"),
            (b"\x1b[2J", r"\x1b[2J"),
            ("\u2028\u202e".encode(), r"\u2028\u202e"),
            (b"C:\\n", r"C:\\n"),
            (b"\xff", r"\udcff"),
        ],
    )
    def test_text_is_shown_as_it_is_with_what_is_dangerous_escaped(
        self, payload: bytes, shown: str
    ) -> None:
        assert describe(payload, False, 4096) == shown

    @pytest.mark.parametrize(
        ("payload", "shown"),
        [
            (b"12345678", "12345678"),
            (b"123456789", "12345678... (9 bytes)"),
            (b"1234567\n", "1234567... (8 bytes)"),
            ("1234567é".encode(), "1234567... (9 bytes)"),
            ("éééé".encode(), "éééé"),
            (b"\n\n\n\n\n", r"\n\n\n\n... (5 bytes)"),
        ],
    )
    def test_text_is_cut_to_the_limit_with_its_full_size_told(
        self, payload: bytes, shown: str
    ) -> None:
        assert describe(payload, False, 8) == shown

    @pytest.mark.parametrize(
        ("payload", "limit", "shown"),
        [
            (b"\x00\xff", 4096, "(binary, 2 bytes) 00ff"),
            (b"\x00", 4096, "(binary, 1 byte) 00"),
            (b"\x00\x01\x02", 4, "(binary, 3 bytes) 0001..."),
            (b"\x00\x01", 4, "(binary, 2 bytes) 0001"),
        ],
    )
    def test_binary_is_shown_as_size_and_hex_digits(
        self, payload: bytes, limit: int, shown: str
    ) -> None:
        assert describe(payload, True, limit) == shown

    def test_a_limit_of_0_tells_sizes_only(self) -> None:
        assert describe(b"secret", False, 0) == "(6 bytes)"
        assert describe(b"s", False, 0) == "(1 byte)"
        assert describe(b"secret", True, 0) == "(binary, 6 bytes)"

    @given(st.one_of(st.binary(), st.text().map(str.encode)), st.booleans(), st.integers(0, 50))
    def test_a_message_is_one_printable_line_and_within_its_limit(
        self, payload: bytes, isBinary: bool, limit: int
    ) -> None:
        shown = describe(payload, isBinary, limit)
        assert shown.isprintable()
        told = len(f"(binary, {len(payload)} bytes) ...")
        assert len(shown.encode()) <= limit + told


def test_a_line_names_the_connection_and_ends_in_the_message() -> None:
    lines = Lines()
    Journal(lines, 4096).received("7 192.0.2.1:5000", b"hi", False)
    assert lines.lines == ["[7 192.0.2.1:5000] Message received: hi"]


def test_reopen_and_close_are_the_destinations() -> None:
    lines = Lines()
    journal = Journal(lines, 4096)
    journal.reopen()
    journal.close()
    assert (lines.reopened, lines.closed) == (1, 1)


class TestLog:
    """`--message-log log`"""

    def test_messages_go_to_twisteds_log(self, logged: Logged, clock: Clock) -> None:
        journal = open_journal(Config(), clock)
        journal.received("1 peer", b"{braces} \n", False)
        journal.reopen()
        journal.close()
        assert logged.text.endswith(r"[1 peer] Message received: {braces} \n")
        assert len(logged.events) == 1


class TestFile:
    """`--message-log PATH`"""

    def test_a_line_begins_with_the_time(self, journal: Journal, path: Path, clock: Clock) -> None:
        clock.advance(86400 * 365)
        journal.received("1 peer", b"hi", False)
        clock.advance(0)
        stamp, _, rest = path.read_text().partition(" ")
        assert stamp.startswith("1971-01-01T00:00:00")
        assert rest == "[1 peer] Message received: hi\n"

    def test_what_came_in_one_turn_of_the_reactor_is_one_write(
        self, journal: Journal, clock: Clock, writes: Writes
    ) -> None:
        for number in range(100):
            journal.received("1 peer", b"%d" % number, False)
        assert writes.calls == []
        clock.advance(0)
        assert len(writes.calls) == 1
        assert messages(writes.calls[0]) == [str(number) for number in range(100)]
        journal.received("1 peer", b"next", False)
        clock.advance(0)
        assert messages(writes.calls[1]) == ["next"]

    def test_nothing_is_scheduled_while_there_is_nothing_to_write(
        self, journal: Journal, clock: Clock
    ) -> None:
        assert clock.getDelayedCalls() == []
        journal.received("1 peer", b"x", False)
        clock.advance(0)
        assert clock.getDelayedCalls() == []

    def test_a_large_batch_does_not_wait_for_the_turn_to_end(
        self, journal: Journal, writes: Writes
    ) -> None:
        for _ in range(70):
            journal.received("1 peer", bytes(b"x" * 4000), False)
        assert len(writes.calls) == 1

    def test_nothing_is_lost_at_close(self, journal: Journal, path: Path) -> None:
        journal.received("1 peer", b"last words", False)
        journal.close()
        assert messages(path.read_bytes()) == ["last words"]

    def test_it_appends_to_what_is_there(self, path: Path, clock: Clock) -> None:
        for text in (b"one", b"two"):
            journal = open_journal(Config(message_log=str(path)), clock)
            journal.received("1 peer", text, False)
            journal.close()
        assert messages(path.read_bytes()) == ["one", "two"]

    def test_others_cannot_read_it(self, journal: Journal, path: Path) -> None:
        assert path.stat().st_mode & 0o007 == 0

    def test_a_reopened_one_goes_on_at_the_same_path(
        self, journal: Journal, path: Path, tmp_path: Path, clock: Clock
    ) -> None:
        moved = tmp_path / "moved"
        journal.received("1 peer", b"old", False)
        path.rename(moved)
        journal.reopen()
        journal.received("1 peer", b"new", False)
        clock.advance(0)
        assert messages(moved.read_bytes()) == ["old"]
        assert messages(path.read_bytes()) == ["new"]

    def test_reopening_leaves_no_descriptor_behind(self, journal: Journal) -> None:
        before = os.listdir("/proc/self/fd")
        journal.reopen()
        assert os.listdir("/proc/self/fd") == before

    def test_one_that_cannot_be_reopened_goes_on_with_the_old_file(
        self, journal: Journal, path: Path, tmp_path: Path, clock: Clock, logged: Logged
    ) -> None:
        moved = tmp_path / "moved"
        path.rename(moved)
        path.mkdir()
        journal.reopen()
        journal.received("1 peer", b"still here", False)
        clock.advance(0)
        assert messages(moved.read_bytes()) == ["still here"]
        assert "cannot be reopened, Is a directory; the old one stays in use" in logged.text

    def test_a_relative_path_means_the_folder_it_was_opened_in(
        self, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        journal = open_journal(Config(message_log="messages"), clock)
        # As a daemon does.
        monkeypatch.chdir("/")
        journal.reopen()
        journal.received("1 peer", b"here", False)
        journal.close()
        assert messages((tmp_path / "messages").read_bytes()) == ["here"]

    def test_one_that_cannot_be_opened_is_refused_in_one_line(
        self, tmp_path: Path, clock: Clock
    ) -> None:
        missing = tmp_path / "no" / "folder"
        with pytest.raises(JournalError) as caught:
            open_journal(Config(message_log=str(missing)), clock)
        assert str(caught.value) == (
            f"--message-log: {missing} cannot be written, No such file or directory;"
            " give log, - or the path of a file that can be"
        )

    def test_a_pipe_that_nobody_reads_is_refused_and_not_waited_for(
        self, path: Path, clock: Clock
    ) -> None:
        os.mkfifo(path)
        with pytest.raises(JournalError):
            open_journal(Config(message_log=str(path)), clock)


class TestStandardOutput:
    """`--message-log -`"""

    def test_lines_go_to_descriptor_1(
        self, clock: Clock, capfd: pytest.CaptureFixture[str]
    ) -> None:
        journal = open_journal(Config(message_log="-"), clock)
        journal.received("1 peer", b"hi", False)
        journal.reopen()
        journal.received("1 peer", b"again", False)
        journal.close()
        assert messages(capfd.readouterr().out.encode()) == ["hi", "again"]

    @contextlib.contextmanager
    def pipe(self) -> Iterator[int]:
        """The reading end of a pipe that is standard output, but for pytest's own capture."""
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        kept = os.dup(1)
        os.dup2(writer, 1)
        os.close(writer)
        try:
            yield reader
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(reader)

    def test_a_pipe_that_nobody_reads_does_not_block_and_is_no_other_for_others(
        self, clock: Clock
    ) -> None:
        with self.pipe() as reader:
            journal = open_journal(Config(message_log="-"), clock)
            for _ in range(2):
                for _ in range(10):
                    journal.received("1 peer", b"x" * 1000, False)
                clock.advance(0)
                journal.reopen()
            assert os.get_blocking(1)
            assert len(os.read(reader, 1 << 20)) == 4096

    def test_a_pipe_whose_reader_is_gone_is_reported(self, clock: Clock, logged: Logged) -> None:
        with self.pipe() as reader:
            os.dup2(0, reader)
            journal = open_journal(Config(message_log="-"), clock)
            journal.received("1 peer", b"x", False)
            clock.advance(0)
        assert "message log standard output: Broken pipe" in logged.text


class TestFullDisk:
    def test_it_is_reported_once_and_counted(self, clock: Clock, logged: Logged) -> None:
        destination = FileDestination("full", lambda: os.open("/dev/full", os.O_WRONLY), clock)
        for number in range(3):
            destination.write(str(number))
            destination.write(str(number))
            clock.advance(0)
        assert destination.dropped == 6
        assert logged.text.count("No space left on device") == 1
        assert "message log full: No space left on device; lines are dropped" in logged.text

    def test_recovery_is_reported_with_the_number_of_lines_lost(
        self, journal: Journal, path: Path, clock: Clock, writes: Writes, logged: Logged
    ) -> None:
        writes.script = [full()]
        for text in (b"lost", b"kept"):
            journal.received("1 peer", text, False)
            clock.advance(0)
        assert messages(path.read_bytes()) == ["kept"]
        assert "works again; 1 lines were dropped so far" in logged.text

    def test_a_second_time_is_reported_again(
        self, journal: Journal, clock: Clock, writes: Writes, logged: Logged
    ) -> None:
        writes.script = [full(), 1000, full()]
        for text in (b"lost", b"kept", b"lost"):
            journal.received("1 peer", text, False)
            clock.advance(0)
        assert logged.text.count("No space left on device") == 2

    def test_a_line_torn_by_it_is_ended_before_the_next(
        self, journal: Journal, path: Path, clock: Clock, writes: Writes
    ) -> None:
        writes.script = [20, full()]
        journal.received("1 peer", b"torn", False)
        clock.advance(0)
        journal.received("1 peer", b"whole", False)
        clock.advance(0)
        torn, whole = path.read_text().splitlines()
        assert len(torn) == 20
        assert whole.endswith(" [1 peer] Message received: whole")

    def test_a_torn_line_waits_for_its_end_while_the_disk_stays_full(
        self, journal: Journal, path: Path, clock: Clock, writes: Writes, logged: Logged
    ) -> None:
        writes.script = [20, full(), full(), full()]
        for text in (b"torn", b"lost", b"lost", b"whole"):
            journal.received("1 peer", text, False)
            clock.advance(0)
        torn, whole = path.read_text().splitlines()
        assert len(torn) == 20
        assert whole.endswith("whole")
        assert "works again; 3 lines were dropped" in logged.text

    def test_the_end_of_a_torn_line_that_alone_could_be_written_is_not_written_again(
        self, journal: Journal, path: Path, clock: Clock, writes: Writes
    ) -> None:
        writes.script = [20, full(), 1, full()]
        for text in (b"torn", b"lost", b"whole"):
            journal.received("1 peer", text, False)
            clock.advance(0)
        torn, whole = path.read_text().splitlines()
        assert len(torn) == 20
        assert whole.endswith("whole")

    def test_whole_lines_written_before_it_are_not_counted_as_lost(
        self, path: Path, clock: Clock, writes: Writes
    ) -> None:
        destination = FileDestination(
            "disk", lambda: os.open(path, os.O_WRONLY | os.O_CREAT), clock
        )
        destination.write("a")
        destination.write("b")
        length = len(f"{destination._stamp[0]} a\n")
        writes.script = [length, full()]
        clock.advance(0)
        assert destination.dropped == 1
        assert path.read_text().endswith(" a\n")

    def test_a_write_that_takes_a_part_is_gone_on_with(
        self, journal: Journal, path: Path, clock: Clock, writes: Writes, logged: Logged
    ) -> None:
        writes.script = [10, 3]
        journal.received("1 peer", b"whole", False)
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
        yield FileDestination("pipe", lambda: writer, clock), reader
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
            destination.write(f": {number:0100}")
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
        monkeypatch.setattr(journal_module, "_BACKLOG", 2000)
        destination, reader = pipe
        for number in range(200):
            destination.write(f": {number:0100}")
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
        monkeypatch.setattr(journal_module, "_BACKLOG", 100)
        destination, reader = pipe
        destination.write("x" * 9000)
        clock.advance(0)
        assert destination.dropped == 1
        self.drain(reader)
        destination.write("whole")
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

        def select(*_: object) -> tuple[list[int], list[int], list[int]]:
            nonlocal taken
            taken += self.drain(reader)
            return [], [1], []

        monkeypatch.setattr(select_module, "select", select)
        for number in range(200):
            destination.write(f": {number:0100}")
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

        def select(_r: object, _w: object, _x: object, left: float) -> tuple[object, ...]:
            waited.append(left)
            return [], [], []

        monkeypatch.setattr(select_module, "select", select)
        for number in range(200):
            destination.write(f": {number:0100}")
        destination.close()
        assert waited == [2.0]
        assert destination.dropped > 100
        assert "its reader is too slow" in logged.text

    def test_a_reader_that_is_gone_is_reported_once(self, clock: Clock, logged: Logged) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        destination = FileDestination("pipe", lambda: writer, clock)
        for _ in range(2):
            destination.write("x")
            clock.advance(0)
        os.close(writer)
        assert logged.text.count("Broken pipe") == 1
        assert destination.dropped == 2
