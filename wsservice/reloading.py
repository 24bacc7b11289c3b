"""Settings read anew while the service runs: all of them are put in effect, or none.

In two steps. First every part prepares, which may fail and changes nothing; then what
they prepared is put in effect, which cannot fail.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import attrs
from twisted.logger import Logger

from .config import Config
from .errors import ConfigError, WSServiceError
from .settings import Settings
from .threshold import Threshold

_log = Logger(namespace="wsservice")

Commit = Callable[[], Iterable[str] | None]
"""Puts something in effect. It may name what changed besides settings, for people."""


class Part(Protocol):
    """What can be given other settings while it is used."""

    def prepare(self, config: Config) -> Commit:
        """Look whether a configuration can be put in effect, and change nothing.

        Returns what puts it in effect, and cannot fail. Raises `WSServiceError`,
        whose text begins with the option that it is about. Relative paths are
        those of the folder in which the service was started, here only.
        """


@attrs.frozen
class Difference:
    """What a configuration that was read anew comes to. Raises `ConfigError` when made by `of`."""

    config: Config
    """As it is put in effect: what needs a restart has its old value."""
    taken: list[str]
    """The settings that change, by field."""
    not_taken: list[str]
    """Those that would, but need a restart."""

    @classmethod
    def of(cls, old: Config, new: Config) -> Difference:
        fields = attrs.fields(Config)
        # Whether a port speaks TLS at all is a matter of how it was taken.
        switched = (old.tls_cert is None) != (new.tls_cert is None)
        kept = ("tls_cert", "tls_key") if switched else ()
        other = [each for each in fields if getattr(old, each.name) != getattr(new, each.name)]
        taken = [each.name for each in other if each.metadata["reloads"] and each.name not in kept]
        not_taken = [each.name for each in other if each.name not in taken]
        config = attrs.evolve(new, **{name: getattr(old, name) for name in not_taken})
        return cls(config, taken, not_taken)


class Reloading:
    """Reads the settings of a service anew.

    `config` is what is in effect, `read` gives what there is to read, and raises
    `ConfigError`; `folder` is the one in which the service was started.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[], Settings],
        parts: Sequence[Part],
        threshold: Threshold,
        folder: str,
    ) -> None:
        self._config = config
        self._read = read
        self._parts = parts
        self._threshold = threshold
        self._folder = folder

    def reload(self) -> None:
        """Read them, and log what came of it, in one line. Raises nothing."""
        try:
            with _within(self._folder):
                difference, commits = self._prepared()
        except WSServiceError as error:
            _log.error("SIGHUP: nothing was changed, {why}", why=str(error))
        except Exception:
            _log.failure("SIGHUP: nothing was changed")
        else:
            self._commit(difference, commits)

    def _prepared(self) -> tuple[Difference, list[Commit]]:
        settings = self._read()
        try:
            difference = Difference.of(self._config, settings.config)
            return difference, [part.prepare(difference.config) for part in self._parts]
        except WSServiceError as error:
            raise ConfigError(settings.placed(str(error))) from None

    def _commit(self, difference: Difference, commits: list[Commit]) -> None:
        others = [name for commit in commits for name in commit() or ()]
        self._config = difference.config
        changed = ", ".join([*difference.taken, *others])
        outcome = f"changed: {changed}" if changed else "nothing is other than it was"
        if difference.not_taken:
            outcome += f"; not taken, which needs a restart: {', '.join(difference.not_taken)}"
        # Who wants less logged from now on is told all the same.
        level = difference.config.log_level
        if self._threshold.is_above(level):
            self._threshold.level = level
        _log.info("SIGHUP: the settings were read anew; {outcome}", outcome=outcome)
        self._threshold.level = level


@contextlib.contextmanager
def _within(folder: str) -> Iterator[None]:
    """Have relative paths be those of a folder, as far as it can still be entered."""
    # twistd's --rundir is another. In a thread of a behaviour they are too, meanwhile.
    before = current_folder()
    if before != folder:
        with contextlib.suppress(OSError):
            os.chdir(folder)
    try:
        yield
    finally:
        if before not in (folder, ""):
            with contextlib.suppress(OSError):
                os.chdir(before)


def current_folder() -> str:
    """The current folder, "" where there is none any more."""
    try:
        return os.getcwd()
    except OSError:
        return ""
