from __future__ import annotations

import contextlib
import os
import pty
import queue
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wsservice.cli import largest
from wsservice.cli.terminal import LineReader, Output


class Reactor:
    """Runs what the threads hand over, one call at a time."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        self.calls.put(lambda: function(*args))

    def turn(self) -> None:
        self.calls.get(timeout=10)()


class Input:
    """Standard input, a pipe, and who reads it."""

    def __init__(self, end: bytes = b"\n") -> None:
        self.descriptor, self.writer = os.pipe()
        self.reactor = Reactor()
        self.heard: list[bytes | str] = []
        self.reads: list[int] = []
        self.reader = LineReader(self.reactor, self.descriptor, self._take, self._end, end)
        self.reader.start()

    def _take(self, lines: list[bytes]) -> None:
        self.heard += lines
        self.reads.append(len(lines))

    def _end(self, problem: str) -> None:
        self.heard.append(f"end{problem}")

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
    assert given.reads == [3]
    given.end()
    assert given.heard == [b"one", b"two", b"", "end"]


def test_a_line_may_end_in_cr_lf(given: Input) -> None:
    given.write(b"one\r\ntwo\nthree\r\r\n\r\nfo\rur\r")
    given.write(b"\nlast\r")
    given.end()
    assert given.heard == [b"one", b"two", b"three\r", b"", b"fo\rur", b"last\r", "end"]


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
    LineReader(reactor, 1 << 20, heard.append, heard.append).start()
    reactor.turn()
    assert heard == [""]


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


def test_a_message_may_end_in_nul() -> None:
    given = Input(b"\0")
    given.write(b"one\ntwo\0three\n")
    assert given.heard == [b"one\ntwo"]
    given.end()
    assert given.heard == [b"one\ntwo", b"three\n", "end"]
    os.close(given.descriptor)


def test_a_cr_before_a_nul_is_of_the_message() -> None:
    given = Input(end=b"\0")
    given.write(b"a\r\n\r\0b\r\0")
    given.end()
    os.close(given.descriptor)
    assert given.heard == [b"a\r\n\r", b"b\r", "end"]


def test_a_long_line_is_joined_once(given: Input) -> None:
    for _ in range(100):
        given.write(b"x" * 10_000)
    assert given.heard == []
    given.write(b"\n")
    assert given.heard == [b"x" * 1_000_000]
    given.end()


def test_a_line_without_end_is_refused(given: Input, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest, "LARGEST", 2 << 20)
    written = 0
    while not given.heard:
        given.write(b"x" * 60_000)
        written += 60_000
    assert given.heard == ["endhas a message of more than 2 MiB"]
    assert written < 3 << 20


def test_descriptors_that_are_closed_are_taken() -> None:
    code = (
        "import os\n"
        "from wsservice.cli.terminal import reserve_descriptors\n"
        "os.closerange(0, 3)\n"
        "reserve_descriptors()\n"
        "def works(call, *given):\n"
        "    try:\n"
        "        call(*given)\n"
        "    except OSError:\n"
        "        return False\n"
        "    return True\n"
        "ok = [os.readlink(f'/dev/fd/{each}') for each in range(3)] == ['/dev/null'] * 3\n"
        "bad = works(os.read, 0, 1) or works(os.write, 1, b'x') or works(os.write, 2, b'x')\n"
        "os._exit(42 if ok and not bad else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 42


class Pipe:
    """Standard output, a pipe, and what is told of it."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        self.reactor = Reactor()
        self.told: list[Any] = []
        self.output = Output(
            self.reactor,
            writer,
            lambda: self.told.append("full"),
            lambda: self.told.append("room"),
            self.told.append,
        )

    def read(self, size: int) -> bytes:
        """Return `size` octets; meanwhile the reactor runs."""
        octets = b""
        while len(octets) < size:
            if select.select([self.reader], [], [], 0.01)[0]:
                octets += os.read(self.reader, size - len(octets))
            self.run()
        return octets

    def run(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self.reactor.calls.get_nowait()()

    def until_told(self, count: int) -> None:
        while len(self.told) < count:
            self.reactor.turn()


class TestOutput:
    @pytest.fixture
    def pipe(self) -> Iterator[Pipe]:
        ends = os.pipe()
        yield Pipe(*ends)
        for end in ends:
            with contextlib.suppress(OSError):  # the test closed it
                os.close(end)

    def test_what_is_written_comes_out_in_order(self, pipe: Pipe) -> None:
        for number in range(1000):
            pipe.output.write(b"%d " % number)
        expected = b"".join(b"%d " % number for number in range(1000))
        assert pipe.read(len(expected)) == expected
        assert pipe.told == []

    def test_what_waits_is_written_together(
        self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writes: list[int] = []
        write = os.write

        def counting(descriptor: int, octets: memoryview) -> int:
            writes.append(len(octets))
            return write(descriptor, octets)

        monkeypatch.setattr(os, "write", counting)
        for _ in range(100):
            pipe.output.write(b"x")
        pipe.read(100)
        assert writes == [1, 99]

    def test_a_write_that_takes_a_part_is_gone_on_with(
        self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
        pipe.output.write(b"abcde")
        assert pipe.read(5) == b"abcde"

    def test_a_pipe_that_nobody_reads_keeps_nobody_waiting(self, pipe: Pipe) -> None:
        for _ in range(4):
            pipe.output.write(bytes(100_000))
        assert pipe.told == ["full"]
        done: list[None] = []
        pipe.output.written().addCallback(done.append)
        pipe.read(300_000)
        assert pipe.told == ["full"]
        assert done == []
        pipe.read(100_000)
        while not done:
            pipe.reactor.turn()
        assert pipe.told == ["full", "room"]

    def test_nothing_to_write_is_written(self, pipe: Pipe) -> None:
        assert pipe.output.written().called

    def test_output_that_others_made_non_blocking_is_waited_for(self, pipe: Pipe) -> None:
        os.set_blocking(pipe.writer, False)
        payload = bytes(200_000)
        pipe.output.write(payload)
        assert pipe.read(len(payload)) == payload

    def test_nobody_who_takes_it_is_an_error(self, pipe: Pipe) -> None:
        os.close(pipe.reader)
        pipe.output.write(bytes(300_000))
        pipe.output.write(b"more")
        done: list[None] = []
        pipe.output.written().addCallback(done.append)
        pipe.until_told(3)
        full, error, room = pipe.told
        assert (full, room) == ("full", "room")
        assert isinstance(error, BrokenPipeError)
        assert done == [None]
        pipe.output.write(b"nowhere")
        assert pipe.output.written().called

    def test_a_terminal_is_known(self, pipe: Pipe) -> None:
        person, theirs = pty.openpty()
        assert Pipe(person, theirs).output.is_terminal
        assert not pipe.output.is_terminal
        os.close(person)
        os.close(theirs)
