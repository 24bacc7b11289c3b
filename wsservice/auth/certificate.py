"""`--auth tls:FIELD`: the user that a client's certificate names. PURE.

OpenSSL has verified the certificate in the handshake, by `--tls-client-ca`. A field with no value,
or with several, names nobody: to take one of them would let whoever orders a certificate choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from cryptography import x509

from ..channels.query import CONTROL
from ..config.config import Config
from ..errors import ConfigError
from .contract import Authenticator, Credential, Form, Inquiry, User, Verdict
from .refusals import bad_credential

Values = Callable[[x509.Certificate], Sequence[Any]]
"""A function that returns all values of a field. Raises `ValueError` for a malformed one."""


def _common_names(certificate: x509.Certificate) -> Sequence[Any]:
    found = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return [each.value for each in found]


def _subject(certificate: x509.Certificate) -> Sequence[Any]:
    if any(CONTROL.search(str(each.value)) for each in certificate.subject):
        # In a string by RFC 4514 a NUL is escaped, so `check_user_id` would find none.
        raise ValueError("a control character")
    text = certificate.subject.rfc4514_string()
    return [text] if text else []


def _san(kind: type[x509.GeneralName]) -> Values:
    def values(certificate: x509.Certificate) -> Sequence[Any]:
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return []
        return [each.value for each in names.value if isinstance(each, kind)]

    return values


FIELDS: dict[str, tuple[str, Values]] = {
    "cn": ("common name", _common_names),
    "subject": ("subject", _subject),
    "san-email": ("email address in its SAN", _san(x509.RFC822Name)),
    "san-dns": ("DNS name in its SAN", _san(x509.DNSName)),
    "san-uri": ("URI in its SAN", _san(x509.UniformResourceIdentifier)),
}
"""The fields that may name a user, with the words for them."""

_UNREADABLE = bad_credential("the client's certificate cannot be read")


@attrs.frozen
class CertificateUser(Authenticator):
    """Finds the user in one field of a certificate, one of `FIELDS`.

    The user's credential ends with the certificate.
    """

    forms = frozenset({Form.CERTIFICATE})

    _field: str

    def check(self, credential: Credential, request: Inquiry) -> Verdict:
        """Return the user that a certificate in PEM names, or 401."""
        words, values = FIELDS[self._field]
        try:
            certificate = x509.load_pem_x509_certificate(credential.text.encode())
            found = values(certificate)
            until = certificate.not_valid_after_utc.timestamp()
        except ValueError:
            return _UNREADABLE
        if len(found) != 1:
            count = "no" if not found else "more than one"
            return bad_credential(
                f"the client's certificate has {count} {words}", "show one that has exactly one"
            )
        try:
            return User(found[0], expires=until)
        except ValueError as error:
            return bad_credential(f"the {words} of the client's certificate is no id: {error}")

    def prepare(self, config: Config) -> Callable[[], None]:
        """Check that there are authorities yet: see `Authenticator`."""
        _check_authorities(config)
        return lambda: None


def open_certificate(field: str, config: Config, reactor: Any) -> CertificateUser:
    """Return the authenticator of a field. Raises `ConfigError`."""
    if field not in FIELDS:
        *others, last = (f"tls:{each}" for each in FIELDS)
        raise ConfigError(
            f"--auth: {f'tls:{field}'!r} is not allowed; give {', '.join(others)} or {last}"
        )
    _check_authorities(config)
    return CertificateUser(field)


def _check_authorities(config: Config) -> None:
    if not config.tls_client_ca:
        raise ConfigError(
            "--auth: tls is not allowed without --tls-client-ca, the authorities of the"
            " certificates; give that"
        )
