"""This project's client: PORT CONNECTIONS DEPTH COUNT.

Each connection keeps DEPTH messages in flight, until COUNT were answered. It
talks as the load generator does with --pause: a line when all is open, one in
to begin, one out with the result, and the end of input to end.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from wsservice.client import ClientProtocol, connect

MESSAGE = b"sixteen octets.."


class Run:
    """The state that all connections share."""

    def __init__(self, count: int) -> None:
        self.count = self.left = count
        self.answered = 0
        self.done: Deferred[None] = Deferred()


class Asking(ClientProtocol):
    run: Run

    def ask(self) -> None:
        if self.run.left:
            self.run.left -= 1
            self.sendMessage(MESSAGE)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if payload != MESSAGE:
            raise ValueError("a wrong answer")
        self.run.answered += 1
        if self.run.answered == self.run.count:
            self.run.done.callback(None)
        self.ask()


async def measure(reactor: Any, port: str, connections: str, depth: str, count: str) -> None:
    run = Run(int(count))
    opened = []
    for _ in range(int(connections)):
        connection = await connect(f"ws://127.0.0.1:{port}/", Asking)
        connection.run = run
        opened.append(connection)
    print(json.dumps({"open": len(opened)}), flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    for connection in opened:
        for _ in range(int(depth)):
            connection.ask()
    await run.done
    seconds = time.perf_counter() - began
    print(json.dumps({"count": run.answered, "seconds": seconds}), flush=True)
    sys.stdin.readline()


# As the load generator, it gives up by itself.
signal.alarm(60)
react(lambda reactor: Deferred.fromCoroutine(measure(reactor, *sys.argv[1:])))
