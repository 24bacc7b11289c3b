"""TLS as a client speaks it: whom it trusts, who it is, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import VerificationError
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from zope.interface import implementer

from ..errors import ConfigError
from ..escape import escape
from ..transports import tls_reason
from .options import ClientConfig

_NOT_TLS = {
    "wrong version number",
    "packet length too long",
    "http request",
    "https proxy request",
    "unknown protocol",
    "unexpected message",
    "record layer failure",
}
_NOT_VERIFIED = "certificate verify failed"
_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)


class EncryptedKeyError(ConfigError):
    """A key needs a pass phrase, and none was given."""


class Security:
    """What TLS is spoken with. Made once: it reads the files.

    `ca` is a file of certificates to trust in place of the system's; `cert` has the
    client's certificate and its chain, `key` its key, if that is in another file,
    and `password` what the key is encrypted with. `insecure` verifies nothing.
    Raises `ConfigError` where a file cannot be used.
    """

    def __init__(
        self,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        password: str | None = None,
        insecure: bool = False,
    ) -> None:
        self._insecure = insecure
        self._trusted = None
        self._identity: dict[str, Any] = {}
        if ca is not None:
            trusted = [
                Certificate(X509.from_cryptography(each)) for each in _certificates("ca", ca)
            ]
            self._trusted = trustRootFromCertificates(trusted)
        if cert is not None:
            self._identity = _identity(cert, key, password)
        elif key is not None:
            raise ConfigError("--key: a key alone is not allowed; give --cert too")

    @classmethod
    def of(cls, config: ClientConfig) -> Security:
        """That of a client's settings."""
        return cls(config.ca, config.cert, config.key, config.key_password, config.insecure)

    def for_host(self, host: str) -> HostSecurity:
        """What a connection to a host is made with."""
        if self._insecure:
            return HostSecurity(_Unverified(host, self._identity))
        return HostSecurity(
            optionsForClientTLS(
                host, trustRoot=self._trusted, extraCertificateOptions=dict(self._identity)
            )
        )


@implementer(IOpenSSLClientConnectionCreator)
class HostSecurity:
    """The TLS of one connection, which can say what went wrong with it."""

    def __init__(self, creator: Any = None) -> None:
        self._creator = creator
        self._connection: SSL.Connection | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Twisted's: the connection of OpenSSL."""
        self._connection = self._creator.clientConnectionForTLS(tlsProtocol)
        return self._connection

    def why(self, error: BaseException | None) -> str:
        """What is wrong, in words, printable."""
        if isinstance(error, VerificationError):
            return "the certificate is not for this host"
        reasons = tls_reason(error)
        if _NOT_VERIFIED in reasons:
            said = _verify_result(self._connection)
            return f"the certificate cannot be trusted: {said}" if said else reasons
        if set(reasons.split(", ")) & _NOT_TLS:
            return f"the server does not speak it ({reasons})"
        if "certificate required" in reasons:
            return f"the server wants a certificate of yours ({reasons})"
        return reasons or "the server broke off"

    def described(self) -> Sequence[str]:
        """What was agreed upon: the version and cipher, and whose certificate it is."""
        connection = self._connection
        if connection is None:
            return []
        lines = [f"{connection.get_protocol_version_name()}, {connection.get_cipher_name()}"]
        certificate = connection.get_peer_certificate()
        if certificate is not None:
            peer = certificate.to_cryptography()
            lines += [
                f"certificate of {escape(peer.subject.rfc4514_string()) or '(no name)'}",
                f"issued by {escape(peer.issuer.rfc4514_string())}",
                f"good until {peer.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            ]
        return lines


class _Unverified:
    """Takes whatever certificate comes."""

    def __init__(self, host: str, identity: dict[str, Any]) -> None:
        self._name = None if isIPAddress(host) or isIPv6Address(host) else host.encode()
        self._options = CertificateOptions(**identity)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = self._options.clientConnectionForTLS(tlsProtocol)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection


def is_of_the_certificate(error: BaseException | None) -> bool:
    """Whether an error is that a server's certificate is not trusted, or for another name."""
    if isinstance(error, SSL.Error):
        return _NOT_VERIFIED in tls_reason(error)
    return isinstance(error, VerificationError)


def _verify_result(connection: Any) -> str:
    # pyOpenSSL keeps it to itself.
    try:
        number = _lib.SSL_get_verify_result(connection._ssl)
        return escape(_ffi.string(_lib.X509_verify_cert_error_string(number)).decode())
    except AttributeError:
        return ""


def _read(field: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"--{field}: cannot read {path!r}: {error.strerror}") from None


def _certificates(field: str, path: str) -> list[x509.Certificate]:
    data = _read(field, path)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise ConfigError(f"--{field}: {path!r} has no certificate in PEM") from None


def _identity(cert: str, key: str | None, password: str | None) -> dict[str, Any]:
    own, *chain = _certificates("cert", cert)
    field, path = ("cert", cert) if key is None else ("key", key)
    data = _read(field, path)
    try:
        private = load_pem_private_key(data, password.encode() if password else None)
    except TypeError:
        if password is not None:  # it is not encrypted at all
            return _identity(cert, key, None)
        raise EncryptedKeyError(f"--{field}: the key in {path!r} wants a pass phrase") from None
    except ValueError:
        what = "no key in PEM" if password is None else "no key that this pass phrase opens"
        raise ConfigError(f"--{field}: {path!r} has {what}") from None
    identity: dict[str, Any] = {
        "privateKey": private,
        "certificate": own,
        "extraCertChain": chain,
    }
    try:
        CertificateOptions(**identity).getContext()
    except SSL.Error:
        raise ConfigError(
            f"--{field}: {path!r} is not the key of the certificate in {cert!r}"
        ) from None
    return identity
