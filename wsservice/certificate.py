"""TLS of the ports: by which key and certificate, read from files, and read again."""

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

from .errors import ConfigError
from .escape import escape
from .transports import tls_reason

_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")
"""Of TLS 1.2, those with forward secrecy and authenticated encryption; of 1.3, all."""

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The TLS of a port. Its certificate can be replaced: who connects then gets the new one.

    Raises `OpenSSL.SSL.Error` where key and certificate do not belong together.
    """

    def __init__(self, options: CertificateOptions) -> None:
        self.options = _usable(options)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """As `IOpenSSLServerConnectionCreator` has it."""
        return self.options.serverConnectionForTLS(protocol)

    def prepare(self, options: CertificateOptions) -> Callable[[], str | None]:
        """Another certificate: what puts it in effect, and says what it is if it is another.

        Raises `OpenSSL.SSL.Error`, as for the first.
        """
        _usable(options)

        def commit() -> str | None:
            before, self.options = self.options, options
            if _identity(before) == _identity(options):
                return None
            return f"valid until {_last_day(options)}"

        return commit


def _usable(options: CertificateOptions) -> CertificateOptions:
    # Made when first asked for, which would be when somebody connects.
    options.getContext()
    return options


def _chain(options: CertificateOptions) -> list[x509.Certificate]:
    """The certificate and those behind it: ours, or Twisted's, which wraps them."""
    chain: list[Any] = [options.certificate, *options.extraCertChain]
    return [each.to_cryptography() if isinstance(each, X509) else each for each in chain]


def _identity(options: CertificateOptions) -> list[bytes]:
    return [each.fingerprint(SHA256()) for each in _chain(options)]


def _last_day(options: CertificateOptions) -> str:
    return f"{_chain(options)[0].not_valid_after_utc:%Y-%m-%d}"


def read_certificate(certificate: str, key: str | None) -> CertificateOptions:
    """TLS by a certificate, with its chain, and a key, which is in the same file where it has none.

    Raises `ConfigError` for a file that cannot be read or is not what it should be.
    """
    octets = _read("--tls-cert", certificate)
    # What Twisted is typed to take, pyOpenSSL takes no more without a warning.
    chain: list[Any] = [*_certificates(certificate, octets)]
    if key is None:
        private = _key("--tls-cert", certificate, octets)
    else:
        private = _key("--tls-key", key, _read("--tls-key", key))
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
            f"{where}: {escape(key or certificate)} has another key than that of the first"
            f" certificate of {escape(certificate)} ({tls_reason(error)})"
        ) from None


def _read(option: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(
            f"{option}: {escape(path)} cannot be read, {error.strerror}; give a file in PEM"
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
        # Without a password, so that nobody is asked for one.
        return load_pem_private_key(octets, None)
    except TypeError:
        problem = "has a key that is encrypted; decrypt it, as openssl pkey -in FILE -out FILE does"
    except (ValueError, UnsupportedAlgorithm):
        there = _KEY in octets
        problem = "has a key that cannot be read" if there else "has no key"
        problem += "; give --tls-key a file in PEM"
    raise ConfigError(f"{option}: {escape(path)} {problem}")
