from __future__ import annotations

import re
import time

import pytest

from wsservice.cli.prompt.display import Display, described, described_file, wants_color

NOON = time.mktime((2026, 11, 24, 12, 0, 1, 0, 0, -1))


@pytest.fixture
def display() -> Display:
    return Display(color=False, json=False)


def test_a_line_has_the_time_and_a_mark(display: Display) -> None:
    assert display.received(NOON, b"hello", False) == "12:00:01 < hello\n"
    assert display.sent(NOON, described("zwölf".encode(), False)) == "12:00:01 > zwölf\n"
    assert display.kept(NOON, "later") == "12:00:01 · kept until there is a connection: later\n"
    assert display.note(NOON, "pong") == "12:00:01 · pong\n"
    assert display.problem(NOON, "oh no") == "12:00:01 · oh no\n"


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("json", [False, True])
@pytest.mark.parametrize(
    "payload",
    [
        b"\x1b[31mred\x1b[0m",
        b"clear\x1b[2J\r\n\x07\x08",
        "\x9b2J \u202e\u2028 \x00".encode(),
        b'{"a": "\xc2\x9b2J"}',
        '["\u202e"]'.encode(),
    ],
)
def test_nothing_of_a_message_reaches_the_terminal_as_a_control(
    payload: bytes, color: bool, json: bool
) -> None:
    line = Display(color=color, json=json).received(NOON, payload, False)
    without_own_colors = re.sub(r"\x1b\[[0-9;]+m", "", line)
    assert ("\x1b" in line) is color
    assert all(each.isprintable() for each in without_own_colors[:-1].split("\n"))
    assert without_own_colors.startswith("12:00:01 < ")


def test_colours_are_around_what_is_its_own() -> None:
    display = Display(color=True, json=False)
    assert display.received(NOON, b"hello", False) == (
        "\x1b[2m12:00:01\x1b[0m \x1b[1;36m<\x1b[0m hello\n"
    )
    assert display.problem(NOON, "no").endswith("\x1b[1;31mno\x1b[0m\n")


def test_binary_is_its_size_and_the_first_of_it(display: Display) -> None:
    assert display.received(NOON, b"\x00\xff", True) == "12:00:01 < (binary, 2 bytes) 00ff\n"
    assert display.received(NOON, b"\x01" * 1000, True) == (
        "12:00:01 < (binary, 1000 bytes) " + "01" * 32 + "...\n"
    )


def test_text_of_a_megabyte_is_cut_and_its_size_told(display: Display) -> None:
    line = display.received(NOON, b"x" * 1_000_000, False)
    assert len(line) < 300_000
    assert line.endswith("xx... (1000000 bytes)\n")


def test_json_is_indented_when_asked_for(display: Display) -> None:
    assert display.received(NOON, b'{"a":1}', False) == '12:00:01 < {"a":1}\n'
    display.json = True
    assert display.received(NOON, b'{"a":1}', False) == '12:00:01 < {\n  "a": 1\n}\n'
    assert display.received(NOON, b"no JSON", False) == "12:00:01 < no JSON\n"
    assert display.received(NOON, b'{"a":1}', True) == (
        "12:00:01 < (binary, 7 bytes) 7b2261223a317d\n"
    )


def test_json_too_long_to_be_indented_is_cut(display: Display) -> None:
    display.json = True
    line = display.received(NOON, b"[" + b"0," * 500_000 + b"0]", False)
    assert line.endswith("... (1000003 bytes)\n")
    assert line.count("\n") == 1


def test_json_has_colours_too() -> None:
    line = Display(color=True, json=True).received(NOON, b'{"a":"b"}', False)
    assert '\x1b[34m"a"\x1b[0m: \x1b[32m"b"\x1b[0m' in line


def test_of_a_file_its_name_and_size_are_told() -> None:
    assert described_file("a\x1bb", 1, False) == "a\\x1bb (text, 1 byte)"
    assert described_file("a", 2, True) == "a (binary, 2 bytes)"


def test_what_was_asked_for_has_no_times(display: Display) -> None:
    assert display.block(["one", "two"]) == "  one\n  two\n"


@pytest.mark.parametrize(
    ("when", "environment", "wanted"),
    [
        ("auto", {}, True),
        ("auto", {"NO_COLOR": ""}, True),
        ("auto", {"NO_COLOR": "1"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {}, False),
    ],
)
def test_whether_there_are_colours(when: str, environment: dict[str, str], wanted: bool) -> None:
    assert wants_color(when, environment) is wanted
