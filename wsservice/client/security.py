"""Set up TLS for a client: trusted authorities, its own certificate, and errors in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import ConfigError
from ..escape import escape
from ..http.hostname import address_of, certified_name
from ..net.transports import tls_reason
from ..private.of_pyopenssl import verify_result
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
_MOST_NAMES = 4
_LONGEST_NAME = 100
"""The most names of a certificate that are shown, and the most characters of each."""

_NOT_VERIFIED = "certificate verify failed"


class EncryptedKeyError(ConfigError):
    """A key is encrypted, and no pass phrase was given."""


class Security:
    """The TLS settings of a client. Making it reads the files.

    `ca` is a file of certificates to trust in place of the system's. `cert` holds the client's
    certificate and its chain, and `key` its key, if that is in another file; `password` decrypts
    the key. `insecure` verifies nothing. Raises `ConfigError` if a file cannot be used.
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
        """Return the TLS settings of a client's configuration. Raises `ConfigError`."""
        return cls(config.ca, config.cert, config.key, config.key_password, config.insecure)

    def for_host(self, host: str) -> HostSecurity:
        """Return the TLS of a connection to a host.

        Raises `ConfigError` for a name that no certificate can have.
        """
        name = certified_name(host)
        if self._insecure:
            return HostSecurity(_ForHost(name, CertificateOptions(**self._identity)))
        try:
            wanted = DNS_ID(name) if address_of(name) is None else IPAddress_ID(name)
        except ValueError:
            raise ConfigError(
                f"{escape(host)!r} is not allowed with TLS; no certificate can be for that name"
            ) from None
        trusted = platformTrust() if self._trusted is None else self._trusted
        options = CertificateOptions(trustRoot=trusted, **self._identity)
        return HostSecurity(_ForHost(name, options, wanted))


@implementer(IOpenSSLClientConnectionCreator)
class HostSecurity:
    """The TLS of one connection. It can explain a failure."""

    def __init__(self, creator: Any = None) -> None:
        self._creator = creator
        self._connection: SSL.Connection | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Return OpenSSL's connection. Twisted calls it."""
        self._connection = self._creator.clientConnectionForTLS(tlsProtocol)
        return self._connection

    def why(self, error: BaseException | None) -> str:
        """Return a printable reason for a failure."""
        if isinstance(error, VerificationError):
            names = ", ".join(getattr(self._creator, "names", ()))
            return "the certificate is not for this host" + (names and f", it is for {names}")
        reasons = tls_reason(error)
        if _NOT_VERIFIED in reasons:
            said = verify_result(self._connection)
            return f"the certificate cannot be trusted: {said}" if said else reasons
        if set(reasons.split(", ")) & _NOT_TLS:
            return f"the server does not speak it ({reasons})"
        if "certificate required" in reasons:
            return f"the server asks for a client certificate ({reasons})"
        return reasons or "the server broke off"

    def cure(self, error: BaseException | None) -> str:
        """Return a hint to follow `why`; "" for none.

        It names options of the program; the settings have the same names.
        """
        reasons = tls_reason(error)
        if _NOT_VERIFIED in reasons:
            return "; give the certificate of its authority by --ca"
        if set(reasons.split(", ")) & _NOT_TLS:
            return "; give a ws: URL for a server without TLS"
        return "; give one by --cert" if "certificate required" in reasons else ""

    def described(self) -> Sequence[str]:
        """Return lines about the handshake: version, cipher, and the server's certificate."""
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


class _ForHost:
    """Make a connection for one host. With `wanted`, only a certificate for it is accepted.

    With `wanted` None, any certificate is accepted. Twisted's own class refuses names with `_`, or
    with `--` in the third and fourth place.
    """

    def __init__(
        self, name: str, options: CertificateOptions, wanted: DNS_ID | IPAddress_ID | None = None
    ) -> None:
        # An address is not sent as a server name (RFC 6066, 3).
        self._name = name.encode() if address_of(name) is None else None
        self._options = options
        self._wanted = wanted
        #: The names in the server's certificate, printable.
        self.names: list[str] = []

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = self._options.clientConnectionForTLS(tlsProtocol)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        if self._wanted is not None:
            mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
            connection.set_verify(mode, _verifier(tlsProtocol, self._wanted, self.names))
        return connection


def _verifier(tlsProtocol: Any, wanted: Any, names: list[str]) -> Callable[..., bool]:
    protocol: Any = tlsProtocol

    def verify(_connection: Any, certificate: X509, _error: int, depth: int, ok: int) -> bool:
        nonlocal protocol
        if depth != 0:  # the certificate of an authority
            return bool(ok)
        # The protocol holds the connection: a reference back would be a cycle.
        told, protocol = protocol, None
        try:
            patterns = extract_patterns(certificate)
            names[:] = [_shown(each) for each in patterns[:_MOST_NAMES]]
            verify_service_identity(patterns, [wanted], [])
        except Exception as error:
            # A certificate without any names is not for this host either.
            problem = error if isinstance(error, VerificationError) else VerificationError([])
            if told is not None:
                told.failVerification(Failure(problem))
            return False
        return bool(ok)

    return verify


def _shown(pattern: Any) -> str:
    """Return a name of a certificate, printable, because the server chose it."""
    name = getattr(pattern, "pattern", "")
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    return escape(text[:_LONGEST_NAME])


def is_of_the_certificate(error: BaseException | None) -> bool:
    """Return True if a server's certificate is not trusted, or is for another name."""
    if isinstance(error, SSL.Error):
        return _NOT_VERIFIED in tls_reason(error)
    return isinstance(error, VerificationError)


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
        raise EncryptedKeyError(f"--{field}: the key in {path!r} needs a pass phrase") from None
    except ValueError:
        what = "no key in PEM" if password is None else "no key that this pass phrase decrypts"
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
