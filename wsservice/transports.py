"""What Twisted's transports are called, and what they can do."""

from __future__ import annotations

import contextlib
import fcntl
import sys
import termios
from typing import Any

from autobahn.twisted.util import peer2str
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.tcp import Connection as TCPConnection
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.python.failure import Failure

from .escape import escape


def peer_name(address: object) -> str:
    """An address as people write it: `192.0.2.1:5000`, `[2001:db8::1]:5000`, `unix`."""
    if isinstance(address, IPv4Address | IPv6Address):
        # What comes by IPv4 to a socket that takes both is an IPv4 address. What
        # a PROXY header says is not checked by Twisted.
        host = escape(address.host.removeprefix("::ffff:"))
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    return "unix" if isinstance(address, UNIXAddress) else "unknown"


def peer_descriptor(address: object, transport: Any) -> str:
    """Autobahn's name of a transport's peer, whose address this is: `tcp4:192.0.2.1:5000`."""
    if isinstance(address, IPv4Address):
        return f"tcp4:{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"tcp6:{address.host}:{address.port}"
    return str(peer2str(transport))


def plain(transport: object) -> TCPConnection | None:
    """The socket's own transport, where octets pass it unchanged: TCP and unix sockets.

    Also where a PROXY header came first. None for TLS, and for whatever else there is.
    """
    if isinstance(transport, HAProxyProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, TCPConnection) and not transport.TLS else None


def unacknowledged(transport: Any) -> int:
    """Octets that were written, and that the peer's machine has not taken yet, as far as known.

    Those that wait in the process and in the kernel; 0 where neither can tell.
    """
    while not isinstance(transport, TCPConnection):
        if getattr(transport, "transport", None) is None:
            return 0
        transport = transport.transport
    here = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    with contextlib.suppress(OSError, ValueError):
        count = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4))
        here += int.from_bytes(count, sys.byteorder)
    return here


class SocketWriter:
    """Writes to a plain transport: to its socket at once, where nothing waits before it.

    Twisted waits for the reactor's next turn, for which it asks the kernel twice.
    """

    __slots__ = ("_behind", "_send", "_transport")

    def __init__(self, transport: TCPConnection) -> None:
        self._transport = transport
        self._send = transport.socket.send
        self._behind = True

    def write(self, data: bytes) -> bool:
        """As the transport's own. Whether all was sent."""
        if not self._behind or self._caught_up():
            try:
                sent = self._send(data)
            except OSError:
                sent = 0  # there is no room; or it is over, as the reactor will find by itself
            if sent == len(data):
                return True
            data = data[sent:]
            self._behind = True
        self._transport.write(data)
        return False

    def _caught_up(self) -> bool:
        transport = self._transport
        self._behind = bool(transport.dataBuffer or transport._tempDataBuffer)
        return not self._behind


def tls_reason(error: BaseException | None) -> str:
    """OpenSSL's reasons for an error, printable; "" where it gave none."""
    queues = [each for each in getattr(error, "args", ()) if isinstance(each, list)]
    entries = [entry for queue in queues for entry in queue if isinstance(entry, tuple) and entry]
    return escape(", ".join(str(entry[-1]) for entry in entries))


def explained(reason: Failure) -> Failure:
    """A reason that Autobahn can read.

    It looks for OpenSSL's queue of errors in every error of TLS, and raises
    where there is none; the connection would then never be told that it is over.
    """
    error = reason.value
    if isinstance(error, SSL.Error) and not (
        error.args and isinstance(error.args[0], list | tuple) and error.args[0]
    ):
        return Failure(ConnectionLost(str(error)))
    return reason
