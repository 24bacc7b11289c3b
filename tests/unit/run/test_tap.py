from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel
from twisted.python import usage

from wsservice import __version__
from wsservice.config.config import Config
from wsservice.config.helptext import EXAMPLES, PROGRAM, help_text
from wsservice.errors import ListenError
from wsservice.net import notify
from wsservice.run import tap
from wsservice.run.process import Signals
from wsservice.run.tap import Options, makeService
from wsservice.service.service import WebSocketService

Capture = pytest.CaptureFixture[str]


def parse(*arguments: str, nodaemon: object = None) -> Config:
    options = Options()
    if nodaemon is not None:
        options.parent = usage.Options()
        options.parent["nodaemon"] = nodaemon
    options.parseOptions([*arguments])
    return options.settings.config


def refused(capsys: Capture, *arguments: str, nodaemon: object = None) -> str:
    """Status 1, and one line on standard error."""
    with pytest.raises(SystemExit) as caught:
        parse(*arguments, nodaemon=nodaemon)
    assert caught.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("wsdemo: ")
    assert err.endswith("\n")
    assert err[:-1].isprintable()
    return err.removeprefix("wsdemo: ").removesuffix("\n")


def test_no_options_are_the_defaults_of_config() -> None:
    assert parse() == Config()


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--port", "0"], "port", 0),
        (["--port=9"], "port", 9),
        (["--log-payload", "0"], "log_payload", 0),
        (["--greeting", ""], "greeting", ""),
        (["--drain", "1.5"], "drain", 1.5),
        (["--compression", "on"], "compression", True),
        (["--listen", "tcp:1", "--listen", "unix:a.sock"], "listen", ("tcp:1", "unix:a.sock")),
        (["--listen", "tcp:1"], "port", None),
        (["--no-page"], "no_page", True),
    ],
)
def test_an_option_sets_its_field(arguments: list[str], field: str, value: object) -> None:
    assert getattr(parse(*arguments), field) == value


def test_one_parse_leaves_nothing_to_the_next() -> None:
    parse("--listen", "tcp:1")
    assert parse("--listen", "tcp:2").listen == ("tcp:2",)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["--pin", "1"],
            "--pin: several options begin like this; give one of --ping-interval, --ping-timeout",
        ),
        (["--proto", "nonsense\n"], None),
        (["--grreting", "x"], "--grreting: unknown option; did you mean --greeting?"),
        (
            ["--max-mesage-size=1"],
            "--max-mesage-size: unknown option; did you mean --max-message-size?",
        ),
        (["--xyzzy"], "--xyzzy: unknown option; see --help"),
        (["-q"], "-q: unknown option; see --help"),
        (["--confg", "x"], "--confg: unknown option; did you mean --config?"),
        (["--x\x1b"], r"--x\x1b: unknown option; see --help"),
        (["--port"], "option --port requires argument"),
        (["--no-page=on"], "option --no-page must not have an argument"),
        (["--port", "http"], "--port: 'http' is not allowed; give a whole number from 0 to 65535"),
        (["8080"], "'8080' is not allowed; give options only, see --help"),
        (["--port", "1", "a\nb", "c"], r"'a\nb' is not allowed; give options only, see --help"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_1(
    capsys: Capture, arguments: list[str], problem: str | None
) -> None:
    said = refused(capsys, *arguments)
    assert problem is None or said == problem


@pytest.mark.parametrize("nodaemon", [0, False])
def test_a_daemon_has_no_standard_output_to_log_messages_to(
    capsys: Capture, nodaemon: object
) -> None:
    said = refused(capsys, "--message-log", "-", nodaemon=nodaemon)
    assert said.startswith("--message-log: '-' is not allowed for a daemon")
    assert parse("--message-log", "x", nodaemon=nodaemon).message_log == "x"


@pytest.mark.parametrize("nodaemon", [1, True, None])
def test_what_is_no_daemon_may_log_messages_to_standard_output(nodaemon: object) -> None:
    assert parse("--message-log", "-", nodaemon=nodaemon).message_log == "-"


def test_twistd_and_twist_log_what_passes_the_threshold() -> None:
    for parent in ({"nodaemon": True}, {"logLevel": LogLevel.warn, "fileLogObserverFactory": None}):
        options = Options()
        options.parent = usage.Options()
        options.parent.update(parent)
        options.parseOptions([])
        level = "warn" if "logLevel" in parent else "info"
        assert options.settings.config.log_level == options.threshold.level == level
        options.parent.postOptions()
        made = "logger" if level == "info" else "fileLogObserverFactory"
        assert callable(options.parent[made])


def test_what_is_read_again_is_what_is_there_then(elsewhere: Path) -> None:
    (elsewhere / "ws.toml").write_text("drain = 1\n")
    options = Options()
    options.parseOptions(["--config", "ws.toml", "--port", "1"])
    (elsewhere / "ws.toml").write_text("drain = 2\nport = 2\n")
    again = options.read().config
    assert (again.drain, again.port) == (2, 1)
    assert options.settings.config.drain == 1
    assert options.folder == str(elsewhere)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestSources:
    @pytest.fixture(autouse=True)
    def file(self, elsewhere: Path) -> Path:
        path = elsewhere / "ws.toml"
        path.write_text('port = 1\nlog_payload = 2\ngreeting = "hi"\n')
        return path

    def test_options_overrule_variables_and_these_the_file(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WSSERVICE_LOG_PAYLOAD", "3")
        monkeypatch.setenv("WSSERVICE_PORT", "3")
        config = parse("--port", "4", "--config", "ws.toml")
        assert (config.port, config.log_payload, config.greeting) == (4, 3, "hi")

    def test_a_variable_may_name_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WSSERVICE_CONFIG", "ws.toml")
        assert parse().port == 1

    def test_a_wrong_value_is_said_to_be_where_it_is(
        self, capsys: Capture, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write_text("port = 65536\n")
        said = refused(capsys, "--config", "ws.toml")
        assert said == "ws.toml: port: 65536 is not allowed; give a whole number from 0 to 65535"
        monkeypatch.setenv("WSSERVICE_PORT", "http")
        assert refused(capsys, "--config", "ws.toml").startswith("WSSERVICE_PORT: 'http' is not")

    def test_so_is_one_that_only_a_daemon_cannot_have(self, capsys: Capture, file: Path) -> None:
        file.write_text('message_log = "-"\n')
        said = refused(capsys, "--config", "ws.toml", nodaemon=0)
        assert said.startswith("ws.toml: message_log: '-' is not allowed for a daemon")


class TestCheckConfig:
    def checked(self, capsys: Capture, *arguments: str) -> str:
        with pytest.raises(SystemExit) as caught:
            parse("--check-config", *arguments)
        assert caught.value.code == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    def test_it_prints_a_file_that_has_the_same_settings(
        self, capsys: Capture, elsewhere: Path
    ) -> None:
        arguments = ["--port", "0", "--greeting", '"\\\x7f\n\N{SMILE}é', "--drain", "1.5"]
        arguments += ["--allow-origin", "https://a.example", "--allow-origin", "*"]
        (elsewhere / "ws.toml").write_text(self.checked(capsys, *arguments))
        assert parse("--config", "ws.toml") == parse(*arguments)

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["--protocol", "absent.Behaviour"], "--protocol: 'absent.Behaviour' cannot be"),
            (["--listen", "nonsense:1"], "--listen nonsense:1: is not an endpoint"),
            (["--port", "x"], "--port: 'x' is not allowed"),
        ],
    )
    def test_what_would_keep_it_from_starting_is_told(
        self, capsys: Capture, arguments: list[str], problem: str
    ) -> None:
        assert refused(capsys, "--check-config", *arguments).startswith(problem)


def printed(capsys: Capture, *arguments: str) -> str:
    """The output of a run that ends with status 0."""
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_help_has_the_usage_and_the_common_options(capsys: Capture) -> None:
    out = printed(capsys, "--help")
    assert re.match(r"Usage: .* \[options\]\n", out)
    assert out.endswith(help_text(everything=False))


def test_all_of_the_help_has_every_option(capsys: Capture) -> None:
    out = printed(capsys, "--help-all")
    assert out.endswith(help_text(everything=True))
    assert set(Options().longOpt) == set(re.findall(r"^  --([a-z-]+=?)", out, re.MULTILINE))


def test_a_shells_completion_has_the_text_of_each_option() -> None:
    docs = Options().docs
    assert docs["ping-timeout"] == "wait for the reply to a ping; 0: forever [20s]"
    assert docs["no-page"] == "serve no test page to browsers at /"
    for option, text in PROGRAM:
        assert docs[option[2:].partition("=")[0]] == text


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_help_is_a_right_command_line(
    example: str, elsewhere: Path, capsys: Capture
) -> None:
    (elsewhere / "ws.toml").write_text("")
    program, mode, name, *arguments = example.split()
    assert (program, mode, name) == ("twistd", "-n", "wsdemo")
    if "--check-config" in arguments:
        assert "ping_timeout = 0.5  # --ping-timeout" in printed(capsys, *arguments)
    else:
        assert parse(*arguments) != Config()


def test_version_is_that_of_wsservice(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"wsservice {__version__}\n"


class TestMakeService:
    @pytest.fixture
    def reactor(self, monkeypatch: pytest.MonkeyPatch) -> MemoryReactorClock:
        # In the place of the global one.
        reactor = MemoryReactorClock()
        monkeypatch.setitem(sys.modules, "twisted.internet.reactor", reactor)
        monkeypatch.setattr("twisted.internet.reactor", reactor, raising=False)
        monkeypatch.setattr(Signals, "take_hang_ups", lambda _: None)
        return reactor

    def options(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions([*arguments])
        return options

    def test_its_ports_are_taken(self, reactor: MemoryReactorClock) -> None:
        made: Any = makeService(self.options("--listen", "tcp:99"))
        assert isinstance(made, WebSocketService)
        assert [server[0] for server in reactor.tcpServers] == [99]

    @pytest.mark.parametrize(("before", "after"), [(0, 0o002), (0o077, 0o077)])
    def test_what_is_written_is_not_for_everybody_to_write(
        self, reactor: MemoryReactorClock, before: int, after: int
    ) -> None:
        kept = os.umask(before)
        try:
            makeService(self.options("--listen", "tcp:99"))
            assert os.umask(0) == after
        finally:
            os.umask(kept)

    def test_the_process_is_taken_over_once_the_reactor_runs(
        self, reactor: MemoryReactorClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        monkeypatch.setattr(Signals, "take_hang_ups", lambda _: done.append("hang-ups"))
        monkeypatch.setattr(Signals, "install", lambda _: done.append("signals"))
        monkeypatch.setattr(tap, "collect_seldom", lambda: done.append("collector"))
        monkeypatch.setattr(tap, "keep_freed", lambda: None)
        monkeypatch.setattr(tap, "raise_limit", lambda: done.append("limit"))
        makeService(self.options("--listen", "tcp:99"))
        assert done == ["limit", "hang-ups"]
        for hook, args, kwargs in reactor.whenRunningHooks:
            hook(*args, **kwargs)
        assert done == ["limit", "hang-ups", "signals", "collector"]

    def test_who_started_the_process_is_told_and_nobody_that_it_starts_knows_of_it(
        self, reactor: MemoryReactorClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = object()
        monkeypatch.setenv("NOTIFY_SOCKET", "/no/such/socket")
        monkeypatch.setattr(notify, "Channel", lambda address: told)
        made: Any = makeService(self.options("--listen", "tcp:99"))
        assert made.manager._send is told
        assert "NOTIFY_SOCKET" not in os.environ

    def test_what_cannot_be_is_said_to_be_where_it_was_given(
        self,
        reactor: MemoryReactorClock,
        capsys: Capture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("WSSERVICE_PROTOCOL", "nonsense")
        with pytest.raises(SystemExit):
            makeService(self.options())
        assert capsys.readouterr().err.startswith("wsdemo: WSSERVICE_PROTOCOL: 'nonsense' is not")

    @pytest.mark.parametrize("where", ["making", "listening"])
    def test_what_cannot_be_is_one_line_and_status_1(
        self,
        reactor: MemoryReactorClock,
        capsys: Capture,
        monkeypatch: pytest.MonkeyPatch,
        where: str,
    ) -> None:
        def listen(self: object) -> None:
            raise ListenError("--port 80: cannot be listened on, Permission denied")

        monkeypatch.setattr(WebSocketService, "listen", listen)
        arguments = ["--protocol", "nonsense"] if where == "making" else []
        with pytest.raises(SystemExit) as caught:
            makeService(self.options(*arguments))
        assert caught.value.code == 1
        err = capsys.readouterr().err
        assert err.startswith(
            "wsdemo: --protocol: " if where == "making" else "wsdemo: --port 80: "
        )
        assert err.count("\n") == 1
