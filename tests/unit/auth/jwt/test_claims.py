from __future__ import annotations

import json
from typing import Any

import joserfc.jwk
import joserfc.jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.auth.contract import User
from wsservice.auth.jwt.claims import ClaimRules, ReadToken, candidates, open_token, user_of, verify
from wsservice.auth.jwt.keys import LONGEST_TOKEN, MOST_TRIED, Keys, parse_keys
from wsservice.auth.refusals import EXPIRED
from wsservice.http.refusal import Refusal

from ....examples import examples
from ....tokens import SECRET, Signer, encoded, hmac_token, jwks

NOW = 1_800_000_000.0
ALGORITHMS = [
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed448"),
]
HEADER = {"alg": "HS256"}
GOOD = {"sub": "tom", "exp": NOW + 60}


def found(text: str, keys: Keys, rules: ClaimRules | None = None) -> User | Refusal:
    """The user of a token, or why it has none, as the authenticator goes about it."""
    token = open_token(text)
    if isinstance(token, Refusal):
        return token
    fitting = candidates(token, keys)
    if isinstance(fitting, Refusal):
        return fitting
    if not fitting:
        return Refusal(401, "no key")
    claims = verify(token, fitting)
    if isinstance(claims, Refusal):
        return claims
    return user_of(claims, rules or ClaimRules(), NOW)


def problem(text: str, keys: Keys | None = None, rules: ClaimRules | None = None) -> str:
    """Why a token is refused: one line, which has nothing of it."""
    refusal = found(text, keys or parse_keys(SECRET), rules)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.status == 401
    assert refusal.reason.isprintable()
    assert len(refusal.reason) < 200
    assert not any(part in refusal.reason for part in text.split(".") if len(part) > 8)
    assert "s3cret" not in refusal.reason
    return refusal.problem


@pytest.fixture(scope="module")
def signers() -> dict[str, Signer]:
    return {name: Signer(name, kid=name) for name in ALGORITHMS}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_algorithm(signers: dict[str, Signer], name: str) -> None:
    """By PyJWT's token and the service's library."""
    signer = signers[name]
    user = found(signer.token("tom", exp=NOW + 9, caps=[1]), parse_keys(jwks(signer)))
    assert isinstance(user, User), user
    assert (user.id, user.expires, user.claims["caps"]) == ("tom", NOW + 9, [1])
    other = Signer(name, kid=name)
    if not isinstance(other.private, bytes):
        assert problem(other.token(), parse_keys(jwks(signer))) == "the token's signature is wrong"


@pytest.mark.parametrize("name", ["HS256", "RS256", "ES512", "EdDSA"])
def test_a_token_of_another_library(signers: dict[str, Signer], name: str) -> None:
    signer = signers[name]
    kinds: Any = {"HS256": "oct", "RS256": "RSA", "ES512": "EC", "EdDSA": "OKP"}
    material = SECRET if name == "HS256" else signer.private_pem
    key: Any = joserfc.jwk.import_key(material, kinds[name])
    algorithm = "Ed25519" if name == "EdDSA" else name  # as RFC 9864 has it
    token = joserfc.jwt.encode({"alg": algorithm, "kid": name}, GOOD, key, algorithms=[algorithm])
    assert isinstance(found(token, parse_keys(jwks(signer))), User)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_one_octet_of_another_token(signers: dict[str, Signer], name: str) -> None:
    token = signers[name].token(exp=NOW + 60)
    keys = parse_keys(jwks(signers[name]))
    head, claims, signature = token.split(".")
    for place in (0, len(signature) // 2):
        other = "A" if signature[place] != "A" else "B"
        forged = signature[:place] + other + signature[place + 1 :]
        assert problem(f"{head}.{claims}.{forged}", keys) == "the token's signature is wrong"
    assert problem(f"{head}.{encoded({**GOOD, 'sub': 'eve'})}.{signature}", keys)
    assert problem(f"{head}.{claims}.{encoded(b'short')}", keys)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the token is no JSON Web Token"),
        ("s3cret", "the token is no JSON Web Token"),
        ("a.b", "the token is no JSON Web Token"),
        ("a.b.c.d", "the token is no JSON Web Token"),
        ("..", "the token is no JSON Web Token"),
        ("\u00e9.b.c", "the token is no JSON Web Token"),
        (hmac_token(HEADER, GOOD) + "\n", "the token is no JSON Web Token"),
        (hmac_token(HEADER, GOOD) + "=", "the token is no JSON Web Token"),
        (hmac_token(HEADER, GOOD).replace(".", ".=", 1), "the token is no JSON Web Token"),
        ("x" * (LONGEST_TOKEN + 1), f"the token has more than {LONGEST_TOKEN} octets"),
        (hmac_token(HEADER, {**GOOD, "more": "x" * LONGEST_TOKEN}), "the token has more than"),
        ("aaaa..bbbb.cccc.dddd", "the token is encrypted (RFC 7516)"),
        (f"{encoded({'alg': 'none'})}.{encoded(GOOD)}.", "the token is not signed"),
        (hmac_token({"alg": "none"}, GOOD), "the token is not signed (alg is none)"),
        (hmac_token({"alg": "nOnE"}, GOOD), "the token is not signed (alg is none)"),
        (hmac_token({}, GOOD), "the token's header names no algorithm (alg)"),
        (hmac_token({"alg": ["HS256"]}, GOOD), "the token's header names no algorithm (alg)"),
        (hmac_token({"alg": "hs256"}, GOOD), "the token's algorithm does not go with the key"),
        (hmac_token({"alg": "RS256"}, GOOD), "the token's algorithm does not go with the key"),
        (hmac_token([], GOOD), "the token's header is malformed"),
        (hmac_token(b"s3cret", GOOD), "the token's header is malformed"),
        (hmac_token(b'{"alg":"HS256","alg":"none"}', GOOD), "the token's header is malformed"),
        (hmac_token(b"[" * 5000, GOOD), "the token's header is malformed"),
        (hmac_token({**HEADER, "x": [[[[]]]] * 9}, b"[" * 900), "the token's claims are no JSON"),
        (hmac_token({**HEADER, "kid": 5}, GOOD), "the token's key name (kid) is not text"),
        (hmac_token({**HEADER, "crit": ["exp"], "exp": 5}, GOOD), "the token has an extension"),
        (hmac_token({**HEADER, "crit": []}, GOOD), "the token has an extension"),
        (hmac_token({**HEADER, "b64": False, "crit": ["b64"]}, GOOD), "the token has an extension"),
        (hmac_token({**HEADER, "b64": False}, GOOD), "the token has an extension"),
        (hmac_token({**HEADER, "cty": "JWT"}, b"a.b.c"), "the token holds another token (cty)"),
        (hmac_token({**HEADER, "cty": 5}, GOOD), "the token holds another token (cty)"),
        (hmac_token(HEADER, b"a.b.c"), "the token's claims are no JSON object of one meaning"),
        (hmac_token(HEADER, []), "the token's claims are no JSON object of one meaning"),
        (hmac_token(HEADER, b'{"sub":"tom","sub":"eve"}'), "the token's claims are no JSON object"),
        (hmac_token(HEADER, b'{"sub":"tom","exp":NaN}'), "the token's claims are no JSON object"),
        (hmac_token(HEADER, GOOD, b"another secret of 32 octets, yes."), "signature is wrong"),
        (hmac_token({"alg": "HS512"}, GOOD), "the token's signature is wrong"),
    ],
)
def test_what_is_no_token(text: str, why: str) -> None:
    assert why in problem(text)


@pytest.mark.parametrize("name", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_is_not_taken_for_a_secret(signers: dict[str, Signer], name: str) -> None:
    """Anybody has the public key, and could make an HMAC by any of its forms."""
    signer = signers[name]
    for octets in (signer.pem, jwks(signer), json.dumps(signer.jwk()).encode()):
        keys = parse_keys(octets)
        for secret in (signer.pem, signer.pem.strip(), octets, encoded(octets).encode()):
            for header in (HEADER, {"alg": "HS256", "kid": name}):
                forged = hmac_token(header, GOOD, secret)
                assert problem(forged, keys) == "the token's algorithm does not go with the key"


def test_a_token_brings_no_key_of_its_own(signers: dict[str, Signer]) -> None:
    evil = Signer("ES256")
    keys = parse_keys(jwks(signers["ES256"]))
    for more in ({"jwk": evil.jwk()}, {"jku": "http://evil.example/"}, {"x5u": "http://evil/"}):
        token = evil.token(headers={"kid": "ES256", **more})
        assert problem(token, keys) == "the token's signature is wrong"


def test_the_name_picks_the_key(signers: dict[str, Signer]) -> None:
    one, other = Signer("ES256", "one"), Signer("ES256", "other")
    keys = parse_keys(jwks(one, other, signers["RS256"]))
    assert isinstance(found(other.token(exp=NOW + 1), keys), User)
    assert problem(other.token(headers={"kid": "one"}), keys) == "the token's signature is wrong"
    assert problem(other.token(headers={"kid": "new"}), keys) == "no key"
    other.kid = None
    assert isinstance(found(other.token(exp=NOW + 1), keys), User)
    assert "does not go with" in problem(other.token(headers={"kid": "RS256"}), keys)


def test_only_a_few_keys_are_tried() -> None:
    signers = [Signer("ES256", kid=str(number)) for number in range(MOST_TRIED + 1)]
    last = signers[-1]
    assert isinstance(found(last.token(exp=NOW + 1), parse_keys(jwks(*signers))), User)
    last.kid = None
    assert f"more than {MOST_TRIED} may be meant" in problem(
        last.token(), parse_keys(jwks(*signers[:-1], last))
    )


def checked(claims: dict[str, Any], **rules: Any) -> User | Refusal:
    rules = {name: frozenset(value) if value else value for name, value in rules.items()}
    return user_of({"sub": "tom", **claims}, ClaimRules(**rules), NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"exp": NOW + 1, "nbf": NOW, "iat": NOW - 1},
        {"exp": int(NOW) + 1, "nbf": NOW + 30, "iat": NOW + 30.0},
        {"exp": NOW - 29.9, "nbf": -5, "iat": 0},
        {"aud": "any", "iss": "any"},
        {"aud": 5, "iss": 5},
    ],
)
def test_claims_that_hold(claims: dict[str, Any]) -> None:
    assert isinstance(checked(claims), User)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": NOW - 30}, "the token has expired (exp)"),
        ({"exp": -1e300}, "the token has expired (exp)"),
        ({"exp": "tomorrow"}, "the token's exp is not a time"),
        ({"exp": str(NOW + 1)}, "the token's exp is not a time"),
        ({"exp": True}, "the token's exp is not a time"),
        ({"exp": None}, "the token's exp is not a time"),
        ({"exp": [NOW + 1]}, "the token's exp is not a time"),
        ({"exp": 10**400}, "the token's exp is not a time"),
        ({"exp": float("inf")}, "the token's exp is not a time"),
        ({"nbf": NOW + 30.1}, "the token is not valid yet (nbf)"),
        ({"nbf": None}, "the token's nbf is not a time"),
        ({"iat": NOW + 30.1}, "the token was issued in the future (iat)"),
        ({"iat": {}}, "the token's iat is not a time"),
        ({"sub": 5}, "the user's id is not text (sub)"),
        ({"sub": None}, "the user's id is not text (sub)"),
        ({"sub": ""}, "the user's id is empty (sub)"),
        ({"sub": "a\nb"}, "the user's id has a control character (sub)"),
        ({"sub": "x" * 10_000}, "the user's id has more than 255 octets (sub)"),
    ],
)
def test_claims_that_do_not_hold(claims: dict[str, Any], why: str) -> None:
    refusal = checked(claims)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.problem) == (401, why)
    assert (refusal.kind == EXPIRED) is ("expired" in why)
    assert "xxx" not in refusal.reason


def test_a_token_without_a_user() -> None:
    refusal = user_of({"exp": NOW + 5}, ClaimRules(), NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.problem == "the token names no user (sub)"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "ws"}, ""),
        ({"aud": ["web", "ws"]}, ""),
        ({"aud": "WS"}, "the token has another audience (aud)"),
        ({"aud": ["web"]}, "the token has another audience (aud)"),
        ({"aud": []}, "the token has another audience (aud)"),
        ({}, "the token names no audience (aud)"),
        ({"aud": None}, "the token names no audience (aud)"),
        ({"aud": ["ws", 5]}, "the token's audience (aud) is not text"),
        ({"aud": {"ws": 1}}, "the token's audience (aud) is not text"),
    ],
)
def test_the_audience_is_checked_where_one_is_set(claims: dict[str, Any], why: str) -> None:
    verdict = checked(claims, audiences=["ws", "other"])
    assert (verdict.problem if isinstance(verdict, Refusal) else "") == why


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://app.example"}, ""),
        ({"iss": "https://app.example/"}, "the token has another issuer (iss)"),
        ({}, "the token names no issuer (iss)"),
        ({"iss": ["https://app.example"]}, "the token's issuer (iss) is not text"),
    ],
)
def test_the_issuer_is_checked_where_one_is_set(claims: dict[str, Any], why: str) -> None:
    verdict = checked(claims, issuers=["https://app.example"])
    assert (verdict.problem if isinstance(verdict, Refusal) else "") == why


def test_the_users_time_ends_with_the_token() -> None:
    assert checked({}).expires is None  # type: ignore[union-attr]
    assert checked({"exp": NOW + 5}).expires == NOW + 5  # type: ignore[union-attr]
    # A token that is taken by its leeway alone would else end at once.
    assert checked({"exp": NOW - 5}).expires == NOW + 25  # type: ignore[union-attr]
    assert checked({"exp": NOW - 5}, leeway=0).status == 401  # type: ignore[union-attr]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=9,
)
_NAMES = st.sampled_from(["alg", "kid", "crit", "b64", "cty", "typ", "jwk", "x"])
_CLAIMS = st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "x"])


@examples(200)
@given(st.dictionaries(_NAMES, _JSON), st.dictionaries(_CLAIMS, _JSON))
def test_any_header_and_claims_have_a_verdict(header: Any, claims: Any) -> None:
    rules = ClaimRules(frozenset({"a"}), frozenset({"b"}))
    for each in (header, {**header, "alg": "HS256"}, {"alg": "HS256"}):
        verdict = found(hmac_token(each, claims), parse_keys(SECRET), rules)
        assert isinstance(verdict, Refusal)
        assert verdict.reason.isprintable()
    user_of(claims, ClaimRules(), NOW)


@examples(300)
@given(st.text(st.sampled_from("aQ.=-_ \x00\u00e9"), max_size=40) | st.text())
def test_any_text_has_a_verdict(text: str) -> None:
    verdict = open_token(text)
    assert isinstance(verdict, Refusal | ReadToken)


@pytest.mark.parametrize("text", ["a" * 8191 + "!", "a." * 4000, "aaaa" * 2000 + ".", "." * 8000])
def test_a_long_text_is_refused_at_once(text: str) -> None:
    """An expression that tries again from each place would take seconds here."""
    assert isinstance(open_token(text), Refusal)
