"""Print what a server sends, for as long as it takes: python follow.py URL"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from wsservice.client import ReconnectingClient


async def follow(reactor: Any, url: str) -> None:
    async with ReconnectingClient(url, reactor=reactor) as client:
        await client.send("follow")
        async for message in client:
            print(message, flush=True)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(follow(reactor, sys.argv[1])))
