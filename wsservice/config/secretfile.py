"""A secret in a file of its own."""

from __future__ import annotations

import os
import re
import stat

from twisted.logger import Logger

from ..errors import ConfigError
from ..escape import escape
from .files import unreadable

_MOST = 4096
"""The largest size of a secret, in bytes."""

_ONE = re.compile(rb"[!-~]+")

_log = Logger(namespace="wsservice")


def read_secret(option: str, path: str, what: str) -> bytes:
    """Return the one secret in a file, without the white space around it.

    `option` names the file, `what` the kind of secret, such as "token". Raises
    `ConfigError` for a file without a secret, or one that every user of the machine
    may write. A file that every user may read is logged, but not refused: the files
    of secrets in containers often are.
    """
    wanted = f"give a file with one {what}, of printable ASCII without spaces"
    text, mode = _read(option, path, wanted)
    secret = text.strip()
    if not secret:
        raise ConfigError(f"{option}: {escape(path)} is empty; {wanted}")
    if len(text) > _MOST or not _ONE.fullmatch(secret):
        raise ConfigError(f"{option}: {escape(path)} has no {what}, or more than one; {wanted}")
    _check_mode(option, path, mode)
    return secret


def read_password(option: str, path: str) -> bytes:
    """Return the password in a file: all of its bytes, except for one line end at the end.

    Unlike a token, a password may hold spaces, and bytes that are not ASCII. Raises
    `ConfigError` as `read_secret` does.
    """
    wanted = f"give a file with a password of 1 to {_MOST} bytes, with or without a line end"
    text, mode = _read(option, path, wanted)
    password = text.removesuffix(b"\n").removesuffix(b"\r") if text.endswith(b"\n") else text
    if not password:
        raise ConfigError(f"{option}: {escape(path)} is empty; {wanted}")
    if len(password) > _MOST:
        raise ConfigError(f"{option}: {escape(path)} is too long; {wanted}")
    _check_mode(option, path, mode)
    return password


def read_private(option: str, path: str, most: int, wanted: str) -> bytes:
    """Return all bytes of a file of secrets, at most `most`.

    `wanted` says what the file should be. Raises `ConfigError` for a file that is missing or too
    long, or that every user of the machine may read or write.
    """
    octets, mode = _read(option, path, wanted, most + 1)
    if len(octets) > most:
        raise ConfigError(f"{option}: {escape(path)} has more than {most} bytes; {wanted}")
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        may = "read" if mode & stat.S_IROTH else "written"
        raise ConfigError(
            f"{option}: {escape(path)} may be {may} by every user of this machine; chmod 600 it"
        )
    return octets


def _read(
    option: str, path: str, wanted: str, most: int = _MOST + len(b"\r\n") + 1
) -> tuple[bytes, int]:
    try:
        with open(path, "rb") as file:
            # One byte over the limit shows a file that is too long.
            return file.read(most), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise unreadable(option, path, error, wanted) from None


def _check_mode(option: str, path: str, mode: int) -> None:
    name = f"{option}: {escape(path)}"
    if mode & stat.S_IWOTH:
        raise ConfigError(f"{name} may be written by every user of this machine; chmod o= it")
    if mode & stat.S_IROTH:
        _log.warn("{name} may be read by every user of this machine; chmod o= it", name=name)
