from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from wsservice.config.files import read_file, unreadable
from wsservice.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "shown"), [("a.pem", "a.pem"), ("a\nb", r"a\nb"), ("", "an empty path")]
)
def test_the_error_is_one_line_with_the_option_the_path_the_reason_and_the_cure(
    path: str, shown: str
) -> None:
    error = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    assert str(unreadable("--tls-cert", path, error, "give a file in PEM")) == (
        f"--tls-cert: {shown} cannot be read, No such file or directory; give a file in PEM"
    )


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\r\nb")
    assert read_file("--config", str(tmp_path / "file"), "") == b"a\r\nb"


def test_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--config: .* cannot be read, Is a directory; give"):
        read_file("--config", str(tmp_path), "give another")
