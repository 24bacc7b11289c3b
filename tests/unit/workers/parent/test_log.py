from __future__ import annotations

import io
import json
from typing import Any

import pytest
from twisted.logger import LogPublisher, textFileLogObserver

from wsservice.log.jsonlog import RECORD, json_file_observer
from wsservice.workers.parent.log import copy_to, form
from wsservice.workers.wire.records import JSON, TEXT

from ....support import Logged


class Log:
    """A log of the parent's, in a file."""

    def __init__(self, path: Any, make: Any = textFileLogObserver, encoding: str = "utf-8") -> None:
        self.path = path
        self.file = path.open("w", encoding=encoding)
        self.publisher = LogPublisher(make(self.file))

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def test_workers_write_in_the_form_that_the_log_has(tmp_path: Any) -> None:
    with Log(tmp_path / "log") as log:
        assert form(log.publisher) == TEXT
    with Log(tmp_path / "log", json_file_observer) as log:
        assert form(log.publisher) == JSON
    assert form(LogPublisher(Logged())) == JSON
    assert form(LogPublisher(textFileLogObserver(io.StringIO()))) == JSON


@pytest.mark.parametrize(
    ("written", "make"), [(TEXT, textFileLogObserver), (JSON, json_file_observer)]
)
def test_lines_of_that_form_are_copied_as_they_are(tmp_path: Any, written: str, make: Any) -> None:
    with Log(tmp_path / "log", make) as log:
        copy_to(written, log.publisher)("one\ntw\N{SNOWMAN}\n".encode())
    assert (tmp_path / "log").read_text() == "one\ntw\N{SNOWMAN}\n"


def test_what_the_encoding_has_no_place_for_is_escaped(tmp_path: Any) -> None:
    with Log(tmp_path / "log", encoding="ascii") as log:
        copy_to(TEXT, log.publisher)("one\ntw\N{SNOWMAN}\n".encode())
    assert (tmp_path / "log").read_text() == "one\ntw\\u2603\n"


def test_where_somebody_else_takes_the_log_each_is_an_event() -> None:
    logged = Logged()
    members = {"time": "t", "level": "warn", "namespace": "chat.room", "text": "a {b}"}
    failed = {**members, "level": "error", "text": "broken", "failure": "Traceback\nhere"}
    lines = f"{json.dumps(members)}\n{json.dumps(failed)}\nno JSON\n{{}}\n"
    copy_to(JSON, LogPublisher(logged))(lines.encode())
    assert [event["log_level"].name for event in logged.events] == ["warn", "error", "info", "info"]
    assert [event["log_namespace"] for event in logged.events][:2] == ["chat.room"] * 2
    assert logged.text == (
        "[chat.room#warn] a {b}\n[chat.room#error] broken\nTraceback\nhere\n"
        "[wsservice#info] no JSON\n[wsservice#info] {}"
    )


def test_a_message_is_an_event_with_its_members() -> None:
    logged = Logged()
    record = '"connection":"1","peer":"unix","channel":"a","kind":"text","payload":"a,}b"}'
    line = f'{{"time":"t","level":"info","namespace":"wsservice",{record}\n'
    copy_to(JSON, LogPublisher(logged))(line.encode())
    (event,) = logged.events
    assert event[RECORD] == record
    assert logged.text == f"[wsservice#info] {{{record}"


def test_lines_of_text_are_events_where_the_log_has_become_another() -> None:
    logged = Logged()
    copy_to(TEXT, LogPublisher(logged))(b"2026 [x] one\n2026 [x] two\n")
    assert [event["line"] for event in logged.events] == ["2026 [x] one", "2026 [x] two"]


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Any) -> None:
    with Log(tmp_path / "log") as log:
        copy = copy_to(TEXT, log.publisher)
        log.file.buffer.raw.close()
        copy(b"lost\n")
        log.file = open(tmp_path / "log")  # noqa: SIM115 - closed with the log
