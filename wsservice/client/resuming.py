"""Going on where a lost connection ended: the subprotocol `wsservice.v1`, this end of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import attrs

from ..channels import ChannelError, Position, asked_for, channel_of
from ..envelopes import SUBPROTOCOL, EnvelopeError, Opened, opened
from ..policy import CloseCode
from .options import ClientConfig

NOT_SPOKEN = f"the server does not speak {SUBPROTOCOL}: what is missed is lost"
"""What `not_spoken` has to say."""

_OVERHEAD = 16 * 1024
"""Octets of an envelope besides its payload, as far as we wait for them."""

_EXPANSION = 6
"""Octets that JSON makes of one, at most."""


class Resuming:
    """Knows up to where this end has each channel's messages, and asks for what comes after.

    Called are `missed(channel)` where messages were missed that are gone, and
    `not_spoken()` where a server does not speak the subprotocol, so that nothing
    can be known of that.
    """

    def __init__(
        self,
        config: ClientConfig,
        missed: Callable[[str], object],
        not_spoken: Callable[[], object],
    ) -> None:
        self._config = _speaking(config)
        #: The largest payload, in octets; 0 for any.
        self.max_message_size = config.max_message_size
        self._missed = missed
        self._not_spoken = not_spoken
        path, _, self._query = config.target.resource.partition("?")
        self._channel = channel_of(path)
        self._places: dict[str, Position] = {}
        self._channels: tuple[str, ...] = (self._channel,)
        try:
            asked = asked_for(self._query, self._channel, True)
        except ChannelError:
            self._channels = ()  # which the server will say
        else:
            self._channels += asked.channels
            self._places.update(asked.since)

    @property
    def config(self) -> ClientConfig:
        """The settings of the next connection."""
        if not self._places:
            return self._config
        url = self._config.url.removesuffix(self._query).removesuffix("?")
        return attrs.evolve(self._config, url=f"{url}?{self._asking()}")

    def connected(self, connection: Any) -> None:
        """A connection is open."""
        if connection.websocket_protocol_in_use != SUBPROTOCOL:
            self._not_spoken()

    def take(self, text: bytes, isBinary: bool) -> Opened | None:
        """What is in an envelope that came; None where that is no message, or came before.

        Raises `EnvelopeError`.
        """
        if isBinary:
            raise EnvelopeError("octets are no envelope")
        envelope = opened(text)
        if envelope.channel in self._channels and not self._move(envelope):
            return None
        return None if envelope.payload is None else envelope

    def _move(self, envelope: Opened) -> bool:
        """Take note of a channel's position; false where it is one that was passed already."""
        place, position = self._places.get(envelope.channel), envelope.position
        if position is None:
            if envelope.gap:
                self._places.pop(envelope.channel, None)
                self._missed(envelope.channel)
            return True
        is_message = envelope.payload is not None
        same = place is not None and place.epoch == position.epoch
        if is_message and same and place is not None and position.offset <= place.offset:
            return False
        self._places[envelope.channel] = position
        if envelope.gap or (place is not None and _is_hole(place, position, same, is_message)):
            self._missed(envelope.channel)
        return True

    def _asking(self) -> str:
        """A query that asks for what comes after the positions of now."""
        left = dict(self._places)
        parts = [_at(left.pop(self._channel, None))]
        for part in self._query.split("&"):
            key = part.partition("=")[0]
            if key in ("since", "epoch"):
                continue
            parts.append(part)
            if key == "channel":
                for name in asked_for(part, "", False).channels:
                    parts.append(_at(left.pop(name, None)))
        return "&".join(filter(None, parts))


def _speaking(config: ClientConfig) -> ClientConfig:
    """The settings, with the subprotocol offered, and room for envelopes."""
    offered = dict.fromkeys((*config.subprotocols, SUBPROTOCOL))
    largest = config.max_message_size
    return attrs.evolve(
        config,
        subprotocols=tuple(offered),
        max_message_size=largest and _EXPANSION * largest + _OVERHEAD,
    )


def _is_hole(place: Position, position: Position, same: bool, is_message: bool) -> bool:
    """Whether something came between two positions that was never told to be gone."""
    if is_message:
        # The first of an epoch comes after a position from before it.
        return position.offset != (place.offset + 1 if same else 1)
    return place != position


def _at(position: Position | None) -> str:
    if position is None:
        return ""
    return f"since={position.offset}&epoch={quote(position.epoch, safe='')}"


class Unwrapping:
    """Takes messages out of their envelopes. Mixed in before a behaviour."""

    # Autobahn's
    websocket_protocol_in_use: str | None
    _fail_connection: Callable[[int, str], None]
    _too_big: Callable[[], None]

    _resuming: Resuming

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        if self.websocket_protocol_in_use == SUBPROTOCOL:
            try:
                envelope = self._resuming.take(payload, isBinary)
            except EnvelopeError as error:
                self._fail_connection(CloseCode.INVALID_PAYLOAD, str(error))
                return None
            if envelope is None or envelope.payload is None:
                return None
            payload, isBinary = envelope.payload, envelope.isBinary  # noqa: N806 - Autobahn's name
        if 0 < self._resuming.max_message_size < len(payload):
            self._too_big()
            return None
        return super().onMessage(payload, isBinary)  # type: ignore[misc]
