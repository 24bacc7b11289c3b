from __future__ import annotations

from pathlib import Path

import pytest

from wsservice.errors import ConfigError
from wsservice.secretfile import read_secret

from .support import Logged

OPTION = "--webhook-secret-file"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(0o600)
    return path


def test_the_secret_is_what_is_between_white_space(file: Path, logged: Logged) -> None:
    file.write_bytes(b" s3cret!~\r\n\n")
    assert read_secret(OPTION, str(file), "secret") == b"s3cret!~"
    assert logged.text == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"two words", "has something else than one secret"),
        (b"two\nlines", "has something else than one secret"),
        (b"\xff", "has something else than one secret"),
        (b"x" * 4097, "has something else than one secret"),
    ],
)
def test_what_is_none(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_secret(OPTION, str(file), "secret")
    assert str(caught.value) == (
        f"{OPTION}: {file} {problem}; give a file that has one secret,"
        " of printable ASCII without spaces"
    )


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"/no/such cannot be read, No such file or directory;"):
        read_secret(OPTION, "/no/such", "secret")


def test_one_that_everybody_may_write(file: Path) -> None:
    file.write_bytes(b"x")
    file.chmod(0o602)
    with pytest.raises(ConfigError, match=r"may be written by everybody; chmod o= it"):
        read_secret(OPTION, str(file), "secret")


def test_one_that_everybody_may_read_is_taken_and_said(file: Path, logged: Logged) -> None:
    file.write_bytes(b"x")
    file.chmod(0o604)
    assert read_secret(OPTION, str(file), "secret") == b"x"
    assert "may be read by every user of this machine" in logged.text
