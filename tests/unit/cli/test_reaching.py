"""The command line's part on connecting."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from wsservice.cli import reaching
from wsservice.cli.reaching import add_options, config_of
from wsservice.client.options import ClientConfig
from wsservice.client.web.cookiefile import CookieFile
from wsservice.client.web.cookies import cookies_for
from wsservice.errors import ConfigError

from ...certificates import Authority

URL = "ws://a.example/"


def config(*arguments: str, url: str = URL) -> ClientConfig:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return config_of(url, parser.parse_args(arguments))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the lines to type, from the first. The prompts are added at the end."""
    answers: list[Any] = []

    def getpass(prompt: str) -> str:
        answer = answers.pop(0)
        answers.append(prompt)
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)

    monkeypatch.setattr(reaching, "_TERMINAL", "/dev/null")
    monkeypatch.setattr("getpass.getpass", getpass)
    return answers


def test_nothing_given_is_the_defaults_and_the_environments_proxy() -> None:
    assert config() == ClientConfig(url=URL, proxy="environment")


def test_every_option_is_a_setting() -> None:
    given = config(
        *("-H", "X-A: 1", "--header", "X-B:2", "-H", "X-C:"),
        *("--origin", "https://o.example", "--subprotocol", "s", "--subprotocol", "t"),
        *("--bearer", "abc", "-b", "a=b", "--cookie", "c=d; e=f", "-A", "me"),
        *("-k", "--resolve", "a:1:127.0.0.1", "--resolve", "b:1:127.0.0.1", "--ipv4"),
        *("--proxy", "socks5://p", "--max-redirects", "0", "--connect-timeout", "1.5"),
        *("--handshake-timeout", "2", "--close-timeout", "3", "--compression", "on"),
        *("--max-message-size", "4", "--max-fragments", "5", "--send-buffer", "6"),
        *("--message-timeout", "7"),
    )
    assert given == ClientConfig(
        url=URL,
        headers=[("X-A", "1"), ("X-B", "2"), ("X-C", "")],
        origin="https://o.example",
        subprotocols=["s", "t"],
        bearer="abc",
        cookies="a=b; c=d; e=f",
        user_agent="me",
        insecure=True,
        resolve=["a:1:127.0.0.1", "b:1:127.0.0.1"],
        ip_version=4,
        proxy="socks5://p",
        max_redirects=0,
        connect_timeout=1.5,
        handshake_timeout=2,
        close_timeout=3,
        compression=True,
        max_message_size=4,
        max_fragments=5,
        message_timeout=7,
        send_buffer=6,
    )
    assert given.trace is None


def test_no_proxy() -> None:
    assert config("--proxy", "").proxy == ""


def test_verbose_shows_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    trace = config("-v").trace
    assert trace is not None
    trace("> GET")
    assert capsys.readouterr() == ("", "> GET\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-H", "secret"], "--header: a header without a colon is not allowed; give 'NAME: VALUE'"),
        (["-H", "Upgrade: x"], "header 'upgrade' is not allowed"),
        (["--bearer", "@/nowhere"], "--bearer: cannot read '/nowhere'"),
        (
            ["--bearer", "env:NO_SUCH_VARIABLE"],
            "--bearer: the environment variable 'NO_SUCH_VARIABLE' is not",
        ),
        (["-b", "@/nowhere"], "cannot read cookies from '/nowhere'"),
        (["--cookie-jar", "/nowhere/jar"], "cannot write cookies to '/nowhere/jar'"),
        (["--resolve", "a:b"], "--resolve: 'a:b' is not allowed; give HOST:PORT:ADDRESS"),
        (["--proxy", "ftp://p"], "--proxy: 'ftp://p' is not allowed"),
        (["--connect-timeout", "-1"], "--connect-timeout: '-1' is not allowed"),
        (["--compression", "yes"], "--compression: 'yes' is not allowed; give on or off"),
        (["--ca", "/nowhere"], "--ca: cannot read '/nowhere'"),
        (["--cert", "/nowhere"], "--cert: cannot read '/nowhere'"),
        (["--key", "/nowhere"], "--key: a key alone is not allowed"),
        (["--auth", "u:p", "--bearer", "t"], "auth and bearer are not allowed together"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(*arguments)
    assert str(caught.value).startswith(problem)
    assert "secret" not in str(caught.value)


class TestAsking:
    def test_a_password_that_is_given_is_not_asked_for(self) -> None:
        assert config("--auth", "u:p:q").auth == ("u", "p:q")
        assert config("--auth", "u:").auth == ("u", "")

    def test_one_that_is_not_is(self, typed: list[Any]) -> None:
        typed.append("p")
        assert config("--auth", "u").auth == ("u", "p")
        assert typed == ["Password of 'u': "]

    def test_not_before_all_else_is_right(self, typed: list[Any]) -> None:
        with pytest.raises(ConfigError, match="--connect-timeout"):
            config("--auth", "u", "--connect-timeout", "x")
        assert typed == []

    @pytest.mark.parametrize("answer", [EOFError(), OSError()])
    def test_nobody_answers(self, typed: list[Any], answer: Exception) -> None:
        typed.append(answer)
        with pytest.raises(ConfigError, match="--auth: there is no terminal to ask at; give"):
            config("--auth", "u")

    def test_no_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reaching, "_TERMINAL", "/nowhere")
        with pytest.raises(ConfigError, match="--auth: there is no terminal to ask at; give"):
            config("--auth", "u")

    def test_ctrl_c_ends_the_program(self, typed: list[Any]) -> None:
        typed.append(KeyboardInterrupt())
        with pytest.raises(SystemExit) as caught:
            config("--auth", "u")
        assert caught.value.code == 130

    def test_a_keys_pass_phrase(self, typed: list[Any], tmp_path: Path) -> None:
        key, certificate = Authority(tmp_path).certificate("me", password=b"phrase")
        typed.append("phrase")
        given = config("--cert", str(certificate), "--key", str(key))
        assert given.key_password == "phrase"
        assert typed == [f"Pass phrase of {str(key)!r}: "]
        typed.insert(0, "wrong")
        with pytest.raises(ConfigError, match="no key that this pass phrase decrypts"):
            config("--cert", str(certificate), "--key", str(key))


class TestCookies:
    def test_files_are_read_and_the_jar_kept(self, tmp_path: Path) -> None:
        (tmp_path / "read").write_text(
            "# Netscape HTTP Cookie File\na.example\tFALSE\t/\tFALSE\t0\tr\t1\n"
        )
        (tmp_path / "jar").write_text(
            "# Netscape HTTP Cookie File\na.example\tFALSE\t/\tFALSE\t0\tk\t2\n"
        )
        given = config("-b", f"@{tmp_path}/read", "--cookie-jar", f"{tmp_path}/jar", "-b", "a=b")
        assert isinstance(given.cookie_jar, CookieFile)
        sent = cookies_for(given.target, given.cookies, given.cookie_jar)
        assert sorted(sent.split("; ")) == ["a=b", "k=2", "r=1"]

    def test_a_jar_that_is_not_there_yet_is_made(self, tmp_path: Path) -> None:
        config("--cookie-jar", f"{tmp_path}/jar")
        assert (tmp_path / "jar").exists()


def test_a_token_from_a_file_and_a_login_from_the_url(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    assert config("--bearer", f"@{tmp_path}/token").bearer == "abc"
    assert config(url="ws://u:p@a/").auth == ("u", "p")
