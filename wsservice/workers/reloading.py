"""Settings read anew in the parent and in every worker: in all of them, or in none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..config import Config
from ..reloading import Commit, Difference, Reloading

_log = Logger(namespace="wsservice")


class SharedReloading(Reloading):
    """Asks the workers before anything is put in effect.

    `ask` has each look whether it can take a configuration, and gives what is wrong,
    "" if nothing is. That the parent puts it in effect has workers do so.
    """

    def __init__(self, ask: Callable[[Config], Deferred[str]], *args: Any) -> None:
        super().__init__(*args)
        self._ask = ask
        self._asking = False
        self._again = False

    def reload(self) -> None:
        """As in one process. Where it is under way, it is done again after that."""
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
