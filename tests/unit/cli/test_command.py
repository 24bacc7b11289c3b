from __future__ import annotations

import contextlib
import io
import re
import sys

import pytest

from wsservice import __version__
from wsservice.cli.command import parse
from wsservice.cli.status import Status

Capture = pytest.CaptureFixture[str]

URL = "ws://a.example/"


def printed(*arguments: str) -> str:
    """Run the program, which must end with status 0, and return its output."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 0
    return output.getvalue()


class TestCommand:
    def test_no_arguments_are_the_tutorials_part(self) -> None:
        command = parse([])
        assert command.tutorial
        assert command.config.url == "ws://localhost:8080/websockets/"
        assert command.messages == ()

    def test_with_a_url_only_what_is_given_is_sent(self) -> None:
        command = parse([URL, "-m", "one", "--message", "zwölf", "-m", ""])
        assert not command.tutorial
        assert command.config.url == URL
        texts = [b"one", "zwölf".encode(), b""]
        assert command.messages == tuple((text, False) for text in texts)
        assert (command.count, command.until, command.expect_close) == (None, None, None)
        assert (command.timeout, command.linger, command.binary, command.end) == (
            0,
            0,
            "raw",
            b"\n",
        )

    def test_what_is_waited_for(self) -> None:
        command = parse([URL, "--count", "3", "--until", "a|b", "--expect-close", "4001"])
        assert command.count == 3
        assert command.until == re.compile("a|b")
        assert command.expect_close == 4001

    def test_how_long_and_in_what_form(self) -> None:
        command = parse([URL, "--timeout", "1.5", "--linger", ".5", "--null", "--binary", "hex"])
        assert (command.timeout, command.linger, command.binary, command.end) == (
            *(1.5, 0.5),
            *("hex", b"\0"),
        )

    def test_whether_it_stays(self) -> None:
        command = parse([URL])
        assert not command.reconnect
        assert (command.config.ping_interval, command.config.ping_timeout) == (20, 20)
        command = parse([URL, "--reconnect", "--ping-interval", "1.5", "--ping-timeout", "0"])
        assert command.reconnect
        assert not command.resume
        assert (command.config.ping_interval, command.config.ping_timeout) == (1.5, 0)
        command = parse([URL, "--resume"])
        assert command.reconnect
        assert command.resume

    def test_what_a_person_sees(self) -> None:
        command = parse([URL])
        assert (command.color, command.json, command.history) == ("auto", False, True)
        command = parse([URL, "--color", "never", "--json", "--no-history"])
        assert (command.color, command.json, command.history) == ("never", True, False)

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["http://a"], "'http://a' is not allowed; give a URL like"),
            (["-m", "x"], "-m/--message needs a URL to talk to"),
            (["-f", "/dev/null"], "-m/--message needs a URL"),
            (["--timeout", "3"], "--timeout needs a URL"),
            (["--null"], "--null needs a URL"),
            (["--reconnect"], "--reconnect needs a URL"),
            (["--resume"], "--resume needs a URL"),
            (["--ping-interval", "1"], "--ping-interval needs a URL"),
            ([URL, "--ping-timeout", "1d"], "--ping-timeout: '1d' is not allowed; give seconds"),
            ([URL, "--send-buffer", "1MB"], "--send-buffer: '1MB' is not allowed; give a whole"),
            ([URL, "--timeout", "nan"], "argument --timeout: 'nan' is not allowed; give seconds"),
            ([URL, "-m", "\udcff"], "argument -m/--message: a message must be text in UTF-8"),
            ([URL, "-f", "/no\n"], "argument -f/--file: '/no\\n' cannot be read, No such file"),
            ([URL, "-f", "/"], "argument -f/--file: '/' cannot be read, Is a directory"),
            ([URL, "-f", "\0"], "argument -f/--file: '\\x00' is not the path of a file"),
            ([URL, "--count", "0"], "argument --count: '0' is not allowed; give a whole number"),
            ([URL, "--count", "1_0"], "argument --count: '1_0' is not allowed"),
            ([URL, "--count", "9" * 5000], "argument --count: '999"),
            ([URL, "--until", "("], "argument --until: '(' is not allowed; give a regular"),
            ([URL, "--expect-close", "999"], "argument --expect-close: '999' is not allowed"),
            ([URL, "--expect-close", "5000"], "argument --expect-close: '5000' is not allowed"),
            ([URL, "--timeout", "-1"], "argument --timeout: '-1' is not allowed; give seconds"),
            ([URL, "--timeout", "nan"], "argument --timeout: 'nan' is not allowed"),
            ([URL, "--linger", "1e9"], "argument --linger: '1e9' is not allowed"),
            ([URL, "--binary", "bin"], "argument --binary: invalid choice: 'bin'"),
            (["--json"], "--json needs a URL"),
            ([URL, "--color", "red"], "argument --color: invalid choice: 'red'"),
            ([URL, "--completion", "cmd"], "argument --completion: invalid choice: 'cmd'"),
            ([URL, "-m"], "argument -m/--message: expected one argument"),
            ([URL, "ws://b\n\x1b"], r"unrecognized arguments: ws://b\n\x1b"),
            ([URL, "--mess", "x"], "unrecognized arguments: --mess ********"),
        ],
    )
    def test_what_is_wrong_is_one_line_and_status_2(
        self, capsys: Capture, arguments: list[str], problem: str
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            parse(arguments)
        assert caught.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"wsservice.client: {problem}")
        assert err.endswith("; see --help\n")
        assert err[:-1].isprintable()

    def test_what_is_quoted_is_escaped_once(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit):
            parse([URL, "--until", "\\d(\n"])
        assert r"--until: '\\d(\n' is not allowed" in capsys.readouterr().err


class TestHelp:
    def test_the_common_options_fit_one_screen(self) -> None:
        lines = printed("--help").splitlines()
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 80
        assert lines == printed("-h").splitlines()

    def test_its_options_are_there(self) -> None:
        named = set(re.findall(r"(?<![-\w])--?[a-z][a-z-]*", printed("--help")))
        assert named - {"-m", "-f", "--count"} < named
        assert named <= set(re.findall(r"(?<![-\w])--?[a-z][a-z-]*", printed("--help-all")))

    def test_all_of_it_tells_the_exit_statuses(self) -> None:
        said = " ".join(printed("--help-all").split())
        for status in Status:
            assert f"{status:d} " in said
        assert "3 could not connect" in said
        assert "130 on Ctrl-C" in said

    def test_version(self) -> None:
        assert printed("--version") == f"wsservice {__version__}\n"


class TestCompletion:
    @pytest.mark.needs("shtab")
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
    def test_it_names_the_program_and_its_options(self, shell: str) -> None:
        script = printed("--completion", shell)
        assert "wsclient" in script
        assert "expect-close" in script

    def test_it_says_what_to_install(
        self, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "shtab", None)
        with pytest.raises(SystemExit) as caught:
            parse(["--completion", "bash"])
        assert caught.value.code == 2
        said = "wsservice.client: --completion needs shtab: pip install 'wsservice[cli]'\n"
        assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--bearrer", "hunter2"], "--bearrer ********"),
        (["--bearrer=hunter2", "world"], "--bearrer=******** world"),
        (["-Zhunter2", "-Z"], "-Z******** -Z"),
        (["ws://h/?token=hunter2"], "ws://h/?token=********"),
    ],
)
def test_what_is_not_known_is_shown_without_secrets(
    arguments: list[str], shown: str, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([URL, *arguments])
    assert caught.value.code == Status.USAGE
    said = f"wsservice.client: unrecognized arguments: {shown}; see --help\n"
    assert capsys.readouterr().err == said
