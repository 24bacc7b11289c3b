from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.task import Clock
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    PredicateResult,
    formatEventAsClassicLogText,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.python import threadable
from twisted.python.logfile import LogFile
from zope.interface import implementer

from wsservice.log import twistedlog
from wsservice.log.threshold import Threshold
from wsservice.log.twistedlog import TwistedLog, observed_file

from ...support import Logged


class Octets(io.BytesIO):
    """Counts its writes, and takes at most `at_once` octets with each."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.writes = 0
        self._at_once = at_once

    def fileno(self) -> int:
        return 1  # which waits

    def write(self, octets: Any, /) -> int:
        self.writes += 1
        return super().write(octets[: self._at_once])


class File(io.TextIOWrapper):
    """A text file as standard output is one."""

    def __init__(self, encoding: str = "utf-8", at_once: int = 1 << 20) -> None:
        self.octets = Octets(at_once)
        super().__init__(self.octets, encoding=encoding)

    @property
    def lines(self) -> list[str]:
        self.seek(0)
        return self.read().splitlines()


@pytest.fixture
def file() -> File:
    return File()


def level(lowest: Any) -> LogLevelFilterPredicate:
    return LogLevelFilterPredicate(defaultLogLevel=lowest)


@implementer(ILogObserver)
def nothing(event: LogEvent) -> None:
    """An observer."""


def opened(folder: Path, rotateLength: int) -> Any:
    """A file as twistd opens its own."""
    return LogFile("log", str(folder), rotateLength)


class TestTextFile:
    """The choice between the file and the observers."""

    def test_it_is_the_one_that_twistd_makes(self, file: File) -> None:
        observer = textFileLogObserver(file)
        assert observed_file(LogPublisher(observer)) is observer

    def test_it_is_the_one_within_the_filter_that_twist_makes(self, file: File) -> None:
        observer = textFileLogObserver(file)
        filtered = FilteringLogObserver(observer, [level(LogLevel.info)])
        assert observed_file(LogPublisher(filtered)) is observer

    def test_it_is_one_that_writes_to_a_log_file_that_rotates(self, tmp_path: Path) -> None:
        log_file = opened(tmp_path, 1000)
        observer = textFileLogObserver(log_file)
        assert observed_file(LogPublisher(observer)) is observer
        log_file.close()

    def test_other_message_logs_do_not_count(self, file: File, clock: Clock) -> None:
        observer = textFileLogObserver(file)
        publisher = LogPublisher(observer)
        for _ in range(2):
            TwistedLog(clock, publisher).keep_order(lambda: None)
        assert observed_file(publisher) is observer

    @pytest.mark.parametrize(
        "observers",
        [
            lambda file: [],
            lambda file: [nothing],
            lambda file: [textFileLogObserver(file), nothing],
            lambda file: [textFileLogObserver(file), textFileLogObserver(File())],
            lambda file: [LogPublisher(textFileLogObserver(file))],
            lambda file: [LegacyLogObserverWrapper(cast(Any, nothing))],
            lambda file: [jsonFileLogObserver(file)],
            lambda file: [FileLogObserver(file, formatEventAsClassicLogText)],
            lambda file: [type("Sub", (FileLogObserver,), {})(file, lambda event: "")],
            lambda file: [textFileLogObserver(io.StringIO())],
            lambda file: [FilteringLogObserver(textFileLogObserver(file), [level(LogLevel.warn)])],
            lambda file: [
                FilteringLogObserver(
                    textFileLogObserver(file),
                    [lambda event: PredicateResult.yes],  # type: ignore[list-item]
                )
            ],
        ],
    )
    def test_there_is_none_where_another_takes_events(
        self, observers: Callable[[File], list[Any]], file: File
    ) -> None:
        assert observed_file(LogPublisher(*observers(file))) is None

    def test_there_is_none_where_the_file_does_not_wait(self, tmp_path: Path) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        os.set_blocking(writer, False)
        with open(writer, "w") as file:
            assert observed_file(LogPublisher(textFileLogObserver(file))) is None

    @pytest.mark.parametrize("name", ["_observers", "_outFile", "_shouldLogEvent"])
    def test_there_is_none_where_twisted_is_another(self, name: str, file: File) -> None:
        observer = textFileLogObserver(file)
        filtered = FilteringLogObserver(observer, [level(LogLevel.info)])
        publisher = LogPublisher(filtered)
        for each in (publisher, observer, filtered):
            vars(each).pop(name, None)
        assert observed_file(publisher) is None


class TestWriting:
    def test_a_batch_is_one_write_of_lines_as_twisted_formats_them(
        self, file: File, clock: Clock
    ) -> None:
        publisher = LogPublisher(textFileLogObserver(file, "%Y"))
        TwistedLog(clock, publisher).write("one\nGrüße {braces}\n".encode())
        assert file.octets.writes == 1
        assert file.lines == [
            "1970 [wsservice#info] one",
            "1970 [wsservice#info] Grüße {braces}",
        ]

    def test_a_line_of_a_batch_looks_as_an_event_does(self, file: File) -> None:
        publisher = LogPublisher(textFileLogObserver(file))
        clock = Clock()
        clock.advance(86400)
        TwistedLog(clock, publisher).write(b"text\n")
        publisher.addObserver(nothing)
        TwistedLog(clock, publisher).write(b"text\n")
        batched, event = (line.partition(" ") for line in file.lines)
        assert batched[2] == event[2] == "[wsservice#info] text"
        assert len(batched[0]) == len(event[0])

    def test_the_time_goes_on(self, file: File, clock: Clock) -> None:
        log = TwistedLog(clock, LogPublisher(textFileLogObserver(file, "%S")))
        for _ in range(3):
            log.write(b"x\n")
            clock.advance(1)
        assert [line[:2] for line in file.lines] == ["00", "01", "02"]

    def test_an_observer_that_is_added_sees_every_line_from_then_on(
        self, file: File, clock: Clock
    ) -> None:
        publisher = LogPublisher(textFileLogObserver(file))
        log = TwistedLog(clock, publisher)
        logged = Logged()
        log.write(b"one\n")
        publisher.addObserver(logged)
        log.write(b"two\nthree\n")
        publisher.removeObserver(logged)
        log.write(b"four\n")
        assert [event["line"] for event in logged.events] == ["two", "three"]
        assert [line.split()[-1] for line in file.lines] == ["one", "two", "three", "four"]

    def test_a_level_that_leaves_them_out_is_respected(self, file: File, clock: Clock) -> None:
        predicate = level(LogLevel.info)
        publisher = LogPublisher(FilteringLogObserver(textFileLogObserver(file), [predicate]))
        log = TwistedLog(clock, publisher)
        log.write(b"shown\n")
        predicate.setLogLevelForNamespace("wsservice", LogLevel.warn)
        log.write(b"hidden\n")
        assert [line.split()[-1] for line in file.lines] == ["shown"]

    def test_a_log_file_rotates_at_its_size_and_no_line_is_torn_or_lost(
        self, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(twistedlog, "_PIECE", 500)
        log_file = opened(tmp_path, 1000)
        log = TwistedLog(clock, LogPublisher(textFileLogObserver(log_file)))
        log.write("".join(f"é {number}\n" for number in range(100)).encode())
        log.write(b"x" * 2000 + b"\n")
        log_file.close()
        files = sorted(tmp_path.iterdir(), key=lambda path: -int("0" + path.suffix[1:]))
        assert len(files) == 4
        lines = [line for path in files for line in path.read_text().splitlines()]
        assert [line.split()[-1] for line in lines] == [*map(str, range(100)), "x" * 2000]
        assert all(1000 <= path.stat().st_size < 1500 for path in files[:-1])
        assert all(path.read_bytes().endswith(b"\n") for path in files)

    def test_what_the_encoding_of_standard_output_lacks_takes_no_other_line_with_it(
        self, clock: Clock
    ) -> None:
        file = File("ascii")
        log = TwistedLog(clock, LogPublisher(textFileLogObserver(file)))
        log.write("one\nzwö\nthree\n".encode())
        assert [line.split()[-1] for line in file.lines] == ["one", "three"]

    def test_a_file_that_fails_raises_nothing(self, clock: Clock) -> None:
        file = File()
        file.octets.close()
        TwistedLog(clock, LogPublisher(textFileLogObserver(file))).write(b"x\n")

    def test_a_write_that_takes_a_part_is_gone_on_with(self, clock: Clock) -> None:
        file = File(at_once=10)
        TwistedLog(clock, LogPublisher(textFileLogObserver(file))).write(b"one\ntwo\n")
        assert [line.split()[-1] for line in file.lines] == ["one", "two"]


class TestOrder:
    @pytest.fixture(autouse=True)
    def reactor_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threadable, "ioThread", threading.get_ident())

    @pytest.fixture
    def held(self, file: File, clock: Clock) -> tuple[TwistedLog, LogPublisher, list[bytes]]:
        """A log, its publisher, and what is held before it."""
        lines: list[bytes] = []
        publisher = LogPublisher()
        log = TwistedLog(clock, publisher)

        def flush() -> None:
            if lines:
                log.write(lines.pop())

        log.keep_order(flush)
        publisher.addObserver(textFileLogObserver(file))
        return log, publisher, lines

    def test_what_is_held_is_written_before_another_event(
        self, held: tuple[TwistedLog, LogPublisher, list[bytes]], file: File
    ) -> None:
        _, publisher, lines = held
        lines.append(b"one\n")
        Logger(observer=publisher).info("two")
        assert [line.split()[-1] for line in file.lines] == ["one", "two"]

    def test_an_event_of_another_thread_touches_nothing_that_is_held(
        self, held: tuple[TwistedLog, LogPublisher, list[bytes]]
    ) -> None:
        _, publisher, lines = held
        lines.append(b"one\n")
        thread = threading.Thread(target=Logger(observer=publisher).info, args=["two"])
        thread.start()
        thread.join()
        assert lines == [b"one\n"]

    def test_it_does_not_observe_after_the_end(
        self, held: tuple[TwistedLog, LogPublisher, list[bytes]]
    ) -> None:
        log, publisher, lines = held
        log.close()
        lines.append(b"one\n")
        Logger(observer=publisher).info("two")
        assert lines == [b"one\n"]


class TestWanted:
    """The journal makes lines only if a reader gets them."""

    def test_they_are_where_somebody_takes_messages(self, file: File, clock: Clock) -> None:
        threshold = Threshold("warn")
        publisher = LogPublisher(
            FilteringLogObserver(
                threshold.before(textFileLogObserver(file)), [level(LogLevel.debug)]
            )
        )
        log = TwistedLog(clock, publisher)
        log.keep_order(lambda: None)
        wanted = [log.wanted]
        publisher.addObserver(nothing)
        wanted.append(log.wanted)
        publisher.removeObserver(nothing)
        wanted.append(log.wanted)
        threshold.level = "info"
        wanted.append(log.wanted)
        assert wanted == [False, True, False, True]
        assert observed_file(publisher) is not None

    def test_a_filter_of_another_kind_is_not_known(self, file: File, clock: Clock) -> None:
        no: Any = lambda event: PredicateResult.no  # noqa: E731
        publisher = LogPublisher(FilteringLogObserver(textFileLogObserver(file), [no]))
        assert TwistedLog(clock, publisher).wanted

    def test_with_another_twisted_they_are(self, clock: Clock) -> None:
        assert TwistedLog(clock, cast(Any, object())).wanted
