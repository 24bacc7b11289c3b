"""Members of rooms, which speak, hear themselves, leave, come back and resume."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from .world import PATIENCE, ROOMS, World, unspoiled

_STAY = (2.0, 15.0)
"""Seconds of one connection, from and to."""

_AWAY = (0.0, 1.0)
"""Seconds until the next."""

_BETWEEN = (0.5, 4.0)
"""Seconds from one thing that it says to the next."""

_CUT = 0.3
"""The part of connections that are cut off rather than closed."""


class Member:
    """A member of one or two rooms. One that resumes checks that it misses nothing."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self._world = world
        self._dice = dice
        self._resumes = dice.random() < 0.5
        self._rooms = dice.sample(ROOMS, dice.choice((1, 2)))
        #: The offset and epoch of the last message of each room.
        self._places: dict[str, tuple[int, str]] = {}
        self._said = 0
        self._name = f"{dice.randrange(10**9)}"
        self._awaited: tuple[str, asyncio.Event] = ("", asyncio.Event())

    async def run(self, seconds: float) -> None:
        """Be there for some seconds, connection after connection."""
        clock = self._world.clock
        until = clock() + seconds
        while (left := until - clock()) > 0:
            await self._once(min(left, self._dice.uniform(*_STAY)))
            await asyncio.sleep(self._dice.uniform(*_AWAY))

    async def _once(self, seconds: float) -> None:
        subprotocol = "wsservice.v1" if self._resumes else None
        cut = self._dice.random() < _CUT
        async with self._world.connect(self._target(), self._dice, subprotocol) as connection:
            reading = asyncio.ensure_future(self._read(connection))
            speaking = asyncio.ensure_future(self._speak(connection, seconds))
            try:
                done, _ = await asyncio.wait(
                    (reading, speaking), return_when=asyncio.FIRST_COMPLETED
                )
                for each in done:
                    each.result()
                if reading in done:
                    raise AssertionError(f"the service ended it with {connection.close_code}")
                if cut:
                    connection.transport.abort()
                # It reads all the while: the close frame comes behind what waits.
                await connection.close()
                await reading
            finally:
                reading.cancel()
                speaking.cancel()
                await asyncio.gather(reading, speaking, return_exceptions=True)
        if not cut:
            unspoiled(connection)

    def _target(self) -> str:
        path, *more = self._rooms
        parts = [self._since(path)]
        for each in more:
            parts += [f"channel={each}", self._since(each)]
        return f"/{path}?" + "&".join(filter(None, parts))

    def _since(self, room: str) -> str:
        place = self._places.get(room)
        return f"since={place[0]}&epoch={quote(place[1], safe='')}" if place else ""

    async def _speak(self, connection: ClientConnection, seconds: float) -> None:
        """Say something now and then, and wait each time until it is heard."""
        until = self._world.clock() + seconds
        while True:
            pause = self._dice.uniform(*_BETWEEN)
            if self._world.clock() + pause > until:
                await asyncio.sleep(max(0.0, until - self._world.clock()))
                return
            await asyncio.sleep(pause)
            self._said += 1
            text = f"{self._name} {self._said} " + "." * int(self._dice.expovariate(1 / 100))
            heard = asyncio.Event()
            self._awaited = text, heard
            await connection.send(text)
            try:
                await asyncio.wait_for(heard.wait(), PATIENCE)
            except TimeoutError:
                raise AssertionError("a member did not hear itself") from None

    async def _read(self, connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for said in connection:
                text = self._resumed(said) if self._resumes else said
                if text == self._awaited[0]:
                    self._awaited[1].set()

    def _resumed(self, said: str | bytes) -> str | None:
        """Return the message, checking its place. Raises `AssertionError` for a hole or a gap."""
        told = json.loads(said)
        room, offset, epoch = told["channel"], told["offset"], told["epoch"]
        before = self._places.get(room)
        if told.get("gap"):
            raise AssertionError(f"a gap in {room} at {offset}, after {before}")
        if before is not None and not _follows(before, offset, epoch, "joined" in told):
            raise AssertionError(f"{offset} of {epoch} in {room} follows {before}: {said!r:.200}")
        self._places[room] = offset, epoch
        text: str | None = told.get("data")
        return text


def _follows(before: tuple[int, str], offset: int, epoch: str, joined: bool) -> bool:
    """Return whether a place is the next one, or the same where a connection joins."""
    if epoch != before[1]:
        # A channel's epoch begins with its first message; a position from before it has 0.
        return before[0] == 0 and offset == 1
    return offset == before[0] + (not joined)


async def member(world: World, dice: random.Random, seconds: float) -> None:
    """Have a member for some seconds."""
    await Member(world, dice).run(seconds)
