"""One request by HTTP at a time, each on a connection of its own or on one that is kept."""

from __future__ import annotations

import asyncio
import contextlib

_MOST = 1024 * 1024


class Line:
    """A connection to an admin face, made anew where it was lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, body: str = "", seconds: float = 10.0, headers: str = ""
    ) -> tuple[int, str]:
        """Ask, and return the status and the body of the answer.

        `headers` are lines that each end with CRLF.

        Raises `ConnectionRefusedError` where nothing was sent, other errors of `OSError`,
        `EOFError` or `TimeoutError` where it may have been.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(method, path, body, headers)
        except BaseException:
            self.close()
            raise

    async def _ask(self, method: str, path: str, body: str, headers: str) -> tuple[int, str]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=_MOST)
        reader, writer = self._streams
        octets = body.encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(octets)}\r\n"
        writer.write((head + headers).encode() + b"\r\n" + octets)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        status = int(lines[0].split(" ")[1])
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        said = await reader.readexactly(int(fields.get("content-length", 0)))
        if fields.get("connection") == "close":
            self.close()
        return status, said.decode()

    def close(self) -> None:
        """End the connection."""
        streams, self._streams = self._streams, None
        if streams is not None:
            with contextlib.suppress(OSError):
                streams[1].transport.abort()


async def ask(
    port: int, method: str, path: str, body: str = "", seconds: float = 10.0
) -> tuple[int, str]:
    """Ask one thing on a connection of its own. Raises as `Line.ask`."""
    line = Line(port)
    try:
        return await line.ask(method, path, body, seconds)
    finally:
        line.close()
