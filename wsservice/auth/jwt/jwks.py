"""The keys of an issuer, fetched from its JWK Set (RFC 7517, 5) and fetched again as they age.

Keys that cannot be fetched anew are kept for `KEPT_SECONDS`. After that there are none, so that a
token is refused with 503.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ... import __version__
from ...client.web.asking import WebAnswer
from ...clock import monotonic_of
from ..urls import place_of
from .keys import Keys, parse_jwks

PATIENCE = 5.0
"""Seconds that the issuer's server has for its answer."""

MOST_OCTETS = 256 * 1024
"""The most octets of its answer. A hundred keys with certificates fit."""

LEAST_AGE_SECONDS = 300.0
USUAL_AGE_SECONDS = 3600.0
MOST_AGE_SECONDS = 86400.0
"""The least and most that a max-age counts for, and the age where the issuer names none."""

AGAIN_SECONDS = 30.0
"""Seconds from a request that failed to the next, and between two that tokens with unknown keys
make: clients must not be able to make the service send more."""

KEPT_SECONDS = 86400.0
"""Seconds for which the last keys are good while no new ones come: a day, so that an issuer may be
away for a night. A key that the issuer withdrew is good for as long at most."""

HEADERS: Mapping[str, str] = {
    "Accept": "application/jwk-set+json, application/json",
    "User-Agent": f"wsservice/{__version__}",
}

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?([0-9]{1,9})", re.IGNORECASE)
_NOT_KEPT = re.compile(r"(?:^|[,\s])no-(?:store|cache)\b", re.IGNORECASE)

_log = Logger(namespace="wsservice")


class Fetching(Protocol):
    """The sender of requests: see `asking.Asker`."""

    def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Deferred[WebAnswer]:
        """Send a request. Never fails."""


def keys_in(answer: WebAnswer) -> Keys:
    """Return the keys in an answer. Raises `ValueError`, whose text follows the server's name."""
    if answer.problem:
        raise ValueError(answer.problem)
    if answer.status != 200:
        hint = ", and redirects are not followed" if (answer.status or 0) // 100 == 3 else ""
        raise ValueError(f"answered {answer.status}{hint}")
    try:
        return parse_jwks(answer.body, is_public=True)
    except ValueError as error:
        raise ValueError(f"answered with no JWK Set that can be used: {error}") from None


def age_of(answer: WebAnswer) -> float:
    """Return the seconds after which keys are fetched again (RFC 9111, 5.2.2), bounded."""
    said = answer.headers.get("cache-control", "")
    if _NOT_KEPT.search(said):
        return LEAST_AGE_SECONDS
    match = _MAX_AGE.search(said)
    asked = float(match[1]) if match else USUAL_AGE_SECONDS
    return min(max(asked, LEAST_AGE_SECONDS), MOST_AGE_SECONDS)


class RemoteKeys:
    """The keys at a URL. The first answer is given.

    `changed` is called after the keys have changed. Raises `ValueError` for a first answer without
    keys, as `keys_in` does.
    """

    def __init__(
        self,
        url: str,
        first: WebAnswer,
        asker: Fetching,
        reactor: Any,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._name = place_of(url)
        self._keys = keys_in(first)
        self._asker = asker
        self._reactor = reactor
        self._random = random
        self._monotonic = monotonic_of(reactor)
        self._got_at = self._monotonic()
        self._looked_at = -math.inf
        self._age = age_of(first)
        self._call: Any = None
        self._asked: Deferred[Any] | None = None
        self._waiting: list[Deferred[None]] = []
        self._failing = False
        self._said_old = False
        self.changed: Callable[[], object] = lambda: None
        _say(self._name, self._keys)

    @property
    def keys(self) -> Keys | None:
        """Return the keys, None if they are too old to be trusted."""
        if self._monotonic() - self._got_at < KEPT_SECONDS:
            return self._keys
        if not self._said_old:
            self._said_old = True
            _log.error(
                "the keys of {name} are older than {hours:g} hours: every token is refused with"
                " 503 until it gives new ones",
                name=self._name,
                hours=KEPT_SECONDS / 3600,
            )
        return None

    @property
    def is_away(self) -> bool:
        """Return True if the last request failed."""
        return self._failing

    def start(self) -> None:
        """Begin to fetch the keys again as they age."""
        self._later(self._age - (self._monotonic() - self._got_at))

    def stop(self) -> None:
        """End that. All that wait are told at once."""
        self._forget_call()
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()
        self._tell()

    def prepare(self) -> Callable[[], list[str]]:
        """Return a function that fetches the keys now. It changes nothing if that fails."""

        def commit() -> list[str]:
            self._fetch()
            return []

        return commit

    def look_again(self) -> Deferred[None] | None:
        """Fetch the keys again, if that was not done lately, and return when that is over.

        None means that it was.
        """
        if self._asked is None:
            now = self._monotonic()
            if now - self._looked_at < AGAIN_SECONDS:
                return None
            self._looked_at = now
            self._fetch()
            if self._asked is None:  # answered at once, as in a test
                done: Deferred[None] = Deferred()
                done.callback(None)
                return done
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _fetch(self) -> None:
        if self._asked is not None:
            return
        self._forget_call()
        asked: Deferred[Any] = self._asker.ask("GET", HEADERS)
        self._asked = asked
        asked.addCallback(self._answered, asked)

    def _answered(self, answer: WebAnswer, asked: Deferred[Any]) -> None:
        if self._asked is not asked:
            return  # stopped meanwhile
        self._asked = None
        try:
            keys = keys_in(answer)
        except ValueError as error:
            self._failed(str(error))
        else:
            self._succeeded(keys, age_of(answer))
        self._tell()

    def _failed(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            _log.warn(
                "the keys of {name}: it {why}; the last ones are kept, for {hours:g} hours",
                name=self._name,
                why=why,
                hours=KEPT_SECONDS / 3600,
            )
        self._later(AGAIN_SECONDS)

    def _succeeded(self, keys: Keys, age: float) -> None:
        if self._failing:
            _log.info("the keys of {name}: it works again", name=self._name)
        self._failing = self._said_old = False
        self._got_at, self._age = self._monotonic(), age
        if keys.identity != self._keys.identity:
            self._keys = keys
            _log.info("the keys of {name} changed: {count} keys", name=self._name, count=len(keys))
            _say(self._name, keys)
            self.changed()
        self._later(age)

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _later(self, seconds: float) -> None:
        self._forget_call()
        # At random, so that the processes of a service do not all ask at the same time.
        delay = max(0.0, seconds) * (0.9 + 0.1 * self._random())
        self._call = self._reactor.callLater(delay, self._fetch)

    def _forget_call(self) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()


def _say(name: str, keys: Keys) -> None:
    for line in keys.skipped:
        _log.warn("the keys of {name}: {line}", name=name, line=line)
