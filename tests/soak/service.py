"""The service as processes, its files, and its log."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from ..certificates import Authority
from ..chaos.asking import ask
from ..chaos.processes import WRONG, Process, children
from ..integration.processes import BIN, free_port

HOLD = 15
"""Seconds that an attack may hold a handshake or a message: those of `--handshake-timeout` and
`--message-timeout`. A busy machine makes honest clients slow too."""

_READ_ANEW = "SIGHUP: the settings were read anew"

_OPTIONS = (
    *("--protocol", "tests.soak.behaviours.Talking", "--drain", "2"),
    *("--history", "200,120", "--history-bytes", "8MiB", "--compression", "on"),
    *("--memory-for-messages", "32MiB", "--message-timeout", f"{HOLD}s"),
    *("--handshake-timeout", f"{HOLD}s"),
    *("--max-connections-per-ip", "500", "--health-path", "/health"),
    *("--message-log", "messages.log"),
)


class Service(Process):
    """`twistd -n wsdemo` with a plain port, a TLS port, an admin face and a history.

    `workers` is the number of its processes; with 1 there is no parent.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.port, self.tls_port, self.admin = free_port(), free_port(), free_port()
        self.workers = workers
        self.authority = Authority(folder)
        self._key, self._certificate = self.authority.certificate()
        self._settings = folder / "soak.toml"
        self._messages = folder / "messages.log"
        self._reloads = 0
        self._read = 0
        self._changing = asyncio.Lock()
        self._write_settings()
        tls = f"ssl:{self.tls_port}:interface=127.0.0.1:backlog=1024"
        super().__init__(
            "service",
            folder,
            [
                *(BIN / "twistd", "-n", "--pidfile=service.pid", "wsdemo"),
                *("--config", str(self._settings), *_OPTIONS),
                *("--listen", f"tcp:{self.port}:interface=127.0.0.1:backlog=1024"),
                *("--listen", f"{tls}:privateKey={self._key}:certKey={self._certificate}"),
                *("--admin", f"tcp:{self.admin}:interface=127.0.0.1:backlog=1024"),
                *("--workers", str(workers)),
            ],
        )

    @property
    def pids(self) -> list[int]:
        """The pids of all its processes, its parent's first."""
        return [self.pid, *children(self.pid)] if self.pid else []

    async def is_ready(self) -> bool:
        """Return whether `/readyz` says so."""
        try:
            status, _ = await ask(self.admin, "GET", "/readyz", seconds=3)
        except (OSError, EOFError):
            return False
        return status == 200

    def _write_settings(self) -> None:
        self._settings.write_text(f'send_buffer = "{512 + 256 * (self._reloads % 2)}KiB"\n')

    async def reload(self, seconds: float) -> None:
        """Change a setting and the certificate, send SIGHUP, and wait for its line of the log.

        Raises `TimeoutError` after so many seconds.
        """
        async with self._changing, asyncio.timeout(seconds):
            before = self.log.read_text(errors="replace").count(_READ_ANEW)
            self._reloads += 1
            self._write_settings()
            await asyncio.to_thread(self.authority.certificate)
            self.signal(signal.SIGHUP)
            while self.log.read_text(errors="replace").count(_READ_ANEW) <= before:
                await asyncio.sleep(0.1)

    async def reopen(self, seconds: float) -> None:
        """Rename the message log, send SIGUSR1, wait for the new one, and remove the old one.

        Raises `TimeoutError` after so many seconds.
        """
        old = self._messages.with_suffix(".old")
        async with self._changing, asyncio.timeout(seconds):
            self._messages.rename(old)
            self.signal(signal.SIGUSR1)
            while not self._messages.exists():
                await asyncio.sleep(0.1)
            old.unlink()

    def wrong_lines(self) -> list[str]:
        """Return the lines that came since the last call and that must not be there."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            octets = log.read()
        # A line may be there in part.
        octets = octets[: octets.rfind(b"\n") + 1]
        self._read += len(octets)
        return [each for each in octets.decode(errors="replace").split("\n") if WRONG.search(each)]
