from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joserfc  # noqa: F401 - the extra `auth`
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.auth.contract import Credential, Form, User
from wsservice.auth.jwt import authenticator as jwt_module
from wsservice.auth.jwt import claims as claims_module
from wsservice.auth.jwt.authenticator import JSONWebTokens, open_jwt
from wsservice.auth.jwt.jwks import AGAIN_SECONDS, KEPT_SECONDS, RemoteKeys
from wsservice.auth.kinds import open_authenticator
from wsservice.auth.urls import is_safe
from wsservice.client.web.asking import WebAnswer
from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.http.refusal import Refusal

from ....tokens import SECRET, Signer, jwks

ONE, OTHER = Signer("ES256", "one"), Signer("ES256", "other")
REQUEST: Any = None


def asked(found: JSONWebTokens, token: str) -> Any:
    """The verdict over a token; a list in which it will be if it is not known at once."""
    verdict = found.check(Credential(Form.TOKEN, token, "Authorization"), REQUEST)
    if not isinstance(verdict, Deferred):
        return verdict
    told: list[Any] = []
    verdict.addCallback(told.append)
    return told


def why(verdict: Any) -> tuple[int | None, str]:
    assert isinstance(verdict, Refusal), verdict
    return verdict.status, verdict.problem


@pytest.fixture
def clock() -> Clock:
    """A clock that shows about the time that `Signer` takes."""
    clock = Clock()
    clock.advance(time.time())
    return clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture
def from_file(file: Path, clock: Clock) -> Any:
    return open_authenticator(f"jwt:{file}", Config(auth=(f"jwt:{file}",)), clock)


class Issuer:
    def __init__(self) -> None:
        self.asked: Deferred[WebAnswer] = Deferred()

    def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Deferred[WebAnswer]:
        self.asked = Deferred()
        return self.asked


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def from_issuer(issuer: Issuer, clock: Clock) -> JSONWebTokens:
    first = WebAnswer(200, body=jwks(ONE))
    keys = RemoteKeys("https://issuer.example/", first, issuer, clock)
    return JSONWebTokens(keys, claims_module.ClaimRules(), clock.seconds)


def test_a_token_has_a_user(from_file: JSONWebTokens) -> None:
    user = asked(from_file, Signer("HS256").token("tom", room=1))
    assert isinstance(user, User)
    assert (user.id, user.claims["room"]) == ("tom", 1)
    assert from_file.forms == {Form.TOKEN}
    assert why(asked(from_file, "s3cret")) == (401, "the token is no JSON Web Token")


def test_a_token_that_comes_again_costs_no_signature(
    from_file: JSONWebTokens, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Signer("HS256").token(room=[1], exp=clock.seconds() + 60)
    first = asked(from_file, token)
    monkeypatch.setattr(claims_module, "verify", None)
    again = asked(from_file, token)
    assert again == first
    again.claims["room"].append(2)  # of this connection alone
    assert asked(from_file, token) == first
    monkeypatch.undo()
    clock.advance(61)
    assert asked(from_file, token).expires == first.expires + 30  # by the leeway
    clock.advance(30)
    assert why(asked(from_file, token)) == (401, "the token has expired (exp)")


def test_a_bad_token_is_not_remembered(
    from_file: JSONWebTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    real = claims_module.verify

    def verify(*given: Any) -> Any:
        calls.append(given)
        return real(*given)

    monkeypatch.setattr(claims_module, "verify", verify)
    forged = Signer("HS256").token()[:-4] + "AAAA"
    for _ in range(3):
        assert why(asked(from_file, forged)) == (401, "the token's signature is wrong")
    assert len(calls) == 3


def test_other_keys_forget_what_was_verified(from_file: JSONWebTokens, file: Path) -> None:
    token = Signer("HS256").token()
    assert asked(from_file, token).id == "tom"
    file.write_bytes(jwks(ONE))
    commit = from_file.prepare(Config(auth=(f"jwt:{file}",), auth_issuer=("a",)))
    assert asked(from_file, token).id == "tom"
    file.write_bytes(jwks(ONE))
    from_file.prepare(Config(auth=(f"jwt:{file}",)))()
    assert why(asked(from_file, token)) == (401, "the token's algorithm does not go with the key")
    commit()
    assert why(asked(from_file, ONE.token())) == (401, "the token names no issuer (iss)")
    assert asked(from_file, ONE.token(iss="a")).id == "tom"


def test_a_reload_with_other_rules_judges_what_was_verified(
    from_file: JSONWebTokens, file: Path
) -> None:
    token = Signer("HS256").token(aud="web")
    assert asked(from_file, token).id == "tom"
    from_file.prepare(Config(auth=(f"jwt:{file}",), auth_audience=("ws",)))()
    assert why(asked(from_file, token)) == (401, "the token has another audience (aud)")


def test_an_unknown_key_is_fetched(
    from_issuer: JSONWebTokens, issuer: Issuer, clock: Clock
) -> None:
    verdict = asked(from_issuer, OTHER.token("eve"))
    forged = asked(from_issuer, Signer("ES256", "third").token())
    assert (verdict, forged) == ([], [])
    assert asked(from_issuer, ONE.token()).id == "tom"  # meanwhile
    issuer.asked.callback(WebAnswer(200, body=jwks(ONE, OTHER)))
    assert verdict[0].id == "eve"
    assert why(forged[0]) == (401, "the token names an unknown key (kid)")
    unknown = Signer("ES256", "fourth").token()
    assert why(asked(from_issuer, unknown)) == (401, "the token names an unknown key (kid)")
    clock.advance(AGAIN_SECONDS)
    assert asked(from_issuer, unknown) == []
    from_issuer.stop()


def test_nobody_can_tell_while_the_issuer_is_away(
    from_issuer: JSONWebTokens, issuer: Issuer
) -> None:
    verdict = asked(from_issuer, OTHER.token())
    issuer.asked.callback(WebAnswer(problem="failed"))
    assert why(verdict[0])[0] == 503
    assert why(asked(from_issuer, OTHER.token()))[0] == 503
    assert asked(from_issuer, ONE.token()).id == "tom"
    from_issuer.stop()


def test_keys_that_are_too_old_verify_nothing(from_issuer: JSONWebTokens, clock: Clock) -> None:
    token = ONE.token(exp=clock.seconds() + 9 * KEPT_SECONDS)
    assert asked(from_issuer, token).id == "tom"
    clock.advance(KEPT_SECONDS)
    assert why(asked(from_issuer, token)) == (
        503,
        "the keys that verify tokens are too old",
    )


def test_keys_that_become_too_old_while_a_token_waits(
    from_issuer: JSONWebTokens, issuer: Issuer, clock: Clock
) -> None:
    clock.advance(KEPT_SECONDS - 1)
    verdict = asked(from_issuer, OTHER.token(exp=clock.seconds() + 60))
    clock.advance(1)
    issuer.asked.callback(WebAnswer(problem="failed"))
    assert why(verdict[0])[0] == 503
    from_issuer.stop()


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/.well-known/jwks.json?v=1",
        "https://[2001:db8::1]:8443/",
        "http://localhost/",
        "http://127.0.0.1:9/keys",
        "http://[::1]/",
    ],
)
def test_urls_whose_keys_can_be_trusted(url: str) -> None:
    assert is_safe("jwt", url)


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "http://10.0.0.1/",
        "https://tom:s3cret@issuer.example/",
        "https://issuer.example/#s3cret",
        "https:///jwks.json",
        "https://a b/",
        "https://issuer.example/\n",
        "https://issuer.example:0/",
        "ftp://issuer.example/",
        "file:///etc/passwd",
    ],
)
def test_urls_whose_keys_cannot(url: str) -> None:
    with pytest.raises(ConfigError, match="--auth: ") as raised:
        open_jwt(url, Config(), Clock())
    assert "s3cret" not in str(raised.value)
    assert str(raised.value).isprintable()


def test_the_keys_at_a_url_are_fetched_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [WebAnswer(200, body=jwks(ONE)), WebAnswer(problem="gave no answer within 5 s")]
    monkeypatch.setattr(jwt_module, "ask_now", lambda *_: answers.pop(0))
    clock = Clock()
    clock.advance(time.time())
    found = open_jwt("https://issuer.example/?token=s3cret", Config(), clock)
    assert asked(found, ONE.token()).id == "tom"
    found.start()
    found.stop()
    with pytest.raises(ConfigError, match="it gave no answer within 5 s; give the URL") as raised:
        open_jwt("https://issuer.example/?token=s3cret", Config(), clock)
    assert "s3cret" not in str(raised.value)


def test_without_the_package_or_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="not allowed without keys"):
        open_jwt("", Config(), Clock())
    monkeypatch.setitem(sys.modules, "joserfc", None)
    monkeypatch.setattr(jwt_module, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'wsservice\[auth\]'"):
        open_jwt("keys", Config(), Clock())
