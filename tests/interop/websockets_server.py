"""A server on Python's `websockets`; prints its port, then how each connection was closed.

python websockets_server.py [echo|numbers|close CODE|refuse]

`echo` answers every message with itself, `numbers` counts for ever, `close` says
goodbye with a code as soon as somebody has said something, `refuse` answers 401.
"""

from __future__ import annotations

import asyncio
import http
import itertools
import sys
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

ROLE, *REST = sys.argv[1:] or ["echo"]


async def talk(connection: ServerConnection) -> None:
    try:
        if ROLE == "numbers":
            for number in itertools.count():
                await connection.send(str(number))
                await asyncio.sleep(0)  # else nothing is read while we take it all
        async for message in connection:
            if ROLE == "close":
                await connection.close(int(REST[0]), "as asked")
            else:
                await connection.send(message)
    except ConnectionClosed:
        pass
    await connection.wait_closed()
    say(f"closed: {connection.close_code} {connection.close_reason}")


def refuse(connection: ServerConnection, _request: Any) -> Any:
    if ROLE == "refuse":
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "who are you?\nsecond line\n")
    return None


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main() -> None:
    async with serve(talk, "127.0.0.1", 0, process_request=refuse) as server:
        say(f"listening on {server.sockets[0].getsockname()[1]}")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
