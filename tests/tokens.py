"""Keys and JSON Web Tokens for tests, made by PyJWT or octet by octet.

The service verifies by another library. `Signer` has one private key, and gives it out in each form
that the service reads.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

SECRET = b"0123456789abcdef" * 4

_MAKERS: dict[str, Any] = {
    "RS": lambda: rsa.generate_private_key(65537, 2048),
    "PS": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
}


def encoded(value: Any) -> str:
    """Return JSON, or octets, in base64url without padding."""
    octets = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def hmac_token(header: Any, claims: Any, secret: bytes = SECRET) -> str:
    """Return a token of any header and claims, signed as HS256."""
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


class Signer:
    """A private key of the kind that an algorithm wants, and its name."""

    def __init__(self, algorithm: str = "ES256", kid: str | None = None) -> None:
        self.algorithm = algorithm
        self.kid = kid
        make = _MAKERS.get(algorithm) or _MAKERS.get(algorithm[:2])
        self.private: Any = make() if make else SECRET

    def token(self, sub: Any = "tom", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token for a user, which is good for a minute unless `exp` is given."""
        claims = {"sub": sub, "exp": int(time.time()) + 60, **claims}
        named = {"kid": self.kid} if self.kid is not None else {}
        # PyJWT does not sign what it would not verify, such as a `sub` that is no text.
        return jwt.api_jws.encode(
            json.dumps(claims).encode(),
            self.private,
            "EdDSA" if self.algorithm == "Ed448" else self.algorithm,
            headers={**named, **(headers or {})},
        )

    @property
    def pem(self) -> bytes:
        """The public key in PEM."""
        pem: bytes = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return pem

    @property
    def private_pem(self) -> bytes:
        """The private key in PEM."""
        pem: bytes = self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return pem

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public key, or the secret, as a JWK with more members."""
        named = {} if self.kid is None else {"kid": self.kid}
        if isinstance(self.private, bytes):
            return {"kty": "oct", "k": encoded(self.private), **named, **members}
        kind: Any = {
            "R": jwt.algorithms.RSAAlgorithm,
            "P": jwt.algorithms.RSAAlgorithm,
        }.get(self.algorithm[0], jwt.algorithms.ECAlgorithm)
        if self.algorithm.startswith("Ed"):
            kind = jwt.algorithms.OKPAlgorithm
        made = kind.to_jwk(self.private.public_key(), as_dict=True)
        made.pop("key_ops", None)
        return {**made, **named, **members}


def jwks(*keys: Any) -> bytes:
    """The JWK Set of signers, or of what stands in place of a key."""
    listed = [each.jwk() if isinstance(each, Signer) else each for each in keys]
    return json.dumps({"keys": listed}).encode()
