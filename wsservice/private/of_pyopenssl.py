"""Call OpenSSL past pyOpenSSL.

===========================================  ==========================  ===========================
Name                                         Needed for                  Without it
===========================================  ==========================  ===========================
`SSL._lib`, `SSL._ffi`; of a connection      records without             TLS stays Twisted's, with
`_ssl`, `_into_ssl`, `_from_ssl`,            pyOpenSSL's layer           twice the work for a small
`_raise_ssl_error`                           (`Records`)                 message
`SSL._lib`, `SSL._ffi`, `_ssl`               why a certificate is not    the message says less
                                             trusted (`verify_result`)
===========================================  ==========================  ===========================

pyOpenSSL has public names for neither. See docs/decisions/tls.md.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from ..escape import escape

RECORD_OCTETS = 16 * 1024
"""Octets of the longest record (RFC 8446, 5.1)."""

_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)
# One buffer for all connections, since calls run one at a time. Two records, because `to_send`
# reads a whole record with its header and tag at one go.
_room: Any = _ffi and _ffi.new("char[]", 2 * RECORD_OCTETS)


class Records:
    """Calls OpenSSL as pyOpenSSL's connection does, without pyOpenSSL's layer between.

    That layer takes as long as OpenSSL needs to decrypt a small record and encrypt another. Raises
    `AttributeError` if pyOpenSSL has renamed one of the private names.
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
        """Take encrypted octets of the peer."""
        # A memory BIO grows as needed, so it takes all octets (BIO_s_mem(3)).
        self._bio_write(self._into, data, len(data))

    def read(self) -> bytes:
        """Return decrypted octets, of one record at most, or b"" if no record is whole.

        Raises `SSL.ZeroReturnError` after the peer's closing alert, `SSL.Error` for errors of TLS.
        """
        size = self._read(self._ssl, _room, RECORD_OCTETS)
        if size > 0:
            return _ffi.buffer(_room, size)[:]  # type: ignore[no-any-return]
        if _lib.SSL_get_error(self._ssl, size) != _lib.SSL_ERROR_WANT_READ:
            self._check(self._ssl, size)
        return b""

    def write(self, data: bytes) -> int:
        """Encrypt octets, at most a record, and return how many were taken.

        Raises `SSL.WantReadError` if OpenSSL must read from the peer first, `SSL.Error` for errors
        of TLS.
        """
        size: int = self._write(self._ssl, data, len(data))
        if size <= 0:
            self._check(self._ssl, size)
        return size

    def to_send(self) -> bytes:
        """Return the encrypted octets for the peer, or b"" if there are none."""
        size = self._bio_read(self._from, _room, len(_room))
        if size <= 0:
            return b""
        data: bytes = _ffi.buffer(_room, size)[:]
        return data + self.to_send() if size == len(_room) else data


def verify_result(connection: Any) -> str:
    """Return OpenSSL's reason for not trusting a peer's certificate, printable, "" if unknown."""
    try:
        number = _lib.SSL_get_verify_result(connection._ssl)
        return escape(_ffi.string(_lib.X509_verify_cert_error_string(number)).decode())
    except AttributeError:
        return ""
