from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from wsservice.workers.parent.output import WorkerOutput

from ....support import Logged


def test_each_line_is_one_of_the_log_wherever_it_was_cut(logged: Logged) -> None:
    output = WorkerOutput("worker 1")
    output.feed(2, b"Trace")
    output.feed(1, b"hello\n")
    output.feed(2, b"back\n\n")
    assert "[wsservice#warn] worker 1: hello" in logged.text
    assert logged.text.index("hello") < logged.text.index("worker 1: Traceback")


def test_what_has_no_end_of_line_is_one_at_the_end(logged: Logged) -> None:
    output = WorkerOutput("worker 1")
    output.feed(2, b"no luck")
    assert "no luck" not in logged.text
    output.finish()
    output.finish()
    assert logged.text.count("worker 1: no luck") == 1


def test_of_a_line_without_an_end_its_last_part_is_kept() -> None:
    output = WorkerOutput("worker 1")
    for _ in range(100):
        output.feed(1, b"x" * 10_000)
    output.feed(1, b"end")
    assert output._unread[1] == b"x" * 497 + b"end"


@pytest.mark.parametrize(
    ("reason", "how"),
    [
        (ProcessDone(0), "ended with status 0"),
        (ProcessTerminated(3, None, 768), "ended with status 3; its last words: no\\x1b luck"),
        (ProcessTerminated(None, 9, 9), "was ended by SIGKILL; its last words: no\\x1b luck"),
        (ProcessTerminated(None, 99, 99), "was ended by signal 99; its last words: no\\x1b luck"),
    ],
)
def test_the_last_line_is_told_of_one_that_failed(reason: Any, how: str) -> None:
    output = WorkerOutput("worker 1")
    output.feed(2, b"first\nno\x1b luck\n \n")
    assert output.ending(Failure(reason)) == how


def test_one_that_said_nothing_has_no_last_words() -> None:
    failure: Any = ProcessTerminated(1, None, 256)
    assert WorkerOutput("worker 1").ending(Failure(failure)) == "ended with status 1"
