"""TLS with less done for each message.

Twisted's own goes through a layer of pyOpenSSL, an exception and two buffers for
each read, and a timer for each write. Here, once the handshake is done, what is
written during a read leaves after it, in one record and one send; what is written
at other times leaves at the reactor's next turn, with one timer for all
connections. All else is Twisted's: the handshake, closing, producers, errors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import (
    BufferingTLSTransport,
    TLSMemoryBIOFactory,
    TLSMemoryBIOProtocol,
)
from twisted.python.failure import Failure

from .sending import Gathering
from .transports import SocketWriter, plain

_RECORD = 16 * 1024
"""Octets that a record holds at most (RFC 8446, 5.1)."""

_ENOUGH = 64 * 1024
"""Octets that are gathered at most before they leave."""

_HTTP = frozenset(b"CDGHOPT")
"""What a request of HTTP begins with, its method. A record of TLS begins with a number below 32."""

_SAID = b"TLS is spoken here: connect with wss:// or https://.\n"
_NO_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_SAID), _SAID)

_log = Logger(namespace="wsservice")


_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)
# For one call at a time, so one for all connections.
_room: Any = _ffi and _ffi.new("char[]", 2 * _RECORD)


class _Records:
    """What pyOpenSSL's connection does, by the same calls of OpenSSL's without the layer between.

    That layer takes as long as OpenSSL does to decrypt a small record and encrypt
    another. Its names are private: raises `AttributeError` where they are others.
    """

    __slots__ = ("_bio_read", "_bio_write", "_check", "_from", "_into", "_read", "_ssl", "_write")

    def __init__(self, connection: SSL.Connection) -> None:
        self._check: Any = connection._raise_ssl_error
        self._ssl: Any = connection._ssl
        self._into: Any = connection._into_ssl
        self._from: Any = connection._from_ssl
        self._bio_read: Any = _lib.BIO_read
        self._bio_write: Any = _lib.BIO_write
        self._read: Any = _lib.SSL_read
        self._write: Any = _lib.SSL_write

    def received(self, data: bytes) -> None:
        """Take octets that came from the peer."""
        self._bio_write(self._into, data, len(data))

    def read(self) -> bytes:
        """What the peer said, of one record at most; b"" where that is not there yet.

        Raises `SSL.ZeroReturnError` at the end, `SSL.Error` for what is wrong.
        """
        size = self._read(self._ssl, _room, _RECORD)
        if size > 0:
            return _ffi.buffer(_room, size)[:]  # type: ignore[no-any-return]
        if _lib.SSL_get_error(self._ssl, size) != _lib.SSL_ERROR_WANT_READ:
            self._check(self._ssl, size)
        return b""

    def write(self, data: bytes) -> int:
        """Say something, at most a record; returns how many octets of it were said.

        Raises `SSL.WantReadError` where OpenSSL must hear from the peer first,
        `SSL.Error` for what is wrong.
        """
        size: int = self._write(self._ssl, data, len(data))
        if size <= 0:
            self._check(self._ssl, size)
        return size

    def to_send(self) -> bytes:
        """Octets for the peer."""
        size = self._bio_read(self._from, _room, len(_room))
        if size <= 0:
            return b""
        data: bytes = _ffi.buffer(_room, size)[:]
        return data + self.to_send() if size == len(_room) else data


class _NextTurn:
    """Lets leave, at the reactor's next turn, what was written outside of a read."""

    def __init__(self, clock: IReactorTime, gathering: Gathering) -> None:
        self._clock = clock
        self._gathering = gathering
        self._transports: list[TLSTransport] = []

    def flush(self, transport: TLSTransport) -> None:
        """Have a transport flushed at the next turn, or sooner, with what else is gathered."""
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
                # A producer's, told to pause: the others' turn comes all the same.
                _log.failure("cannot write")


class TLSTransport(TLSMemoryBIOProtocol):
    """A connection's TLS. Twisted's own until the handshake is done."""

    transport: Any
    _records: _Records | None = None
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
            # Twisted's four times as much holds several records, each of them a turn's work.
            tcp.bufferSize = _RECORD
        self._socket_write = transport.write if tcp is None else SocketWriter(tcp).write
        super().makeConnection(transport)

    def _checkHandshakeStatus(self) -> None:
        super()._checkHandshakeStatus()
        if self._handshakeDone:
            # Where pyOpenSSL is not as it was, or a plugin's TLS has something in
            # its place, reading and writing are Twisted's too.
            with contextlib.suppress(AttributeError):
                self._records = _Records(self._tlsConnection)

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
            # OpenSSL would end it without a word that its sender understands.
            self.transport.write(_NO_TLS)
            self._tlsShutdownFinished(Failure(SSL.Error([("", "", "HTTP on a port of TLS")])))
        elif not self._lostTLSConnection:
            super().dataReceived(data)
        self._heard = True

    def _flushReceiveBIO(self) -> None:
        if self._records is None:
            super()._flushReceiveBIO()
            return
        self._in_read = True
        try:
            while not self._lostTLSConnection:
                data = self._read(self._records)
                if not data:
                    break
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(data)
        finally:
            self._in_read = False
        if self._gathered:
            self.send_gathered()
        else:
            self._flushSendBIO()  # OpenSSL may have an answer of its own

    def _read(self, records: _Records) -> bytes:
        try:
            return records.read()
        except SSL.ZeroReturnError:
            # It has said its last word, and may still read ours.
            self.send_gathered()
            self._shutdownTLS()
            self._tlsShutdownFinished(None)
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
        return b""

    # Out

    def write(self, data: bytes) -> None:
        """Send; after `loseConnection` nothing, but for a producer's last words."""
        if self.disconnecting and self._producer is None:
            return
        if not self._gathered and not self._in_read:
            self._next_turn.flush(self)
        self._gathered.append(data + b"")  # a TypeError at once for what is no bytes
        self._gathered_size += len(data)
        if self._gathered_size > _ENOUGH:
            self.send_gathered()

    def send_gathered(self) -> None:
        """Let leave what was gathered."""
        if self._gathered:
            data = b"".join(self._gathered)
            self._gathered.clear()
            self._gathered_size = 0
            if data:
                self._write(data)

    def _write(self, data: bytes) -> None:
        if self._records is None:
            super()._write(data)
        elif len(data) <= _RECORD:
            self._send(self._sealed(self._records, data))
        else:
            # Record by record: OpenSSL keeps the largest buffer that it ever needed.
            parts = (data[start : start + _RECORD] for start in range(0, len(data), _RECORD))
            self._send(b"".join([self._sealed(self._records, part) for part in parts]))

    def _sealed(self, records: _Records, data: bytes) -> bytes:
        if self._lostTLSConnection:
            return b""
        try:
            # More than once for a peer that wants shorter records (RFC 6066, 4).
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
        """Send a closing alert after all that was written, and end TCP."""
        self.send_gathered()
        super().loseConnection()

    def abortConnection(self) -> None:
        """End TCP at once."""
        self._gathered.clear()
        super().abortConnection()

    def unregisterProducer(self) -> None:
        """No more comes of a producer; what came before is sent."""
        self.send_gathered()
        super().unregisterProducer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._records = None
        self._gathered.clear()


def quicken(port: object, gathering: Gathering) -> None:
    """Have a port's connections use `TLSTransport`, where they would use what Twisted does.

    No TLS, or another, is left as it is.
    """
    factory = getattr(port, "factory", None)
    if isinstance(factory, TLSMemoryBIOFactory) and factory.protocol is BufferingTLSTransport:
        # Twisted calls it as it would a class.
        factory.protocol = partial(TLSTransport, _NextTurn(factory._clock, gathering))  # type: ignore[assignment]
