"""A real redis-server: started, asked, stopped, paused, killed, and started again."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..needs import need_program
from .processes import PATIENCE, Program, Programs, can_connect, free_port, wait_until


class RedisError(Exception):
    """The server answered with an error."""


class Redis:
    """A server of its own, on loopback, whose files are in `folder`.

    `append_only` has it keep all that it answered, also when it is killed. More `options` are
    as redis-server has them.
    """

    def __init__(
        self,
        programs: Programs,
        folder: Path,
        *options: str,
        append_only: bool = False,
        port: int = 0,
    ) -> None:
        self._programs = programs
        self._folder = folder / f"redis-{port or 'any'}"
        self._folder.mkdir(exist_ok=True)
        self._options = options
        self._append_only = append_only
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.program: Program
        self.start()

    def start(self) -> None:
        """Start it, with what it had, and wait until it takes connections."""
        self.program = self._programs.start(
            need_program("redis-server"),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder),
            *("--save", "", "--appendonly", "yes" if self._append_only else "no"),
            *self._options,
        )
        wait_until(lambda: can_connect(self.port), "the port of redis-server")
        wait_until(lambda: self._is_loaded(), "redis-server to have read its data")

    def _is_loaded(self) -> bool:
        try:
            return bool(self.ask("PING") == b"PONG")
        except RedisError as error:
            return "LOADING" not in str(error)

    def stop(self) -> None:
        """Stop it in order."""
        self.program.signal(signal.SIGTERM)
        self.program.wait()

    def kill(self) -> None:
        """End it as the power does, but for what the kernel has of its files."""
        self.program.signal(signal.SIGKILL)
        self.program.wait()

    def pause(self) -> None:
        """Have it do nothing, while its connections stay."""
        self.program.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `pause`."""
        self.program.signal(signal.SIGCONT)

    def ask(self, *words: str | bytes | int) -> Any:
        """One command on a connection of its own. Raises `RedisError`."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(command(words))
            with connection.makefile("rb") as answers:
                answer = read(answers)
        if isinstance(answer, RedisError):
            raise answer
        return answer


def command(words: Sequence[str | bytes | int]) -> bytes:
    """A command as it is on the wire."""
    encoded = [each if isinstance(each, bytes) else str(each).encode() for each in words]
    parts = [b"$%d\r\n%b\r\n" % (len(each), each) for each in encoded]
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def read(answers: Any) -> Any:
    """The next answer (RESP2). An error is given, not raised."""
    line = answers.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b":":
        return int(rest)
    if kind == b"$":
        size = int(rest)
        return None if size < 0 else answers.read(size + 2)[:-2]
    if kind == b"*":
        return [read(answers) for _ in range(int(rest))]
    return RedisError(rest.decode()) if kind == b"-" else rest
