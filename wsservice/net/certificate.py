"""Read the keys and certificates of ports from files, and replace them at a reload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
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
from .expiry import ValidUntil
from .server_names import ServerNames, names_of, title_of
from .transports import tls_reason

_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")
"""The ciphers: for TLS 1.2 those with forward secrecy and authenticated encryption, for 1.3 all."""

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"


@attrs.frozen
class ClientAuthorities:
    """The authorities whose certificates clients must show.

    Without `is_required` a client may show none. A certificate that is not valid fails the
    handshake in any case.
    """

    certificates: tuple[x509.Certificate, ...]
    is_required: bool = True

    def ask(self, options: CertificateOptions) -> None:
        """Make TLS options ask clients for a certificate. They must not have been used yet."""
        roots = [X509.from_cryptography(each) for each in self.certificates]
        # Options of an `ssl:` endpoint were made by Twisted, without roots. Others have them in a
        # form that only their constructor makes.
        asking = CertificateOptions(verify=True, caCerts=roots)
        options.trustRoot, options.verify = asking.trustRoot, True
        options.requireCertificate = self.is_required


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The TLS of a port, whose certificates can be replaced for connections that come later.

    `options` have the first certificate. They choose among `others` by the name that a client asks
    for: see `read_certificates`. `authorities` are those of clients. Raises `OpenSSL.SSL.Error` if
    a key and its certificate do not belong together.
    """

    def __init__(
        self,
        options: CertificateOptions,
        others: Sequence[CertificateOptions] = (),
        authorities: ClientAuthorities | None = None,
    ) -> None:
        self.options = _usable(options)
        self.others = [_usable(each) for each in others]
        self.authorities = authorities

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Return an OpenSSL connection for a new client's protocol.

        Twisted calls this (`IOpenSSLServerConnectionCreator`).
        """
        return self.options.serverConnectionForTLS(protocol)

    def prepare(self, other: ServerTLS) -> Callable[[], str | None]:
        """Return a function that puts the certificates of another into effect.

        That function returns in words what differs, None if nothing does. For one certificate, the
        words are "valid until" and a date.
        """

        def commit() -> str | None:
            changes = _changes(self, other)
            self.options, self.others = other.options, other.others
            self.authorities = other.authorities
            return ", ".join(changes) or None

        return commit

    @property
    def certificates(self) -> list[x509.Certificate]:
        """The certificates in use, without their chains, the first one first."""
        return [_chain(each)[0] for each in (self.options, *self.others)]

    def expiries(self, port: str) -> list[ValidUntil]:
        """Return the ends of the certificates in use. `port` names the port."""
        return [
            ValidUntil(port, title_of(each), each.not_valid_after_utc.timestamp())
            for each in self.certificates
        ]


def _changes(before: ServerTLS, after: ServerTLS) -> list[str]:
    """Return what differs, in words."""
    # By fingerprint, since files that did not change are read again too.
    known = [_identity(each) for each in (before.options, *before.others)]
    changed = [each for each in (after.options, *after.others) if _identity(each) not in known]
    several = bool(before.others or after.others)
    said = [
        f"{escape(title_of(_chain(each)[0]))} valid until {_last_day(each)}"
        if several
        else f"valid until {_last_day(each)}"
        for each in changed
    ]
    gone = len(known) - len(after.others) - 1
    if gone > 0:
        said.append(f"{gone} fewer")
    if before.authorities != after.authorities:
        said.append("other authorities of clients")
    return said


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


def read_authorities(path: str, is_required: bool) -> ClientAuthorities:
    """Return the authorities in a file. Raises `ConfigError` if it cannot be read or has none."""
    octets = read_file("--tls-client-ca", path, "give a file in PEM")
    found = _certificates("--tls-client-ca", path, octets)
    return ClientAuthorities(tuple(found), is_required)


def read_certificates(
    certificates: Sequence[str], keys: Sequence[str], authorities: ClientAuthorities | None = None
) -> ServerTLS:
    """Return the TLS of files with certificate chains, and of files with their keys.

    The first certificate is for clients that ask for no name, or for an unknown one. `keys` are in
    the order of `certificates`. If it is empty, each key is in the file of its certificate. Raises
    `ConfigError` as `read_certificate` does.
    """
    none: list[str | None] = [None] * len(certificates)
    pairs = list(zip(certificates, keys or none, strict=True))
    others = [read_certificate(*each, authorities) for each in pairs[1:]]
    first = read_certificate(*pairs[0], authorities, others)
    return ServerTLS(first, others, authorities)


def read_certificate(
    certificate: str,
    key: str | None,
    authorities: ClientAuthorities | None = None,
    others: Sequence[CertificateOptions] = (),
) -> CertificateOptions:
    """Return the TLS options for a file with a certificate chain and a file with its key.

    If `key` is None, the key is in the file of the certificate. A client that asks for a name of
    `others`, and of none of this certificate, gets that one. Raises `ConfigError` for a file that
    cannot be read, has the wrong content, or has a key of another certificate.
    """
    octets = read_file("--tls-cert", certificate, "give a file in PEM")
    # Any: Twisted's types ask for pyOpenSSL's X509, for which pyOpenSSL itself warns.
    chain: list[Any] = [*_certificates("--tls-cert", certificate, octets)]
    if key is None:
        private = _key("--tls-cert", certificate, octets)
    else:
        private = _key("--tls-key", key, read_file("--tls-key", key, "give a file in PEM"))
    options = CertificateOptions(
        privateKey=private,
        certificate=chain[0],
        extraCertChain=chain[1:],
        acceptableCiphers=_CIPHERS,
        contextForServerName=_chooser(chain[0], others) if others else None,
    )
    if authorities is not None:
        authorities.ask(options)
    try:
        return _usable(options)
    except SSL.Error as error:
        where = "--tls-cert" if key is None else "--tls-key"
        raise ConfigError(
            f"{where}: {escape(key or certificate)} does not have the key of the first"
            f" certificate in {escape(certificate)} ({tls_reason(error)})"
        ) from None


def _chooser(
    first: x509.Certificate, others: Sequence[CertificateOptions]
) -> Callable[[bytes | None], SSL.Context | None]:
    """Return a function that returns the context for a name, None for the first certificate's."""
    # None leaves the connection with the first context. After a switch OpenSSL verifies the client
    # by the new context, so each has the same authorities.
    named: list[tuple[list[str], SSL.Context | None]] = [(names_of(first), None)]
    named += [(names_of(_chain(each)[0]), each.getContext()) for each in others]
    return ServerNames(named).find


def _certificates(option: str, path: str, octets: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(octets)
    except ValueError as error:
        there = _CERTIFICATE in octets
        problem = "has a certificate that cannot be read" if there else "has no certificate"
        raise ConfigError(f"{option}: {escape(path)} {problem}; give a file in PEM") from error


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
