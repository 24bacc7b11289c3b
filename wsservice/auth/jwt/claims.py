"""Verify one JSON Web Token, and read the user from its claims (RFC 7519). PURE.

Each check has its own line, which has nothing of the token. The extra `auth` is needed.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from typing import Any

import attrs

from ...http.refusal import Refusal
from ..contract import User
from ..refusals import bad_credential, expired
from ..strictjson import parse_object
from .keys import LONGEST_TOKEN, MOST_TRIED, Keys, VerifyingKey

_ANEW = "get a new one"
_PART = "[A-Za-z0-9_-]+"
_COMPACT = re.compile(rf"(({_PART})\.({_PART}))\.({_PART})")
_UNSIGNED = re.compile(rf"{_PART}\.{_PART}\.")
_ENCRYPTED = re.compile(rf"{_PART}\.(?:{_PART})?\.{_PART}\.{_PART}\.{_PART}")

# The last character of base64 without padding, by the length of the text modulo 4. With any other,
# two texts would have the same octets (RFC 4648, 3.5).
_LAST = {
    0: frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
    1: frozenset(),
    2: frozenset("AQgw"),
    3: frozenset("AEIMQUYcgkosw048"),
}


@attrs.frozen
class ClaimRules:
    """The conditions that the claims of a token must meet.

    `audiences` and `issuers` are those that are taken, any if there are none. `leeway` is in
    seconds: clocks differ.
    """

    audiences: frozenset[str] = frozenset()
    issuers: frozenset[str] = frozenset()
    leeway: float = 30.0


@attrs.frozen
class ReadToken:
    """A token whose header was read. Nothing is verified yet."""

    signed: bytes = attrs.field(repr=False)
    payload: bytes = attrs.field(repr=False)
    signature: bytes = attrs.field(repr=False)
    algorithm: str
    kid: str | None = attrs.field(repr=False)


def open_token(text: str) -> ReadToken | Refusal:
    """Return the token in a text, or why it is none."""
    if len(text) > LONGEST_TOKEN:
        return bad_credential(f"the token has more than {LONGEST_TOKEN} octets", "shorten it")
    match = _COMPACT.fullmatch(text)
    if match is None or not all(map(_is_canonical, match.group(2, 3, 4))):
        return _no_token(text)
    try:
        header = parse_object(_octets(match[2]))
    except ValueError:
        return bad_credential("the token's header is malformed", _ANEW)
    refusal = _objection(header)
    if refusal is not None:
        return refusal
    return ReadToken(
        match[1].encode(), _octets(match[3]), _octets(match[4]), header["alg"], header.get("kid")
    )


def _is_canonical(part: str) -> bool:
    return part[-1] in _LAST[len(part) % 4]


def _octets(part: str) -> bytes:
    """Return the octets of a part of a token."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _no_token(text: str) -> Refusal:
    if _UNSIGNED.fullmatch(text):
        return bad_credential("the token is not signed", "send a signed one")
    if _ENCRYPTED.fullmatch(text):
        return bad_credential("the token is encrypted (RFC 7516)", "send a signed one (RFC 7515)")
    return bad_credential(
        "the token is no JSON Web Token", "send three parts in base64url, with dots between"
    )


def _objection(header: Mapping[str, Any]) -> Refusal | None:
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        return bad_credential("the token's header names no algorithm (alg)", _ANEW)
    if algorithm.lower() == "none":
        return bad_credential("the token is not signed (alg is none)", "send a signed one")
    if kid is not None and not isinstance(kid, str):
        return bad_credential("the token's key name (kid) is not text", _ANEW)
    if "crit" in header or "b64" in header:
        # No extension is known here, and an unknown critical one refuses the token (RFC 7515,
        # 4.1.11). The library would take b64 (RFC 7797), which RFC 7519 does not allow in a token.
        return bad_credential(
            "the token has an extension that is not known here (crit or b64)", _ANEW
        )
    nested = header.get("cty")
    if nested is not None and (not isinstance(nested, str) or "jwt" in nested.lower()):
        return bad_credential("the token holds another token (cty)", "send the inner one")
    return None


def candidates(token: ReadToken, keys: Keys) -> list[VerifyingKey] | Refusal:
    """Return the keys that a token may have been signed for, none if its key is not known."""
    named = keys.named(token.kid)
    fitting = [each for each in named if token.algorithm in each.algorithms]
    if named and not fitting:
        return bad_credential(
            "the token's algorithm does not go with the key",
            _ANEW,
            for_operator="the kind of a key says which algorithms it may be used with",
        )
    if len(fitting) > MOST_TRIED:
        return bad_credential(
            f"the token names no key (kid), and more than {MOST_TRIED} may be meant",
            "have the issuer name the key",
        )
    return fitting


def verify(token: ReadToken, keys: list[VerifyingKey]) -> dict[str, Any] | Refusal:
    """Return the claims of a token, or why it cannot be trusted."""
    if not any(each.verifies(token.algorithm, token.signed, token.signature) for each in keys):
        return bad_credential("the token's signature is wrong", _ANEW)
    try:
        return parse_object(token.payload)
    except ValueError:
        return bad_credential("the token's claims are no JSON object of one meaning", _ANEW)


def user_of(claims: dict[str, Any], rules: ClaimRules, now: float) -> User | Refusal:
    """Return the user whom the claims of a verified token name, or why they do not hold now.

    `now` is in seconds since 1970. The user's time ends with the token (`exp`). If that has passed,
    and is within the leeway, it ends with the leeway.
    """
    ends, refusal = _time(claims, "exp")
    if refusal is None and ends is not None and ends + rules.leeway <= now:
        refusal = expired("the token has expired (exp)")
    refusal = (
        refusal
        or _too_early(claims, "nbf", "the token is not valid yet (nbf)", now + rules.leeway)
        or _too_early(claims, "iat", "the token was issued in the future (iat)", now + rules.leeway)
        or _not_among(claims, "iss", "issuer", rules.issuers)
        or _not_among(claims, "aud", "audience", rules.audiences)
    )
    if refusal is not None:
        return refusal
    if "sub" not in claims:
        return bad_credential("the token names no user (sub)", "have the issuer name one")
    if ends is not None and ends <= now:
        ends += rules.leeway
    try:
        return User(claims["sub"], claims, ends)
    except ValueError as error:
        return bad_credential(f"{error} (sub)", "have the issuer name another")


def _time(claims: Mapping[str, Any], name: str) -> tuple[float | None, Refusal | None]:
    """Return a claim in seconds since 1970, None without it, or why it is no time."""
    if name not in claims:
        return None, None
    value = claims[name]
    try:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        seconds = float(value)
        if not math.isfinite(seconds):
            raise ValueError
    except (ValueError, OverflowError):
        return None, bad_credential(f"the token's {name} is not a time", _ANEW)
    return seconds, None


def _too_early(claims: Mapping[str, Any], name: str, problem: str, latest: float) -> Refusal | None:
    seconds, refusal = _time(claims, name)
    if seconds is not None and seconds > latest:
        return bad_credential(problem, "wait, or set the clocks")
    return refusal


def _not_among(
    claims: Mapping[str, Any], name: str, what: str, taken: frozenset[str]
) -> Refusal | None:
    """Return the refusal of a token for or from others. `aud` may be a list (RFC 7519, 4.1.3)."""
    if not taken:
        return None
    value = claims.get(name)
    if value is None:
        return bad_credential(f"the token names no {what} ({name})", _ANEW)
    said = value if isinstance(value, list) and name == "aud" else [value]
    if not all(isinstance(each, str) for each in said):
        return bad_credential(f"the token's {what} ({name}) is not text", _ANEW)
    if taken.isdisjoint(said):
        return bad_credential(
            f"the token has another {what} ({name})",
            _ANEW,
            for_operator=f"--auth-{what} says which are taken",
        )
    return None
