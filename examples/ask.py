"""Ask a server, and print what it answers: python ask.py URL TEXT"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from wsservice.client import connect


async def ask(reactor: Any, url: str, question: str) -> None:
    async with await connect(url, reactor=reactor) as connection:
        await connection.send(question)
        print(await connection.recv())
        print(f"a round trip takes {await connection.ping():.6f} s", file=sys.stderr)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(ask(reactor, *sys.argv[1:3])))
