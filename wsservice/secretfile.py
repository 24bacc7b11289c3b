"""A secret in a file of its own."""

from __future__ import annotations

import os
import re
import stat

from twisted.logger import Logger

from .errors import ConfigError
from .escape import escape

_MOST = 4096
"""Octets of the file that are looked at."""

_ONE = re.compile(rb"[!-~]+")

_log = Logger(namespace="wsservice")


def read_secret(option: str, path: str, what: str) -> bytes:
    """The one secret in a file, without white space around it.

    `option` names the file, `what` the secret, as in "token". Raises `ConfigError`
    where there is none, or anybody may put one. That all users of the machine may
    read it is logged, and not refused: files of secrets in containers are often so.
    """
    name = f"{option}: {escape(path)}"
    wanted = f"give a file that has one {what}, of printable ASCII without spaces"
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MOST + 1)
    except OSError as error:
        raise ConfigError(f"{name} cannot be read, {error.strerror}; {wanted}") from None
    secret = text.strip()
    if not secret:
        raise ConfigError(f"{name} is empty; {wanted}")
    if len(text) > _MOST or not _ONE.fullmatch(secret):
        raise ConfigError(f"{name} has something else than one {what}; {wanted}")
    if mode & stat.S_IWOTH:
        raise ConfigError(f"{name} may be written by everybody; chmod o= it")
    if mode & stat.S_IROTH:
        _log.warn("{name} may be read by every user of this machine; chmod o= it", name=name)
    return secret
