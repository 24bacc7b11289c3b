"""Read the keys that verify JSON Web Tokens. PURE.

The kind of a key decides which algorithms it may be used with, so that no token can have a public
key taken for the secret of an HMAC (RFC 8725, 3.1). The extra `auth` is needed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from ..strictjson import parse_object

MOST_KEYS = 100
"""The most keys of a set."""

MOST_TRIED = 8
"""The most keys that are tried for one token: each costs the time of a signature."""

LONGEST_TOKEN = 8 * 1024
"""The most octets of a token. A request's target has no more."""

SHORTEST_SECRET = 32
"""Octets of a secret for HS256 (RFC 7518, 3.2). A shorter one is warned of."""

_RSA_BITS = (2048, 8192)
"""The least by RFC 7518, 3.3. Beyond the most, a signature takes too long to verify."""

_OF_CURVE = {
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "secp256k1": ("ES256K",),
    # RFC 9864 names both by their curves. Most issuers write EdDSA, as RFC 8037 did.
    "Ed25519": ("EdDSA", "Ed25519"),
    "Ed448": ("EdDSA", "Ed448"),
}
_OF_KIND = {
    "oct": ("HS256", "HS384", "HS512"),
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
}
_MATERIAL = ("kty", "crv", "x", "y", "n", "e", "k")
"""The members of a JWK that make a public or symmetric key (RFC 7518, 6; RFC 8037, 2)."""

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_SSH = (b"ssh-", b"ecdsa-sha2-", b"---- BEGIN SSH2")


@attrs.frozen
class VerifyingKey:
    """One key: the library's, its name, and the algorithms that tokens may use with it."""

    key: Any = attrs.field(repr=False)
    kid: str | None
    algorithms: tuple[str, ...]

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Return True if a signature is by this key, and by an algorithm that goes with it."""
        if algorithm not in self.algorithms:
            return False
        # Not `registry.get_alg`, which warns at each token that RFC 9864 renames EdDSA.
        found = JWSRegistry.algorithms[algorithm]
        try:
            found.check_key(self.key)
            return bool(found.verify(signed, signature, self.key))
        except (JoseError, ValueError):  # such as a signature of another length
            return False


class Keys:
    """Several keys, found by their names.

    `skipped` says in a line each why a key of a set cannot be used, `warnings` what is weak.
    `has_secrets` is true if the file that they come from has to be kept secret.
    """

    def __init__(self, keys: Iterable[VerifyingKey], has_secrets: bool = False) -> None:
        self.has_secrets = has_secrets
        self.skipped: list[str] = []
        self.warnings: list[str] = []
        self._by_kid: dict[str | None, list[VerifyingKey]] = {}
        for each in keys:
            self._by_kid.setdefault(each.kid, []).append(each)
        self._all = [key for same in self._by_kid.values() for key in same]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[VerifyingKey]:
        return iter(self._all)

    def named(self, kid: str | None) -> list[VerifyingKey]:
        """Return the keys that a token with this `kid` may have been signed for.

        A key without a name may be meant by any: a PEM has none. A token without one may mean any
        key.
        """
        if kid is None:
            return self._all
        return self._by_kid.get(kid) or self._by_kid.get(None, [])

    @property
    def identity(self) -> frozenset[Any]:
        """Return what is equal for the same keys."""
        return frozenset((each.kid, each.algorithms, each.key.thumbprint()) for each in self._all)


def parse_keys(data: bytes) -> Keys:
    """Return the keys in a file: PEM, a JWK, a JWK Set, or the octets of an HMAC secret.

    One line end at the end is no part of a secret. Raises `ValueError`, whose text has nothing of
    the file. A file that looks like a public key is never taken for a secret.
    """
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{"):
        return parse_jwks(start)
    if b"-----BEGIN " in data:
        return _parse_pem(data)
    if start.startswith(_SSH) or _is_der(data):
        raise ValueError("it has a key in another form than PEM; convert it to PEM")
    secret = data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data
    if not secret.strip():
        raise ValueError("it is empty")
    key = VerifyingKey(_imported(secret, "oct"), None, _OF_KIND["oct"])
    return _with_warnings(Keys([key], has_secrets=True))


def parse_jwks(data: bytes, is_public: bool = False) -> Keys:
    """Return the keys in the JSON of a JWK or a JWK Set (RFC 7517). Raises `ValueError`.

    If anybody can read it, `is_public`, it has no secrets: its symmetric keys are not used.
    """
    value = parse_object(data)
    listed = value.get("keys")
    if listed is None and is_public:
        raise ValueError('it has no list of "keys"')
    if listed is None:
        keys = Keys([_of_jwk(value)], _is_secret(value))
        return _with_warnings(keys)
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise ValueError(f'it has no list of at most {MOST_KEYS} "keys"')
    found, skipped = [], []
    for place, each in enumerate(listed, 1):
        try:
            if is_public and isinstance(each, dict) and each.get("kty") == "oct":
                raise ValueError("it is a secret that anybody can read")
            found.append(_of_jwk(each))
        except ValueError as error:
            skipped.append(f"key {place} of {len(listed)} is not used: {error}")
    if not found:
        raise ValueError(f"it has no key that can be used ({skipped[0] if skipped else 'none'})")
    keys = Keys(found, any(map(_is_secret, listed)))
    keys.skipped = skipped
    return _with_warnings(keys)


def _is_secret(value: Any) -> bool:
    """Return True if a JWK has a symmetric key, or the private part of one."""
    return isinstance(value, dict) and (value.get("kty") == "oct" or "k" in value or "d" in value)


def _of_jwk(value: Any) -> VerifyingKey:
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    kid = value.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise ValueError("its kid is not text")
    if value.get("use", "sig") != "sig":
        raise ValueError("it is not for signatures (use)")
    operations = value.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise ValueError("it is not for verifying (key_ops)")
    kind = value.get("kty")
    if not isinstance(kind, str) or kind not in ("oct", "RSA", "EC", "OKP"):
        raise ValueError("its kind (kty) is unknown")
    curve = value.get("crv")
    if kind in ("EC", "OKP") and not (isinstance(curve, str) and curve in _OF_CURVE):
        raise ValueError("its curve (crv) is not for signatures, or unknown")
    try:
        key = _imported({name: value[name] for name in _MATERIAL if name in value})
        allowed = _algorithms(key)
    except _UnfitError:
        raise
    except Exception:  # a member may be malformed in any way, and the library raises anything
        raise ValueError("it is malformed") from None
    named = value.get("alg")
    if named is not None:
        if not isinstance(named, str) or named not in allowed:
            raise ValueError("its algorithm (alg) does not go with its kind")
        allowed = (named,)
    return VerifyingKey(key, kid, allowed)


class _UnfitError(ValueError):
    """A key is well-formed, and not fit to be used."""


def _imported(material: Any, kind: Any = None) -> Any:
    """Return the library's key. Its warnings are left out: this module refuses or warns itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwk.import_key(material, kind)


def _algorithms(key: Any) -> tuple[str, ...]:
    if key.key_type == "RSA":
        least, most = _RSA_BITS
        if not least <= key.public_key.key_size <= most:
            raise _UnfitError(f"it is an RSA key with fewer than {least} or more than {most} bits")
    if key.key_type in _OF_KIND:
        return _OF_KIND[key.key_type]
    return _OF_CURVE[key.curve_name]


def _with_warnings(keys: Keys) -> Keys:
    for each in keys:
        if each.key.key_type == "oct" and len(each.key.raw_value) < SHORTEST_SECRET:
            keys.warnings.append(
                f"a secret has fewer than {SHORTEST_SECRET} octets, and may be guessed"
                f" (RFC 7518, 3.2); make one by: openssl rand -hex {SHORTEST_SECRET}"
            )
            break
    return keys


def _parse_pem(data: bytes) -> Keys:
    blocks = list(_PEM.finditer(data))
    if not blocks or len(blocks) > MOST_KEYS:
        raise ValueError(f"it has no PEM, or more than {MOST_KEYS} keys")
    labels = [match[1].decode() for match in blocks]
    found = []
    has_secrets = False
    for label, match in zip(labels, blocks, strict=True):
        if label in ("EC PARAMETERS", "DH PARAMETERS"):
            continue
        has_secrets = has_secrets or label.endswith("PRIVATE KEY")
        found.append(_of_pem(label, match[0] + b"\n", is_alone=labels.count(label) == 1))
    if not found:
        raise ValueError("it has no key in PEM")
    return Keys(found, has_secrets)


def _of_pem(label: str, block: bytes, is_alone: bool) -> VerifyingKey:
    try:
        public = _public(label, block, is_alone)
        pem = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        key = _imported(pem, _kind_of(type(public).__name__))
        return VerifyingKey(key, None, _algorithms(key))
    except _UnfitError:
        raise
    except (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        raise ValueError(
            f"its {label} cannot be read, or is for no signature; give a public key of RSA, EC"
            " or Ed25519, without a pass phrase"
        ) from None


def _kind_of(name: str) -> Any:
    if "RSA" in name:
        return "RSA"
    return "OKP" if "Ed25519" in name or "Ed448" in name else "EC"


def _public(label: str, block: bytes, is_alone: bool) -> Any:
    if label == "CERTIFICATE":
        certificate = x509.load_pem_x509_certificate(block)
        if not is_alone and _is_authority(certificate):
            raise _UnfitError(
                "it has a chain of certificates, whose authorities would be taken for signers;"
                " give the signer's certificate alone"
            )
        return certificate.public_key()
    if label.endswith("PRIVATE KEY"):
        return serialization.load_pem_private_key(block, None).public_key()
    return serialization.load_pem_public_key(block)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return basic.value.ca


def _is_der(data: bytes) -> bool:
    loaders: Mapping[str, Any] = {
        "certificate": x509.load_der_x509_certificate,
        "public key": serialization.load_der_public_key,
        "private key": lambda octets: serialization.load_der_private_key(octets, None),
    }
    for load in loaders.values():
        try:
            load(data)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        return True
    return False
