"""tokens.py and `python -m wsservice.auth`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from wsservice.auth.__main__ import main
from wsservice.auth.contract import Credential, Form, User
from wsservice.auth.tokens import TokenFile, hash_of, line_of, open_tokens
from wsservice.config.config import Config
from wsservice.errors import ConfigError

NOBODY: Any = None
HASH = "0" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tokens.txt"
    made.touch(0o600)
    return made


def opened(path: Path) -> TokenFile:
    return open_tokens(str(path), Config(), Clock())


def user_of(file: TokenFile, token: str) -> User | str:
    verdict = file.check(Credential(Form.TOKEN, token, "there"), NOBODY)
    return verdict if isinstance(verdict, User) else verdict.problem


def test_users_by_their_tokens(path: Path) -> None:
    (one, line), (other, line2), (third, line3) = (line_of(each) for each in ("a:b", "tom", "tom"))
    path.write_text(f"# people\n\n{line}\r\n  {line2}\n{line3}")
    file = opened(path)
    assert user_of(file, one) == User("a:b")
    assert user_of(file, other) == user_of(file, third) == User("tom")
    assert user_of(file, one + "x") == "the token is unknown"
    assert user_of(file, hash_of(one).hex()) == "the token is unknown"
    assert hash_of(one).hex() not in repr(file)


def test_a_reload_reads_the_file_anew_or_changes_nothing(path: Path) -> None:
    one, line = line_of("ann")
    path.write_text(line)
    file = opened(path)
    other, line = line_of("ben")
    path.write_text(line)
    commit = file.prepare(Config())
    assert user_of(file, one) == User("ann")
    assert commit() == ["the users of --auth tokens"]
    assert user_of(file, other) == User("ben")
    assert user_of(file, one) == "the token is unknown"
    assert file.prepare(Config())() == []
    path.write_text("nonsense")
    with pytest.raises(ConfigError):
        file.prepare(Config())
    assert user_of(file, other) == User("ben")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"tom", "line 1: it is malformed"),
        (b"# x\ntom:sha256:abc", "line 2: it is malformed"),
        (f"tom:md5:{HASH}".encode(), "line 1: it is malformed"),
        (f"tom:sha256:{HASH.replace('0', 'G')}".encode(), "line 1: it is malformed"),
        (f":sha256:{HASH}".encode(), "line 1: it is malformed"),
        (f"a\x07b:sha256:{HASH}".encode(), "line 1: the user's id has a control character"),
        (f"{'x' * 256}:sha256:{HASH}".encode(), "line 1: the user's id has more than 255 octets"),
        (
            f"a:sha256:{HASH}\nb:sha256:{HASH}".encode(),
            "line 2: the same token is in a line before",
        ),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(path: Path, content: bytes, problem: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(problem)) as raised:
        opened(path)
    text = str(raised.value)
    assert text.startswith("--auth: ")
    assert text.endswith("as python -m wsservice.auth USER prints them")
    assert "\n" not in text


@pytest.mark.parametrize(("mode", "may"), [(0o644, "read"), (0o604, "read"), (0o602, "written")])
def test_a_file_that_others_may_read_is_refused(path: Path, mode: int, may: str) -> None:
    path.chmod(mode)
    with pytest.raises(ConfigError) as raised:
        opened(path)
    assert str(raised.value) == (
        f"--auth: {path} may be {may} by every user of this machine; chmod 600 it"
    )


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        opened(tmp_path / "none")
    with pytest.raises(ConfigError, match="without a file"):
        open_tokens("", Config(), Clock())


def test_the_command_prints_a_line_and_the_token_once(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tom"]) == 0
    line, said = capsys.readouterr()
    path.write_text(line)
    token = said.rpartition(" ")[2].strip()
    assert said == f"the token of tom, shown once: {token}\n"
    assert token not in line
    assert len(token) == 43
    assert user_of(opened(path), token) == User("tom")


@pytest.mark.parametrize("user", ["", "a\nb", "x" * 256, "#tom", " tom", "tom "])
def test_the_command_refuses_an_id(user: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([user]) == 1
    line, said = capsys.readouterr()
    assert line == ""
    assert said.startswith("python -m wsservice.auth: the user's id")
    assert said.count("\n") == 1
