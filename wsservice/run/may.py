"""Print what a user may do on a channel, for `twistd wsdemo --may`. PURE."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ..auth.action import Action
from ..auth.claims import ChannelClaims, ClaimError
from ..auth.contract import User
from ..auth.permissions import Permissions
from ..auth.rules import ChannelRules
from ..channels.keeping import Keeps
from ..channels.query import LONGEST, has_control, is_too_long
from ..config.config import Config
from ..errors import ConfigError
from ..escape import quote

NOT_JUDGED = "without --auth the service judges nobody: give it, such as --auth tokens:FILE"


@attrs.define
class MayQuestion:
    """The question of a command line: a user, "" for the anonymous, a channel, and claims."""

    user: str
    channel: str | None = None
    claims: str = "{}"

    def answer(self, config: Config) -> tuple[str, bool]:
        """Return the answer, as lines, and True if the user may subscribe.

        A user that may subscribe counts as subscribed for the rest. Raises `ConfigError`.
        """
        channel, user = self._channel(), self._user()
        try:
            claims = ChannelClaims.of({} if user is None else user.claims)
        except ClaimError as error:
            raise ConfigError(f"--may-claims: {error}") from None
        rules = ChannelRules(config.channels)
        outside = Permissions(rules, user, claims)
        may = outside.may(Action.SUBSCRIBE, channel)
        inside = Permissions(rules, user, claims, (channel,) if may else ())
        lines = [*_head(rules, user, channel), *_verdicts(inside, channel), _kept(config, channel)]
        if not config.auth:
            lines.append(NOT_JUDGED)
        return "".join(f"{line}\n" for line in lines), may

    def _channel(self) -> str:
        if self.channel is None:
            raise ConfigError("--may: a channel is missing; give --may USER CHANNEL")
        name = self.channel.strip("/")
        if is_too_long(name) or has_control(name):
            raise ConfigError(
                f"--may: the channel is not allowed; give at most {LONGEST} octets without control"
                " characters"
            )
        return name

    def _user(self) -> User | None:
        claims = self._claims()
        if not self.user:
            if claims:
                raise ConfigError("--may-claims: is not allowed for the anonymous; give a user")
            return None
        try:
            return User(self.user, claims)
        except ValueError as error:
            raise ConfigError(f"--may: {error}") from None

    def _claims(self) -> Mapping[str, Any]:
        try:
            claims = json.loads(self.claims)
        except (ValueError, RecursionError):
            claims = None
        if not isinstance(claims, dict):
            raise ConfigError(
                "--may-claims: is no object in JSON; give the claims of a token, such as"
                """ '{"channels": ["news"]}'"""
            )
        return claims


def _head(rules: ChannelRules, user: User | None, channel: str) -> Iterator[str]:
    who = "the anonymous" if user is None else f"user {quote(user.id)}"
    yield f"{who}, channel {quote(channel)}"
    found = rules.find(channel, "" if user is None else user.id)
    if found is not None:
        yield f"rule {found.number}: match = {quote(found.rule.match)}"


def _verdicts(permissions: Permissions, channel: str) -> Iterator[str]:
    for action in Action:
        ruling = permissions.ruling(action, channel)
        yield f"{action:<9}  {'yes' if ruling.is_allowed else 'no':<3}  {ruling.why}"


def _kept(config: Config, channel: str) -> str:
    size, seconds = Keeps.of(config).of_channel(channel)
    if not size:
        return "kept       nothing"
    age = f"for {seconds:g} s" if seconds else "of any age"
    return f"kept       {size} messages {age}"
