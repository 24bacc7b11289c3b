from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import joserfc  # noqa: F401 - the extra `auth`
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.auth.jwt.jwks import (
    AGAIN_SECONDS,
    KEPT_SECONDS,
    LEAST_AGE_SECONDS,
    MOST_AGE_SECONDS,
    USUAL_AGE_SECONDS,
    RemoteKeys,
    age_of,
    keys_in,
)
from wsservice.client.web.asking import WebAnswer

from ....support import Logged
from ....tokens import Signer, jwks

ONE, OTHER = Signer("ES256", "one"), Signer("ES256", "other")
URL = "https://issuer.example/s3cret/jwks.json"


def answer(*keys: Any, **headers: str) -> WebAnswer:
    return WebAnswer(200, "", {"cache-control": headers.get("cache", "")}, jwks(*keys))


AWAY = WebAnswer(problem="failed: refused")


class Issuer:
    """The server of an issuer in memory: each request waits until it is answered."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[Deferred[WebAnswer]] = []
        self.count = 0
        self.cancelled = 0
        self.changes = 0
        #: The answer that comes at once, if there is one.
        self.ready: WebAnswer | None = None

    def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Deferred[WebAnswer]:
        assert (method, body) == ("GET", None)
        self.count += 1
        asked: Deferred[WebAnswer] = Deferred(self.cancel)
        if self.ready is not None:
            asked.callback(self.ready)
        else:
            self.asked.append(asked)
        return asked

    def cancel(self, asked: Deferred[WebAnswer]) -> None:
        self.cancelled += 1
        self.asked.remove(asked)
        asked.callback(AWAY)

    def answer(self, given: WebAnswer) -> None:
        (asked,) = self.asked
        self.asked.clear()
        asked.callback(given)

    def keys(self, first: WebAnswer | None = None) -> RemoteKeys:
        made = RemoteKeys(URL, first or answer(ONE), self, self.clock, random=lambda: 1.0)
        made.changed = self.change
        return made

    def change(self) -> None:
        self.changes += 1


@pytest.fixture
def issuer(clock: Clock) -> Issuer:
    return Issuer(clock)


def names(keys: RemoteKeys) -> set[str | None] | None:
    return None if keys.keys is None else {each.kid for each in keys.keys}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (AWAY, "failed: refused"),
        (WebAnswer(404), "answered 404"),
        (WebAnswer(200, "broke off its answer", body=jwks(ONE)), "broke off its answer"),
        (WebAnswer(204), "answered 204"),
        (WebAnswer(301, headers={"location": "/"}, body=jwks(ONE)), "redirects are not followed"),
        (WebAnswer(206, body=jwks(ONE)), "answered 206"),
        (WebAnswer(200, body=b"<html>"), "answered with no JWK Set that can be used"),
        (WebAnswer(200, body=ONE.pem), "answered with no JWK Set that can be used"),
        (WebAnswer(200, body=b"0123456789abcdef0123456789abcdef"), "no JWK Set"),
        (WebAnswer(200, body=jwks(Signer("HS256"))), "a secret that anybody can read"),
        (WebAnswer(200, body=jwks(ONE)[:-9]), "no JWK Set"),
        (WebAnswer(200, body=b'{"keys":[]}'), "no key that can be used"),
    ],
)
def test_an_answer_without_keys(issuer: Issuer, given: WebAnswer, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        keys_in(given)
    with pytest.raises(ValueError, match=why):
        issuer.keys(given)


@pytest.mark.parametrize(
    ("cache", "age"),
    [
        ("", USUAL_AGE_SECONDS),
        ("public, max-age=600", 600),
        ('max-age="600"', 600),
        ("Max-Age=1", LEAST_AGE_SECONDS),
        ("max-age=0, must-revalidate", LEAST_AGE_SECONDS),
        ("max-age=999999999999999999", MOST_AGE_SECONDS),
        ("max-age=-5", USUAL_AGE_SECONDS),
        ("s-max-age=7, x-max-age=8", USUAL_AGE_SECONDS),
        ("no-store", LEAST_AGE_SECONDS),
        ("max-age=3600, no-cache", LEAST_AGE_SECONDS),
        ("\u00e9" * 900, USUAL_AGE_SECONDS),
    ],
)
def test_how_old_keys_may_become(cache: str, age: float) -> None:
    assert age_of(answer(ONE, cache=cache)) == age


def test_keys_are_fetched_again_as_they_age(issuer: Issuer, logged: Logged) -> None:
    keys = issuer.keys(answer(ONE, cache="max-age=600"))
    keys.start()
    issuer.clock.advance(599)
    assert issuer.count == 0
    issuer.clock.advance(1)
    issuer.answer(answer(ONE, OTHER, cache="max-age=1200"))
    assert (names(keys), issuer.changes) == ({"one", "other"}, 1)
    assert "the keys of https://issuer.example changed: 2 keys" in logged.text
    issuer.clock.advance(1199)
    assert issuer.count == 1
    issuer.clock.advance(1)
    issuer.answer(answer(OTHER, ONE))
    assert issuer.changes == 1  # the same ones
    keys.stop()
    assert issuer.clock.getDelayedCalls() == []
    assert "s3cret" not in logged.text


def test_the_last_keys_are_kept_for_a_time_and_then_none(issuer: Issuer, logged: Logged) -> None:
    keys = issuer.keys()
    keys.start()
    issuer.ready = AWAY
    issuer.clock.advance(USUAL_AGE_SECONDS)
    assert keys.is_away
    for _ in range(int((KEPT_SECONDS - USUAL_AGE_SECONDS) / AGAIN_SECONDS) - 1):
        issuer.clock.advance(AGAIN_SECONDS)
    assert names(keys) == {"one"}
    assert logged.text.count("failed: refused") == 1
    issuer.clock.advance(AGAIN_SECONDS)
    assert names(keys) is None
    assert names(keys) is None
    assert logged.text.count("every token is refused with 503") == 1
    issuer.ready = answer(OTHER)
    issuer.clock.advance(AGAIN_SECONDS)
    assert (names(keys), keys.is_away) == ({"other"}, False)
    assert "it works again" in logged.text
    keys.stop()


def test_an_issuer_that_is_away_is_asked_every_30_seconds(issuer: Issuer) -> None:
    issuer.ready = AWAY
    keys = issuer.keys()
    keys.start()
    issuer.clock.advance(USUAL_AGE_SECONDS)
    for _ in range(10):
        issuer.clock.advance(AGAIN_SECONDS)
    assert issuer.count == 11
    keys.stop()


def test_half_a_set_changes_nothing(issuer: Issuer) -> None:
    """An issuer that writes its file while it is read, or that has lost its keys."""
    keys = issuer.keys()
    keys.start()
    for body in (jwks(OTHER)[:-5], b"", b'{"keys":[]}', jwks(OTHER.jwk(x="AA"))):
        keys.prepare()()
        issuer.answer(WebAnswer(200, body=body))
        assert (names(keys), issuer.changes) == ({"one"}, 0)
    keys.stop()


def test_keys_that_cannot_be_used_are_logged_once(issuer: Issuer, logged: Logged) -> None:
    keys = issuer.keys(answer(ONE, {"kty": "XYZ"}))
    assert logged.text.count("key 2 of 2 is not used: its kind (kty) is unknown") == 1
    keys.prepare()()
    issuer.answer(answer(ONE, {"kty": "XYZ"}))
    assert logged.text.count("is not used") == 1
    keys.stop()


def test_an_unknown_key_is_looked_for_once_in_30_seconds(issuer: Issuer) -> None:
    keys = issuer.keys()
    over: list[str] = []
    for name in ("a", "b"):
        waiting = keys.look_again()
        assert waiting is not None
        waiting.addCallback(lambda _, name: over.append(name), name)
    assert (issuer.count, over) == (1, [])
    issuer.answer(answer(ONE, OTHER))
    assert (over, names(keys)) == (["a", "b"], {"one", "other"})
    assert keys.look_again() is None
    issuer.clock.advance(AGAIN_SECONDS - 0.1)
    assert keys.look_again() is None
    issuer.clock.advance(0.1)
    issuer.ready = AWAY
    assert keys.look_again() is not None
    assert (issuer.count, keys.is_away) == (2, True)
    keys.stop()


def test_one_that_waits_may_give_up(issuer: Issuer) -> None:
    keys = issuer.keys()
    waiting = keys.look_again()
    assert waiting is not None
    waiting.addErrback(lambda _: None).cancel()
    issuer.answer(answer(OTHER))
    assert names(keys) == {"other"}
    keys.stop()


def test_the_end(issuer: Issuer) -> None:
    keys = issuer.keys()
    keys.start()
    issuer.clock.advance(USUAL_AGE_SECONDS)
    over: list[None] = []
    waiting = keys.look_again()
    assert waiting is not None
    waiting.addCallback(over.append)
    keys.stop()
    assert (issuer.cancelled, over) == (1, [None])
    assert issuer.clock.getDelayedCalls() == []
    assert names(keys) == {"one"}


def test_a_reload_fetches_at_once(issuer: Issuer) -> None:
    keys = issuer.keys()
    keys.start()
    commit = keys.prepare()
    assert issuer.count == 0
    commit()
    commit()
    assert issuer.count == 1
    issuer.answer(answer(OTHER))
    assert names(keys) == {"other"}
    keys.stop()
