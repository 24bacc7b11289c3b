"""The keys in a file, which a reload reads anew."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ...config.files import unreadable
from ...errors import ConfigError
from ...escape import escape
from .keys import Keys, parse_keys

_MOST_OCTETS = 1024 * 1024
_WANTED = "give a file with a public key or a certificate in PEM, a JWK, a JWK Set, or a secret"

_log = Logger(namespace="wsservice")


def read_keys(path: str) -> Keys:
    """Return the keys in a file, and log what is weak. Raises `ConfigError`.

    Nobody else may read a file of secrets, or write one of public keys.
    """
    name = f"--auth: {escape(path)}"
    try:
        with open(path, "rb") as file:
            octets, mode = file.read(_MOST_OCTETS + 1), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise unreadable("--auth", path, error, _WANTED) from None
    if len(octets) > _MOST_OCTETS:
        raise ConfigError(f"{name} has more than {_MOST_OCTETS} bytes; {_WANTED}")
    if mode & stat.S_IWOTH:
        raise ConfigError(f"{name} may be written by every user of this machine; chmod o-w it")
    try:
        keys = parse_keys(octets)
    except ValueError as error:
        raise ConfigError(f"{name} cannot be used, {error}; {_WANTED}") from None
    if keys.has_secrets and mode & stat.S_IROTH:
        raise ConfigError(
            f"{name} has a secret, and may be read by every user of this machine; chmod 600 it"
        )
    for line in (*keys.skipped, *keys.warnings):
        _log.warn("{name}: {line}", name=name, line=line)
    return keys


class FileKeys:
    """The keys in a file. Raises `ConfigError` as `read_keys` does."""

    is_away = False

    def __init__(self, path: str) -> None:
        self._path = path
        self._keys = read_keys(path)
        self.changed: Callable[[], object] = lambda: None

    @property
    def keys(self) -> Keys:
        """Return the keys."""
        return self._keys

    def look_again(self) -> Deferred[None] | None:
        """Return None: only a reload reads the file again."""
        return None

    def prepare(self) -> Callable[[], list[str]]:
        """Return a function that puts the keys of the file in force. Raises `ConfigError`."""
        keys = read_keys(self._path)

        def commit() -> list[str]:
            if keys.identity == self._keys.identity:
                return []
            self._keys = keys
            self.changed()
            return ["the keys of --auth"]

        return commit

    def start(self) -> None:
        """Do nothing."""

    stop = start
