"""Clients that listen, are cut off, read nothing for a while, and come back.

They are those of the package `websockets`, which shares no code with the service.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import random
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.typing import Subprotocol

from .ledger import Ear, Ledger, Message, Outcome, Stream
from .processes import Node
from .publishers import Clock

SUBPROTOCOL = Subprotocol("wsservice.v1")

_AGAIN = (0.05, 0.5)
"""Seconds until a client connects again, from and to."""

_PATIENCE = 15.0
"""Seconds that an opening handshake may take: a node that stands still does so for less."""

_IN_ORDER = frozenset({1000, 1001, 1005, 1006, 1013})
"""Codes that a connection may end with: the others say that somebody made a mistake."""

_RESET = struct.pack("ii", 1, 0)


class Client(abc.ABC):
    """One that connects, to one node or another, again and again."""

    def __init__(
        self,
        name: str,
        nodes: Sequence[Node],
        channels: Sequence[str],
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self.name = name
        self._nodes = nodes
        self._channels = channels
        self._ledger = ledger
        self._clock = clock
        self._dice = random.Random(name)
        self._connection: ClientConnection | None = None
        self._stalled_until = 0.0
        self.connections = 0

    #: The ear for each channel, while it is connected.
    ears: dict[str, Ear] = {}

    @property
    def is_connected(self) -> bool:
        """True if its connection is open."""
        return self._connection is not None

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            node = self._dice.choice(self._nodes)
            with contextlib.suppress(OSError, InvalidHandshake, InvalidMessage, EOFError):
                await self._listen(node)
            await asyncio.sleep(self._dice.uniform(*_AGAIN))

    def cut(self) -> None:
        """End its connection with a reset."""
        if self._connection is None:
            return
        transport = self._connection.transport
        end = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    def stall(self, until: float) -> None:
        """Have it read nothing until some time."""
        self._stalled_until = max(self._stalled_until, until)

    async def _listen(self, node: Node) -> None:
        async with connect(
            f"ws://127.0.0.1:{node.port}{self._target()}",
            subprotocols=self._subprotocols,
            compression=None,
            ping_interval=None,
            open_timeout=_PATIENCE,
            close_timeout=1,
            max_queue=16,
            proxy=None,
        ) as connection:
            self.connections += 1
            self._opened(node)
            self._connection = connection
            try:
                async for text in self._messages(connection):
                    self._came(text)
            except ConnectionClosed as closed:
                self._closed(node, closed)
            finally:
                self._connection = None

    async def _messages(self, connection: ClientConnection) -> AsyncIterator[str]:
        while True:
            if (wait := self._stalled_until - self._clock()) > 0:
                await asyncio.sleep(wait)
            yield str(await connection.recv())

    def _closed(self, node: Node, closed: ConnectionClosed) -> None:
        code = 1006 if closed.rcvd is None else closed.rcvd.code
        began_here = closed.sent is not None and not closed.rcvd_then_sent
        if code not in _IN_ORDER or began_here:
            self._ledger.broken(
                self._clock(),
                "connections end with 1001 or 1013, or are cut",
                f"{self.name} at {node.name}: {closed}",
            )

    _subprotocols: Sequence[Subprotocol] | None = None

    def _target(self) -> str:
        path, *more = self._channels
        return f"/{path}" + "?" * bool(more) + "&".join(f"channel={quote(each)}" for each in more)

    @abc.abstractmethod
    def _opened(self, node: Node) -> None:
        """A connection is open."""

    @abc.abstractmethod
    def _came(self, text: str) -> None:
        """A message came."""


class Plain(Client):
    """One that speaks no subprotocol: each of its connections is another."""

    def _opened(self, node: Node) -> None:
        name = f"{self.name}, connection {self.connections} at {node.name}"
        self.ears = {each: Ear(name, each, resumes=False) for each in self._channels}

    def _came(self, text: str) -> None:
        channel = text.split("|", 3)[2] if text.count("|") > 2 else ""
        ear = self.ears.get(channel) or next(iter(self.ears.values()))
        self._ledger.came(ear, text, None, self._clock())


class Resuming(Client):
    """One that speaks `wsservice.v1`, and comes back for what it missed."""

    _subprotocols = [SUBPROTOCOL]

    def __init__(
        self,
        name: str,
        nodes: Sequence[Node],
        channels: Sequence[str],
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        super().__init__(name, nodes, channels, ledger, clock)
        self.ears = {each: Ear(name, each, resumes=True) for each in channels}

    def _target(self) -> str:
        path, *more = self._channels
        parts = [self._since(path)]
        for each in more:
            parts += [f"channel={quote(each)}", self._since(each)]
        query = "&".join(filter(None, parts))
        return f"/{path}?{query}" if query else f"/{path}"

    def _since(self, channel: str) -> str:
        place = self.ears[channel].place
        return "" if place is None else f"since={place[1]}&epoch={quote(place[0], safe='')}"

    def _opened(self, node: Node) -> None:
        for ear in self.ears.values():
            ear.client = f"{self.name}, connection {self.connections} at {node.name}"
        self._ledger.counts["resumptions"] += any(ear.place for ear in self.ears.values())

    def _came(self, text: str) -> None:
        now = self._clock()
        said = json.loads(text)
        ear = self.ears[said["channel"]]
        place = (said["epoch"], said["offset"]) if "offset" in said else None
        if "data" in said:
            self._ledger.came(ear, said["data"], place, now)
        elif said.get("gap"):
            self._ledger.gap(ear, place, now)
        elif said.get("joined") and place is not None:
            self._ledger.joined(ear, place, now)


class Speaker(Plain):
    """One that has a behaviour publish, one message after another, and hears them too.

    Each of its connections publishes a stream of its own: the next one may be at another worker.
    """

    _BETWEEN = (0.02, 0.2)
    _OFTEN, _MANY = 0.05, 30

    def __init__(
        self,
        name: str,
        nodes: Sequence[Node],
        channels: Sequence[str],
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        super().__init__(name, nodes, channels, ledger, clock)
        self._stream: Stream | None = None
        #: The messages without an answer yet, in the order in which they were sent.
        self._asked: deque[Message] = deque()
        self._answered = asyncio.Event()

    def _opened(self, node: Node) -> None:
        super()._opened(node)
        self._stream = self._ledger.stream(f"behaviour of {self.name}", self._channels[0])

    def _came(self, text: str) -> None:
        if not text.startswith("handed "):
            super()._came(text)
            return
        refused = text == "handed 0"
        outcome = Outcome.REFUSED if refused else Outcome.HOPED
        self._ledger.told(self._asked.popleft(), outcome, self._clock())
        if not self._asked:
            self._answered.set()

    async def _listen(self, node: Node) -> None:
        try:
            await super()._listen(node)
        finally:
            # No answer will come any more.
            self._stream = None
            while self._asked:
                self._ledger.told(self._asked.popleft(), Outcome.UNKNOWN, self._clock())
            self._answered.set()

    async def speak(self) -> None:
        """Have messages published until cancelled: one, now and then many without a pause."""
        while True:
            await asyncio.sleep(self._dice.uniform(*self._BETWEEN))
            if self._connection is None:
                continue
            self._answered.clear()
            many = self._dice.random() < self._OFTEN
            await self._say(self._connection, self._dice.randint(2, self._MANY) if many else 1)
            await self._answered.wait()

    async def _say(self, connection: ClientConnection, count: int) -> None:
        for _ in range(count):
            if self._stream is None:
                return  # the connection is over, and `_answered` is set
            message = self._ledger.publish(self._stream, self._clock())
            self._asked.append(message)
            with contextlib.suppress(ConnectionClosed):
                await connection.send(message.text)
