"""What the history keeps of each channel: as a rule says, or `--history`. PURE."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import attrs

from ..config.config import Config
from ..config.globs import Glob, for_any_user
from ..config.keep import Keep

_NAMES = 10_000
"""The most channels whose answer is kept. Each publication asks, and rules may be many."""

OfChannel = Callable[[str], Keep]
"""Returns what is kept of a channel."""


@attrs.frozen
class Keeps:
    """What is kept of each channel of a service. `of_channel` is the one answer to that."""

    of_channel: OfChannel
    each: tuple[Keep, ...]
    """All that `of_channel` may return."""

    @property
    def any(self) -> bool:
        """True if something is kept of some channels."""
        return any(keep.size for keep in self.each)

    @classmethod
    def of(cls, config: Config) -> Keeps:
        """Return what a configuration keeps.

        The first rule that matches a channel counts, with any id for `{user}`: a channel has one
        history, and not one for each user.
        """
        otherwise = Keep(config.history_size, config.history_seconds)
        if all(rule.keep is None for rule in config.channels):
            return cls(lambda _: otherwise, (otherwise,))
        rules = [
            (for_any_user(rule.match), otherwise if rule.keep is None else Keep.of(rule.keep))
            for rule in config.channels
        ]
        each = (*(keep for _, keep in rules), otherwise)
        return cls(lru_cache(_NAMES)(_finder(rules, otherwise)), tuple(dict.fromkeys(each)))


def _finder(rules: list[tuple[Glob, Keep]], otherwise: Keep) -> OfChannel:
    def of_channel(channel: str) -> Keep:
        for glob, keep in rules:
            if glob.matches(channel):
                return keep
        return otherwise

    return of_channel
