"""The state that all acts share, and ways to connect."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from ..chaos.asking import Line
from ..hostile.attackers import ADDRESSES
from ..hostile.styles import REQUEST
from .service import Service
from .tally import Tally

PATIENCE = 45.0
"""Seconds that anything may take on a busy machine."""

_AGAIN = 0.2
"""Seconds until a caller asks again that was let go."""

_TICK = 0.1
"""Seconds from one look of this process at itself to the next."""

_STILL = 2.0
"""Seconds late from which on it stood still: the admin face waits 5 s for a request."""

_CROWDED_AFTER = 3.0
"""Seconds that the admin face may be full after a crowd has gone."""

ROOMS = tuple(f"room-{number}" for number in range(8))


class World:
    """The service that acts are done to, the tally, and what of the service clients trust."""

    def __init__(
        self,
        service: Service,
        tally: Tally,
        clock: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._say = say
        self.service = service
        self.tally = tally
        self.clock = clock
        #: Seconds by which this process was late, at worst, since somebody set it to 0.
        self.own_lag = 0.0
        self._crowds = 0
        self._crowded_until = 0.0
        self.trusting = ssl.create_default_context(cafile=service.authority.file)

    async def watch_itself(self) -> None:
        """Notice, until cancelled, when this process stands still for want of time."""
        while True:
            due = self.clock() + _TICK
            await asyncio.sleep(_TICK)
            late = self.clock() - due
            self.own_lag = max(self.own_lag, late)
            if late > _STILL:
                self.tally.stands_still(self.clock())

    def failed(self, kind: str, begun: float, error: Exception) -> None:
        """Count a failure of an act that began at a time, and say it if it is one of the first."""
        errors = error.exceptions if isinstance(error, ExceptionGroup) else [error]
        what = f"{type(errors[0]).__name__}: {errors[0]}"
        failure = self.tally.fail(begun, self.clock(), kind, what)
        if failure is not None:
            self._say(f"FAILED: {failure}")

    def connect(
        self,
        target: str,
        dice: random.Random,
        subprotocol: str | None = None,
        narrow: socket.socket | None = None,
    ) -> connect:
        """Return what opens a connection of the package `websockets`, to be entered.

        By TLS now and then, compressed or not. `narrow` is a connected socket to do it on, without
        TLS.
        """
        secure = narrow is None and dice.random() < 0.3
        where: dict[str, Any] = {"host": "127.0.0.1"} if narrow is None else {"sock": narrow}
        port = self.service.tls_port if secure else self.service.port
        return connect(
            f"{'wss' if secure else 'ws'}://localhost:{port}{target}",
            ssl=self.trusting if secure else None,
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            compression=dice.choice(("deflate", None)),
            ping_interval=None,
            open_timeout=PATIENCE,
            close_timeout=PATIENCE,
            max_queue=16,
            proxy=None,
            **where,
        )

    async def ask(
        self, port: int, method: str, path: str, body: str = "", headers: str = ""
    ) -> tuple[int, str]:
        """Ask by HTTP on a connection of its own, and return the status and the body.

        A status from 500 on is counted. Raises as `Line.ask`.
        """
        line = Line(port)
        try:
            return await self.ask_on(line, method, path, body, headers)
        finally:
            line.close()

    async def ask_on(
        self, line: Line, method: str, path: str, body: str = "", headers: str = ""
    ) -> tuple[int, str]:
        """Do the same on a connection that may be kept."""
        while True:
            begun = self.clock()
            try:
                return self.counted(await line.ask(method, path, body, PATIENCE, headers))
            except (ConnectionError, EOFError):
                if not self._crowds and begun > self._crowded_until:
                    raise
                # A full admin face lets go of the connection that was silent for longest.
                self.tally.let_go += 1
                await asyncio.sleep(_AGAIN)

    @contextlib.contextmanager
    def crowding_the_admin_face(self) -> Iterator[None]:
        """Have callers of the admin face ask again that are let go meanwhile."""
        self._crowds += 1
        try:
            yield
        finally:
            self._crowds -= 1
            # The service may not have noticed yet that the crowd is gone.
            self._crowded_until = self.clock() + _CROWDED_AFTER

    def counted(self, answer: tuple[int, str]) -> tuple[int, str]:
        """Return an answer, having counted it if its status is from 500 on."""
        self.tally.server_errors += answer[0] >= 500
        return answer

    @contextlib.asynccontextmanager
    async def raw(
        self, dice: random.Random, port: int = 0, secure: bool = False, window: int = 0
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Have a connection on which nothing was said, from one of many addresses; it is reset.

        To the plain port unless another is given. `window` is the size of its receive buffer.
        """
        port = self.service.tls_port if secure else port or self.service.port
        made = await connected(port, f"127.0.0.{2 + dice.randrange(ADDRESSES)}", window)
        reader, writer = await asyncio.open_connection(
            sock=made,
            ssl=self.trusting if secure else None,
            server_hostname="localhost" if secure else None,
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def opened(
        self, dice: random.Random, path: str = "/attack", headers: str = "", window: int = 0
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Have an open WebSocket connection, by TLS now and then; it is reset."""
        request = REQUEST.replace(b"/attack", path.encode(), 1)[:-2] + headers.encode() + b"\r\n"
        secure = dice.random() < 0.3
        async with self.raw(dice, secure=secure, window=window) as (reader, writer):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):
                raise AssertionError(f"no WebSocket: {head[:100]!r}")
            yield reader, writer


async def connected(port: int, address: str = "127.0.0.1", window: int = 0) -> socket.socket:
    """Return a socket that is connected from an address; `window` is its receive buffer's size."""
    made = socket.socket()
    try:
        made.setblocking(False)
        if window:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        made.bind((address, 0))
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    except BaseException:
        made.close()
        raise
    return made


async def until_over(reader: asyncio.StreamReader) -> bytes:
    """Read until the service ends a connection, and return the last octets that came."""
    last = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while more := await reader.read(65536):
            last = (last + more)[-256:]
    return last


def unspoiled(connection: ClientConnection) -> None:
    """Check that a connection was closed with 1000. Raises `AssertionError`."""
    if connection.close_code != 1000:
        said = f"{connection.close_code} {connection.close_reason}"
        raise AssertionError(f"closed with {said}")
