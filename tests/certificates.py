"""Certificates for tests: an authority of one's own, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAY = datetime.timedelta(days=1)

_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A certificate authority, whose files are in a folder: `file` is its certificate.

    It signs its own, unless it has an issuer, and is one in between.
    """

    def __init__(
        self, folder: Path, name: str = "Test CA", issuer: Authority | None = None
    ) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        above = issuer or self
        certificate = (
            _begun(self._name, above, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS, critical=True)
            .sign(above._key, hashes.SHA256())
        )
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def certificate(
        self,
        host: str = "localhost",
        *,
        expired: bool = False,
        password: bytes | None = None,
        named: bool = True,
    ) -> tuple[Path, Path]:
        """The files of a key and a certificate for a host, a name or an address.

        A certificate that is not `named` has the name where nobody may look for it (RFC 9525,
        6.3).
        """
        try:
            names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(host))]
        except ValueError:
            names = [x509.DNSName(host)]
        stem = f"{host}{'-expired' if expired else ''}{'-locked' if password else ''}"
        return self.signed(
            stem, _named(host), names if named else [], expired=expired, password=password
        )

    def signed(
        self,
        stem: str,
        subject: x509.Name,
        names: list[x509.GeneralName],
        *,
        expired: bool = False,
        password: bytes | None = None,
        days: float = 1,
    ) -> tuple[Path, Path]:
        """The files of a key and a certificate, called `stem`, with a subject and a SAN.

        It ends in so many days.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _begun(subject, self, key.public_key(), expired, days)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        key_file, certificate_file = self._folder / f"{stem}.key", self._folder / f"{stem}.crt"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password)
                if password
                else serialization.NoEncryption(),
            )
        )
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return key_file, certificate_file


def _named(name: str) -> x509.Name:
    """Return a subject with a common name."""
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _begun(
    subject: x509.Name,
    issuer: Authority,
    key: ec.EllipticCurvePublicKey,
    expired: bool = False,
    days: float = 1,
) -> x509.CertificateBuilder:
    issuer_key = issuer._key.public_key()
    until = datetime.datetime.now(datetime.UTC) + (-_DAY if expired else days * _DAY)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer._name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - (days + 2) * _DAY)
        .not_valid_after(until)
        # Python verifies strictly from 3.13 on (RFC 5280, 4.2.1.1 and 4.2.1.2).
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )
