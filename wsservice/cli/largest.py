"""Bound the messages that a person or a script sends."""

from __future__ import annotations

from typing import IO

LARGEST = 128 * 1024 * 1024
"""The most octets of a message from a file or standard input: it is held in memory."""


def shown() -> str:
    """Return that size for people."""
    return f"{LARGEST >> 20} MiB"


def read_message(file: IO[bytes]) -> bytes | None:
    """Return the content of a file, or None if it is larger than a message may be."""
    content = file.read(LARGEST + 1)
    return None if len(content) > LARGEST else content
