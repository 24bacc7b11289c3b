"""A reload with workers: the parent and every worker take the new settings, or none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..config.config import Config
from ..service.reloading import Commit, Difference, Reloading

_log = Logger(namespace="wsservice")


class SharedReloading(Reloading):
    """Asks the workers before anything is put in effect.

    `ask` has each worker check a configuration, and fires with the problem, "" if there is none.
    When the parent applies the configuration, it has the workers apply it too.
    """

    def __init__(self, ask: Callable[[Config], Deferred[str]], *args: Any) -> None:
        super().__init__(*args)
        self._ask = ask
        self._asking = False
        self._again = False

    def reload(self) -> None:
        """Reload as in one process. During a reload, schedule another one after it."""
        if self._asking:
            self._again = True
        else:
            super().reload()

    def _commit(self, difference: Difference, commits: list[Commit]) -> None:
        self._asking = True
        self._ask(difference.config).addCallback(self._asked, difference, commits)

    def _asked(self, problem: str, difference: Difference, commits: list[Commit]) -> None:
        self._asking = False
        if problem:
            _log.error("SIGHUP: nothing was changed, {why}", why=problem)
        else:
            super()._commit(difference, commits)
        if self._again:
            self._again = False
            self.reload()
