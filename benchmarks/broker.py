"""A redis-server of a run's own: started, asked, killed, and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import BenchmarkError, MeasurementError
from .processes import free_port, last_words, running

_PATIENCE = 20.0
"""Seconds that it may take to start, or to answer."""


def program() -> str:
    """The path of redis-server, or valkey-server."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return found
    raise BenchmarkError("there is no redis-server: apt-get install redis-server")


class Redis:
    """A connection to it that asks and waits. As it speaks RESP2, what is subscribed to
    comes as answers do."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._answers.close()
        self._socket.close()

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def ask(self, *words: bytes | str | int) -> Any:
        """The answer: bytes, a number, a list, or None. Raises `MeasurementError`."""
        self.say(*words)
        return self.answer()

    def say(self, *words: bytes | str | int) -> None:
        """Ask, and leave the answer for later."""
        parts = [each if isinstance(each, bytes) else str(each).encode() for each in words]
        said = b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in parts)
        self._socket.sendall(b"*%d\r\n%b" % (len(parts), said))

    def answer(self) -> Any:
        """The next answer."""
        line = self._answers.readline()
        if not line:
            raise MeasurementError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise MeasurementError(f"Redis: {rest.decode(errors='replace')}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._answers.read(size + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return rest

    def info(self, section: str) -> dict[str, str]:
        """A section of what it says of itself."""
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def calls(self) -> dict[str, int]:
        """How often each command was called since the last `CONFIG RESETSTAT`."""
        found = {}
        for name, said in self.info("commandstats").items():
            calls = dict(each.split("=") for each in said.split(","))["calls"]
            found[name.removeprefix("cmdstat_")] = int(calls)
        return found

    def subscribers(self, part: str) -> dict[bytes, int]:
        """Return the subscribers of each channel whose name contains `part`, sharded or not."""
        found: dict[bytes, int] = {}
        for shard in ("", "SHARD"):
            with contextlib.suppress(MeasurementError):  # there are none before Redis 7
                names = self.ask("PUBSUB", f"{shard}CHANNELS", f"*{part}*")
                said = self.ask("PUBSUB", f"{shard}NUMSUB", *names) if names else []
                found |= dict(zip(said[::2], said[1::2], strict=True))
        return found

    def wait_for_subscribers(self, part: str, count: int) -> list[bytes]:
        """Wait until so many subscribe to such channels, all together; returns their names."""
        deadline = time.monotonic() + _PATIENCE
        while sum((found := self.subscribers(part)).values()) != count:
            if time.monotonic() > deadline:
                raise MeasurementError(f"{found} subscribe to {part!r}, not {count}")
            time.sleep(0.02)
        return list(found)

    def memory(self) -> int:
        """Octets that it uses."""
        return int(self.info("memory")["used_memory"])


class Server:
    """A redis-server with a port and a folder of its own, which may be ended and come back."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._stack = contextlib.ExitStack()
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """As `--broker` takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process
        return self.process.pid

    def start(self) -> None:
        """Start it, and wait until it has what it had and answers."""
        command: list[str | Path] = [
            *(program(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder),
            *("--save", "", "--enable-debug-command", "yes", "--loglevel", "warning"),
            *self._options,
        ]
        where = os.sched_getaffinity(0)
        self.process = self._stack.enter_context(running(command, self._folder, "redis", where))
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(OSError, MeasurementError), Redis(self.port) as redis:
                if redis.ask("PING") == b"PONG":
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise MeasurementError(f"Redis: {last_words(self._folder, 'redis')}")
            time.sleep(0.005)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        assert self.process
        self.process.kill()
        self.process.wait()
        self._stack.close()

    def end(self) -> None:
        """End it in order."""
        self._stack.close()


@contextlib.contextmanager
def server(folder: Path, *options: str) -> Iterator[Server]:
    """One that runs within the block. `options` are its own, such as `--appendonly yes`."""
    made = Server(folder, *options)
    made.start()
    try:
        yield made
    finally:
        made.end()
