"""Tell a behaviour the permissions of its connection. PURE."""

from __future__ import annotations

from collections.abc import Container

import attrs

from ..channels.query import ChannelNameError, check_name
from .action import Action
from .claims import NOTHING, ChannelClaims
from .contract import User
from .rules import ChannelRules, Ruling

_ANYTHING = Ruling(True, 0, "no --auth")
_NO_CHANNEL = Ruling(False, 0, "no channel has such a name")


@attrs.frozen
class Permissions:
    """The permissions of a connection on channels. Without `--auth` it may do anything."""

    _rules: ChannelRules | None = attrs.field(default=None, repr=False)
    user: User | None = None
    _claims: ChannelClaims = attrs.field(default=NOTHING, repr=False)
    _subscribed: Container[str] = attrs.field(default=(), repr=False)

    def may(self, action: str, channel: str) -> bool:
        """Return True if an action is allowed on a channel.

        `action` is `subscribe`, `publish`, `history` or `presence`; another raises `ValueError`.
        `channel` is the name that the hub takes: without the slashes at the ends of a URL's path,
        and without percent-encoding.
        """
        return self.ruling(action, channel).is_allowed

    def ruling(self, action: str, channel: str) -> Ruling:
        """Return whether an action is allowed on a channel, and the rule that says so.

        Raises `ValueError` as `may` does.
        """
        try:
            asked = Action(action)
        except ValueError:
            known = ", ".join(Action)
            raise ValueError(f"{action!r} is no action; give one of {known}") from None
        if self._rules is None:
            return _ANYTHING
        try:
            check_name(channel)
        except ChannelNameError:
            # A behaviour may ask for whatever its client sends. The rules remember names.
            return _NO_CHANNEL
        return self._rules.ruling(asked, channel, self.user, self._claims, self._subscribed)


UNRESTRICTED = Permissions()
"""The permissions of each connection without `--auth`."""
