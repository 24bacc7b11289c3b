from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.logger import globalLogPublisher

from wsservice.config.config import Config
from wsservice.config.fields import OPEN
from wsservice.config.sources import Settings, from_environment, from_options
from wsservice.errors import ConfigError
from wsservice.log.threshold import Threshold
from wsservice.service.reloading import Difference, Reloading, current_folder

from ...support import Logged

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
NEEDS_RESTART = {
    "history",
    "history_bytes",
    "listen",
    "port",
    "protocol",
    "workers",
    "message_log",
    "message_log_format",
    "log_format",
    "admin",
    "webhook",
    "webhook_secret_file",
    "webhook_events",
    "broker",
    "broker_password_file",
    "broker_prefix",
    "broker_buffer",
    "inbox",
}


class Part:
    """One that keeps what it was given, in which order."""

    def __init__(self, did: list[Any]) -> None:
        self.did = did
        self.error: Exception | None = None
        self.changed: list[str] | None = None

    def prepare(self, config: Config) -> Callable[[], list[str] | None]:
        self.did.append("prepare")
        if self.error is not None:
            raise self.error

        def commit() -> list[str] | None:
            self.did.append(config)
            return self.changed

        return commit


class Run:
    """A service with two parts, whose settings come from a file and the environment."""

    def __init__(self, folder: str = "", **settings: Any) -> None:
        self.did: list[Any] = []
        self.parts = [Part(self.did), Part(self.did)]
        self.threshold = Threshold("info")
        self.file = settings
        self.variables: dict[str, str] = {}
        self.reloading = Reloading(
            Config(**settings), self.read, self.parts, self.threshold, folder
        )

    def read(self) -> Settings:
        return Settings.merged(from_options(self.file), from_environment(self.variables))

    def again(self, **settings: Any) -> list[Any]:
        self.file = settings
        self.did.clear()
        self.reloading.reload()
        return self.did


def last(logged: Logged) -> str:
    return logged.text.splitlines()[-1]


class TestDifference:
    def test_what_needs_a_restart_keeps_its_value(self) -> None:
        old = Config(port=1, greeting="a")
        new = Config(listen=("tcp:1",), greeting="b", message_log="x")
        difference = Difference.of(old, new)
        assert difference.config == attrs.evolve(old, greeting="b")
        assert difference.taken == ["greeting"]
        assert difference.not_taken == ["listen", "port", "message_log"]

    def test_a_certificate_may_be_in_another_file_but_tls_needs_a_restart(self) -> None:
        plain, secure = Config(), Config(tls_cert=("a",), tls_key=("b",))
        assert Difference.of(secure, Config(tls_cert=("c",))).taken == ["tls_cert", "tls_key"]
        for old, new in ((plain, secure), (secure, plain)):
            difference = Difference.of(old, new)
            assert (difference.config, difference.taken) == (old, [])
            assert difference.not_taken == ["tls_cert", "tls_key"]

    def test_each_setting_says_whether_it_needs_one(self) -> None:
        fields = attrs.fields(Config)
        assert {each.name for each in fields if not each.metadata["reloads"]} == NEEDS_RESTART


def test_the_manual_says_of_each_setting_what_becomes_of_it() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| (.*) \|$", OPERATIONS.read_text(), re.MULTILINE)
    said = {name: text for names, text in rows for name in re.findall(r"`(\w+)`", names)}
    fields = attrs.fields(Config)
    for field in fields:
        text = said[field.name]
        assert ("needs a restart:" in text) is (field.metadata["reloads"] is None)
        assert ("open connections" in text) is (field.metadata["reloads"] == OPEN)


class TestReload:
    def test_all_prepare_before_any_is_put_in_effect(self, logged: Logged) -> None:
        run = Run()
        new = Config(greeting="x", max_message_size=9)
        assert run.again(greeting="x", max_message_size=9) == ["prepare", "prepare", new, new]
        assert last(logged) == (
            "[wsservice#info] SIGHUP: the settings were read anew;"
            " changed: max_message_size, greeting"
        )

    def test_each_compares_with_the_one_before(self, logged: Logged) -> None:
        run = Run()
        run.again(greeting="x")
        run.again(greeting="x", drain=1)
        assert last(logged).endswith("changed: drain")
        run.again(greeting="x", drain=1)
        assert last(logged).endswith("; no setting is other than it was")

    def test_a_part_may_name_what_else_changed(self, logged: Logged) -> None:
        run = Run()
        run.parts[1].changed = ["a certificate"]
        run.again(drain=1)
        assert last(logged).endswith("changed: drain, a certificate")

    def test_what_needs_a_restart_is_named_each_time(self, logged: Logged) -> None:
        run = Run()
        for _ in range(2):
            did = run.again(port=1, protocol="echo")
            assert did[-1] == Config()
            assert last(logged).endswith(
                "; no setting is other than it was; not taken, which needs a restart: "
                "port, protocol"
            )

    def test_a_wrong_value_is_one_line_that_says_where(self, logged: Logged) -> None:
        run = Run()
        run.variables["WSSERVICE_DRAIN"] = "soon"
        assert run.again(greeting="x") == []
        assert last(logged) == (
            "[wsservice#error] SIGHUP: nothing was changed,"
            " WSSERVICE_DRAIN: 'soon' is not allowed; give seconds from 0 to 86400,"
            " or a time with ms, s, m or h, such as 500ms"
        )
        del run.variables["WSSERVICE_DRAIN"]
        run.again(greeting="x")
        assert last(logged).endswith("changed: greeting")

    def test_where_one_cannot_none_does(self, logged: Logged) -> None:
        run = Run()
        run.variables["WSSERVICE_TLS_CERT"] = "x.pem"
        run.reloading._config = Config(tls_cert=("y.pem",))
        run.parts[1].error = ConfigError("--tls-cert: x.pem cannot be read")
        assert run.again() == ["prepare", "prepare"]
        assert last(logged) == (
            "[wsservice#error] SIGHUP: nothing was changed,"
            " WSSERVICE_TLS_CERT: x.pem cannot be read"
        )

    def test_what_nobody_expected_changes_nothing_either(self, logged: Logged) -> None:
        run = Run()
        run.parts[0].error = ZeroDivisionError()
        assert run.again() == ["prepare"]
        assert "ZeroDivisionError" in logged.failures[0]

    @pytest.mark.parametrize(("old", "new"), [("info", "error"), ("error", "info")])
    def test_the_outcome_is_logged_when_the_level_changes_to_or_from_one_that_has_it(
        self, old: str, new: str
    ) -> None:
        run = Run(log_level=old)
        run.threshold.level = old
        logged = Logged()
        observer = run.threshold.before(logged)
        globalLogPublisher.addObserver(observer)
        try:
            run.again(log_level=new)
        finally:
            globalLogPublisher.removeObserver(observer)
        assert last(logged).endswith("changed: log_level")
        assert run.threshold.level == new


class TestFolder:
    @pytest.fixture(autouse=True)
    def folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "start").mkdir()
        (tmp_path / "now").mkdir()
        monkeypatch.chdir(tmp_path / "now")

    def test_paths_are_those_of_the_folder_in_which_it_was_started(self, tmp_path: Path) -> None:
        run = Run(str(tmp_path / "start"))
        seen: list[str] = []

        def prepare(_: Config) -> Callable[[], list[str] | None]:
            seen.append(os.getcwd())
            return lambda: None

        run.parts[0].prepare = prepare  # type: ignore
        run.again()
        assert seen == [str(tmp_path / "start")]
        assert os.getcwd() == str(tmp_path / "now")

    def test_one_that_is_gone_is_no_obstacle(self, tmp_path: Path, logged: Logged) -> None:
        run = Run(str(tmp_path / "gone"))
        run.again(drain=1)
        assert last(logged).endswith("changed: drain")
        assert os.getcwd() == str(tmp_path / "now")

    def test_nor_is_a_current_one_that_is_gone(self, tmp_path: Path, logged: Logged) -> None:
        (tmp_path / "now").rmdir()
        assert current_folder() == ""
        Run(str(tmp_path / "start")).again(drain=1)
        assert last(logged).endswith("changed: drain")
