from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsservice.cli import largest
from wsservice.cli.prompt.attachment import is_text, read_attachment


def test_it_is_what_is_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").write_bytes(b"\x00\xff")
    assert read_attachment(str(tmp_path / "a file")) == b"\x00\xff"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_attachment("~/a file") == b"\x00\xff"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/nowhere/\x1b[2J", r"'/nowhere/\x1b[2J' cannot be read, No such file or directory"),
        ("/", "'/' cannot be read, Is a directory"),
        ("/dev/zero", "'/dev/zero' cannot be read, it is not a file"),
        ("a\0b", r"'a\x00b' is not the path of a file"),
        ("\udcff\ud800", r"'\udcff\ud800' is not the path of a file"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(path: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^.*$") as caught:
        read_attachment(path)
    assert str(caught.value) == problem


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="it is not a file"):
        read_attachment(str(tmp_path / "pipe"))


def test_what_is_too_big_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest, "LARGEST", 1 << 20)
    with (tmp_path / "big").open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(ValueError, match="has more than 1 MiB, nothing was sent"):
        read_attachment(str(tmp_path / "big"))
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 20)
    assert len(read_attachment(str(tmp_path / "big"))) == 1 << 20


def test_text_is_what_is_utf8() -> None:
    assert is_text("ä\0".encode())
    assert not is_text(b"\xff")
