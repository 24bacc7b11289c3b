"""What the service manager that started the process is told of it: sd_notify(3), of systemd.

Of the packages that speak this protocol none does what is needed here: to go on
where the socket is broken, to say that settings are read anew, or that stopping
takes its time. It is lines of `NAME=VALUE` in a datagram.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_PATIENCE = 1.0
"""Seconds that the manager may take to make room for what it is told."""

_STATUS_INTERVAL = 10.0
"""Seconds between two words of how it goes, where no watchdog wants them sooner."""

_log = Logger(namespace="wsservice")


class Channel:
    """The socket of a service manager: a path, or after `@` an abstract name. Call it to send."""

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None

    def __call__(self, datagram: bytes) -> None:
        """Raises `OSError`."""
        if self._socket is None:
            # Kept, so that a lack of descriptors does not look as if the reactor were stuck.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(_PATIENCE)
        self._socket.sendto(datagram, self._address)


class ServiceManager:
    """Who started the process, and wants to know how it is; by default nobody.

    `send` takes a datagram to it, and may raise `OSError`: that is one line of log
    until it succeeds again. `watchdog` is how many seconds it waits for a sign
    of life before it ends the process, 0 for ever: the reactor gives one twice as
    often, so that it is missed when the reactor is stuck.
    """

    def __init__(
        self, reactor: Any, send: Callable[[bytes], object] | None = None, watchdog: float = 0.0
    ) -> None:
        self._send = send
        self._broken = False
        self._watched = watchdog > 0
        self._interval = watchdog / 2 if watchdog else _STATUS_INTERVAL
        self._status: Callable[[], str] = str
        self._beat = LoopingCall(self._give_sign)
        self._beat.clock = reactor

    @classmethod
    def of(cls, environment: MutableMapping[str, str], reactor: Any) -> ServiceManager:
        """The one that the environment names, if any.

        What it says is taken out of it: it is for this process, and not for those
        that it starts.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        if not address:
            return cls(reactor)
        watching = watched and watchdog.isascii() and watchdog.isdigit()
        return cls(reactor, Channel(address), int(watchdog) / 1_000_000 if watching else 0.0)

    def ready(self, status: Callable[[], str]) -> None:
        """The service serves. `status` says how it goes, in one line; it is asked again and again.

        From now on there are signs of life.
        """
        self._status = status
        self._say("READY=1", self._state())
        if self._send is not None and not self._beat.running:
            self._beat.start(self._interval, now=self._watched)

    @contextmanager
    def reload(self) -> Iterator[None]:
        """While settings are read anew, whatever comes of it; the service serves meanwhile."""
        # The time tells the manager whether that is what it asked for, or came of itself.
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._say("READY=1", self._state())

    def stopping(self, seconds: float) -> None:
        """The service stops, which takes so long at most. The signs of life go on."""
        # Whatever the manager would have granted by itself.
        self._say("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}", self._state())

    def stopped(self) -> None:
        """Nothing more comes."""
        if self._beat.running:
            self._beat.stop()

    def _give_sign(self) -> None:
        self._say(*(["WATCHDOG=1"] if self._watched else []), self._state())

    def _state(self) -> str:
        return f"STATUS={self._status()}"

    def _say(self, *lines: str) -> None:
        if self._send is None:
            return
        try:
            self._send("\n".join(lines).encode())
        except OSError as error:
            if not self._broken:
                _log.warn(
                    "cannot tell the service manager how it goes, {reason}",
                    reason=error.strerror or str(error),
                )
            self._broken = True
        else:
            self._broken = False
