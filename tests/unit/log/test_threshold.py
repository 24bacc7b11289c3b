from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import (
    Logger,
    LogLevel,
    LogPublisher,
    textFileLogObserver,
)
from twisted.python import usage

from wsservice.log.jsonlog import use_json
from wsservice.log.threshold import Leveled, Threshold, inherited_level, use_threshold

from ...support import Logged

LEVELS = ["debug", "info", "warn", "error", "critical"]


def said(publisher: LogPublisher, logged: Logged) -> list[str]:
    """Log an event of each level, and return the levels that pass."""
    logged.events.clear()
    log = Logger("test", observer=publisher)
    for level in LEVELS:
        log.emit(LogLevel.levelWithName(level), "x")
    return [event["log_level"].name for event in logged.events]


@pytest.mark.parametrize("number", range(len(LEVELS)))
def test_what_is_below_it_is_left_out(number: int) -> None:
    logged = Logged()
    threshold = Threshold(LEVELS[number])
    publisher = LogPublisher(threshold.before(logged))
    assert said(publisher, logged) == LEVELS[number:]
    assert [threshold.is_above(level) for level in LEVELS] == [each < number for each in range(5)]


def test_it_may_be_set_at_any_time() -> None:
    logged = Logged()
    threshold = Threshold("error")
    publisher = LogPublisher(threshold.before(logged))
    threshold.level = "warn"
    assert threshold.level == "warn"
    assert said(publisher, logged) == LEVELS[2:]


def test_it_stands_before_observers_of_the_old_kind_too() -> None:
    events: list[Any] = []
    publisher = LogPublisher(Threshold("warn").before(events.append))
    log = Logger("test", observer=publisher)
    log.info("x")
    log.warn("y")
    assert [event["log_format"] for event in events] == ["y"]


class TestUsing:
    def test_twist_leaves_it_to_us(self) -> None:
        options: dict[str, Any] = {
            "fileLogObserverFactory": textFileLogObserver,
            "logLevel": LogLevel.critical,
        }
        use_threshold(options, Threshold("info"), lambda: None)
        file = io.StringIO()
        observer = options["fileLogObserverFactory"](file)
        assert isinstance(observer, Leveled)
        Logger("test", observer=LogPublisher(observer)).info("said")
        assert "said" in file.getvalue()
        assert options["logLevel"] is LogLevel.debug

    def twistd(self, **given: Any) -> Any:
        options: Any = usage.Options()
        options.update({"nodaemon": True, "logger": None, **given})
        return options

    @pytest.mark.parametrize("json", [False, True])
    def test_it_stands_before_the_file_of_twistd(self, tmp_path: Path, json: bool) -> None:
        options = self.twistd(logfile=str(tmp_path / "log"))
        if json:
            use_json(options)
        began: list[bool] = []
        # By then twistd has opened its file.
        use_threshold(options, Threshold("warn"), lambda: began.append((tmp_path / "log").exists()))
        options.postOptions()
        assert began == []
        observer = options["logger"]()
        assert began == [True]
        log = Logger("test", observer=LogPublisher(observer))
        log.info("left out")
        log.warn("said")
        observer.observer._outFile.close()
        (line,) = (tmp_path / "log").read_text().splitlines()
        assert line.startswith("{") is json
        assert "said" in line

    def test_it_stands_before_the_logger_that_twistd_was_given(self) -> None:
        logged = Logged()
        options = self.twistd(logger=lambda: logged)
        use_threshold(options, Threshold("warn"), lambda: None)
        options.postOptions()
        assert said(LogPublisher(options["logger"]()), logged) == LEVELS[2:]


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({}, None),
        ({"logLevel": LogLevel.info}, None),
        ({"logLevel": LogLevel.debug}, "debug"),
        ({"logLevel": LogLevel.critical}, "critical"),
    ],
)
def test_what_twist_was_told_is_known(options: dict[str, Any], level: str | None) -> None:
    assert inherited_level(options) == level
