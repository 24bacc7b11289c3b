from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher, globalLogPublisher
from twisted.python import log as legacy
from twisted.python import usage
from twisted.python.logfile import LogFile

from wsservice.errors import ConfigError
from wsservice.log.jsonlog import event_as_json, json_file_observer, use_json
from wsservice.log.lines import JSONLines, TextLines
from wsservice.log.peer import PeerLogger
from wsservice.log.twistedlog import TwistedLog

from ...support import Logged


class Log:
    """A log of JSON, and what is written there."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self._octets = io.BytesIO()
        self._octets.fileno = lambda: 1  # type: ignore[method-assign]
        file = io.TextIOWrapper(self._octets, encoding=encoding, write_through=True)
        self.publisher = LogPublisher(json_file_observer(file))
        self.logger = Logger("a.b", observer=self.publisher)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The objects of the lines."""
        text = self._octets.getvalue().decode()
        assert text.replace("\n", "").isprintable()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def log() -> Log:
    return Log()


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class TestEvents:
    def test_an_event_has_the_members_that_are_documented(self, log: Log) -> None:
        log.logger.warn("{what} there", what="hello")
        (line,) = log.lines
        assert list(line) == ["time", "level", "namespace", "text"]
        assert TIME.fullmatch(line.pop("time"))
        assert line == {"level": "warn", "namespace": "a.b", "text": "hello there"}

    def test_a_failure_has_its_traceback_apart(self, log: Log) -> None:
        try:
            raise ValueError("wrong\x1b")
        except ValueError:
            log.logger.failure("it failed")
        (line,) = log.lines
        assert (line["level"], line["text"]) == ("critical", "it failed")
        assert line["failure"].startswith("Traceback (most recent call last):\n")
        assert line["failure"].endswith("ValueError: wrong\x1b")

    def test_what_is_logged_the_old_way_is_there(self, log: Log) -> None:
        globalLogPublisher.addObserver(log.publisher)
        legacy.msg("a message")
        legacy.err(ValueError("an error"), "and why")
        globalLogPublisher.removeObserver(log.publisher)
        message, error = log.lines
        assert (message["text"], message["level"]) == ("a message", "info")
        assert error["level"] == "critical"
        assert error["text"].startswith("and why\nTraceback ")
        assert error["text"].count("ValueError: an error") == 1
        assert "failure" not in error

    def test_what_has_no_text_has_no_line(self, log: Log) -> None:
        log.logger.info("")
        assert log.lines == []

    @given(st.text(), st.text())
    def test_any_text_is_one_line_of_ascii(self, text: str, namespace: str) -> None:
        log = Log("ascii")
        Logger(namespace, observer=log.publisher).info("{text}", text=text)
        PeerLogger(namespace, observer=log.publisher).info("> {text}", text=text)
        lines = log.lines
        assert [line["namespace"] for line in lines] == [namespace] * len(lines)
        assert [line["text"] for line in lines[:-1]] == ([text] if text else [])
        assert lines[-1]["text"].isprintable()

    def test_a_namespace_of_ones_own_that_is_none_is_text(self) -> None:
        line = event_as_json({"log_time": 0.0, "log_format": "x", "log_namespace": None})
        assert json.loads(line or "")["namespace"] == "None"


class TestMessages:
    """The message log as a part of it."""

    def test_lines_of_text_are_texts(self, log: Log, clock: Clock) -> None:
        clock.advance(1)
        TwistedLog(clock, log.publisher).write(b'[1 a] "quoted" \\\\ \\n\n[1 a] b\n')
        assert log.lines == [
            {
                "time": "1970-01-01T00:00:01.000Z",
                "level": "info",
                "namespace": "wsservice",
                "text": text,
            }
            for text in ('[1 a] "quoted" \\\\ \\n', "[1 a] b")
        ]

    def records(self, clock: Clock, log: Log, *payloads: bytes) -> TwistedLog:
        form = JSONLines()
        held = [each for payload in payloads for each in (form.name("1 a", "c"), payload, False)]
        destination = TwistedLog(clock, log.publisher, records=True)
        destination.write(form.lines(held, 4096))
        return destination

    def test_records_have_their_members_beside_those_of_an_event(
        self, log: Log, clock: Clock
    ) -> None:
        self.records(clock, log, b"one", b"two")
        assert [line["payload"] for line in log.lines] == ["one", "two"]
        first = log.lines[0]
        assert list(first)[:4] == ["time", "level", "namespace", "connection"]
        assert "text" not in first

    def test_they_are_the_same_where_another_observes(self, log: Log, clock: Clock) -> None:
        self.records(clock, log, 'é {braces} "'.encode())
        logged = Logged()
        log.publisher.addObserver(logged)
        self.records(clock, log, 'é {braces} "'.encode())
        batched, event = log.lines
        assert {**batched, "time": ""} == {**event, "time": ""}
        assert json.loads(logged.text.partition("] ")[2])["payload"] == 'é {braces} "'

    def test_what_the_encoding_lacks_is_escaped(self, clock: Clock) -> None:
        log = Log("ascii")
        self.records(clock, log, "é\N{SMILE}".encode())
        TwistedLog(clock, log.publisher).write("é\n".encode())
        assert log.lines[0]["payload"] == "é\N{SMILE}"
        assert log.lines[1]["text"] == "é"

    def test_a_file_that_fails_raises_nothing(self, clock: Clock) -> None:
        log = Log()
        log._octets.close()
        TwistedLog(clock, log.publisher).write(b"x\n")

    @given(st.lists(st.text(), min_size=1))
    def test_any_text_is_a_line(self, texts: list[str]) -> None:
        log, form = Log(), TextLines()
        held = [each for text in texts for each in ("1 a", text.encode(), False)]
        TwistedLog(Clock(), log.publisher).write(form.lines(held, 4096))
        assert len(log.lines) == len(texts)


class TestUsing:
    def test_twist_gets_an_observer_for_its_file(self) -> None:
        options = {"fileLogObserverFactory": None}
        use_json(options)
        assert options == {"fileLogObserverFactory": json_file_observer}

    def test_twistd_gets_an_observer_with_the_file_that_it_opens(self, tmp_path: Path) -> None:
        options: Any = usage.Options()
        options["logfile"] = str(tmp_path / "log")
        options.update(nodaemon=True, logger=None)
        use_json(options)
        options.postOptions()
        observer = options["logger"]()
        assert observer.formatEvent is event_as_json
        assert isinstance(observer._outFile, LogFile)
        observer._outFile.close()

    @pytest.mark.parametrize("name", ["logger", "syslog"])
    def test_who_asked_for_another_log_has_asked_for_too_much(self, name: str) -> None:
        with pytest.raises(ConfigError, match="--log-format: 'json' is not allowed with twistd's"):
            use_json({name: "given"})
