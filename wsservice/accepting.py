"""What a port does where it cannot accept, for want of descriptors or memory: it waits.

Twisted closes who comes then, with several lines of log for each, or, where that
fails too, tries again at every turn of the reactor.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.tcp import Port
from twisted.logger import Logger

_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_PAUSE = 0.5
"""Seconds after which it is tried again. Who comes meanwhile waits in the kernel."""

_log = Logger(namespace="wsservice")


class PausingListener:
    """The listening socket of a port, which it has not to ask for a while after a shortage.

    Everything but `accept` is the socket's own. A shortage is logged once, and
    its end.
    """

    def __init__(self, port: Any) -> None:
        self._port = port
        self._socket: socket.socket = port.socket
        self._short = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def accept(self) -> tuple[socket.socket, Any]:
        """As the socket's own. Where there is a shortage, nobody is there to be accepted."""
        try:
            accepted = self._socket.accept()
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
            self._pause(error.errno)
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
        self._port.reactor.callLater(_PAUSE, self._resume)

    def _resume(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()


def pause_in_shortage(port: Any) -> None:
    """Have a port that listens wait in a shortage, where it is one of Twisted's own."""
    if isinstance(port, Port):
        port.socket = PausingListener(port)
