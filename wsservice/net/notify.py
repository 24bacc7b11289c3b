"""Notify the service manager that started the process: sd_notify(3) of systemd.

The protocol is lines of `NAME=VALUE` in a datagram. No package for it does all that is needed
here: go on if the socket is broken, announce a reload, and extend the time to stop.
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

_PATIENCE_SECONDS = 1.0
"""Seconds to wait for room in the manager's socket. The reactor stands still meanwhile."""

_STATUS_SECONDS = 10.0
"""Seconds between two status messages if there is no watchdog."""

_log = Logger(namespace="wsservice")


class Channel:
    """The socket of a service manager. Call it to send a datagram.

    `address` is a path, or `@` and the name of an abstract socket (unix(7)).
    """

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None

    def __call__(self, datagram: bytes) -> None:
        """Send a datagram. Raises `OSError`."""
        if self._socket is None:
            # The socket is kept. If a new one were needed each time, signs of life would fail
            # while descriptors are short, and systemd would kill a healthy process.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(_PATIENCE_SECONDS)
        self._socket.sendto(datagram, self._address)


class ServiceManager:
    """The service manager that started the process; without `send` there is none.

    `send` sends a datagram to the manager. An `OSError` that it raises is logged once until a
    datagram is sent again. `watchdog` is the number of seconds after which the manager ends a
    process without a sign of life, 0 for never. The reactor gives signs twice as often, so none
    comes if the reactor is stuck.
    """

    def __init__(
        self, reactor: Any, send: Callable[[bytes], object] | None = None, watchdog: float = 0.0
    ) -> None:
        self._send = send
        self._broken = False
        self._watched = watchdog > 0
        # Half the watchdog's time, as sd_watchdog_enabled(3) recommends.
        self._interval = watchdog / 2 if watchdog else _STATUS_SECONDS
        self._status: Callable[[], str] = str
        self._beat = LoopingCall(self._give_sign)
        self._beat.clock = reactor

    @classmethod
    def of(cls, environment: MutableMapping[str, str], reactor: Any) -> ServiceManager:
        """Return the service manager that an environment names, if any.

        Its variables are removed from the environment, so that programs which this process starts
        do not speak to the manager.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        if not address:
            return cls(reactor)
        watching = watched and watchdog.isascii() and watchdog.isdigit()
        return cls(reactor, Channel(address), int(watchdog) / 1_000_000 if watching else 0.0)

    def ready(self, status: Callable[[], str]) -> None:
        """Tell the manager that the service is ready, and begin to give signs of life.

        `status` returns a status in one line; it is called for each message.
        """
        self._status = status
        self._say("READY=1", self._state())
        if self._send is not None and not self._beat.running:
            self._beat.start(self._interval, now=self._watched)

    @contextmanager
    def reload(self) -> Iterator[None]:
        """Return a context manager for a reload, which succeeds or fails; the service goes on."""
        # By the time the manager can tell a reload that it asked for from one by SIGHUP
        # (`Type=notify-reload`).
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._say("READY=1", self._state())

    def stopping(self, seconds: float) -> None:
        """Tell the manager that the service stops within `seconds`. The signs of life go on."""
        # Otherwise the manager kills the process after its own time to stop, 90 seconds by default.
        self._say("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}", self._state())

    def stopped(self) -> None:
        """End the signs of life. Idempotent."""
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
                    "cannot notify the service manager, {reason}",
                    reason=error.strerror or str(error),
                )
            self._broken = True
        else:
            self._broken = False
