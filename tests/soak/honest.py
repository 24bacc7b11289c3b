"""Acts of clients that keep to the rules: none of them may fail."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ..chaos.asking import Line
from .members import member
from .world import PATIENCE, ROOMS, World, connected, unspoiled

Doing = Callable[[World, random.Random, float], Awaitable[None]]
"""Does an act: in a world, by dice, for some seconds."""

_TRY_AGAIN_LATER = 1013

_WINDOW = 4096
"""Octets of the receive buffer of a slow reader."""


def _payload(dice: random.Random, most: int = 20_000) -> str | bytes:
    size = min(most, int(dice.expovariate(1 / 400)) + 1)
    if dice.random() < 0.05:
        size = dice.randint(1, most)
    if dice.random() < 0.5:
        return dice.randbytes(size)
    return (f"é {dice.random()} " * (size // 10 + 1))[:size]


async def _visit(world: World, dice: random.Random, _seconds: float) -> None:
    async with world.connect(f"/echo-{dice.randrange(50)}", dice) as connection:
        for _ in range(dice.randint(1, 12)):
            said = _payload(dice)
            await connection.send(said)
            if await connection.recv() != said:
                raise AssertionError("an echo differs from what was said")
            await asyncio.sleep(dice.uniform(0, 0.3))
    unspoiled(connection)


async def _stay(world: World, dice: random.Random, seconds: float) -> None:
    async with world.connect("/echo-idle", dice) as connection:
        await asyncio.sleep(seconds)
    unspoiled(connection)


async def _slow(world: World, dice: random.Random, _seconds: float) -> None:
    narrow = await connected(world.service.port, window=_WINDOW)
    messages = [dice.randbytes(20_000) for _ in range(20)]
    try:
        async with world.connect("/echo-slow", dice, narrow=narrow) as connection:
            sending = asyncio.ensure_future(_send_all(connection, messages))
            try:
                for each in messages:
                    if await connection.recv() != each:
                        raise AssertionError("an echo differs from what was said")
                    await asyncio.sleep(dice.uniform(0.05, 0.15))
                await sending
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        unspoiled(connection)
    except ConnectionClosed as closed:
        # The promise while a crowd takes all the memory for messages.
        if closed.rcvd is None or closed.rcvd.code != _TRY_AGAIN_LATER:
            raise
        world.tally.given_up += 1


async def _send_all(connection: ClientConnection, messages: list[bytes]) -> None:
    for each in messages:
        await connection.send(each)


def _taken(answer: tuple[int, str]) -> None:
    status, body = answer
    if status not in (200, 202):
        raise AssertionError(f"publishing was answered with {status} {body[:200]}")


async def _publish(world: World, dice: random.Random, _seconds: float) -> None:
    line = Line(world.service.admin)
    try:
        for _ in range(dice.randint(1, 6)):
            path = f"/publish/{dice.choice(ROOMS)}"
            body = "x" * int(dice.expovariate(1 / 300))
            _taken(await world.ask_on(line, "POST", path, body))
            await asyncio.sleep(dice.uniform(0.1, 0.5))
    finally:
        line.close()


async def _publish_many(world: World, dice: random.Random, _seconds: float) -> None:
    lines = (
        json.dumps({"channel": dice.choice(ROOMS), "data": f"one of many, {number}"})
        for number in range(dice.randint(2, 40))
    )
    _taken(await world.ask(world.service.admin, "POST", "/publish", "\n".join(lines)))


async def _publish_once(world: World, dice: random.Random, _seconds: float) -> None:
    path = f"/publish/{quote(f'once {dice.randrange(10**9)}')}"
    _taken(await world.ask(world.service.admin, "POST", path, "x" * dice.randint(1, 2000)))


async def _expect(world: World, port: int, path: str, status: int, headers: str = "") -> str:
    got, body = await world.ask(port, "GET", path, headers=headers)
    if got != status:
        raise AssertionError(f"GET {path} was answered with {got} {body[:200]}")
    return body


async def _page(world: World, _dice: random.Random, _seconds: float) -> None:
    port = world.service.port
    if "<html" not in await _expect(world, port, "/", 200, "Accept: text/html\r\n"):
        raise AssertionError("the page is no page")
    await _expect(world, port, "/health", 200)
    await _expect(world, port, "/room-1", 426)


async def _admin(world: World, _dice: random.Random, _seconds: float) -> None:
    for path in ("/", "/healthz", "/readyz", "/connections?limit=1000", "/channels"):
        await _expect(world, world.service.admin, path, 200)


async def _trace(world: World, dice: random.Random, seconds: float) -> None:
    text = await _expect(world, world.service.admin, "/connections?limit=20", 200)
    chosen = json.loads(text)["connections"]
    if not chosen:
        return
    number = dice.choice(chosen)["id"]
    reader, writer = await asyncio.open_connection("127.0.0.1", world.service.admin)
    try:
        writer.write(
            f"GET /connections/{number}/trace HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        status = int((await reader.readline()).split()[1])
        # The connection may be over by now, or not open yet.
        if world.counted((status, ""))[0] not in (200, 404, 409):
            raise AssertionError(f"a trace was answered with {status}")
        if status == 200:
            reading = asyncio.ensure_future(_read_all(reader))
            await asyncio.sleep(seconds)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    finally:
        writer.transport.abort()


async def _read_all(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def _reload(world: World, _dice: random.Random, _seconds: float) -> None:
    await world.service.reload(PATIENCE)


async def _reopen(world: World, _dice: random.Random, _seconds: float) -> None:
    await world.service.reopen(PATIENCE)


ACTS: dict[str, Doing] = {
    "visit": _visit,
    "stay": _stay,
    "member": member,
    "slow": _slow,
    "publish": _publish,
    "publish-many": _publish_many,
    "publish-once": _publish_once,
    "page": _page,
    "admin": _admin,
    "trace": _trace,
    "reload": _reload,
    "reopen": _reopen,
}
"""The functions of the kinds of act."""
