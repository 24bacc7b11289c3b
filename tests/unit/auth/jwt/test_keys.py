from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joserfc  # noqa: F401 - the extra `auth`
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa, x25519

from wsservice.auth.jwt.keys import MOST_KEYS, Keys, parse_jwks, parse_keys

from ....certificates import Authority
from ....tokens import SECRET, Signer, encoded, jwks

HS = ("HS256", "HS384", "HS512")
RS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
KINDS = {
    "RS256": RS,
    "ES256": ("ES256",),
    "ES384": ("ES384",),
    "ES512": ("ES512",),
    "EdDSA": ("EdDSA", "Ed25519"),
    "Ed448": ("EdDSA", "Ed448"),
}


@pytest.fixture(scope="module")
def signers() -> dict[str, Signer]:
    return {name: Signer(name, kid=f"key of {name}") for name in KINDS}


def refused(octets: bytes) -> str:
    with pytest.raises(ValueError, match=r".") as raised:
        parse_keys(octets)
    text = str(raised.value)
    assert text.isprintable()
    return text


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_a_public_key_says_its_algorithms(
    signers: dict[str, Signer], name: str
) -> None:
    signer = signers[name]
    for octets in (signer.pem, b"\n\n" + signer.pem.replace(b"\n", b"\r\n"), signer.private_pem):
        keys = parse_keys(octets)
        assert [each.algorithms for each in keys] == [KINDS[name]]
        assert [each.kid for each in keys] == [None]
        assert keys.has_secrets is (b"PRIVATE" in octets)
        assert not any(each.key.is_private for each in keys)
    (key,) = parse_keys(json.dumps(signer.jwk()).encode())
    assert (key.kid, key.algorithms) == (f"key of {name}", KINDS[name])


def test_a_certificate_has_the_key_of_its_subject(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    _, certificate = authority.certificate("issuer.example")
    (key,) = parse_keys(certificate.read_bytes())
    assert key.algorithms == ("ES256",)
    (alone,) = parse_keys(authority.file.read_bytes())  # as `openssl req -x509` makes them
    assert alone.algorithms == ("ES256",)
    chain = certificate.read_bytes() + authority.file.read_bytes()
    assert "chain" in refused(chain)


def test_several_keys_in_pem(signers: dict[str, Signer]) -> None:
    keys = parse_keys(signers["ES256"].pem + b"# the old one\n" + signers["RS256"].pem)
    assert {each.algorithms for each in keys} == {("ES256",), RS}
    assert len(keys.named("any")) == 2


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_secret_has_no_line_end(end: bytes) -> None:
    keys = parse_keys(SECRET + end)
    (key,) = keys
    assert (key.key.raw_value, key.algorithms, key.kid) == (SECRET, HS, None)
    assert keys.has_secrets
    assert keys.warnings == []


def test_only_one_line_end_is_none_of_its_octets() -> None:
    (key,) = parse_keys(b"\x00 secret\n\n")
    assert key.key.raw_value == b"\x00 secret\n"


def test_a_short_secret_is_warned_of() -> None:
    for octets in (b"short", json.dumps({"kty": "oct", "k": encoded(b"short")}).encode()):
        (warning,) = parse_keys(octets).warnings
        assert "fewer than 32 octets" in warning
        assert "short" not in warning


@pytest.mark.parametrize("octets", [b"", b"\n", b" \r\n"])
def test_an_empty_file(octets: bytes) -> None:
    assert refused(octets) == "it is empty"


@pytest.mark.parametrize("name", ["RS256", "EdDSA"])
def test_a_public_key_is_never_a_secret(signers: dict[str, Signer], name: str) -> None:
    """The public part is known to all: an HMAC by it could be made by anybody."""
    public = signers[name].private.public_key()
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    ssh = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    for octets in (der, ssh):
        assert "another form than PEM" in refused(octets)
    pem, jwk = signers[name].pem, json.dumps(signers[name].jwk()).encode()
    for octets in (
        *(der, ssh, ssh + b" tom@example\n", pem[:-20], pem.replace(b"M", b"?"), jwk[:-5]),
        *(b"\xef\xbb\xbf" + jwk[:-1], b'{"keys":', b"{}", b" {}"),
    ):
        refused(octets)
    (key,) = parse_keys(b"\xef\xbb\xbf" + jwk)
    assert set(key.algorithms).isdisjoint(HS)


@pytest.mark.parametrize("label", ["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PUBLIC KEY", "X"])
def test_pem_that_cannot_be_read(label: str) -> None:
    pem = f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n".encode()
    assert label in refused(pem)


def test_keys_that_cannot_be_used() -> None:
    small = rsa.generate_private_key(65537, 1024).public_key()
    other = x25519.X25519PrivateKey.generate().public_key()
    for public, what in ((small, "2048"), (other, "is for no signature")):
        pem = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert what in refused(pem)
    assert "no PEM, or more than" in refused(pem * (MOST_KEYS + 1))


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"use": "enc"}, "not for signatures (use)"),
        ({"use": ["sig"]}, "not for signatures (use)"),
        ({"key_ops": ["encrypt"]}, "not for verifying (key_ops)"),
        ({"key_ops": 7}, "not for verifying (key_ops)"),
        ({"kid": 7}, "kid is not text"),
        ({"kty": "XYZ"}, "kty) is unknown"),
        ({"kty": ["EC"]}, "kty) is unknown"),
        ({"crv": "P-999"}, "crv)"),
        ({"crv": ["P-256"]}, "crv)"),
        ({"x": "AA"}, "malformed"),
        ({"x": 5}, "malformed"),
        ({"kty": "oct"}, "malformed"),
        ({"alg": "HS256"}, "alg) does not go with its kind"),
        ({"alg": "ES384"}, "alg) does not go with its kind"),
        ({"alg": "none"}, "alg) does not go with its kind"),
        ({"alg": ["ES256"]}, "alg) does not go with its kind"),
    ],
)
def test_a_key_of_a_set_that_cannot_be_used_is_left_out(
    signers: dict[str, Signer], members: dict[str, Any], why: str
) -> None:
    good = signers["EdDSA"]
    keys = parse_keys(jwks(signers["ES256"].jwk(**members), good))
    assert [each.kid for each in keys] == [good.kid]
    (line,) = keys.skipped
    assert line.startswith("key 1 of 2 is not used: ")
    assert why in line
    alone = refused(jwks(signers["ES256"].jwk(**members)))
    assert "no key that can be used" in alone
    assert why in alone


@pytest.mark.parametrize("entry", [None, 5, "key", [], {}, [["kty", "EC"]]])
def test_an_entry_that_is_no_key(signers: dict[str, Signer], entry: object) -> None:
    assert len(parse_keys(jwks(signers["EdDSA"], entry))) == 1


@pytest.mark.parametrize(
    "octets",
    [
        b'{"keys": []}',
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": "x"}',
        jwks(*[{}] * (MOST_KEYS + 1)),
        b'{"kty": "oct", "k": "' + encoded(SECRET).encode() + b'", "k": "AAAA"}',
    ],
)
def test_a_set_that_is_none(octets: bytes) -> None:
    refused(octets)


def test_a_jwk_may_allow_less_than_its_kind(signers: dict[str, Signer]) -> None:
    (key,) = parse_keys(json.dumps(signers["RS256"].jwk(alg="PS384", use="sig")).encode())
    assert key.algorithms == ("PS384",)
    signed = signers["RS256"].token().encode().rpartition(b".")
    assert not key.verifies("RS256", signed[0], b"")


def test_a_set_has_secrets_if_any_key_of_it_is_one(signers: dict[str, Signer]) -> None:
    public = signers["ES256"]
    assert not parse_keys(jwks(public)).has_secrets
    assert parse_keys(jwks(public, Signer("HS256"))).has_secrets
    assert parse_keys(jwks(public, public.jwk(d="AAAA"))).has_secrets
    assert parse_keys(jwks(public, public.jwk(d="AAAA", use="enc"))).has_secrets


def test_a_set_that_anybody_can_read_has_no_secrets(signers: dict[str, Signer]) -> None:
    keys = parse_jwks(jwks(Signer("HS256"), signers["ES256"]), is_public=True)
    assert [each.algorithms for each in keys] == [("ES256",)]
    assert "a secret that anybody can read" in keys.skipped[0]
    for octets in (jwks(Signer("HS256")), json.dumps(Signer("HS256").jwk()).encode()):
        with pytest.raises(ValueError, match=r"can be used|no list"):
            parse_jwks(octets, is_public=True)


def names(keys: list[Any]) -> set[str | None]:
    return {each.kid for each in keys}


def test_which_keys_a_token_may_mean(signers: dict[str, Signer]) -> None:
    nameless = Signer("ES256")
    named = signers["EdDSA"]
    keys = parse_keys(jwks(nameless, named))
    assert names(keys.named(named.kid)) == {named.kid}
    assert names(keys.named("unknown")) == {None}
    assert names(keys.named(None)) == {None, named.kid}
    assert parse_keys(jwks(named)).named("unknown") == []


def test_the_same_keys_are_the_same_in_any_order(signers: dict[str, Signer]) -> None:
    one, other = signers["ES256"], signers["EdDSA"]
    assert parse_keys(jwks(one, other)).identity == parse_keys(jwks(other, one)).identity
    for different in (jwks(one), jwks(one.jwk(kid="x"), other), jwks(Signer("ES256"), other)):
        assert parse_keys(different).identity != parse_keys(jwks(one, other)).identity
    assert Keys([]).identity == frozenset()
    assert parse_keys(SECRET).identity != parse_keys(SECRET + b"2").identity
