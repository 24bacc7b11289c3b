from __future__ import annotations

from pathlib import Path

import pytest

from wsservice.config.secretfile import read_password, read_secret
from wsservice.errors import ConfigError

from ...support import Logged

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
        (b"two words", "has no secret, or more than one"),
        (b"two\nlines", "has no secret, or more than one"),
        (b"\xff", "has no secret, or more than one"),
        (b"x" * 4097, "has no secret, or more than one"),
    ],
)
def test_what_is_none(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_secret(OPTION, str(file), "secret")
    assert str(caught.value) == (
        f"{OPTION}: {file} {problem}; give a file with one secret,"
        " of printable ASCII without spaces"
    )


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"/no/such cannot be read, No such file or directory;"):
        read_secret(OPTION, "/no/such", "secret")


def test_one_that_everybody_may_write(file: Path) -> None:
    file.write_bytes(b"x")
    file.chmod(0o602)
    with pytest.raises(
        ConfigError, match=r"may be written by every user of this machine; chmod o= it"
    ):
        read_secret(OPTION, str(file), "secret")


def test_one_that_everybody_may_read_is_taken_and_said(file: Path, logged: Logged) -> None:
    file.write_bytes(b"x")
    file.chmod(0o604)
    assert read_secret(OPTION, str(file), "secret") == b"x"
    assert "may be read by every user of this machine" in logged.text


class TestPassword:
    @pytest.mark.parametrize(
        ("content", "password"),
        [
            (b"secret", b"secret"),
            (b"secret\n", b"secret"),
            (b"secret\r\n", b"secret"),
            (b"secret\n\n", b"secret\n"),
            (b"secret\r", b"secret\r"),
            (b" two words \n", b" two words "),
            ("pässwörd\n".encode(), "pässwörd".encode()),
            (b"\xff\x00\n", b"\xff\x00"),
            (b" \n", b" "),
            (b"x" * 4096 + b"\r\n", b"x" * 4096),
        ],
    )
    def test_it_is_all_that_is_in_the_file_but_one_line_end(
        self, file: Path, content: bytes, password: bytes
    ) -> None:
        file.write_bytes(content)
        assert read_password(OPTION, str(file)) == password

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"\r\n", "is empty"),
            (b"x" * 4097 + b"\n", "is too long"),
            (b"x" * 9999, "is too long"),
        ],
    )
    def test_what_is_none(self, file: Path, content: bytes, problem: str) -> None:
        file.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_password(OPTION, str(file))
        assert str(caught.value) == (
            f"{OPTION}: {file} {problem}; give a file with a password of 1 to 4096 bytes,"
            " with or without a line end"
        )

    def test_the_file_is_one_that_not_everybody_may_write(self, file: Path) -> None:
        file.write_bytes(b"x")
        file.chmod(0o602)
        with pytest.raises(
            ConfigError, match=r"may be written by every user of this machine; chmod o= it"
        ):
            read_password(OPTION, str(file))
