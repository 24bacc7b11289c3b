"""Name Twisted's transports and their peers, and look below them at sockets."""

from __future__ import annotations

import fcntl
import sys
import termios
from typing import Any

from autobahn.twisted.util import peer2str
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ILoggingContext
from twisted.internet.tcp import Connection as TCPConnection
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from ..escape import escape
from ..private.of_pyopenssl import verify_result
from ..private.of_twisted import has_sent_all, unsent

_EMPTY = bytes(4)

_UNTRUSTED = "certificate verify failed"
"""OpenSSL's reason for every certificate that it does not trust, whatever is wrong with it."""


def peer_name(address: object) -> str:
    """Return an address as people write it: `192.0.2.1:5000`, `[2001:db8::1]:5000`, `unix`.

    Any other address is `unknown`.
    """
    if isinstance(address, IPv4Address | IPv6Address):
        # A socket for both versions has "::ffff:" before IPv4 addresses. Escaped, since an
        # endpoint of a plugin may have any text as its host.
        host = escape(address.host.removeprefix("::ffff:"))
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    return "unix" if isinstance(address, UNIXAddress) else "unknown"


def peer_descriptor(address: object, transport: Any) -> str:
    """Return Autobahn's name of a transport's peer, such as `tcp4:192.0.2.1:5000`.

    `address` is the peer's address.
    """
    # Autobahn's `peer2str` looks up interfaces and asks the transport for its address once more.
    if isinstance(address, IPv4Address):
        return f"tcp4:{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"tcp6:{address.host}:{address.port}"
    return str(peer2str(transport))


def log_prefix(factory: object) -> str:
    """Return the name of a port's factory in Twisted's log."""
    if ILoggingContext.providedBy(factory):
        prefix: str = factory.logPrefix()
        return prefix
    return type(factory).__name__


class Unchanged(ProtocolWrapper):
    """A wrapper of a transport that passes octets unchanged once the connection has begun."""


def plain(transport: object) -> TCPConnection | None:
    """Return the transport of the socket itself, if octets reach the socket unchanged, or None.

    That is so for TCP and unix sockets, behind a PROXY header too. For TLS and transports of
    plugins it is None.
    """
    if isinstance(transport, Unchanged):
        transport = transport.transport
    return transport if isinstance(transport, TCPConnection) and not transport.TLS else None


def abort_connection(transport: Any) -> None:
    """End a connection at once. Does nothing if it is over, when Twisted's TLS would raise."""
    if isinstance(transport, TLSMemoryBIOProtocol) and not transport.connected:
        return
    transport.abortConnection()


def unacknowledged(transport: Any) -> int:
    """Return how many written octets the peer's machine has not acknowledged yet.

    It counts octets in this process and in the kernel. Returns 0 if the transport has no socket.
    """
    while not isinstance(transport, TCPConnection):
        if getattr(transport, "transport", None) is None:
            return 0
        transport = transport.transport
    return unsent(transport) + _counted(transport.fileno(), termios.TIOCOUTQ)


def readable(fd: int) -> int:
    """Return how many octets wait in the kernel to be read, or 0 if the kernel cannot tell."""
    return _counted(fd, termios.FIONREAD)


def _counted(fd: int, request: int) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(fd, request, _EMPTY), sys.byteorder)
    except (OSError, ValueError):  # ValueError: the descriptor of a closed socket is -1
        return 0


def unread(transport: Any) -> int:
    """Return how many octets of a peer wait in the kernel to be read.

    Returns 0 if the transport has no socket, or if the kernel cannot tell.
    """
    fd = descriptor(transport)
    return 0 if fd is None else readable(fd)


def descriptor(transport: Any) -> int | None:
    """Return the descriptor of the socket under a transport, or None if there is no open one."""
    while not isinstance(transport, TCPConnection):
        transport = getattr(transport, "transport", None)
        if transport is None:
            return None
    fd: int = transport.fileno()
    return None if fd < 0 else fd


class SocketWriter:
    """Writes to a plain transport: to its socket at once, if no octets wait before these.

    Twisted's `write` waits for the reactor's next turn, and costs two calls of `epoll_ctl`.
    """

    __slots__ = ("_behind", "_send", "_transport")

    def __init__(self, transport: TCPConnection) -> None:
        self._transport = transport
        self._send = transport.socket.send
        self._behind = True

    def write(self, data: bytes) -> bool:
        """Write octets, and return True if the socket took all of them.

        The transport sends the rest later.
        """
        if not self._behind or self._caught_up():
            try:
                sent = self._send(data)
            except OSError:
                sent = 0  # no room, or an error that the reactor will find by itself
            if sent == len(data):
                return True
            data = data[sent:]
            self._behind = True
        self._transport.write(data)
        return False

    # The writer itself can be kept in place of a bound method, which takes 64 octets.
    __call__ = write

    def _caught_up(self) -> bool:
        self._behind = not has_sent_all(self._transport)
        return not self._behind


def tls_reason(error: BaseException | None) -> str:
    """Return OpenSSL's reasons for an error, printable, or "" if it gave none."""
    queues = [each for each in getattr(error, "args", ()) if isinstance(each, list)]
    entries = [entry for queue in queues for entry in queue if isinstance(entry, tuple) and entry]
    return escape(", ".join(str(entry[-1]) for entry in entries))


def tls_problem(error: BaseException, transport: Any) -> str:
    """Return why TLS has failed on a transport, printable, "" if OpenSSL gave no reason."""
    why = tls_reason(error)
    if _UNTRUSTED in why and (handle := getattr(transport, "getHandle", None)) is not None:
        why = ": ".join(filter(None, (why, verify_result(handle()))))
    return why


def explained(reason: Failure) -> Failure:
    """Return the reason of a connection's end in a form that Autobahn can read.

    Autobahn looks for OpenSSL's queue of errors in every error of TLS, and raises if there is
    none. `onClose` would then never be called.
    """
    error = reason.value
    if isinstance(error, SSL.Error) and not (
        error.args and isinstance(error.args[0], list | tuple) and error.args[0]
    ):
        return Failure(ConnectionLost(str(error)))
    return reason
