"""Read the claims of a user about channels: `caps`, `channels` and `subs`. PURE.

They have the form that Centrifugo gives them. `caps` grants what its entries allow, in the order
of the entries: the first one that names a channel decides. `channels` and `subs` only name
channels, letter by letter, for rules that ask for a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..channels.query import LONGEST, is_too_long
from ..config.globs import Glob
from .action import Action

MOST_ENTRIES = 100
"""The most entries of `caps`."""

MOST_NAMES = 1000
"""The most names of channels in each of `caps`, `channels` and `subs`."""

_ACTIONS = {
    "sub": Action.SUBSCRIBE,
    "pub": Action.PUBLISH,
    "hst": Action.HISTORY,
    "prs": Action.PRESENCE,
}
_WORDS = ", ".join(_ACTIONS)
_KEYS = {"channels", "match", "allow"}


class ClaimError(ValueError):
    """A malformed claim. The text is one line, and quotes nothing of the claim."""


@attrs.frozen
class Capability:
    """An entry of `caps`: the actions that it allows on the channels that it names.

    `number` is its place in the claim, from 1 on.
    """

    number: int
    actions: frozenset[Action]
    exact: frozenset[str]
    globs: tuple[Glob, ...]

    def names(self, channel: str) -> bool:
        """Return True if it names a channel, whatever it allows there."""
        return channel in self.exact or any(glob.matches(channel) for glob in self.globs)


@attrs.frozen
class ChannelClaims:
    """The claims of a user about channels.

    `caps` is None without that claim: then rules alone decide. `named` are the names in `channels`
    and `subs`.
    """

    caps: tuple[Capability, ...] | None = None
    named: frozenset[str] = frozenset()

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> ChannelClaims:
        """Return what claims say. Raises `ClaimError`."""
        if claims.keys().isdisjoint(("caps", "channels", "subs")):
            return NOTHING
        caps = _caps(claims["caps"]) if "caps" in claims else None
        named = _named(claims.get("channels", []), "channels", list)
        return cls(caps, named | _named(claims.get("subs", {}), "subs", dict))

    def capability(self, channel: str) -> Capability | None:
        """Return the first entry of `caps` that names a channel."""
        return next((each for each in self.caps or () if each.names(channel)), None)

    def name(self, channel: str) -> bool:
        """Return True if a claim other than `caps` names a channel."""
        return channel in self.named


NOTHING = ChannelClaims()
"""The claims of a user who has none, and of the anonymous."""


def _caps(claim: Any) -> tuple[Capability, ...]:
    if not isinstance(claim, list):
        raise ClaimError("the claim caps is not a list")
    if len(claim) > MOST_ENTRIES:
        raise ClaimError(f"the claim caps has more than {MOST_ENTRIES} entries")
    found = tuple(_capability(number, each) for number, each in enumerate(claim, 1))
    if sum(len(each.exact) + len(each.globs) for each in found) > MOST_NAMES:
        raise ClaimError(f"the claim caps names more than {MOST_NAMES} channels")
    return found


def _capability(number: int, entry: Any) -> Capability:
    where = f"entry {number} of the claim caps"
    if not isinstance(entry, dict) or not entry.keys() <= _KEYS:
        raise ClaimError(f"{where} is no object of channels, match and allow")
    allow = entry.get("allow")
    if not isinstance(allow, list) or not all(_is_word(each) for each in allow):
        raise ClaimError(f"{where} has an allow that is no list of some of {_WORDS}")
    names = _named(entry.get("channels"), f"the channels of {where}", list)
    actions = frozenset(_ACTIONS[each] for each in allow)
    match = entry.get("match", "")
    if match == "":
        return Capability(number, actions, names, ())
    if match == "wildcard":
        # A token is made for its user, so {user} stands for itself here.
        globs = tuple(Glob.of(each, knows_user=False) for each in sorted(names))
        return Capability(number, actions, frozenset(), globs)
    raise ClaimError(f"{where} has a match that is not wildcard")


def _is_word(word: Any) -> bool:
    return isinstance(word, str) and word in _ACTIONS


def _named(names: Any, where: str, kind: type[Any]) -> frozenset[str]:
    if not isinstance(names, kind):
        form = "a list" if kind is list else "an object"
        raise ClaimError(f"{_claim(where)} is not {form} with the names of channels")
    if len(names) > MOST_NAMES:
        raise ClaimError(f"{_claim(where)} has more than {MOST_NAMES} names")
    if not all(isinstance(each, str) for each in names):
        raise ClaimError(f"{_claim(where)} has a name that is not text")
    if any(is_too_long(each) for each in names):
        raise ClaimError(f"{_claim(where)} has a name of more than {LONGEST} octets")
    return frozenset(names)


def _claim(where: str) -> str:
    return where if " " in where else f"the claim {where}"
