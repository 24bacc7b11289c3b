"""Callers that publish one message after another, each at one node."""

from __future__ import annotations

import abc
import asyncio
import json
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from wsservice import publisher
from wsservice.errors import NotAcceptedError, NotAnsweredError, NotReachedError, PublishError

from .asking import Line
from .ledger import Ledger, Message, Outcome, Stream
from .processes import Node

_BETWEEN = (0.01, 0.1)
"""Seconds from an answer to the next message, from and to."""

_SHARES = (12, 4, 1)
"""The shares of the channels in what is published."""

_OFTEN, _MANY = 0.05, 30
"""The probability of many messages in one request, and their largest number."""

_AFTER_REFUSAL = 0.2
"""Seconds more after a refusal."""

_PATIENCE = 8.0
"""Seconds that a caller by HTTP waits: longer than the service takes to know, 4."""

Clock = Callable[[], float]


class Publisher(Protocol):
    """A publisher, as the stage uses it."""

    async def run(self) -> None:
        """Publish until cancelled."""

    async def publish(self, stream: Stream) -> Message:
        """Publish one message, and return it with its outcome."""

    @property
    def streams(self) -> Sequence[Stream]:
        """The streams that it publishes now, one for each channel."""


class _Caller(abc.ABC):
    """The common part of callers of all kinds."""

    def __init__(
        self, name: str, node: Node, channels: Sequence[str], ledger: Ledger, clock: Clock
    ) -> None:
        self.name = name
        self._node = node
        self._ledger = ledger
        self._clock = clock
        self._dice = random.Random(name)
        self.streams: Sequence[Stream] = [ledger.stream(name, each) for each in channels]

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            if self._dice.random() < _OFTEN:
                message = await self._publish_many()
            else:
                message = await self.publish(self._chosen())
            await asyncio.sleep(self._dice.uniform(*_BETWEEN))
            if message.outcome is Outcome.REFUSED:
                await asyncio.sleep(_AFTER_REFUSAL)

    def _chosen(self) -> Stream:
        """Return the first stream nearly always: of other channels, each message counts more."""
        return self._dice.choices(self.streams, _SHARES)[0]

    async def publish(self, stream: Stream) -> Message:
        """Publish one message, and return it with its outcome."""
        message = self._ledger.publish(stream, self._clock())
        outcome = Outcome.UNKNOWN  # also where this is cancelled
        try:
            outcome = await self._outcome(stream.channel, message.text)
        finally:
            self._ledger.told(message, outcome, self._clock())
        return message

    @abc.abstractmethod
    async def _outcome(self, channel: str, text: str) -> Outcome:
        """Publish a message, and return what is said of it."""

    async def _publish_many(self) -> Message:
        """Publish messages in one request, and return the last of them."""
        count = self._dice.randint(2, _MANY)
        streams = [self._chosen() for _ in range(count)]
        messages = [self._ledger.publish(each, self._clock()) for each in streams]
        outcome = Outcome.UNKNOWN
        try:
            outcome = await self._outcome_of(
                [(each.stream.channel, each.text) for each in messages]
            )
        finally:
            for each in messages:
                self._ledger.told(each, outcome, self._clock())
        return messages[-1]

    @abc.abstractmethod
    async def _outcome_of(self, messages: Sequence[tuple[str, str]]) -> Outcome:
        """Publish messages in one request, and return what is said of all of them."""

    def _unexpected(self, what: str) -> Outcome:
        self._ledger.broken(
            self._clock(), "an answer is one of those documented", f"{self.name}: {what}"
        )
        return Outcome.UNKNOWN


class HttpCaller(_Caller):
    """Publishes by `POST /publish/CHANNEL` on a node's admin face."""

    def __init__(
        self, name: str, node: Node, channels: Sequence[str], ledger: Ledger, clock: Clock
    ) -> None:
        super().__init__(name, node, channels, ledger, clock)
        self._line = Line(node.admin)

    async def _outcome(self, channel: str, text: str) -> Outcome:
        return await self._asked(f"/publish/{channel}", text)

    async def _outcome_of(self, messages: Sequence[tuple[str, str]]) -> Outcome:
        lines = [json.dumps({"channel": channel, "data": text}) for channel, text in messages]
        return await self._asked("/publish", "\n".join(lines))

    async def _asked(self, path: str, body: str) -> Outcome:
        try:
            status, said = await self._line.ask("POST", path, body, _PATIENCE)
        except ConnectionRefusedError:
            return Outcome.REFUSED
        except (OSError, EOFError):  # TimeoutError too
            return Outcome.UNKNOWN
        match status:
            case 200 | 202:
                return Outcome.ACCEPTED
            case 503:
                return Outcome.REFUSED
            case 504:
                return Outcome.LATE
        return self._unexpected(f"{status} {said[:200]}")


class LibraryCaller(_Caller):
    """Publishes by `wsservice.publisher`, in a thread each time."""

    def __init__(
        self, name: str, node: Node, channels: Sequence[str], ledger: Ledger, clock: Clock
    ) -> None:
        super().__init__(name, node, channels, ledger, clock)
        self._publisher = publisher.Publisher(f"http://127.0.0.1:{node.admin}")

    async def _outcome(self, channel: str, text: str) -> Outcome:
        # By the function, which finds its own publisher; many by one of ours.
        url = f"http://127.0.0.1:{self._node.admin}"
        return await self._called(partial(publisher.publish, channel, text, url=url))

    async def _outcome_of(self, messages: Sequence[tuple[str, str]]) -> Outcome:
        return await self._called(partial(self._publisher.publish_many, messages))

    async def _called(self, publish: Callable[[], object]) -> Outcome:
        try:
            await asyncio.to_thread(publish)
        except NotReachedError:
            return Outcome.REFUSED
        except NotAcceptedError as error:
            if error.status == 503:
                return Outcome.REFUSED
            return self._unexpected(str(error))
        except NotAnsweredError as error:
            return Outcome.LATE if " 504" in str(error) else Outcome.UNKNOWN
        except PublishError as error:
            return self._unexpected(str(error))
        return Outcome.ACCEPTED
