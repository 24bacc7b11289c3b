from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher
from twisted.python import threadable

from wsservice.config.config import Config
from wsservice.errors import JournalError
from wsservice.log.journal import Journal, open_journal
from wsservice.log.lines import JSONLines, TextLines, describe

from ...support import Lines, Logged


class Writes:
    """Stands before `os.write`, and keeps what it is called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[bytes] = []
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        self.calls.append(data)
        return self._write(descriptor, data)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    return Writes(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages"


@pytest.fixture
def journal(path: Path, clock: Clock) -> Journal:
    return open_journal(Config(message_log=str(path)), clock)


def messages(octets: bytes) -> list[str]:
    """Return the messages of a file's lines. No line may be torn."""
    assert octets.endswith(b"\n") or not octets
    return [line.partition(": ")[2] for line in octets.decode().splitlines()]


class TestLines:
    @pytest.fixture
    def lines(self) -> Lines:
        return Lines()

    @pytest.fixture
    def journal(self, lines: Lines, clock: Clock) -> Journal:
        return Journal(lines, TextLines(), 20, clock)

    def test_a_line_names_the_connection_and_ends_in_the_message(
        self, journal: Journal, lines: Lines, clock: Clock
    ) -> None:
        journal.received("7 192.0.2.1:5000", b"hi", False)
        clock.advance(0)
        assert lines.lines == ["[7 192.0.2.1:5000] Message received: hi"]

    def test_lines_stand_in_the_order_in_which_messages_came(
        self, journal: Journal, lines: Lines, clock: Clock
    ) -> None:
        came = [("1", b"a"), ("1", b"b"), ("2", b"c"), ("1", b"d"), ("3", b""), ("3", b"e")]
        for who, payload in came:
            journal.received(who, payload, False)
        clock.advance(0)
        assert lines.lines == [f"[{who}] Message received: {text.decode()}" for who, text in came]

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["1 a", "2 b"]),
                st.one_of(
                    st.binary(max_size=30),
                    st.text(max_size=10).map(str.encode),
                    st.sampled_from([b"plain", b"\xc3", b"\xa9", b"a\\b", b"x" * 20, b"x" * 21]),
                ),
                st.booleans(),
            )
        ),
        st.sampled_from([0, 5, 20]),
    )
    def test_a_line_is_what_it_is_alone_whatever_stands_beside_it(
        self, messages: list[tuple[str, bytes, bool]], limit: int
    ) -> None:
        lines = Lines()
        journal = Journal(lines, TextLines(), limit, Clock())
        for message in messages:
            journal.received(*message)
        journal.flush()
        assert lines.lines == [
            f"[{who}] Message received: {describe(payload, is_binary, limit)}"
            for who, payload, is_binary in messages
        ]

    def test_halves_of_a_character_in_two_messages_do_not_make_one(
        self, journal: Journal, lines: Lines
    ) -> None:
        journal.received("1", b"\xc3", False)
        journal.received("1", b"\xa9", False)
        journal.flush()
        assert [line.rpartition(" ")[2] for line in lines.lines] == [r"\udcc3", r"\udca9"]

    def test_nothing_is_written_where_nothing_is_held(self, journal: Journal, lines: Lines) -> None:
        journal.flush()
        assert lines.written == []

    def test_what_another_asked_to_write_is_not_written_again_at_the_end_of_the_turn(
        self, journal: Journal, lines: Lines, clock: Clock
    ) -> None:
        journal.received("1", b"one", False)
        journal.flush()
        journal.received("1", b"two", False)
        clock.advance(0)
        assert [line[-3:] for line in lines.lines] == ["one", "two"]
        assert len(lines.written) == 2
        assert clock.getDelayedCalls() == []

    @pytest.mark.parametrize(("size", "count"), [(0, 10_000), (1000, 1000), (300_000, 3)])
    def test_what_is_held_in_one_turn_is_bounded(
        self, journal: Journal, lines: Lines, size: int, count: int
    ) -> None:
        held = 0
        for _ in range(count):
            writes = len(lines.written)
            journal.received("1", bytes(size), True)
            held = held + 1 if len(lines.written) == writes else 0
            assert held * (size + 64) <= 256 * 1024
        journal.flush()
        assert len(lines.lines) == count

    @pytest.mark.parametrize("at_once", [1, 100])
    def test_what_is_written_at_once_is_bounded_whatever_channels_are_called(
        self, lines: Lines, clock: Clock, at_once: int
    ) -> None:
        journal = Journal(lines, JSONLines(), 20, clock)
        who = journal.name("7 192.0.2.1:5000", '"' * 255)
        for _ in range(5000 // at_once):
            if at_once == 1:
                journal.received(who, b"x", False)
            else:
                journal.received_all(who, [(b"x", False, 0)] * at_once)
        journal.flush()
        assert len(b"".join(lines.written).splitlines()) == 5000
        assert max(map(len, lines.written)) < 320 * 1024

    def test_what_comes_after_the_end_is_written_at_once(
        self, journal: Journal, lines: Lines, clock: Clock
    ) -> None:
        journal.received("1", b"before", False)
        journal.close()
        journal.received("1", b"after", False)
        assert len(lines.written) == 2
        clock.advance(0)
        journal.received("1", b"later", False)
        assert len(lines.written) == 3

    def test_reopening_writes_what_is_held_and_is_the_destinations_as_is_the_end(
        self, journal: Journal, lines: Lines
    ) -> None:
        journal.received("1", b"x", False)
        journal.reopen()
        assert len(lines.written) == 1
        journal.received("1", b"x", False)
        journal.close()
        assert len(lines.written) == 2
        assert (lines.reopened, lines.closed) == (1, 1)


class TestLog:
    """`--message-log log`"""

    def test_messages_go_to_twisteds_log(self, logged: Logged, clock: Clock) -> None:
        journal = open_journal(Config(), clock)
        journal.received("1 peer", b"{braces} \n", False)
        clock.advance(0)
        journal.reopen()
        journal.close()
        assert logged.text.endswith(r"[1 peer] Message received: {braces} \n")
        assert len(logged.events) == 1

    def test_a_line_stands_before_an_event_that_followed_it(
        self, logged: Logged, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
        # As under twistd: the journal is there before the log.
        globalLogPublisher.removeObserver(logged)
        journal = open_journal(Config(), clock)
        globalLogPublisher.addObserver(logged)
        journal.received("1 peer", b"came first", False)
        Logger().info("and was spoken of")
        journal.close()
        first, second = logged.text.splitlines()
        assert first.endswith("came first")
        assert second.endswith("and was spoken of")


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


def test_lines_that_nobody_wants_are_not_made(clock: Clock) -> None:
    class NoLines(TextLines):
        def lines(self, held: list[Any], limit: int) -> bytes:
            raise AssertionError("made")

    destination = Lines()
    destination.wanted = False
    journal = Journal(destination, NoLines(), 9, clock)
    journal.received("1 a", b"x", False)
    clock.advance(0)
    assert destination.written == []


def test_it_may_be_told_to_show_less(clock: Clock) -> None:
    destination = Lines()
    journal = Journal(destination, TextLines(), 9, clock)
    commit = journal.prepare(Config(log_payload=2))
    journal.received("1 a", b"abcd", False)
    journal.flush()
    commit()
    journal.received("1 a", b"abcd", False)
    journal.flush()
    assert destination.lines == [
        "[1 a] Message received: abcd",
        "[1 a] Message received: ab... (4 bytes)",
    ]
