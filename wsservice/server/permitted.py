"""What a connection may do on channels: judged in the opening handshake, and for its behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..auth.action import Action
from ..auth.claims import NOTHING, ChannelClaims, ClaimError
from ..auth.contract import User
from ..auth.permissions import UNRESTRICTED, Permissions
from ..auth.refusals import FORBIDDEN
from ..channels.query import check_name
from ..http.refusal import Refusal


def forbidden_by(permissions: Permissions, channels: tuple[str, ...]) -> Refusal | None:
    """Return the refusal of the first channel that a connection may not subscribe to, or None."""
    for channel in channels:
        ruling = permissions.ruling(Action.SUBSCRIBE, channel)
        if not ruling.is_allowed:
            who = "the anonymous" if permissions.user is None else "this user"
            return Refusal(
                403,
                f"{who} may not subscribe to the channel",
                shown=f'"{channel}"',
                is_told=True,
                kind=FORBIDDEN,
                for_operator=ruling.why,
            )
    return None


def _claims_of(user: User | None) -> ChannelClaims:
    return NOTHING if user is None else ChannelClaims.of(user.claims)


class Permitted:
    """A connection with permissions. A mixin."""

    factory: Any
    user: User | None
    channel: str

    # On the class: few connections have claims on channels. The user is the one whose they are.
    _claims: ChannelClaims = NOTHING
    _claimant: User | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the connection. To be overridden."""
        raise NotImplementedError

    @property
    def permissions(self) -> Permissions:
        """What the connection may do: `self.permissions.may("publish", channel)`.

        Rules and the claims of `self.user` decide, as they are now: see docs/rules.md. `onConnect`
        may ask already. A behaviour may allow less, and must not do for a client what this denies.
        """
        rules = self.factory.channel_rules
        if rules is None:
            return UNRESTRICTED
        return Permissions(rules, self.user, self._claimed(), self.channels)

    def _claimed(self) -> ChannelClaims:
        """Return what the claims of the user say. Raises `ClaimError`."""
        user = self.user
        if user is not self._claimant:
            self._claims, self._claimant = _claims_of(user), user
        return self._claims

    def _is_forbidden(self) -> bool:
        """Refuse the handshake if the connection may not be on its channels, and return True.

        Raises `ChannelNameError` for a name that is too long.
        """
        for channel in self.channels:
            check_name(channel)  # onConnect may have given it another
        if self.factory.channel_rules is None:
            return False
        refusal = self._objection_to(self.user)
        if refusal is not None:
            self._refuse(refusal)
        return refusal is not None

    def _objection_to(self, user: User | None) -> Refusal | None:
        """Return why a user may not be on the connection's channels, or None."""
        rules, channels = self.factory.channel_rules, self.channels
        if rules is None:
            return None
        try:
            claims = self._claimed() if user is self.user else _claims_of(user)
        except ClaimError as error:
            # A good credential all the same: a client that gets 401 would come with it again.
            return Refusal(403, str(error), "have the token made anew", kind=FORBIDDEN)
        return forbidden_by(Permissions(rules, user, claims, channels), channels)

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse the opening handshake. To be overridden."""
        raise NotImplementedError

    def _not_told(self, channels: Iterable[str]) -> list[str]:
        """Return the channels whose past messages the client does not get.

        They are none of its business, or nothing is kept of them.
        """
        may, keep = self.permissions.may, self.factory.hub.keep
        return [
            channel
            for channel in channels
            if not (keep(channel).size and may(Action.HISTORY, channel))
        ]
