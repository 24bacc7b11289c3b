"""What a request to publish says, and publishing it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ..channels import channel_of
from ..errors import NotPublishedError, PublishError, UncertainError
from .exchange import Answer, Asked, as_json, problem
from .listing import WrongError

_BINARY = "application/octet-stream"

MOST_LINES = 10_000
"""Messages in one request."""

_AT_ONCE = 0.01
"""Seconds that are spent on the messages of a request before the others have their turn."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What no channel's name has."""

_NOT_NOW, _NOT_KNOWN = 503, 504
"""What is answered where a message was published to nobody, and where that is not known."""

_RETRY_AFTER = ("Retry-After", "1")

_LINE = 'give such as {"channel": "news", "data": "hello"}, or data64 for a binary message'


class Delivery(NamedTuple):
    """What became of a message, or of several."""

    handed: int = 0
    """To how many connections it was handed."""
    dropped: int = 0
    """How often the slow-client policy closed a connection for it, or left out older messages."""
    is_whole: bool = True
    """Whether that is all: it is not where the message is still on its way to other processes."""
    nodes: int | None = None
    """How many nodes have connections that it is for, where nodes meet and that is known."""

    def plus(self, other: Delivery) -> Delivery:
        """The sum of both."""
        return Delivery(
            self.handed + other.handed,
            self.dropped + other.dropped,
            self.is_whole and other.is_whole,
            max((each for each in (self.nodes, other.nodes) if each is not None), default=None),
        )


class Publication(NamedTuple):
    """A message, and where it is to go."""

    channel: str
    payload: bytes
    is_binary: bool


Deliver = Callable[[str, bytes, bool], Deferred[Delivery]]
"""Publishes at once: a channel, a payload, and whether it is binary. What it came to may be
known later."""


def message_of(asked: Asked) -> tuple[bytes, bool]:
    """The message that a request's body is, and whether it is binary. Raises `WrongError`."""
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


def publications_of(body: bytes) -> list[Publication]:
    """The messages of lines of JSON, all of them. Raises `WrongError`, which names the line."""
    lines = body.split(b"\n")
    if len(lines) > MOST_LINES + (not lines[-1].strip()):
        raise WrongError(f"there are too many lines; give at most {MOST_LINES}")
    given = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue  # as the end of the last one
        try:
            given.append(_publication(line))
        except WrongError as error:
            raise WrongError(f"line {number}: {error}; {_LINE}") from None
    if not given:
        raise WrongError(f"there is no line; {_LINE}")
    return given


def _publication(line: bytes) -> Publication:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise WrongError("is no JSON") from None
    if not isinstance(said, dict):
        raise WrongError("is no object")
    if said.keys() not in ({"channel", "data"}, {"channel", "data64"}):
        raise WrongError("has other members than a channel, and one of data and data64")
    if not all(isinstance(each, str) for each in said.values()):
        raise WrongError("has a member that is no string")
    return Publication(_named(said["channel"]), *_data(said))


def _named(channel: str) -> str:
    if _CONTROL.search(_utf8(channel)):
        raise WrongError("its channel has a control character")
    return channel.strip("/")


def _data(said: dict[str, str]) -> tuple[bytes, bool]:
    if "data" in said:
        return _utf8(said["data"]).encode(), False
    try:
        return base64.b64decode(said["data64"], validate=True), True
    except (ValueError, binascii.Error):
        raise WrongError("its data64 is no base64") from None


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise WrongError("has text that UTF-8 cannot have") from None
    return text


class Publishing:
    """Publishes what requests say.

    `deliver` publishes one message. Of many, those that were sent in one go leave
    together, by `together`.
    """

    def __init__(self, deliver: Deliver, together: Callable[[], Any], reactor: Any) -> None:
        self._deliver = deliver
        self._together = together
        self._reactor = reactor

    async def one(self, asked: Asked, path: str) -> Answer:
        """Publish the body on the channel of a path. Raises `WrongError`."""
        payload, is_binary = message_of(asked)
        try:
            return answered(await self._deliver(channel_of(path), payload, is_binary))
        except NotPublishedError as error:
            return problem(_NOT_NOW, str(error), _RETRY_AFTER)
        except UncertainError as error:
            return problem(_NOT_KNOWN, str(error))

    async def many(self, asked: Asked) -> Answer:
        """Publish each line of the body. Raises `WrongError`, and publishes nothing then.

        Where one cannot be published, those that were not tried yet are not.
        """
        given = publications_of(asked.body)
        total = Delivery()
        failed: list[PublishError] = []
        position = 0
        while position < len(given) and not failed:
            if position:
                await deferLater(self._reactor, 0, lambda: None)
            until = self._reactor.seconds() + _AT_ONCE
            outcomes: list[Deferred[Delivery]] = []
            with self._together():
                while position < len(given) and self._reactor.seconds() <= until:
                    outcomes.append(self._deliver(*given[position]))
                    position += 1
            for each in outcomes:
                try:
                    total = total.plus(await each)
                except (NotPublishedError, UncertainError) as error:
                    failed.append(error)
        if failed:
            return _in_part(len(given), position, failed)
        return answered(total, messages=len(given))


def _in_part(messages: int, tried: int, failed: list[PublishError]) -> Answer:
    """The answer where some of several messages, or all, were not published."""
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


def answered(delivery: Delivery, **more: int) -> Answer:
    """The answer that says what became of it."""
    said = {**more, "handed": delivery.handed, "dropped": delivery.dropped}
    if delivery.nodes is not None:
        said["nodes"] = delivery.nodes
    return as_json(200 if delivery.is_whole else 202, said)
