"""Read the keys and certificates of ports from files, and replace them at a reload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions
from zope.interface import implementer

from ..config.files import read_file
from ..errors import ConfigError
from ..escape import escape
from .transports import tls_reason

_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")
"""The ciphers: for TLS 1.2 those with forward secrecy and authenticated encryption, for 1.3 all."""

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The TLS of a port, whose certificate can be replaced for connections that come later.

    Raises `OpenSSL.SSL.Error` if key and certificate do not belong together.
    """

    def __init__(self, options: CertificateOptions) -> None:
        self.options = _usable(options)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Return an OpenSSL connection for a new client's protocol.

        Twisted calls this (`IOpenSSLServerConnectionCreator`).
        """
        return self.options.serverConnectionForTLS(protocol)

    def prepare(self, options: CertificateOptions) -> Callable[[], str | None]:
        """Check another certificate, and return a function that puts it into effect.

        That function returns "valid until" and a date if the certificate differs, else None.
        Raises `OpenSSL.SSL.Error` if key and certificate do not belong together.
        """
        _usable(options)

        def commit() -> str | None:
            before, self.options = self.options, options
            if _identity(before) == _identity(options):
                return None
            return f"valid until {_last_day(options)}"

        return commit


def _usable(options: CertificateOptions) -> CertificateOptions:
    # Twisted makes the context when it is first asked for. Without this call a key that does not
    # belong to the certificate would be noticed at the first connection, not at the start.
    options.getContext()
    return options


def _chain(options: CertificateOptions) -> list[x509.Certificate]:
    """Return a certificate and its chain.

    Options of `ssl:` endpoints have Twisted's wrappers (`X509`), ours have plain certificates.
    """
    chain: list[Any] = [options.certificate, *options.extraCertChain]
    return [each.to_cryptography() if isinstance(each, X509) else each for each in chain]


def _identity(options: CertificateOptions) -> list[bytes]:
    return [each.fingerprint(SHA256()) for each in _chain(options)]


def _last_day(options: CertificateOptions) -> str:
    return f"{_chain(options)[0].not_valid_after_utc:%Y-%m-%d}"


def read_certificate(certificate: str, key: str | None) -> CertificateOptions:
    """Return the TLS options for a file with a certificate chain and a file with its key.

    If `key` is None, the key is in the file of the certificate. Raises `ConfigError` for a file
    that cannot be read, has the wrong content, or has a key of another certificate.
    """
    octets = read_file("--tls-cert", certificate, "give a file in PEM")
    # Any: Twisted's types ask for pyOpenSSL's X509, for which pyOpenSSL itself warns.
    chain: list[Any] = [*_certificates(certificate, octets)]
    if key is None:
        private = _key("--tls-cert", certificate, octets)
    else:
        private = _key("--tls-key", key, read_file("--tls-key", key, "give a file in PEM"))
    options = CertificateOptions(
        privateKey=private,
        certificate=chain[0],
        extraCertChain=chain[1:],
        acceptableCiphers=_CIPHERS,
    )
    try:
        return _usable(options)
    except SSL.Error as error:
        where = "--tls-cert" if key is None else "--tls-key"
        raise ConfigError(
            f"{where}: {escape(key or certificate)} does not have the key of the first"
            f" certificate in {escape(certificate)} ({tls_reason(error)})"
        ) from None


def _certificates(path: str, octets: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(octets)
    except ValueError as error:
        there = _CERTIFICATE in octets
        problem = "has a certificate that cannot be read" if there else "has no certificate"
        raise ConfigError(f"--tls-cert: {escape(path)} {problem}; give a file in PEM") from error


def _key(option: str, path: str, octets: bytes) -> Any:
    try:
        # Without a password OpenSSL would ask for one at the terminal, and block the start. This
        # function raises TypeError for an encrypted key instead.
        return load_pem_private_key(octets, None)
    except TypeError:
        problem = "has an encrypted key; decrypt it with openssl pkey -in FILE -out FILE"
    except (ValueError, UnsupportedAlgorithm):
        there = _KEY in octets
        problem = "has a key that cannot be read" if there else "has no key"
        problem += "; give --tls-key a file in PEM"
    raise ConfigError(f"{option}: {escape(path)} {problem}")
