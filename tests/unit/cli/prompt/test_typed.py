from __future__ import annotations

import pytest

from wsservice.cli.prompt.typed import (
    COMMANDS,
    Action,
    Close,
    Headers,
    Help,
    Json,
    Ping,
    Reconnect,
    Send,
    SendFile,
    Statistics,
    help_lines,
    parse_typed,
)


@pytest.mark.parametrize(
    ("typed", "payload"),
    [
        ("hello", b"hello"),
        (" hello ", b" hello "),
        ("zwölf ✓ 😀 שלום", "zwölf ✓ 😀 שלום".encode()),
        ("one\ntwo\n", b"one\ntwo\n"),
        (" /ping", b" /ping"),
        ("//ping", b"/ping"),
        ("//", b"/"),
        ("///", b"//"),
        ("a/b", b"a/b"),
        ("tab\tand \x1b escape", b"tab\tand \x1b escape"),
    ],
)
def test_what_is_no_command_is_a_message(typed: str, payload: bytes) -> None:
    assert parse_typed(typed) == Send(payload)


@pytest.mark.parametrize(
    ("typed", "action"),
    [
        ("/ping", Ping()),
        ("/ping  are you there ", Ping(b"are you there")),
        ("/ping " + "x" * 125, Ping(b"x" * 125)),
        ("/close", Close(1000, "")),
        ("/close 4001", Close(4001, "")),
        ("/close 1001", Close(1001, "")),
        ("/close 1014 bad gateway", Close(1014, "bad gateway")),
        ("/close 3000 bye for  now", Close(3000, "bye for  now")),
        ("/close 4999 " + "x" * 123, Close(4999, "x" * 123)),
        ("/binary 00ff 0A", Send(b"\x00\xff\n", is_binary=True)),
        ("/binary @a file", SendFile("a file", always_binary=True)),
        ("/file a file ", SendFile("a file")),
        ("/json on", Json(True)),
        ("/json off", Json(False)),
        ("/headers", Headers()),
        ("/stats ", Statistics()),
        ("/reconnect", Reconnect()),
        ("/help\n", Help()),
    ],
)
def test_a_slash_begins_a_command(typed: str, action: Action) -> None:
    assert parse_typed(typed) == action


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("/", "there is no command '/'; /help lists them, // sends it"),
        ("/Ping", "there is no command '/Ping'; /help lists them, //Ping sends it"),
        ("/pin g", "there is no command '/pin'"),
        ("/\x1b[2J x", r"there is no command '/\x1b[2J'; // sends a slash"),
        ("/" + "x" * 500, "there is no command '/" + "x" * 39 + "...'; // sends a slash"),
        ("/ping " + "ä" * 63, "a ping has 125 bytes at most, not 126"),
        ("/ping \udcff", "not UTF-8 text, nothing was sent"),
        ("\udcff", "not UTF-8 text, nothing was sent"),
        ("/\udcff", r"there is no command '/\udcff'"),
        ("/close 999", "close code '999' is not allowed; give 1000 to 1003, 1007 to 1009, 1011"),
        ("/close 1006", "close code '1006' is not allowed"),
        ("/close 5000", "close code '5000' is not allowed"),
        ("/close 03000", "close code '03000' is not allowed"),
        ("/close ٣٠٠٠", "close code '٣٠٠٠' is not allowed"),
        ("/close -1", "close code '-1' is not allowed"),
        ("/close 1000 " + "ä" * 62, "the reason of a close has 123 bytes at most"),
        ("/binary", "nothing to send; give pairs of hex digits, or @FILE"),
        ("/binary 0", "'0' is not hex; give pairs of digits, or @FILE"),
        ("/binary zz", "'zz' is not hex"),
        ("/binary @", "no file; give its path"),
        ("/file", "no file; give its path"),
        ("/json", "/json '' is not allowed; give on or off"),
        ("/json yes\n", "/json 'yes' is not allowed; give on or off"),
        ("/help me", "'me' is not allowed; the command takes no argument"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(typed: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^.*$") as caught:
        parse_typed(typed)
    assert problem in str(caught.value)
    assert str(caught.value).isprintable()


def test_help_has_a_line_for_each_command() -> None:
    lines = help_lines()
    assert all(any(line.startswith(name) for line in lines) for name in COMMANDS)
    assert max(map(len, lines)) <= 100
    assert all(line.isprintable() for line in lines)
