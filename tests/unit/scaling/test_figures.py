from __future__ import annotations

import datetime
from pathlib import Path

import attrs
import pytest

from wsservice.errors import ConfigError
from wsservice.scaling import figures
from wsservice.scaling.figures import FILE, NUMBERS, MeasuredCosts, read, written


def changed(tmp_path: Path, before: str, after: str) -> Path:
    """The shipped file with a line of it changed."""
    text = FILE.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith(before)]
    path = tmp_path / "figures.toml"
    path.write_text(text.replace(line, after))
    return path


def test_the_shipped_ones_are_whole_and_say_when_and_on_what() -> None:
    found = read()
    assert found.measured >= datetime.date(2026, 11, 25)
    assert "Redis" in found.machine
    assert found.deliver_us > 0
    assert found.process_octets > found.connection_octets > 0
    assert found.publish_us > found.line_us


def test_what_is_written_is_read_as_it_was_to_three_digits(tmp_path: Path) -> None:
    made = attrs.evolve(
        read(), machine='a "quoted" \\ one', deliver_us=1.23456, process_octets=41234567.8
    )
    path = tmp_path / "figures.toml"
    path.write_text(written(made, "some command"))
    again = read(path)
    for each in NUMBERS:
        assert getattr(again, each.name) == float(f"{getattr(made, each.name):.3g}")
    assert (again.machine, again.deliver_us, again.process_octets) == (
        made.machine,
        1.23,
        41_200_000,
    )
    assert path.read_text().startswith("# What one process")
    assert "measured by `some command`" in path.read_text()


def test_the_shipped_file_is_as_it_is_written() -> None:
    assert FILE.read_text() == written(read(), "make bench-redis")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("deliver_us", "", "'deliver_us' is missing"),
        ("deliver_us", "deliver_us = 1\nspeed = 3", "'speed' is no figure"),
        ("deliver_us", "deliver_us = '7'", "deliver_us: give a number"),
        ("deliver_us", "deliver_us = true", "deliver_us: give a number"),
        ("deliver_us", "deliver_us = -1", "deliver_us: -1 is not allowed; give 0 or more"),
        ("deliver_us", "deliver_us = nan", "deliver_us: nan is not allowed; give 0 or more"),
        ("deliver_us", "deliver_us = inf", "deliver_us: inf is not allowed; give 0 or more"),
        ("links", "links = 0", "links: 0 is not allowed; give 1 or more"),
        ("measured", "measured = 'today'", "measured: give a date"),
        ("measured", "measured = 2026-11-25T10:00:00", "measured: give a date"),
        ("machine", "machine = 7", "machine: give text"),
        ("machine", "machine = ", "Invalid"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=r"^--figures: '") as error:
        read(changed(tmp_path, before, after))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
        read(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        read(tmp_path)
    (tmp_path / "octets.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="utf-8"):
        read(tmp_path / "octets.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * 65537)
    with pytest.raises(ConfigError, match="more than 65536 octets"):
        read(tmp_path / "large.toml")


def test_every_number_says_what_it_is() -> None:
    assert len(NUMBERS) == len(attrs.fields(MeasuredCosts)) - 2
    for each in NUMBERS:
        assert each.metadata["what"]
        assert each.name == "links" or each.name.rpartition("_")[2] in ("us", "ns", "octets")
    assert figures.FILE.parent.name == "scaling"
