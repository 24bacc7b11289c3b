"""The CPU time to verify one JSON Web Token: `python -m benchmarks.tokens` prints a table.

Each figure is the least of several rounds, in microseconds. `first` reads and verifies a token,
`again` finds it among those that were verified.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from joserfc import jwk, jwt

from wsservice.auth.contract import Credential, Form, User
from wsservice.auth.jwt.authenticator import JSONWebTokens
from wsservice.auth.jwt.claims import ClaimRules
from wsservice.auth.jwt.keys import Keys, VerifyingKey

_ROUNDS = 30
_CALLS = 100
_KEYS: dict[str, Callable[[], Any]] = {
    "HS256": lambda: jwk.OctKey.generate_key(256),
    "ES256": lambda: jwk.ECKey.generate_key("P-256"),
    "RS256": lambda: jwk.RSAKey.generate_key(2048),
    "Ed25519": lambda: jwk.OKPKey.generate_key("Ed25519"),
}
_CAPS = [{"channels": ["room.*"], "match": "wildcard", "allow": ["sub", "pub"]}]


class _Source:
    """One key, which stays."""

    is_away = False

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.changed: Callable[[], object] = lambda: None

    def look_again(self) -> None:
        """Return None: there is no other key."""

    def prepare(self) -> Any:
        """Return a function that changes nothing."""
        return list

    def start(self) -> None:
        """Do nothing."""

    stop = start


def _least(call: Callable[[int], object]) -> float:
    figures = []
    for number in range(_ROUNDS):
        began = time.process_time()
        for each in range(_CALLS):
            call(number * _CALLS + each)
        figures.append((time.process_time() - began) / _CALLS)
    return 1e6 * min(figures)


def measure(algorithm: str) -> tuple[float, float]:
    """Return the microseconds for a token that is new, and for one that comes again."""
    key = _KEYS[algorithm]()
    keys = Keys([VerifyingKey(key, "key", (algorithm,))])
    rules = ClaimRules(frozenset({"ws"}), frozenset({"https://app.example"}))
    found = JSONWebTokens(_Source(keys), rules, time.time)
    now = int(time.time())
    claims = {"iss": "https://app.example", "aud": "ws", "iat": now, "exp": now + 3600}
    header = {"alg": algorithm, "kid": "key"}
    tokens = [
        jwt.encode(
            header, {**claims, "sub": f"user-{each}", "caps": _CAPS}, key, algorithms=[algorithm]
        )
        for each in range(_ROUNDS * _CALLS)
    ]
    request: Any = None

    def check(number: int) -> None:
        verdict = found.check(Credential(Form.TOKEN, tokens[number], ""), request)
        if not isinstance(verdict, User):
            raise TypeError(verdict)

    return _least(check), _least(check)


def main() -> None:
    """Print the table."""
    print("| | first time | again |\n| --- | --- | --- |")
    for algorithm in _KEYS:
        first, again = measure(algorithm)
        print(f"| {algorithm} | {first:.0f} | {again:.0f} |")


if __name__ == "__main__":
    main()
