"""JSON Web Tokens as no issuer makes them, and issuers as none should be."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import joserfc  # noqa: F401 - the extra `auth`

from ..integration.issuer import Issuer, failing, half, huge, slow, without_keys
from ..integration.processes import wait_until
from ..tokens import SECRET, Signer, encoded, hmac_token, jwks
from .harness import LINE, MIB, Attack, row
from .test_identity import bearer, request, status_of

OPTIONS = ("--auth-optional", "--auth-failures", "0")
"""The harness watches by connections without a credential."""

SIGNER = Signer("ES256", "good")
HEADER = {"alg": "HS256"}
HIDDEN = "s3cr3t"


@contextlib.contextmanager
def secret(folder: Path) -> Iterator[Sequence[str]]:
    """A file with the secret of an HMAC."""
    file = folder / "secret"
    file.touch(0o600)
    file.write_bytes(SECRET)
    yield ("--auth", f"jwt:{file}", "--auth-audience", "ws")


@contextlib.contextmanager
def public(folder: Path) -> Iterator[Sequence[str]]:
    """A file with a public key."""
    file = folder / "keys.json"
    file.write_bytes(jwks(SIGNER))
    yield ("--auth", f"jwt:{file}")


ISSUERS: list[Issuer] = []


@contextlib.contextmanager
def issuer(_: Path) -> Iterator[Sequence[str]]:
    """An issuer, the last of `ISSUERS`."""
    ISSUERS.append(Issuer(SIGNER))
    try:
        yield ("--auth", f"jwt:{ISSUERS[-1].url}")
    finally:
        ISSUERS.pop().end()


def _hides(attack: Attack) -> None:
    attack.server.log.wait_for("refused with ")
    log = attack.server.log
    assert HIDDEN not in log.text
    assert encoded(HIDDEN.encode())[:6] not in log.text
    assert all(line.isprintable() for line in log.lines)


@row(
    "tokens that are forged, expired, premature, unsigned (`none`), nested, encrypted, oversized,"
    " for others, with critical headers, names twice, 3,000 levels deep",
    "401; one line each, which says which check failed and has nothing of it; memory + 2 MiB",
    options=OPTIONS,
    needs=secret,
    memory=2 * MIB,
    log=LINE,
)
def test_a_bad_token_is_refused(attack: Attack) -> str:
    now = time.time()
    good = {"sub": "tom", "aud": "ws", "exp": now + 600, "more": HIDDEN}
    head, claims, signature = hmac_token(HEADER, good).split(".")
    deep = b"[" * 3000
    bad = [
        f"{head}.{claims}.{signature[:-4]}AAAA",
        f"{head}.{encoded({**good, 'sub': 'eve'})}.{signature}",
        f"{head}.{claims}.",
        f"{head}.{claims}",
        f"{head}.{claims}.{signature}.{signature}.{signature}",
        f"{encoded({'alg': 'none'})}.{claims}.",
        f"{encoded({'alg': 'none'})}.{claims}.{signature}",
        hmac_token(HEADER, good, b""),
        *(hmac_token({**HEADER, "alg": each}, good) for each in ("none", "NONE", "RS256", "HS1")),
        *(hmac_token({"alg": each}, good) for each in (None, 5, ["HS256"], {"HS256": 1})),
        hmac_token({**HEADER, "crit": ["exp"]}, good),
        hmac_token({**HEADER, "b64": False}, good),
        hmac_token({**HEADER, "cty": "JWT"}, hmac_token(HEADER, good).encode()),
        hmac_token(HEADER, hmac_token(HEADER, good).encode()),
        hmac_token(b'{"alg":"HS256","alg":"none"}', good),
        hmac_token(HEADER, b'{"sub":"tom","aud":"ws","sub":"eve"}'),
        hmac_token(deep, good),
        hmac_token(HEADER, b'{"sub":"tom","aud":"ws","a":' + deep),
        hmac_token(HEADER, b'{"sub":"tom","aud":"ws","exp":' + b"9" * 5000 + b"}"),
        hmac_token(HEADER, {**good, "exp": now - 31}),
        hmac_token(HEADER, {**good, "exp": "never"}),
        hmac_token(HEADER, {**good, "nbf": now + 90}),
        hmac_token(HEADER, {**good, "iat": now + 90}),
        hmac_token(HEADER, {**good, "aud": "web"}),
        hmac_token(HEADER, {**good, "sub": f"{HIDDEN}\n"}),
        hmac_token(HEADER, {**good, "sub": None}),
        hmac_token(HEADER, {"aud": "ws"}),
        hmac_token(HEADER, {**good, "more": HIDDEN * 1500}),
        "." * 8000,
        "a" * 8000,
        "a." * 4000,
    ]
    for each in bad:
        assert status_of(attack, bearer(each)) == 401, each[:100]
        if len(each) < 8000:
            assert status_of(attack, request(query=f"?access_token={each}")) == 401
    assert status_of(attack, bearer(hmac_token(HEADER, good))) == 101
    _hides(attack)
    return "401"


@row(
    "tokens whose HMAC is by the public key, in each of its forms (key confusion), or that bring"
    " their own key (`jwk`, `jku`, `x5u`)",
    "401",
    options=OPTIONS,
    needs=public,
)
def test_a_public_key_is_no_secret(attack: Attack) -> str:
    claims = {"sub": "tom"}
    der = SIGNER.private.public_key()
    forms = [SIGNER.pem, SIGNER.pem.strip(), jwks(SIGNER), repr(der).encode(), b""]
    for secret_ in forms:
        for header in (HEADER, {**HEADER, "kid": "good"}, {"alg": "HS512", "kid": "good"}):
            assert status_of(attack, bearer(hmac_token(header, claims, secret_))) == 401
    evil = Signer("ES256", "good")
    url = "http://127.0.0.1:1/"
    for more in ({}, {"jwk": evil.jwk()}, {"jku": url}, {"x5u": url}, {"kid": "../../dev/null"}):
        assert status_of(attack, bearer(evil.token(headers=more))) == 401
    assert status_of(attack, bearer(SIGNER.token())) == 101
    return "401"


@row(
    "2,000 tokens with as many unknown keys",
    "401; the issuer is asked once in 30 s; memory + 1 MiB",
    options=OPTIONS,
    needs=issuer,
    memory=MIB,
    log=LINE,
)
def test_unknown_keys_make_no_requests(attack: Attack) -> str:
    evil = Signer("ES256")
    began = time.monotonic()
    for number in range(2000 if attack.full else 200):
        token = evil.token(headers={"kid": f"{HIDDEN}-{number}"})
        assert status_of(attack, bearer(token)) == 401
    most = 2 + int((time.monotonic() - began) / 30) + 1
    assert ISSUERS[-1].asked <= most
    assert status_of(attack, bearer(SIGNER.token())) == 101
    _hides(attack)
    return f"401; {ISSUERS[-1].asked} requests"


@row(
    "an issuer that fails, answers without end, one octet at a time, half, with no keys, and ends",
    "the last keys verify; 401 or 503 for others; memory + 2 MiB",
    options=OPTIONS,
    needs=issuer,
    memory=2 * MIB,
)
def test_an_issuer_that_fails_changes_nothing(attack: Attack) -> str:
    found = ISSUERS[-1]
    for answer in (failing, half, without_keys, huge, slow):
        found.answer = answer
        before = found.asked
        attack.server.signal(signal.SIGHUP)
        wait_until(lambda before=before: found.asked > before, "a request")  # type: ignore[misc]
        assert status_of(attack, bearer(SIGNER.token())) == 101
    assert status_of(attack, bearer(Signer("ES256", "new").token())) in (401, 503)
    found.end()
    assert status_of(attack, bearer(SIGNER.token())) == 101
    attack.server.log.wait_for("the last ones are kept, for 24 hours")
    return "101 by the last keys"
