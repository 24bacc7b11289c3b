"""Read and write TLS with less work for each message than Twisted.

For each read Twisted goes through a layer of pyOpenSSL, an exception and two buffers; for each
write it sets a timer. Here, after the handshake, octets that are written during a read leave after
it, in one record and one send. Octets that are written at other times leave at the reactor's next
turn, with one timer for all connections. The handshake, closing, producers and errors stay
Twisted's.

See docs/decisions/tls.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import (
    BufferingTLSTransport,
    TLSMemoryBIOFactory,
    TLSMemoryBIOProtocol,
)
from twisted.python.failure import Failure

from ..clock import monotonic_of
from ..http.head import head_of
from ..private.of_pyopenssl import RECORD_OCTETS, Records
from ..private.of_twisted import clock_of, missing_of_tls
from .gathering import Gathering
from .proxied import ProxiedFactory
from .transports import SocketWriter, plain
from .turns import SLICE_SECONDS

_ENOUGH_OCTETS = 64 * 1024
"""Octets after which gathered writes leave at once, so that a large answer is not held twice."""

_HTTP = frozenset(b"CDGHOPT")
"""The first octets of HTTP's methods. A TLS record begins with 20 to 24 (RFC 8446, 5.1)."""

_LOGGED = "plain HTTP on a port of TLS; connect with wss:// or https://"
_SAID = b"this port speaks TLS; connect with wss:// or https://\n"
_NO_TLS_HEADERS = (
    ("Connection", "close"),
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Length", str(len(_SAID))),
)
# Made once: nothing of the request is looked at but its first octet.
_NO_TLS = head_of(400, _NO_TLS_HEADERS) + _SAID

_log = Logger(namespace="wsservice")


class _NextTurn:
    """Sends octets that were written outside of a read, at the reactor's next turn."""

    def __init__(self, clock: IReactorTime, gathering: Gathering) -> None:
        self._clock = clock
        self.seconds = monotonic_of(clock)
        self._gathering = gathering
        self._transports: list[TLSTransport] = []

    def flush(self, transport: TLSTransport) -> None:
        """Flush a transport at the next turn, or at the end of a gathering that is under way."""
        if self._gathering.under_way:
            self._gathering.gatherers.append(transport)
            return
        if not self._transports:
            self._clock.callLater(0, self._flush_all)
        self._transports.append(transport)

    def _flush_all(self) -> None:
        transports, self._transports = self._transports, []
        for each in transports:
            try:
                each.send_gathered()
            except Exception:
                # A write may tell a producer to pause, whose code may raise. The other transports
                # must be flushed all the same.
                _log.failure("cannot write")


class TLSTransport(TLSMemoryBIOProtocol):
    """The TLS of a connection: Twisted's code until the handshake is done, then ours."""

    transport: Any
    _records: Records | None = None
    _socket_write: Callable[[bytes], object]
    _in_read = False
    _heard = False
    _gathered: list[bytes]
    _gathered_size = 0

    def __init__(self, next_turn: _NextTurn, *args: Any) -> None:
        super().__init__(*args)
        self._next_turn = next_turn
        self._gathered = []

    # In

    def makeConnection(self, transport: Any) -> None:
        tcp = plain(transport)
        if tcp is not None:
            # Twisted reads 64 KiB, which hold four records. Each was a slice of 4 ms in one turn.
            tcp.bufferSize = RECORD_OCTETS
        self._socket_write = transport.write if tcp is None else SocketWriter(tcp).write
        super().makeConnection(transport)

    def _checkHandshakeStatus(self) -> None:
        super()._checkHandshakeStatus()
        if self._handshakeDone:
            # If pyOpenSSL has renamed something, or a plugin's TLS has another object here, reading
            # and writing stay Twisted's.
            with contextlib.suppress(AttributeError):
                self._records = Records(self._tlsConnection)

    def dataReceived(self, data: bytes) -> None:
        if self._records is None:
            self._shake_hands(data)
            return
        self._records.received(data)
        if self._appSendBuffer:
            self._unbufferPendingWrites()
        self._flushReceiveBIO()

    def _shake_hands(self, data: bytes) -> None:
        if not self._heard and data[0] in _HTTP:
            # OpenSSL would end the connection with an alert, which an HTTP client cannot read.
            self.transport.write(_NO_TLS)
            self._tlsShutdownFinished(Failure(SSL.Error([("", "", _LOGGED)])))
        elif not self._lostTLSConnection:
            super().dataReceived(data)
        self._heard = True

    def _flushReceiveBIO(self) -> None:
        if self._records is None:
            super()._flushReceiveBIO()
            return
        self._in_read = True
        seconds = self._next_turn.seconds
        until = seconds() + SLICE_SECONDS
        try:
            while not self._lostTLSConnection:
                data = self._read(self._records)
                if not data:
                    break
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(data)
                    if seconds() >= until and hasattr(self.wrappedProtocol, "end_slice"):
                        self.wrappedProtocol.end_slice()
        finally:
            self._in_read = False
        if self._gathered:
            self.send_gathered()
        else:
            self._flushSendBIO()  # OpenSSL may have an answer, to a key update for example

    def _read(self, records: Records) -> bytes:
        try:
            return records.read()
        except SSL.ZeroReturnError:
            # The peer has sent its closing alert, and may still read.
            if IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
                self.wrappedProtocol.readConnectionLost()
            self.send_gathered()
            self._shutdownTLS()
            self._tlsShutdownFinished(None)
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
        return b""

    # Out

    def write(self, data: bytes) -> None:
        """Send octets. After `loseConnection` only a producer's octets are sent.

        Raises `TypeError` for anything but bytes.
        """
        if self.disconnecting and self._producer is None:
            return
        if not self._gathered and not self._in_read:
            self._next_turn.flush(self)
        self._gathered.append(data + b"")  # raises TypeError here, not later in `join`
        self._gathered_size += len(data)
        if self._gathered_size > _ENOUGH_OCTETS:
            self.send_gathered()

    def send_gathered(self) -> None:
        """Send the gathered octets."""
        if self._gathered:
            data = b"".join(self._gathered)
            self._gathered.clear()
            self._gathered_size = 0
            if data:
                self._write(data)

    def _write(self, data: bytes) -> None:
        if self._records is None:
            super()._write(data)
        elif len(data) <= RECORD_OCTETS:
            self._send(self._sealed(self._records, data))
        else:
            # One record at a time, since OpenSSL keeps the largest buffer that it ever needed.
            parts = (
                data[start : start + RECORD_OCTETS] for start in range(0, len(data), RECORD_OCTETS)
            )
            self._send(b"".join([self._sealed(self._records, part) for part in parts]))

    def _sealed(self, records: Records, data: bytes) -> bytes:
        if self._lostTLSConnection:
            return b""
        try:
            # A peer may negotiate shorter records (RFC 6066, 4), and OpenSSL writes one for each
            # call. Without the loop such a client lost all but 512 octets of each 16 KiB.
            while data:
                data = data[records.write(data) :]
        except SSL.WantReadError:
            self._bufferedWrite(data)
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
        return records.to_send()

    def _flushSendBIO(self) -> None:
        if self._records is None:
            super()._flushSendBIO()
        else:
            self._send(self._records.to_send())

    def _send(self, data: bytes) -> None:
        if data and not self._aborted:
            self._socket_write(data)

    # The end

    def loseConnection(self) -> None:
        """Send all written octets and a closing alert, and end TCP."""
        self.send_gathered()
        super().loseConnection()

    def abortConnection(self) -> None:
        """End TCP at once. Does nothing if it is over."""
        self._gathered.clear()
        if self.connected:  # Twisted's raises otherwise
            super().abortConnection()

    def unregisterProducer(self) -> None:
        """Send the octets of a producer that has finished, and forget it."""
        self.send_gathered()
        super().unregisterProducer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._records = None
        self._gathered.clear()


def quicken(port: object, gathering: Gathering) -> None:
    """Make a port's connections use `TLSTransport` in place of Twisted's TLS.

    A port without TLS, or with the TLS of a plugin, is left as it is. So is every port, with a line
    in the log, if Twisted's TLS has other private names than `TLSTransport` shares with it.
    """
    factory = getattr(port, "factory", None)
    if isinstance(factory, ProxiedFactory):
        factory = factory.wrappedFactory
    if isinstance(factory, TLSMemoryBIOFactory) and factory.protocol is BufferingTLSTransport:
        if missing := missing_of_tls():
            _log.warn(
                "TLS is slower: this version of Twisted has no {names}", names=", ".join(missing)
            )
            return
        next_turn = _NextTurn(clock_of(factory, port), gathering)
        # Twisted calls it like a class.
        factory.protocol = partial(TLSTransport, next_turn)  # type: ignore[assignment]
