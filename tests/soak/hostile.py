"""Acts of clients that do not keep to the rules: the service must let go of each in time.

An act that takes longer than the stage's patience is a failure; whatever the service answers,
but a status from 500 on, is right.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from ..chaos.processes import ROOT
from ..hostile.fuzz import Traffic
from ..hostile.peer import BINARY, DEFLATE, PING, TEXT, deflated, masked
from ..hostile.styles import REQUEST, STYLES
from .honest import Doing
from .schedule import FLOOD
from .service import HOLD
from .world import PATIENCE, World, until_over

_MIB = 1024 * 1024
_FRAGMENTS = 1100
"""More than the 1,024 that a message may have."""

_SLACK = 20
"""Seconds more that the service may take on a busy machine."""

_BOMB = masked(TEXT | 0x40, deflated(bytes(8 * _MIB)))

_ENDS = (ConnectionError, EOFError, ssl.SSLError)
"""The exceptions that a client may see when the service ends its connection."""


async def _several(count: int, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do the same so many times at once."""
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(make())


async def _held(reader: asyncio.StreamReader, seconds: float) -> None:
    """Read until the service ends a connection, or for some seconds.

    Raises `AssertionError` if the service had enough time to end it.
    """
    try:
        await asyncio.wait_for(until_over(reader), seconds)
    except TimeoutError:
        if seconds > HOLD + _SLACK:
            raise AssertionError(f"not let go of within {seconds:.0f} s") from None


async def _say(
    world: World, dice: random.Random, octets: bytes, seconds: float, headers: str = ""
) -> None:
    """Open a connection, say something, and hold it as long as the service lets it."""
    with contextlib.suppress(*_ENDS):
        async with world.opened(dice, headers=headers) as (reader, writer):
            writer.write(octets)
            await _held(reader, seconds)


async def _flood(world: World, dice: random.Random, seconds: float) -> None:
    secure = dice.random() < 0.3
    port = world.service.tls_port if secure else world.service.port
    command = [sys.executable, "-m", "tests.hostile.attackers", str(port)]
    command += [str(dice.randint(1, 20)), dice.choice(("messages", "bursts"))]
    attackers = await asyncio.create_subprocess_exec(
        *command,
        *([str(world.service.authority.file)] if secure else []),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert attackers.stdout is not None
        assert await attackers.stdout.readline() == b"attacking\n", "the flood did not begin"
        await asyncio.sleep(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            attackers.kill()
        await attackers.communicate()


async def _pings(world: World, dice: random.Random, _seconds: float) -> None:
    octets = masked(PING, bytes(125)) * 1000
    with contextlib.suppress(*_ENDS):
        async with world.opened(dice) as (reader, writer):
            reading = asyncio.ensure_future(until_over(reader))
            for _ in range(20):
                writer.write(octets)
                await writer.drain()
            writer.write(masked(0x88, b"\x03\xe8"))
            await reading


async def _fragments(world: World, dice: random.Random, seconds: float) -> None:
    each = dice.choice((b"", b"x"))
    await _say(world, dice, masked(0x01, each) + masked(0x00, each) * _FRAGMENTS, seconds)


async def _unfinished(world: World, dice: random.Random, seconds: float) -> None:
    message = masked(BINARY, bytes(dice.randint(1, 200_000)))[:-1]
    await _several(dice.randint(2, 10), lambda: _say(world, dice, message, seconds))


async def _crowd(world: World, dice: random.Random, seconds: float) -> None:
    message = masked(BINARY, bytes(_MIB))[:-1]
    await _several(40, lambda: _say(world, dice, message, seconds))


async def _bomb(world: World, dice: random.Random, seconds: float) -> None:
    await _say(world, dice, _BOMB, seconds, DEFLATE)


async def _noise(world: World, dice: random.Random, _seconds: float) -> None:
    traffic = Traffic(str(dice.random()))
    octets = traffic.octets()
    start = 0
    with contextlib.suppress(*_ENDS):
        async with world.opened(dice, headers=dice.choice(("", DEFLATE))) as (_, writer):
            for cut in traffic.cuts(len(octets)):
                writer.write(octets[start:cut])
                start = cut
                await writer.drain()
                await asyncio.sleep(0.01)


async def _styles(world: World, dice: random.Random, _seconds: float) -> None:
    style = STYLES[dice.choice(sorted(STYLES))]
    secure = dice.random() < 0.3
    port = world.service.tls_port if secure else world.service.port

    def end() -> None:
        with (
            contextlib.suppress(*_ENDS),
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        ):
            wrap = world.trusting.wrap_socket
            peer = wrap(plain, server_hostname="localhost") if secure else plain
            with contextlib.closing(peer):
                style(peer)

    await asyncio.to_thread(end)


def _too_large(dice: random.Random) -> bytes:
    """Return a request that names, claims or offers more than there is room for."""
    size = dice.choice((256, 3_000, 7_900, 20_000))
    name = b"a%09d" % dice.randrange(10**9)
    begin = REQUEST[:-2]
    return dice.choice(
        (
            REQUEST.replace(b"/attack", b"/" + name + b"n" * size, 1),
            REQUEST.replace(b"/attack", b"/" + name + b"%5C" * 255, 1),
            REQUEST.replace(b"/attack", b"/x?channel=" + name + b"n" * size, 1),
            REQUEST.replace(b"/attack", b"/x?" + b"&channel=%s" % name * 20, 1),
            REQUEST.replace(b"/attack", b"/" + name, 1),
            begin + b"".join(b"X-%d: %s\r\n" % (n, b"v" * 150) for n in range(90)) + b"\r\n",
            begin + b"X: " + b"x" * size + b"\r\n\r\n",
            begin + b"X: y\r\n" * 2_000 + b"\r\n",
            begin + b"Sec-WebSocket-Extensions: permessage-deflate" + b";a" * 7_900 + b"\r\n\r\n",
            begin + b"Sec-WebSocket-Protocol: " + b"a," * 4_000 + b"b\r\n\r\n",
            begin + b"Cookie: " + b"c=d; " * 2_000 + b"\r\n\r\n",
        )
    )


async def _answered(world: World, reader: asyncio.StreamReader) -> None:
    """Read the first line of an answer, and count its status if it is from 500 on."""
    words = (await reader.readline()).split()
    if len(words) > 1 and words[1].isdigit():
        world.counted((int(words[1]), ""))


async def _names(world: World, dice: random.Random, _seconds: float) -> None:
    with contextlib.suppress(*_ENDS):
        async with world.raw(dice, secure=dice.random() < 0.3) as (reader, writer):
            writer.write(_too_large(dice))
            await _answered(world, reader)
            await asyncio.sleep(dice.uniform(0, 0.5))


async def _trickle(world: World, dice: random.Random, seconds: float) -> None:
    async def one() -> None:
        with contextlib.suppress(*_ENDS):
            async with world.raw(dice) as (reader, writer):
                writing = asyncio.ensure_future(_drip(writer, REQUEST[:-4]))
                try:
                    await _held(reader, seconds)
                finally:
                    writing.cancel()
                    await asyncio.gather(writing, return_exceptions=True)

    await _several(dice.randint(5, 30), one)


async def _drip(writer: asyncio.StreamWriter, octets: bytes) -> None:
    for octet in octets:
        writer.write(bytes((octet,)))
        await asyncio.sleep(0.1)


async def _rush(world: World, dice: random.Random, _seconds: float) -> None:
    async def one() -> None:
        with contextlib.suppress(*_ENDS):
            async with world.opened(dice):
                await asyncio.sleep(0.2)

    await _several(100, one)


async def _deaf(world: World, dice: random.Random, seconds: float) -> None:
    with contextlib.suppress(*_ENDS):
        async with world.opened(dice, f"/{FLOOD}", window=4096) as (reader, writer):
            writer.write(masked(TEXT, b"more"))
            # The stream reads no more than its limit before it is asked.
            await asyncio.sleep(dice.uniform(0, 5))
            await _held(reader, seconds)


def _hello() -> bytes:
    """Return the first octets of a TLS handshake."""
    out = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()


async def _tls(world: World, dice: random.Random, seconds: float) -> None:
    hello = _hello()
    said = dice.choice(
        (
            hello[: dice.randint(1, len(hello) - 1)],
            hello,
            hello + b"\x17\x03\x03\x00\x10" + dice.randbytes(16),
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            dice.randbytes(200),
            b"",
        )
    )
    waits = dice.random() < 0.5
    with contextlib.suppress(*_ENDS):
        if dice.random() < 0.2:
            # A whole handshake, then a reset or silence.
            async with world.raw(dice, secure=True) as (reader, _):
                if waits:
                    await _held(reader, seconds)
            return
        async with world.raw(dice, world.service.tls_port) as (reader, writer):
            writer.write(said)
            if waits:
                await _held(reader, seconds)
            else:
                await asyncio.sleep(dice.uniform(0, 0.2))


async def _admin_silent(world: World, dice: random.Random, seconds: float) -> None:
    async def one() -> None:
        with contextlib.suppress(*_ENDS):
            async with world.raw(dice, world.service.admin) as (reader, writer):
                writer.write(dice.choice((b"", b"GET /connections HTTP/1.1\r\nHost: lo")))
                await asyncio.wait_for(until_over(reader), seconds)

    async def patient() -> None:
        with contextlib.suppress(TimeoutError):
            await one()

    with world.crowding_the_admin_face():
        await _several(64, patient)


async def _admin_wrong(world: World, dice: random.Random, _seconds: float) -> None:
    head = b" HTTP/1.1\r\nHost: localhost\r\n"
    said = dice.choice(
        (
            b"GET /nothing" + head + b"\r\n",
            b"DELETE /connections" + head + b"\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            b"GET /metrics" + head + b"Sec-Fetch-Site: cross-site\r\n\r\n",
            b"POST /publish/x" + head + b"Content-Length: 2\r\n\r\n\xff\xfe",
            b"POST /publish/x" + head + b"Content-Length: 99999999999\r\n\r\nx",
            b"POST /publish" + head + b"Content-Length: 5\r\n\r\n{]{]{",
            b"POST /publish/" + b"n" * 300 + head + b"Content-Length: 1\r\n\r\nx",
            b"POST /connections/999999999/close" + head + b"Content-Length: 2\r\n\r\n{}",
            b"GET /" + b"n" * 70_000 + head + b"\r\n",
            b"NONSENSE\r\n\r\n",
            b"POST /publish/x" + head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        )
    )
    with contextlib.suppress(*_ENDS):
        async with world.raw(dice, world.service.admin) as (reader, writer):
            writer.write(said)
            await _answered(world, reader)


ACTS: dict[str, Doing] = {
    "flood": _flood,
    "pings": _pings,
    "fragments": _fragments,
    "unfinished": _unfinished,
    "crowd": _crowd,
    "bomb": _bomb,
    "noise": _noise,
    "styles": _styles,
    "names": _names,
    "trickle": _trickle,
    "rush": _rush,
    "deaf": _deaf,
    "tls": _tls,
    "admin-silent": _admin_silent,
    "admin-wrong": _admin_wrong,
}
"""The functions of the kinds of act."""
