"""A file that is to be sent as a message."""

from __future__ import annotations

import errno
import os
import stat

from ..escape import escape

_MOST = 128 * 1024 * 1024
"""Octets of a file that is sent: it is held in memory."""


def read_attachment(path: str) -> bytes:
    """What is in a file. `~` is the home of its user.

    Raises `ValueError`, with one printable line, where it cannot be sent.
    """
    shown = f"'{escape(path)}'"
    try:
        octets = _read(os.path.expanduser(path))
    except OSError as error:
        raise ValueError(f"{shown} cannot be read, {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{shown} is not the path of a file") from None
    if len(octets) > _MOST:
        raise ValueError(f"{shown} has more than {_MOST >> 20} MiB, nothing was sent")
    return octets


def _read(path: str) -> bytes:
    # A named pipe is not waited for, nor anything else that may have no end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        return file.read(_MOST + 1)


def is_text(octets: bytes) -> bool:
    """Whether octets are UTF-8, so that they may be sent as text."""
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True
