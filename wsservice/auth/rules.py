"""Judge what a user may do on a channel, by rules and by the user's claims. PURE.

The order: the first entry of the claim `caps` that names the channel, if it allows the action;
then the first rule that matches the channel. The claim alone decides if no rule matches.
Without any rules a user may do as without `--auth`, but with the claim `caps` only what that
allows.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from functools import lru_cache

import attrs

from ..config.globs import Glob
from ..config.rules import ChannelRule, Level
from .action import Action
from .claims import NOTHING, ChannelClaims
from .contract import User

_FOUND = 10_000
"""The most pairs of a channel and a user whose rule is kept. A behaviour may ask for each message,
and to compare a name with a hundred rules takes as long as a publication."""


@attrs.frozen
class Ruling:
    """A judgement, and what it goes by."""

    is_allowed: bool
    rule: int
    """The number of the rule, from 1 on; 0 if no rule matches."""
    why: str
    """The rule or the claim that says so, in a few words without text from a peer."""


@attrs.frozen
class NumberedRule:
    """A rule with its number, from 1 on, and its glob, compiled."""

    number: int
    rule: ChannelRule
    glob: Glob

    def level(self, action: Action) -> Level:
        """Return who may do something."""
        level: Level = getattr(self.rule, action.value)
        return level


Finder = Callable[[str, str], NumberedRule | None]
"""Returns the first rule that matches a channel, for the id of a user, "" for the anonymous."""


def _finder(rules: Sequence[NumberedRule]) -> Finder:
    def find(channel: str, user: str) -> NumberedRule | None:
        return next((each for each in rules if each.glob.matches(channel, user)), None)

    return find


class ChannelRules:
    """The rules of a service, compiled. They never change: a reload makes others."""

    def __init__(self, rules: Iterable[ChannelRule]) -> None:
        self._rules = [
            NumberedRule(number, rule, Glob.of(rule.match)) for number, rule in enumerate(rules, 1)
        ]
        #: Finds the rule of a channel.
        self.find = lru_cache(_FOUND)(_finder(self._rules))

    def ruling(
        self,
        action: Action,
        channel: str,
        user: User | None,
        claims: ChannelClaims = NOTHING,
        subscribed: Container[str] = (),
    ) -> Ruling:
        """Judge an action of a user, None for the anonymous, on a channel.

        `claims` are the user's, `subscribed` the channels that the connection is on.
        """
        capability = claims.capability(channel)
        if capability is not None and action in capability.actions:
            return Ruling(True, 0, f"entry {capability.number} of the claim caps")
        if not self._rules:
            return _without_rules(action, channel, claims, subscribed)
        found = self.find(channel, "" if user is None else user.id)
        if found is None:
            return Ruling(False, 0, "no rule matches")
        level = found.level(action)
        is_allowed = (
            level is Level.ANYONE
            or (level is Level.USERS and user is not None)
            or (level is Level.SUBSCRIBERS and user is not None and channel in subscribed)
            or (level is Level.TOKEN and claims.name(channel))
        )
        return Ruling(is_allowed, found.number, f"rule {found.number}, {action} = {level}")


def _without_rules(
    action: Action, channel: str, claims: ChannelClaims, subscribed: Container[str]
) -> Ruling:
    if claims.caps is not None:
        return Ruling(False, 0, "the claim caps, and no rules")
    is_allowed = action is not Action.HISTORY or channel in subscribed
    return Ruling(is_allowed, 0, "no rules")
