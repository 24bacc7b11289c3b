"""The client of websockets, on uvloop: PORT CONNECTIONS DEPTH COUNT, as wsservice_client.py."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

import uvloop
from websockets.asyncio.client import ClientConnection, connect

MESSAGE = "sixteen octets.."


async def ask(connection: ClientConnection, depth: int, count: int) -> None:
    for _ in range(min(depth, count)):
        await connection.send(MESSAGE)
    left = count - min(depth, count)
    for _ in range(count):
        if await connection.recv() != MESSAGE:
            raise ValueError("a wrong answer")
        if left:
            left -= 1
            await connection.send(MESSAGE)


async def main(port: int, connections: int, depth: int, count: int) -> None:
    opened = [
        await connect(f"ws://127.0.0.1:{port}/", compression=None) for _ in range(connections)
    ]
    print(json.dumps({"open": len(opened)}), flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    share, more = divmod(count, connections)
    shares = [share + (place < more) for place in range(connections)]
    await asyncio.gather(*map(ask, opened, [depth] * connections, shares))
    seconds = time.perf_counter() - began
    print(json.dumps({"count": count, "seconds": seconds}), flush=True)
    sys.stdin.readline()


# As the load generator, it gives up by itself.
signal.alarm(60)
uvloop.run(main(*map(int, sys.argv[1:])))
