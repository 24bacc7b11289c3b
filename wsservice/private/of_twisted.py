"""Use private names of Twisted.

=============================  =====================================  ==============================
Name                           Needed for                             Without it
=============================  =====================================  ==============================
`_pendingTimedCalls`,          moving calls to the monotonic clock    calls behind a cancelled one
`_newTimedCalls`               (`scheduled_calls`)                    may wait too long
`_observers`, `_outFile`,      writing the message log in batches,    each message is an event,
`_shouldLogEvent`,             if the log's only observer is a file   which takes thirty times as
`_observer`                    (`observers_of` and others)            long
`_SomeApplicationRunner`,      the log that twistd's options ask      standard output, or the file
`_getLogObserver`              for (`twistd_observer`)                of --logfile, not rotated
`_wrappedEndpoint`             endpoints within endpoints             the inner one is not known:
                               (`endpoint_within`)                    its TLS is not renewed
`_sslContextFactory`           TLS that is renewed at a reload        certificates change at a
                               (`tls_options_of`)                     restart only
`_port`, `_interface`,         a PROXY header in front of TLS         that endpoint is refused, in
`_backlog`, `_reactor`         (`without_tls`)                        one line
`_interface`                   refusing an exposed --admin early      refused once it listens
                               (`interface_of`)
`_SystemdParser._sddaemon`     the sockets that systemd handed over   the environment is read again
                               (`handed_sockets`)
`_shouldShutdown`              leaving the socket of a closed port    a socket of systemd, or of
                               open for others (`Borrowed`)           the parent, is shut down
`_logConnectionLostMsg`        a port of a worker that says nothing   workers log the end of ports
                               (`Quiet`)
`_realPortNumber`              the name of a port of a worker         `repr` has no number
                               (`name_port`)
`_PollLikeMixin`,              one event for all sockets that are     connections stay with the
`_DisconnectSelectableMixin`   ready (`PollsTogether`)                reactor
`_tempDataLen`                 what waits in a transport              nothing is written at once,
                               (`has_sent_all`, `unsent`)             all at the next turn
`SHARED_WITH_TLS`              TLS with less work for a message       TLS stays Twisted's
                               (`net.tls`)
`_clock`                       the clock of TLS (`clock_of`)          the port's reactor
`_command`, `_path`,           the room for a request's body          bodies have 4 KiB, and longer
`_version`                     (`request_line`)                       messages are refused
`SHARED_WITH_HTTP`             twisted.web's answers and deadlines    its own short answer to a bad
                               (`admin.web`)                          request
=============================  =====================================  ==============================
"""

from __future__ import annotations

import select
import sys
from typing import Any

from twisted.internet import endpoints, posixbase
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.tcp import Connection
from twisted.logger import FileLogObserver, textFileLogObserver
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.logfile import LogFile
from twisted.python.systemd import ListenFDs

from ..errors import ConfigError
from . import absent


def _of(module: Any, owner: str, name: str) -> Any:
    """Return a private attribute of a private class, or None without one of the two."""
    return getattr(getattr(module, owner, None), name, None)


# The reactor


def scheduled_calls(reactor: Any) -> list[Any]:
    """Return the delayed calls of a reactor, with those that were cancelled."""
    try:
        # `getDelayedCalls` leaves out cancelled calls, but all are one heap.
        return [*reactor._pendingTimedCalls, *reactor._newTimedCalls]
    except AttributeError:
        return list(reactor.getDelayedCalls())


# The log


def observers_of(publisher: Any) -> list[Any]:
    """Return the observers of a log. Raises `AttributeError` without that name."""
    observers: list[Any] = publisher._observers
    return observers


def filter_of(observer: Any) -> tuple[Any, Any]:
    """Return the function of a filter that passes events on, and the observer behind.

    Raises `AttributeError` without that name.
    """
    return observer._shouldLogEvent, observer._observer


def file_of(observer: FileLogObserver) -> Any:
    """Return the file of an observer. Raises `AttributeError` without that name."""
    return observer._outFile


def twistd_observer(options: dict[str, Any]) -> FileLogObserver:
    """Return the observer that twistd would make for its options, with the file that it opens."""
    from twisted.scripts import twistd

    runner: Any = vars(twistd).get("_SomeApplicationRunner")
    try:
        observer: FileLogObserver = runner.loggerFactory(options)._getLogObserver()
    except AttributeError:
        return _plain_observer(options.get("logfile"), bool(options.get("nodaemon")))
    return observer


def _plain_observer(path: str | None, nodaemon: bool) -> FileLogObserver:
    if path == "-" or (nodaemon and not path):
        return textFileLogObserver(sys.stdout)
    return textFileLogObserver(LogFile.fromFullPath(path or "twistd.log"))


# Endpoints and ports


def endpoint_within(endpoint: Any) -> Any:
    """Return the endpoint that an endpoint wraps, or None. Those of plugins count too."""
    return getattr(endpoint, "_wrappedEndpoint", None)


def tls_options_of(endpoint: Any) -> Any:
    """Return what an `ssl:` endpoint makes TLS with, or None for another endpoint.

    An endpoint of a plugin may have anything.
    """
    return getattr(endpoint, "_sslContextFactory", None)


def use_tls_options(endpoint: Any, options: object) -> None:
    """Replace what an `ssl:` endpoint makes TLS with."""
    endpoint._sslContextFactory = options


def without_tls(endpoint: Any) -> tuple[IStreamServerEndpoint, Any] | None:
    """Return an endpoint of TCP alone like an `ssl:` endpoint, and what that makes TLS with.

    Returns None for another endpoint. Raises `ConfigError` without one of the names.
    """
    try:
        tls = endpoint._sslContextFactory
        args = endpoint._reactor, endpoint._port, endpoint._backlog, endpoint._interface
    except AttributeError as error:
        if isinstance(endpoint, endpoints.SSL4ServerEndpoint) or hasattr(
            endpoint, "_sslContextFactory"
        ):
            raise ConfigError(
                f"an ssl: endpoint behind a gateway needs another version of Twisted: {error}"
            ) from None
        return None
    return None if tls is None else (endpoints.TCP4ServerEndpoint(*args), tls)


def interface_of(endpoint: Any) -> str | None:
    """Return the interface on which an endpoint listens, or None if it does not say."""
    interface: str | None = getattr(endpoint, "_interface", None)
    return interface


def handed_sockets() -> ListenFDs:
    """Return the sockets of systemd among which Twisted's parser of endpoints looks."""
    parser = getattr(endpoints, "_SystemdParser", None)
    handed: ListenFDs | None = getattr(parser, "_sddaemon", None)
    return ListenFDs.fromEnvironment() if handed is None else handed


class Borrowed:
    """A port whose socket others hold too. A mixin to stand before Twisted's port."""

    # Shutting down ends the socket for all who hold a descriptor of it.
    _shouldShutdown = False


class Quiet(Borrowed):
    """A port that does not log its end. A mixin to stand before Twisted's port."""

    def _logConnectionLostMsg(self) -> None:
        pass


def name_port(port: Any, number: int) -> None:
    """Give a port that Twisted did not open its number, for `repr`."""
    port._realPortNumber = number


# Polling


class PollsTogether:
    """Acts on an event of a transport as Twisted's reactors do. A base for what polls transports.

    `_reads` has the transports that are read, by their descriptors.
    """

    # Twisted's function reads these four names.
    _POLL_IN = getattr(select, "EPOLLIN", 0)
    _POLL_OUT = getattr(select, "EPOLLOUT", 0)
    _POLL_DISCONNECTED = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
    _reads: dict[int, Any]

    #: `read_or_write(transport, fd, event)`: read, write or end a transport.
    read_or_write: Any = _of(posixbase, "_PollLikeMixin", "_doReadOrWrite")
    #: `disconnect(transport, why, was_read)`: end a transport, or the half of it that was read.
    disconnect: Any = _of(posixbase, "_DisconnectSelectableMixin", "_disconnectSelectable")
    _disconnectSelectable = disconnect  # `read_or_write` calls it


def can_poll() -> bool:
    """Return True if `PollsTogether` works."""
    has_both = PollsTogether.read_or_write is not None and PollsTogether.disconnect is not None
    return has_both and hasattr(select, "epoll")


# Transports


def has_sent_all(transport: Connection) -> bool:
    """Return True if the kernel has all octets that were written to a plain transport."""
    # `dataBuffer` is being sent, `_tempDataBuffer` waits behind it.
    return not (transport.dataBuffer or transport._tempDataLen)


def unsent(transport: Connection) -> int:
    """Return how many octets that were written to a plain transport the kernel does not have."""
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


if absent(Connection, ["_tempDataLen"]):

    def has_sent_all(transport: Connection) -> bool:
        return False

    def unsent(transport: Connection) -> int:
        return len(transport.dataBuffer) - transport.offset


# TLS

SHARED_WITH_TLS = {
    "_aborted": "True after `abortConnection`: nothing is sent or passed on",
    "_appSendBuffer": "what was written before the handshake was done",
    "_bufferedWrite()": "keep what OpenSSL does not take yet",
    "_checkHandshakeStatus()": "go on with the handshake; ours begins after it",
    "_flushReceiveBIO()": "pass on what was decrypted; replaced",
    "_flushSendBIO()": "send what was encrypted; replaced",
    "_handshakeDone": "True once the handshake is done",
    "_lostTLSConnection": "True once TLS is over",
    "_producer": "writes after `loseConnection` are those of a producer",
    "_shutdownTLS()": "send the closing alert",
    "_tlsConnection": "the connection of pyOpenSSL",
    "_tlsShutdownFinished()": "end TCP, with the reason",
    "_unbufferPendingWrites()": "write what `_bufferedWrite` has kept",
    "_write()": "encrypt what is written; replaced",
}
"""The names that `net.tls.TLSTransport` shares with its base class, and what each is for."""


def missing_of_tls() -> list[str]:
    """Return the names of `SHARED_WITH_TLS` that Twisted's TLS does not have."""
    return absent(TLSMemoryBIOProtocol, SHARED_WITH_TLS)


def clock_of(factory: TLSMemoryBIOFactory, port: Any) -> Any:
    """Return the clock of the TLS of a port's connections."""
    clock = getattr(factory, "_clock", None)
    return port.reactor if clock is None else clock


# twisted.web

SHARED_WITH_HTTP = {
    "_abortingCall": "the delayed call that cuts off a slow reader",
    "_respondToBadRequestAndDisconnect()": "answer a malformed request; replaced",
}
"""The names that `admin.web` shares with twisted.web's connection, and what each is for."""


def request_line(channel: Any) -> tuple[bytes, bytes, bytes] | None:
    """Return method, target and version of the request whose body a connection reads.

    twisted.web gives them to a request only after the body. Returns None without those names.
    """
    try:
        return channel._command, channel._path, channel._version
    except AttributeError:
        return None
