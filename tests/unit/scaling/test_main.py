from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from wsservice.scaling import __main__ as program
from wsservice.scaling.figures import FILE


class Said:
    """The result of a run."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def plan(self) -> Any:
        """The whole of its JSON."""
        assert self.status == 0, self.err
        return json.loads(self.out)

    @property
    def problem(self) -> str:
        """The one line that says what was wrong."""
        assert self.out == ""
        assert self.err.count("\n") == 1
        return self.err.removeprefix("wsservice.scaling: ").rstrip("\n")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def runs(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            program.main(arguments)
        out, err = capsys.readouterr()
        status = ended.value.code
        return Said(0 if status is None else int(status), out, err)

    return runs


def test_connections_alone_are_enough(run: Any) -> None:
    said = run("--connections", "1e6")
    assert said.status == 0
    assert said.err == ""
    assert said.out.startswith("1,000,000 connections on 100,000 channels")
    assert "50,000 messages of 100 octets" in said.out


@pytest.mark.parametrize("text", ["2000", "2e3", "2k", "2_000", "0.002M", "0.000002G"])
def test_numbers_may_be_written_in_many_ways(run: Any, text: str) -> None:
    found = run("--connections", text, "--json").plan
    assert found["load"]["connections"] == pytest.approx(2000)


def test_every_option_arrives(run: Any) -> None:
    found = run(
        *("--connections", "1k", "--publish-rate", "7", "--fan-out", "20", "--size", "300"),
        *("--batch", "5", "--channels", "40", "--session", "60", "--message-rate", "9"),
        *("--history", "50,30", "--ping-interval", "11", "--cores", "2", "--memory", "3"),
        *("--network", "0.8", "--connections-per-node", "600", "--redis-memory", "5"),
        *("--redis-connections", "70", "--busy", "0.25", "--json"),
    ).plan
    assert found["load"] == {
        "connections": 1000,
        "publish_rate": 7,
        "fan_out": 20,
        "size": 300,
        "channels": 40,
        "session": 60,
        "message_rate": 9,
        "history": 50,
        "history_seconds": 30,
        "ping_interval": 11,
        "batch": 5,
    }
    assert found["machines"] == {
        "cores": 2,
        "memory": 3 * 1024**3,
        "network": 1e8,
        "connections": 600,
        "redis_memory": 5 * 1024**3,
        "redis_network": 1e8,
        "redis_connections": 70,
        "busy": 0.25,
    }
    assert found["plan"]["nodes"] == 2


def test_what_is_not_said_follows_from_the_connections(run: Any) -> None:
    few = run("--connections", "4", "--json").plan["load"]
    assert (few["fan_out"], few["channels"], few["publish_rate"]) == (4, 1, 0.2)
    twenty = run("--connections", "1k", "--fan-out", "20", "--json").plan["load"]
    assert (twenty["fan_out"], twenty["channels"]) == (20, 50)
    kept = run("--connections", "1k", "--history", "10", "--json").plan["load"]
    assert (kept["history"], kept["history_seconds"]) == (10, 300)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: --connections; see --help"),
        (
            ["--connections", "many"],
            "--connections: 'many' is not allowed; give a number from 1 to",
        ),
        (["--connections", ""], "--connections: '' is not allowed"),
        (["--connections", "0"], "--connections: '0' is not allowed"),
        (["--connections", "nan"], "--connections: 'nan' is not allowed"),
        (["--connections", "1e99"], "--connections: '1e99' is not allowed"),
        (["--connections", "inf"], "--connections: 'inf' is not allowed"),
        (["--connections", "9", "--busy", "1.5"], "--busy: '1.5' is not allowed; give a number"),
        (["--connections", "9", "--cores", "0"], "--cores: '0' is not allowed"),
        (
            ["--connections", "9", "--cores", "2.5"],
            "'2.5' is not allowed; give a whole number from",
        ),
        (["--connections", "9", "--history", "5,x"], "--history: 'x' is not allowed"),
        (["--connections", "9", "--fan-out", "10"], "--fan-out: 10 is not allowed; give at most"),
        (["--connections", "9", "--session", "0"], "--session: '0' is not allowed"),
        (["--connections", "9", "--conn", "0"], "unrecognized arguments: --conn 0; see --help"),
        (["--connections", "9", "\x1b[31m"], "unrecognized arguments: \\x1b[31m"),
        (["--connections", "9", "--figures", "/none.toml"], "--figures: cannot read '/none.toml'"),
        (["--connections", "9", "--figures", "\x1b[2J"], r"--figures: cannot read '\x1b[2J'"),
    ],
)
def test_what_is_wrong_is_one_line(run: Any, arguments: list[str], said: str) -> None:
    ended = run(*arguments)
    assert ended.status == 2
    assert said in ended.problem


def test_what_no_machines_carry_is_one_line(run: Any) -> None:
    ended = run("--connections", "1k", "--memory", "0.01")
    assert ended.status == 1
    assert ended.problem.startswith("no number of such machines carries the load: each node alone")


def test_other_figures_may_be_given(run: Any, tmp_path: Path) -> None:
    dear = tmp_path / "dear.toml"
    text = FILE.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("deliver_us")]
    dear.write_text(text.replace(line, "deliver_us = 5000"))
    cheap = run("--connections", "1M", "--json").plan["plan"]["nodes"]
    assert (
        run("--connections", "1M", "--figures", str(dear), "--json").plan["plan"]["nodes"] > cheap
    )


def test_help_and_version_say_what_there_is(run: Any) -> None:
    help_text = run("--help").out
    for option in ("--connections", "--publish-rate", "--busy", "--figures", "exit status:"):
        assert option in help_text
    assert run("--version").out.startswith("wsservice ")


def test_who_has_read_enough_gets_no_traceback(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with io.TextIOWrapper(os.fdopen(writing, "wb")) as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        ended = run("--connections", "9")
    assert (ended.status, ended.err) == (0, "")


def test_a_run_may_be_interrupted(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "plan", interrupted)
    assert run("--connections", "9").status == 130
