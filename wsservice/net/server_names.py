"""Choose a certificate by the name that a client asks for (SNI, RFC 6066, 3). PURE."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from cryptography import x509

_T = TypeVar("_T")

_LONGEST = 255
"""The most octets of a name that are looked at (RFC 1035, 2.3.4)."""

_SHOWN = 80
"""The most characters of a name that are shown."""


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names of a certificate in lower case, wildcards as they are.

    They are those of its SAN. The common name counts only without any SAN (RFC 9525, 6.3, no
    longer looks at it), so that old certificates still have a name here.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = names.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        found = _common_names(certificate)
    except ValueError:  # a malformed extension
        found = []
    return [name.lower().removesuffix(".") for name in found]


def title_of(certificate: x509.Certificate) -> str:
    """Return a name of a certificate for people: its first DNS name, else its subject."""
    names = names_of(certificate) or _common_names(certificate)
    try:
        title = names[0] if names else certificate.subject.rfc4514_string()
    except ValueError:
        title = ""
    return title[:_SHOWN]


def _common_names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except ValueError:
        return []
    return [str(each.value) for each in found]


class ServerNames(Generic[_T]):
    """Values by the names of their certificates. The first one with a name has it."""

    def __init__(self, named: Iterable[tuple[Iterable[str], _T]]) -> None:
        self._exact: dict[str, _T] = {}
        self._wild: dict[str, _T] = {}
        for names, value in named:
            for name in names:
                if name.startswith("*."):
                    self._wild.setdefault(name[2:], value)
                else:
                    self._exact.setdefault(name, value)

    def find(self, asked: bytes | None) -> _T | None:
        """Return the value for the name that a client sent, None for an unknown one or none.

        A wildcard stands for exactly one label (RFC 9525, 6.3). A whole name goes before it.
        """
        if asked is None or len(asked) > _LONGEST:
            return None
        # OpenSSL has refused a NUL by now, but no other octet. A replaced one is in no certificate.
        name = asked.decode("ascii", "replace").lower().removesuffix(".")
        if name in self._exact:
            return self._exact[name]
        label, _, parent = name.partition(".")
        return self._wild.get(parent) if label else None
