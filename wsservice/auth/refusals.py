"""Why a client is refused for what it is, or is not. PURE.

A `problem` is one clause without a full stop, such as "the token is unknown". It reaches the client
and the log, so it has nothing of the credential, and does not say whether a user exists.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from ..http.refusal import Refusal
from .contract import Form

REALM = "websocket"

BAD = "bad credential"
EXPIRED = "expired credential"
NONE = "no credential"
FORBIDDEN = "forbidden"
AWAY = "auth away"
THROTTLED = "too many failures"

_RETRY_SECONDS = 10
_LATER = (("Retry-After", str(_RETRY_SECONDS)),)
_COME_AGAIN = f"try again in {_RETRY_SECONDS} seconds"


def bad_credential(problem: str, cure: str = "", for_operator: str = "") -> Refusal:
    """Return the refusal of a wrong credential: 401. It counts as a failure of the address."""
    return Refusal(401, problem, cure, kind=BAD, for_operator=for_operator)


def expired(problem: str = "the credential has expired") -> Refusal:
    """Return the refusal of a credential that was good once: 401. It counts as no failure.

    Many clients behind one address may come back with such a credential after a pause.
    """
    return Refusal(401, problem, "get a new one", kind=EXPIRED)


def forbidden(problem: str, cure: str = "", for_operator: str = "") -> Refusal:
    """Return the refusal of a user that is known, and may not do this: 403."""
    return Refusal(403, problem, cure, kind=FORBIDDEN, for_operator=for_operator)


def away(problem: str = "credentials cannot be checked now", for_operator: str = "") -> Refusal:
    """Return the refusal where nobody can tell now whether a credential is good: 503."""
    return Refusal(503, problem, _COME_AGAIN, headers=_LATER, kind=AWAY, for_operator=for_operator)


def no_credential(forms: frozenset[Form]) -> Refusal:
    """Return the refusal of a request without a credential, where one of `forms` is asked for."""
    ways = {
        Form.TOKEN: "a token in Authorization: Bearer TOKEN, in the subprotocol bearer.TOKEN beside"
        " another one, or in ?access_token=TOKEN",
        Form.PASSWORD: "a name and a password in Authorization: Basic",
        Form.TICKET: "a ticket in ?ticket=TICKET",
        Form.CERTIFICATE: "a client certificate within TLS",
    }
    cure = "; or ".join(way for form, way in ways.items() if form in forms)
    return Refusal(401, "the request has no credential", f"send {cure}", kind=NONE)


def throttled(seconds: float) -> Refusal:
    """Return the refusal of an address with too many bad credentials, for some seconds: 429."""
    wait = max(1, math.ceil(seconds))
    return Refusal(
        429,
        "there were too many bad credentials from this address",
        f"try again in {wait} seconds",
        headers=(("Retry-After", str(wait)),),
        kind=THROTTLED,
        for_operator="--auth-failures says how many there may be",
    )


def challenges(forms: Iterable[Form]) -> list[tuple[str, str]]:
    """Return the `WWW-Authenticate` headers, at least one (RFC 9110, 15.5.2)."""
    schemes = []
    if Form.PASSWORD in forms:
        schemes.append(f'Basic realm="{REALM}", charset="UTF-8"')
    if Form.TOKEN in forms or not schemes:
        schemes.insert(0, f'Bearer realm="{REALM}"')
    return [("WWW-Authenticate", each) for each in schemes]


def completed(refusal: Refusal, forms: Iterable[Form], place: str = "") -> Refusal:
    """Return a refusal with the headers of its status, and the place of the credential for the log.

    A refusal without a kind gets that of its status.
    """
    headers, kind, said = refusal.headers, refusal.kind, refusal.for_operator
    named = {name.lower() for name, _ in headers}
    if refusal.status == 401 and "www-authenticate" not in named:
        headers = (*headers, *challenges(forms))
    if kind == "bad request":
        kind = {401: BAD, 403: FORBIDDEN, 503: AWAY}.get(refusal.status or 0, kind)
    if place:
        said = f"{said}; found in {place}" if said else f"found in {place}"
    return attrs.evolve(refusal, headers=headers, kind=kind, for_operator=said)
