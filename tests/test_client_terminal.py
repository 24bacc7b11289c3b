from __future__ import annotations

import contextlib
import os
import pty
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from wsservice.client.terminal import LineReader, Output


class Reactor:
    """Runs what the reading thread hands over, one call at a time."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        self.calls.put(lambda: function(*args))

    def turn(self) -> None:
        self.calls.get(timeout=10)()


class Input:
    """Standard input, a pipe, and who reads it."""

    def __init__(self) -> None:
        self.descriptor, self.writer = os.pipe()
        self.reactor = Reactor()
        self.heard: list[bytes | str] = []
        self.reader = LineReader(
            self.reactor, self.descriptor, self.heard.append, lambda: self.heard.append("end")
        )
        self.reader.start()

    def write(self, octets: bytes) -> None:
        os.write(self.writer, octets)
        self.reactor.turn()

    def end(self) -> None:
        os.close(self.writer)
        self.reactor.turn()


@pytest.fixture
def given() -> Iterator[Input]:
    given = Input()
    yield given
    given.reader.stopProducing()
    for descriptor in (given.writer, given.descriptor):
        with contextlib.suppress(OSError):  # the test closed it
            os.close(descriptor)


def test_each_line_is_given_without_its_end(given: Input) -> None:
    given.write(b"one\ntwo\n\n")
    given.end()
    assert given.heard == [b"one", b"two", b"", "end"]


def test_a_line_may_come_in_parts(given: Input) -> None:
    given.write(b"o")
    assert given.heard == []
    given.write(b"ne\ntw")
    assert given.heard == [b"one"]
    given.write(b"o\n")
    assert given.heard == [b"one", b"two"]
    given.end()


def test_a_last_line_without_an_end_is_one_too(given: Input) -> None:
    given.write(b"one\ntwo")
    given.end()
    assert given.heard == [b"one", b"two", "end"]


def test_empty_input_is_only_the_end(given: Input) -> None:
    given.end()
    assert given.heard == ["end"]


def test_closed_input_is_the_end() -> None:
    reactor = Reactor()
    heard: list[object] = []
    LineReader(reactor, 1 << 20, heard.append, lambda: heard.append("end")).start()
    reactor.turn()
    assert heard == ["end"]


def test_nothing_is_read_while_it_is_paused(given: Input) -> None:
    given.reader.pauseProducing()
    given.write(b"one\n")  # the read that was under way
    os.write(given.writer, b"two\n")
    with pytest.raises(queue.Empty):
        given.reactor.calls.get(timeout=0.05)
    given.reader.resumeProducing()
    given.reactor.turn()
    assert given.heard == [b"one", b"two"]
    given.end()


def test_one_that_was_stopped_says_nothing_more(given: Input) -> None:
    given.reader.stopProducing()
    given.write(b"one\n")
    assert given.heard == []


class TestOutput:
    @pytest.fixture
    def pipe(self) -> Iterator[tuple[int, int]]:
        ends = os.pipe()
        yield ends
        for end in ends:
            os.close(end)

    def test_a_payload_goes_into_a_pipe_as_it_came(self, pipe: tuple[int, int]) -> None:
        output = Output(pipe[1])
        output.write(b"\x1b[2J\\ \xff", False)
        output.write(b"\0", True)
        assert os.read(pipe[0], 100) == b"\x1b[2J\\ \xff\n\0\n"

    def test_a_write_that_takes_a_part_is_gone_on_with(
        self, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
        Output(pipe[1]).write(b"abcde", False)
        assert os.read(pipe[0], 100) == b"abcde\n"

    def test_output_that_others_made_non_blocking_is_waited_for(
        self, pipe: tuple[int, int]
    ) -> None:
        os.set_blocking(pipe[1], False)
        payload = bytes(200_000)
        read: list[bytes] = []

        def reader() -> None:
            while sum(map(len, read)) <= len(payload):
                read.append(os.read(pipe[0], 65536))

        thread = threading.Thread(target=reader)
        thread.start()
        Output(pipe[1]).write(payload, True)
        thread.join(10)
        assert b"".join(read) == payload + b"\n"

    def test_a_payload_is_escaped_where_a_person_reads_it(self) -> None:
        person, terminal = pty.openpty()
        output = Output(terminal)
        output.write("\x1b[2J\u202eé".encode() * 9, False)
        output.write(b"\0\xff", True)
        shown = ""
        while shown.count("\n") < 2:  # a terminal hands over what it has so far
            shown += os.read(person, 1000).decode()
        os.close(terminal)
        os.close(person)
        assert shown == "\\x1b[2J\\u202eé" * 9 + "\r\n(binary, 2 bytes) 00ff\r\n"

    def test_nobody_who_takes_it_is_an_error(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            Output(writer).write(b"x", False)
        os.close(writer)
