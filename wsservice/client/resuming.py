"""Resume after a lost connection: the client's side of the subprotocol `wsservice.v1`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import attrs

from ..channels.envelopes import SUBPROTOCOL, EnvelopeError, Opened, opened
from ..channels.query import ChannelError, Position, asked_for, channel_of
from ..config.close_codes import CloseCode
from ..protocol.fragments import TOO_BIG
from .options import ClientConfig

NOT_SPOKEN = f"the server does not speak {SUBPROTOCOL}: missed messages are lost"
"""The warning for `not_spoken`."""

_OVERHEAD = 16 * 1024
"""The most octets of an envelope besides its payload."""

_EXPANSION = 6
"""The most octets that JSON makes of one octet."""


class Resuming:
    """Track the position in each channel's messages, and ask for later ones.

    `missed(channel)` is called if missed messages are gone, and `not_spoken()` if the server does
    not speak the subprotocol, so that nothing is known of missed messages.
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
            self._channels = ()  # the server refuses the name, and says why
        else:
            self._channels += asked.channels
            self._places.update(asked.since)

    @property
    def config(self) -> ClientConfig:
        """The settings of the next connection, which ask for missed messages."""
        if not self._places:
            return self._config
        url = self._config.url.removesuffix(self._query).removesuffix("?")
        return attrs.evolve(self._config, url=f"{url}?{self._asking()}")

    def connected(self, connection: Any) -> None:
        """Check that the new connection speaks the subprotocol."""
        if connection.websocket_protocol_in_use != SUBPROTOCOL:
            self._not_spoken()

    def take(self, text: bytes, is_binary: bool) -> Opened | None:
        """Return the message in an envelope; None if it holds no message, or one that came before.

        Raises `EnvelopeError`.
        """
        if is_binary:
            raise EnvelopeError("a binary message is not an envelope")
        envelope = opened(text)
        if envelope.channel in self._channels and not self._move(envelope):
            return None
        return None if envelope.payload is None else envelope

    def _move(self, envelope: Opened) -> bool:
        """Store a channel's position. Return False if the message came before."""
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
        """Return the query that asks for messages after the current positions."""
        left = dict(self._places)
        parts = [_at(left.pop(self._channel, None))]
        for part in self._query.split("&"):
            key = part.partition("=")[0]
            # The last messages came with the first connection; a server refuses both together.
            if key in ("since", "epoch", "history"):
                continue
            parts.append(part)
            if key == "channel":
                for name in asked_for(part, "", False).channels:
                    parts.append(_at(left.pop(name, None)))
        return "&".join(filter(None, parts))


def _speaking(config: ClientConfig) -> ClientConfig:
    """Return settings that offer the subprotocol, and leave room for envelopes."""
    offered = dict.fromkeys((*config.subprotocols, SUBPROTOCOL))
    largest = config.max_message_size
    return attrs.evolve(
        config,
        subprotocols=tuple(offered),
        max_message_size=largest and _EXPANSION * largest + _OVERHEAD,
    )


def _is_hole(place: Position, position: Position, same: bool, is_message: bool) -> bool:
    """Return True if messages between two positions are missing without a notice."""
    if is_message:
        # The first message of an epoch follows any position of an earlier one.
        return position.offset != (place.offset + 1 if same else 1)
    return place != position


def _at(position: Position | None) -> str:
    if position is None:
        return ""
    return f"since={position.offset}&epoch={quote(position.epoch, safe='')}"


class Unwrapping:
    """Take messages out of their envelopes. Mix in before a behaviour."""

    # Autobahn's
    websocket_protocol_in_use: str | None
    fail_connection: Callable[[int, str], None]

    _resuming: Resuming

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        if self.websocket_protocol_in_use == SUBPROTOCOL:
            try:
                envelope = self._resuming.take(payload, isBinary)
            except EnvelopeError as error:
                self.fail_connection(CloseCode.INVALID_PAYLOAD, str(error))
                return None
            if envelope is None or envelope.payload is None:
                return None
            payload, isBinary = envelope.payload, envelope.is_binary  # noqa: N806 - Autobahn's name
        if 0 < self._resuming.max_message_size < len(payload):
            self.fail_connection(CloseCode.TOO_BIG, TOO_BIG)
            return None
        return super().onMessage(payload, isBinary)  # type: ignore[misc]
