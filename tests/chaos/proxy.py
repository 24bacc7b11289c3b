"""A way to Redis that cuts, hangs, is slow, and swallows answers."""

from __future__ import annotations

import asyncio
import contextlib

_PIECE = 65536


class Proxy:
    """A port of loopback behind which is another."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passes = asyncio.Event()
        self._passes.set()
        self._refuses = 0
        self._hangs = 0
        self._swallows = 0
        self._delays: list[float] = []
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._came, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self, seconds: float) -> None:
        """End all connections, and take none for a while."""
        self._refuses += 1
        self._cut()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._refuses -= 1

    async def hang(self, seconds: float) -> None:
        """Let nothing pass for a while; then let all of it pass."""
        self._hangs += 1
        self._passes.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._hangs -= 1
            if not self._hangs:
                self._passes.set()

    async def slow(self, seconds: float, delay: float) -> None:
        """Let all pass later by a delay in seconds, in either direction, for a while."""
        self._delays.append(delay)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._delays.remove(delay)

    async def swallow(self, seconds: float) -> None:
        """Lose all answers for a while, then end all connections."""
        self._swallows += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            # An answer that follows a lost one would be taken for that one.
            self._cut()
            self._swallows -= 1

    async def close(self) -> None:
        """Listen no more, and end all connections."""
        if self._server is not None:
            self._server.close()
        self._cut()
        self._passes.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        ends = [writer]
        try:
            if self._refuses:
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            ends.append(back)
            self._writers.update(ends)
            await asyncio.gather(
                self._pass(reader, back, is_answer=False), self._pass(there, writer, is_answer=True)
            )
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in ends:
                self._writers.discard(each)
                each.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        """Pass on what is read, until the end of it."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE):
                if self._delays:
                    await asyncio.sleep(max(self._delays))
                await self._passes.wait()
                if is_answer and self._swallows:
                    continue
                if writer.is_closing():
                    break
                writer.write(data)
                await writer.drain()
        # The octets that were passed on before the end arrive before it.
        writer.close()
