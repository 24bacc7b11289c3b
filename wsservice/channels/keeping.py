"""Tell how much the history keeps of a channel, by its rule or by `--history`. PURE."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from ..config.config import Config
from ..config.globs import Glob, for_any_user
from ..config.keep import Keep
from ..errors import ConfigError

_NAMES = 10_000
"""The most channels whose answer is kept. Each publication asks, and rules may be many."""

OfChannel = Callable[[str], Keep]
"""Returns what is kept of a channel."""


class Keeps:
    """The bounds on the history of each channel of a service. A reload changes them.

    The first rule that matches a channel counts, with any id for `{user}`: a channel has one
    history, and not one for each user.
    """

    #: Returns what is kept of a channel. It is the one answer to that.
    of_channel: OfChannel

    def __init__(self, otherwise: Keep, rules: Iterable[tuple[str, Keep]] = ()) -> None:
        self._take(otherwise, tuple(rules))

    def _take(self, otherwise: Keep, rules: Sequence[tuple[str, Keep]]) -> None:
        #: All that `of_channel` may return.
        self.each = tuple(dict.fromkeys([*(keep for _, keep in rules), otherwise]))
        #: True if the same is kept of each channel.
        self.is_uniform = len(self.each) == 1
        if self.is_uniform:
            self.of_channel = lambda _: otherwise
        else:
            compiled = [(for_any_user(text), keep) for text, keep in rules]
            self.of_channel = lru_cache(_NAMES)(_finder(compiled, otherwise))

    @classmethod
    def of(cls, config: Config) -> Keeps:
        """Return what a configuration keeps."""
        return cls(*_terms(config))

    @property
    def any(self) -> bool:
        """True if something is kept of some channels."""
        return any(keep.size for keep in self.each)

    def prepare(self, config: Config) -> Callable[[], None]:
        """Return a function that applies the rules of a configuration.

        Raises `ConfigError` for one with which a history would begin, or end: that needs a restart,
        since other parts of the service go by it.
        """
        otherwise, rules = _terms(config)
        if Keeps(otherwise, rules).any is not self.any:
            verb = "end" if self.any else "begin"
            raise ConfigError(f"--channels: keep: a history would {verb}, which needs a restart")

        def commit() -> None:
            self._take(otherwise, rules)

        return commit


def _terms(config: Config) -> tuple[Keep, Sequence[tuple[str, Keep]]]:
    otherwise = Keep(config.history_size, config.history_seconds)
    return otherwise, [
        (rule.match, otherwise if rule.keep is None else Keep.of(rule.keep))
        for rule in config.channels
    ]


def _finder(rules: Sequence[tuple[Glob, Keep]], otherwise: Keep) -> OfChannel:
    def of_channel(channel: str) -> Keep:
        for glob, keep in rules:
            if glob.matches(channel):
                return keep
        return otherwise

    return of_channel
