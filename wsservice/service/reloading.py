"""A reload of the settings while the service runs: all of them take effect, or none does.

It has two steps. First every part prepares, which may fail and changes nothing. Then every part
commits what it prepared, which cannot fail.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import attrs
from twisted.logger import Logger

from ..config.config import Config
from ..config.sources import Settings
from ..errors import ConfigError, WSServiceError
from ..log.threshold import Threshold

_log = Logger(namespace="wsservice")

Commit = Callable[[], Iterable[str] | None]
"""A function that applies new settings. It may return the names of other things that changed."""


class Reloadable(Protocol):
    """A part of the service that can take other settings while it runs."""

    def prepare(self, config: Config) -> Commit:
        """Check that a configuration can be applied, and change nothing.

        Return the function that applies it, which cannot fail. Raises `WSServiceError`; its
        text begins with the option at fault. Relative paths start at the folder in which the
        service was started, in this call only.
        """


@attrs.frozen
class Difference:
    """The difference between two configurations. `of` raises `ConfigError`."""

    config: Config
    """The configuration to apply. A setting that needs a restart keeps its old value here."""
    taken: list[str]
    """The settings that change, by field."""
    not_taken: list[str]
    """The settings that differ too, but need a restart, by field."""

    @classmethod
    def of(cls, old: Config, new: Config) -> Difference:
        fields = attrs.fields(Config)
        # A port cannot begin or cease to speak TLS while it is open.
        switched = bool(old.tls_cert) != bool(new.tls_cert)
        kept = ("tls_cert", "tls_key", "tls_client_ca") if switched else ()
        other = [each for each in fields if getattr(old, each.name) != getattr(new, each.name)]
        taken = [each.name for each in other if each.metadata["reloads"] and each.name not in kept]
        not_taken = [each.name for each in other if each.name not in taken]
        config = attrs.evolve(new, **{name: getattr(old, name) for name in not_taken})
        return cls(config, taken, not_taken)


class Reloading:
    """Reloads the settings of a service.

    `config` is the configuration in effect. `read` returns the settings of all sources, and
    raises `ConfigError`. `folder` is the one in which the service was started.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[], Settings],
        parts: Sequence[Reloadable],
        threshold: Threshold,
        folder: str,
    ) -> None:
        self._config = config
        self._read = read
        self._parts = parts
        self._threshold = threshold
        self._folder = folder

    def reload(self) -> None:
        """Read and apply the settings, and log the outcome in one line. Raises nothing."""
        try:
            with within(self._folder):
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
        outcome = f"changed: {changed}" if changed else "no setting is other than it was"
        if difference.not_taken:
            outcome += f"; not taken, which needs a restart: {', '.join(difference.not_taken)}"
        # Logged even if the new level would drop it, so that the operator sees the outcome.
        level = difference.config.log_level
        if self._threshold.is_above(level):
            self._threshold.level = level
        _log.info("SIGHUP: the settings were read anew; {outcome}", outcome=outcome)
        self._threshold.level = level


@contextlib.contextmanager
def within(folder: str) -> Iterator[None]:
    """Make relative paths start at a folder, if it can still be entered."""
    # twistd's --rundir changes the folder. This affects every thread of the process meanwhile.
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
    """Return the path of the current folder, "" if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""
