"""websockets on uvloop."""

from __future__ import annotations

import logging

import uvloop
from arguments import context, parse
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve


async def greeting(connection: ServerConnection) -> None:
    await connection.send("Hello from server")
    async for message in connection:
        logging.info("Message received: %s", message)


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def to_all(connection: ServerConnection) -> None:
    server: Server = connection.server
    async for message in connection:
        broadcast(server.connections, message)


async def main() -> None:
    given = parse()
    if given.log:
        logging.basicConfig(filename=given.log, format="%(asctime)s %(message)s")
        logging.getLogger().setLevel(logging.INFO)
        # Its own lines on connections are not messages.
        logging.getLogger("websockets").setLevel(logging.ERROR)
    behaviour = {"greeting": greeting, "echo": echo, "broadcast": to_all}[given.behaviour]
    async with serve(
        behaviour,
        "127.0.0.1",
        given.port,
        ssl=context(given.tls),
        compression="deflate" if given.deflate else None,
    ) as server:
        await server.serve_forever()


uvloop.run(main())
