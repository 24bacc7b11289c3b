"""Read a file to send as a message."""

from __future__ import annotations

import errno
import os
import stat

from ...escape import escape
from .. import largest


def read_attachment(path: str) -> bytes:
    """Return the content of a file. `~` stands for the home of the user.

    Raises `ValueError`, with one printable line, if the file cannot be read or is too large.
    """
    shown = f"'{escape(path)}'"
    try:
        octets = _read(os.path.expanduser(path))
    except OSError as error:
        raise ValueError(f"{shown} cannot be read, {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{shown} is not the path of a file") from None
    if octets is None:
        raise ValueError(f"{shown} has more than {largest.shown()}, nothing was sent")
    return octets


def _read(path: str) -> bytes | None:
    # A named pipe, or another file without an end, must not block the prompt.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        return largest.read_message(file)


def is_text(octets: bytes) -> bool:
    """Return True if octets are UTF-8, so that they may be sent as text."""
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True
