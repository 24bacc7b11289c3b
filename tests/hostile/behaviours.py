"""Behaviours that the attacked server runs, and what only it can measure of itself.

Loaded by twistd with `--protocol`. The longest turn that anything takes in the
reactor is measured in CPU time, so that a busy machine does not matter.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet import reactor

from wsservice import EchoServerProtocol, GreetingServerProtocol, ServerProtocol

from .channels import CONTROL, NEIGHBOUR


class Turns:
    """The longest turn in the reactor: one event of one descriptor, or one delayed call."""

    longest = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is measured when it is called."""

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.longest = max(self.longest, time.thread_time() - began)

        return call


def watch_the_reactor(watched: Any) -> Turns:
    """Measure all that the reactor calls."""
    turns = Turns()
    call_later = watched.callLater

    def timed_call_later(delay: float, function: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        return call_later(delay, turns.timed(function), *args, **kw)

    watched.callLater = timed_call_later
    if hasattr(watched, "_doReadOrWrite"):
        watched._doReadOrWrite = turns.timed(watched._doReadOrWrite)
    return turns


TURNS = watch_the_reactor(reactor)


class Watched(ServerProtocol):
    """Mixed into a behaviour: neighbours get their echo, tests their figures."""

    def onOpen(self) -> Any:
        if self.channel not in (CONTROL, NEIGHBOUR):
            return super().onOpen()
        return None

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        if self.channel == NEIGHBOUR:
            self.sendMessage(payload, isBinary)
            return None
        if self.channel == CONTROL:
            return self.control(payload)
        return super().onMessage(payload, isBinary)

    def control(self, asked: bytes) -> None:
        """Answer a test; "begin" forgets what was before."""
        self.sendMessage(json.dumps(self.figures(asked)).encode())
        if asked == b"begin":
            TURNS.longest = 0.0

    def figures(self, asked: bytes) -> dict[str, Any]:
        """Return the figures of the answer. A subclass may add more."""
        return {"longest": TURNS.longest, "pid": os.getpid()}


class Pauses:
    """A producer that only counts what it is told."""

    def __init__(self, told: Counter[str]) -> None:
        self._told = told

    def pauseProducing(self) -> None:
        self._told["pauses"] += 1

    def resumeProducing(self) -> None:
        self._told["resumes"] += 1

    def stopProducing(self) -> None:
        """Nothing."""


class Push(Watched, ServerProtocol):  # type: ignore[misc]
    """Sends as much as it is asked for, whatever it is told; closes when asked."""

    told: ClassVar[Counter[str]] = Counter()

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        asked = payload.split()
        if self.channel in (CONTROL, NEIGHBOUR):
            return super().onMessage(payload, isBinary)
        if asked[0] == b"push":
            self.registerProducer(Pauses(self.told), True)
            self.push(0, int(asked[1]), int(asked[2]))
        elif asked[0] == b"fill":
            self.fill(int(asked[1]))
        elif asked[0] == b"close":
            self.sendClose(1000)
        elif asked[0] == b"end":
            self.sendMessage(b"end")
        return None

    def push(self, number: int, count: int, size: int) -> None:
        """Send the messages from a number on, some in each turn."""
        last = min(count, number + 8)
        for each in range(number, last):
            self.told[self.sendMessage(each.to_bytes(8, "big") + bytes(size - 8), True).value] += 1
        if last < count:
            reactor.callLater(0, self.push, last, count, size)
        else:
            self.told["done"] = 1

    def fill(self, size: int) -> None:
        """Send until a message waits, and the kernel takes no more."""
        if self._queue.paused and self._queue.octets > 2 * size:
            self.told["done"] = 1
            return
        # Else the kernel takes more with each acknowledgement that comes in.
        self.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        for _ in range(3):
            self.sendMessage(bytes(size), True)
        reactor.callLater(0.05, self.fill, size)

    def figures(self, asked: bytes) -> dict[str, Any]:
        return {**super().figures(asked), "told": dict(self.told)}


class Echo(Watched, EchoServerProtocol):  # type: ignore[misc]
    """The echo behaviour."""


class Publishing(Watched, ServerProtocol):  # type: ignore[misc]
    """Publishes what it is told, on the channel that it was told on."""

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        if self.channel in (CONTROL, NEIGHBOUR):
            return super().onMessage(payload, isBinary)
        self.factory.hub.publish(self.channel, payload, isBinary)
        return None


class Greeting(Watched, GreetingServerProtocol):  # type: ignore[misc]
    """The greeting behaviour."""
