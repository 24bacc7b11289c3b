from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest

from wsservice.cli import largest
from wsservice.cli.talking import add_options


def given(arguments: list[str]) -> Any:
    """The messages that a command line gives."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser)
    return parser.parse_args(arguments).messages


def test_files_and_texts_are_sent_in_the_order_given(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\0\xff\n")
    messages = given(["-m", "one", "--file", str(file), "-m", "two", "-f", str(file)])
    content = (b"\0\xff\n", True)
    assert messages == [(b"one", False), content, (b"two", False), content]


def test_a_minus_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a\nb\0")
    os.close(writing)
    stdin = os.dup(0)
    os.dup2(reading, 0)
    try:
        assert given(["-f", "-"]) == [(b"a\nb\0", True)]
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)
        os.close(reading)


def test_a_file_has_a_size_that_memory_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(largest, "LARGEST", 1 << 20)
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    assert given(["-f", str(file)]) == [(bytes(1 << 20), True)]
    with pytest.raises(argparse.ArgumentError, match=r"'/dev/zero' is not allowed; .* 1 MiB"):
        given(["-f", "/dev/zero"])
