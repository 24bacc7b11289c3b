"""Parse requests to publish, and publish their messages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ..channels.message import ChannelMessage
from ..channels.outcome import Published
from ..channels.query import LONGEST, channel_of, has_control, is_too_long
from ..clock import monotonic_of
from ..errors import NotPublishedError, PublishError, UncertainError
from .exchange import AdminRequest, Answer, as_json, problem
from .queries import WrongError

_BINARY = "application/octet-stream"

MOST_LINES = 10_000
"""The most messages in one request."""

_AT_ONCE = 0.01
"""Seconds that one request may take before other events have their turn."""

_NOT_NOW, _NOT_KNOWN = 503, 504
"""Statuses for a message that surely was not published, and for one whose fate is unknown."""

_RETRY_AFTER = ("Retry-After", "1")

_LINE = 'give such as {"channel": "news", "data": "hello"}, or data64 for a binary message'


Deliver = Callable[[ChannelMessage], Deferred[Published]]
"""Publish a message, and fire with the outcome: see `Hub.deliver`."""


def message_of(asked: AdminRequest) -> tuple[bytes, bool]:
    """Return the message in a request's body, and True if it is binary. Raises `WrongError`."""
    media_type = (asked.header("content-type") or "").partition(";")[0].strip().lower()
    is_binary = media_type == _BINARY
    if not is_binary:
        try:
            asked.body.decode()
        except UnicodeDecodeError as error:
            raise WrongError(
                f"the body is not UTF-8, from octet {error.start + 1} on;"
                f" give text, or Content-Type: {_BINARY}"
            ) from None
    return asked.body, is_binary


def messages_of(body: bytes) -> list[ChannelMessage]:
    """Parse all lines of JSON into messages. Raises `WrongError`, which names the line."""
    lines = body.split(b"\n")
    if len(lines) > MOST_LINES + (not lines[-1].strip()):
        raise WrongError(f"there are too many lines; give at most {MOST_LINES}")
    given = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue  # as the end of the last one
        try:
            given.append(_message(line))
        except WrongError as error:
            raise WrongError(f"line {number}: {error}; {_LINE}") from None
    if not given:
        raise WrongError(f"there is no line; {_LINE}")
    return given


def _message(line: bytes) -> ChannelMessage:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise WrongError("is not JSON") from None
    if not isinstance(said, dict):
        raise WrongError("is not an object")
    if said.keys() not in ({"channel", "data"}, {"channel", "data64"}):
        raise WrongError("must have the members channel, and either data or data64")
    if not all(isinstance(each, str) for each in said.values()):
        raise WrongError("has a member that is not a string")
    return ChannelMessage(_named(said["channel"]), *_data(said))


def _named(channel: str) -> str:
    if has_control(_utf8(channel)):
        raise WrongError("its channel has a control character")
    name = channel.strip("/")
    if is_too_long(name):
        raise WrongError(f"its channel has more than {LONGEST} octets")
    return name


def channel_in(path: str) -> str:
    """Return the channel that a request's path names. Raises `WrongError` for a long name."""
    channel = channel_of(path)
    if is_too_long(channel):
        raise WrongError(f"the channel has more than {LONGEST} octets; give a shorter name")
    return channel


def _data(said: dict[str, str]) -> tuple[bytes, bool]:
    if "data" in said:
        return _utf8(said["data"]).encode(), False
    try:
        return base64.b64decode(said["data64"], validate=True), True
    except (ValueError, binascii.Error):
        raise WrongError("its data64 is not base64") from None


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise WrongError("has text that is not valid Unicode") from None
    return text


class Publishing:
    """Publish the messages of requests.

    `deliver` publishes one message. `together` is a context manager: messages that are published
    within it leave in few writes.
    """

    def __init__(self, deliver: Deliver, together: Callable[[], Any], reactor: Any) -> None:
        self._deliver = deliver
        self._together = together
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)

    async def one(self, asked: AdminRequest, path: str) -> Answer:
        """Publish the body on the channel of a path. Raises `WrongError` for an invalid request."""
        message = ChannelMessage(channel_in(path), *message_of(asked))
        try:
            return answered(await self._put(message))
        except NotPublishedError as error:
            return problem(_NOT_NOW, str(error), _RETRY_AFTER)
        except UncertainError as error:
            return problem(_NOT_KNOWN, str(error))

    async def many(self, asked: AdminRequest) -> Answer:
        """Publish each line of the body. Raises `WrongError`, and then publishes nothing.

        If one message cannot be published, those that were not tried yet are not published either.
        """
        given = messages_of(asked.body)
        total = Published(0, 0)
        failed: list[PublishError] = []
        position = 0
        while position < len(given) and not failed:
            if position:
                await deferLater(self._reactor, 0, lambda: None)
            until = self._monotonic() + _AT_ONCE
            outcomes: list[Deferred[Published]] = []
            with self._together():
                while position < len(given) and self._monotonic() <= until:
                    outcomes.append(self._put(given[position]))
                    position += 1
            for each in outcomes:
                try:
                    total = total.plus(await each)
                except (NotPublishedError, UncertainError) as error:
                    failed.append(error)
        if failed:
            return _in_part(len(given), position, failed)
        return answered(total, messages=len(given))

    def _put(self, message: ChannelMessage) -> Deferred[Published]:
        try:
            return self._deliver(message)
        except ValueError as error:
            raise WrongError(f"the message cannot be published: {error}") from None


def _in_part(messages: int, tried: int, failed: list[PublishError]) -> Answer:
    """Return the answer for messages of which some, or all, were not published."""
    uncertain = sum(isinstance(each, UncertainError) for each in failed)
    if len(failed) == tried and not uncertain:
        return problem(_NOT_NOW, str(failed[0]), _RETRY_AFTER)
    return as_json(
        _NOT_KNOWN,
        {
            "error": f"of {messages} messages {tried - len(failed)} were published,"
            f" and of {uncertain} it is not known; {failed[0]}",
            "messages": messages,
            "published": tried - len(failed),
            "uncertain": uncertain,
        },
    )


def answered(published: Published, **more: int) -> Answer:
    """Return the answer that reports the outcome."""
    said = {**more, "handed": published.handed, "dropped": published.dropped}
    if published.nodes is not None:
        said["nodes"] = published.nodes
    return as_json(200 if published.complete else 202, said)
