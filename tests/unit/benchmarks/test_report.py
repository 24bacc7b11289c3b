from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.building import HERE, compressed, inflated, text
from benchmarks.figures import Sample
from benchmarks.loading import Lines
from benchmarks.results import Result
from benchmarks.works import Target, Work

TITLES = {
    "wsservice": "wsservice",
    "wsservice-python": "Python codec",
    "ws": "ws (Node)",
    "picows": "picows",
}

ECHO = Work(
    "echo-9",
    "echo of something",
    "echo",
    "echo",
    targets=(
        Target("ws", 2, 3),
        Target("picows", 1),
        Target("ws", 1, ours="wsservice-python"),
    ),
)
IDLE = Work("idle", "memory", "idle", "greeting", targets=(Target("ws", 0.9, 0.7),))


@pytest.fixture
def echo() -> Result:
    return Result(
        ECHO,
        {
            "wsservice": [Sample(2.0, 400_000, 1234, 5678), Sample(4.0, 200_000, 1234, 5678)],
            "ws": [Sample(10.0, 90_000, idle=True), Sample(20.0, 80_000, idle=True)],
            "picows": [Sample(1.0), Sample(2.0)],
        },
        {"wsservice-python": "is not there"},
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1_234_567.8, "1,234,568"), (99.96, "100"), (12.345, "12.3"), (0.1234, "0.123"), (0, "0")],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert report.number(value) == shown


def test_a_works_table_has_a_row_for_each_server_and_reason(echo: Result) -> None:
    assert report.rows(echo, TITLES) == [
        ("wsservice", "3", "2 to 4", "", "300,000", "1.23", "5.68"),
        ("ws (Node)", "15", "10 to 20", "5.00", "85,000 *", "0", "0"),
        ("picows", "1.5", "1 to 2", "0.50", "0", "0", "0"),
        ("Python codec", "is not there", "", "", "", "", ""),
    ]
    assert {len(row) for row in report.rows(echo, TITLES)} == {len(report.head(ECHO))}


def test_a_table_of_memory_has_no_rates() -> None:
    idle = Result(IDLE, {"wsservice": [Sample(70)], "ws": [Sample(100)]})
    assert report.head(IDLE) == ("server", "MiB", "lowest to highest", "ours / peer")
    assert report.rows(idle, TITLES) == [
        ("wsservice", "70", "70 to 70", ""),
        ("ws (Node)", "100", "100 to 100", "0.70"),
    ]


def test_the_targets_table_says_what_was_reached(echo: Result) -> None:
    idle = Result(IDLE, {"wsservice": [Sample(80)], "ws": [Sample(100)]})
    assert [row[1:] for row in report.target_rows([echo, idle], TITLES)] == [
        ("ws (Node)", "2 x, goal 3 x", "5.00 x", "goal reached"),
        ("picows", "1 x", "0.50 x", "NOT REACHED"),
        ("ws (Node), with Python codec", "1 x", "", "not measured"),
        ("ws (Node)", "at most 0.9 x, goal at most 0.7 x", "0.80 x", "reached"),
    ]
    assert report.counts([echo, idle]) == "2 of 3 figures reached, 1 not measured"


def test_where_a_peer_does_better_is_said_in_ours_by_its(echo: Result) -> None:
    idle = Result(IDLE, {"wsservice": [Sample(120)], "ws": [Sample(100)]})
    assert report.losses([echo, idle], TITLES) == [
        "echo of something: our CPU time is 2.00 x that of picows",
        "memory: our memory is 1.20 x that of ws (Node)",
    ]
    even = Result(IDLE, {"wsservice": [Sample(100)], "ws": [Sample(100)]})
    assert report.losses([even], TITLES) == []


def test_the_chart_shows_how_many_times_as_cheap_as_ws(echo: Result) -> None:
    idle = Result(IDLE, {"wsservice": [Sample(50)], "ws": [Sample(100)]})
    bars = report.bars([echo, idle, Result(ECHO, {"wsservice": [Sample(1)]})], TITLES)
    assert bars == {
        "servers": ["wsservice", "picows"],
        "works": [
            {"title": "echo of something", "times": [5, 10]},
            {"title": "memory", "times": [2, None]},
        ],
        "reference": "ws (Node)",
    }


def test_tables_for_a_terminal_line_up(echo: Result) -> None:
    lines = report.text(report.head(ECHO), report.rows(echo, TITLES)).split("\n")
    assert lines[0].startswith("server ")
    assert [line.rindex("5.00") for line in lines if "5.00" in line] == [
        lines[0].index("peer / ours") + len("peer / ours") - 4
    ]


def test_the_document_has_every_table_and_leaves_nothing_open(echo: Result) -> None:
    names = ("date", "processor", "kernel", "python", "versions", "codec", "rounds", "minutes")
    facts = {name: f"<{name}>" for name in (*names, "chart")}
    made = report.document((HERE / "template.md").read_text(), [echo], TITLES, facts)
    for value in facts.values():
        assert value in made
    assert "| echo of something | picows | 1 x | 0.50 x | NOT REACHED |" in made
    assert "| Python codec | is not there |  |  |  |  |  |" in made
    assert "- echo of something: our CPU time is 2.00 x that of picows" in made
    assert "$ make bench\n" not in made
    assert "$ make bench  " in made


def test_a_compressed_payload_is_the_text(tmp_path: Path) -> None:
    made = compressed(tmp_path, 1024).read_bytes()
    assert len(made) < 512
    assert inflated(made) == text(1024)
    assert len(text(1024)) == 1024


def test_lines_are_counted_across_chunks_and_growth(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a mark: 1\n" * 200_000 + b"half a ma")
    lines = Lines(log, b"mark: ")
    assert lines.count() == 200_000
    with log.open("ab") as file:
        file.write(b"rk: and whole\n")
    assert lines.count() == 200_001
    assert lines.count() == 200_001
