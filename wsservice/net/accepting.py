"""Pause a port that cannot accept connections because descriptors or memory are short.

Twisted closes each new connection in that case and logs several lines for it. If closing fails
too, Twisted tries again in every turn of the reactor.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.tcp import Port
from twisted.logger import Logger

from ..private.of_python import raw_accept

# Shortages that pass once other files are closed or memory is freed. Any other error is raised.
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_PAUSE_SECONDS = 0.5
"""Seconds until the port tries again. New connections wait in the kernel meanwhile."""

_log = Logger(namespace="wsservice")


class PausingListener:
    """Wrap the listening socket of a port, and stop reading the port after a shortage.

    All attributes but `accept` are the socket's own. The beginning and the end of a shortage are
    logged once each.
    """

    def __init__(self, port: Any) -> None:
        self._port = port
        self._socket: socket.socket = port.socket
        self._accept = _quick_accept(port.socket)
        self._short = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a new connection's socket and its peer's address.

        Raises `BlockingIOError` during a shortage, and what the socket's own `accept` raises.
        """
        try:
            accepted = self._accept()
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
            self._pause(error.errno)
            # Twisted takes EAGAIN for an empty queue, so it neither logs nor tries again at once.
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        if self._short:
            self._short = False
            _log.info("connections are accepted again")
        return accepted

    def _pause(self, number: int) -> None:
        if not self._short:
            self._short = True
            _log.error(
                "cannot accept connections, {reason}; they wait until it is over",
                reason=os.strerror(number),
            )
        self._port.stopReading()
        self._port.reactor.callLater(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        # The port may have been stopped during the pause. Reading it then would raise.
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()


def _quick_accept(listener: Any) -> Callable[[], tuple[socket.socket, Any]]:
    """Return an `accept` for a socket that does not block, cheaper than Python's own.

    `socket.accept` looks up the names of family and type for each connection. That is a fortieth
    of the cost of a connection.
    """
    accept = raw_accept(listener)
    if accept is None:
        own: Callable[[], tuple[socket.socket, Any]] = listener.accept
        return own
    like = int(listener.family), int(listener.type), listener.proto

    def accept_one() -> tuple[socket.socket, Any]:
        fd, address = accept()
        return socket.socket(*like, fileno=fd), address

    return accept_one


def pause_in_shortage(port: Any) -> None:
    """Make a listening port pause during a shortage. Does nothing for a port of a plugin."""
    if isinstance(port, Port):
        port.socket = PausingListener(port)
