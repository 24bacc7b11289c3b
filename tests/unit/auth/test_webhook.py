from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.auth.contract import Credential, Form, User
from wsservice.auth.kinds import open_authenticator
from wsservice.auth.webhook import MOST_PENDING, AskedApplication, question, verdict_of
from wsservice.client.web import signing
from wsservice.client.web.asking import WebAnswer
from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.http.refusal import Refusal

from ...support import Logged

KEY = b"the secret of both"
TOKEN = Credential(Form.TOKEN, "s3cret-token", "the query")
PASSWORD = Credential(Form.PASSWORD, "s3cret-word", "Authorization", "tom")


class Asked:
    """A request of a client."""

    origin: str | None = "https://app.example"
    address: str | None = "192.0.2.1"
    as_autobahn: Any = None

    def __init__(self, target: str = "/rooms/1?access_token=s3cret-token&channel=news") -> None:
        self.target = target
        self.headers: dict[str, str] = {
            "host": "ws.example",
            "user-agent": "x" * 2000,
            "cookie": "session=s3cret-cookie",
            "authorization": "Bearer s3cret-token",
        }


class Application:
    """An application in memory. It answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Mapping[str, str], bytes, Deferred[WebAnswer]]] = []

    def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Deferred[WebAnswer]:
        assert method == "POST"
        assert body is not None
        asked: Deferred[WebAnswer] = Deferred(self.cancel)
        self.asked.append((headers, body, asked))
        return asked

    def cancel(self, asked: Deferred[WebAnswer]) -> None:
        asked.callback(WebAnswer(problem="was cancelled: no time was left"))

    def answer(self, answer: WebAnswer) -> None:
        self.asked.pop(0)[2].callback(answer)


def said(value: Any, status: int = 200) -> WebAnswer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return WebAnswer(status, "", {}, body)


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def found(application: Application, clock: Clock) -> AskedApplication:
    clock.advance(1_000_000)
    return AskedApplication("https://app.example/s3cret-path", KEY, application, clock.seconds)


def ask(found: AskedApplication, credential: Credential = TOKEN, request: Any = None) -> list[Any]:
    verdict = found.check(credential, request or Asked())
    told: list[Any] = []
    if isinstance(verdict, Deferred):
        verdict.addCallback(told.append)
    else:
        told.append(verdict)
    return told


def test_the_question() -> None:
    asked = json.loads(question(TOKEN, Asked()))
    assert asked == {
        "credential": {"form": "token", "place": "the query", "text": "s3cret-token"},
        "peer": "192.0.2.1",
        "path": "/rooms/1",
        "channels": ["rooms/1", "news"],
        "origin": "https://app.example",
        "headers": {"host": "ws.example", "user-agent": "x" * 1024},
    }
    assert json.loads(question(PASSWORD, Asked("/")))["credential"]["name"] == "tom"


@pytest.mark.parametrize(
    ("address", "peer"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("::ffff:1", "::ffff:1"), ("::1", "::1"), (None, None)],
)
def test_the_address_of_the_peer(address: str | None, peer: str | None) -> None:
    request = Asked()
    request.address = address
    assert json.loads(question(TOKEN, request))["peer"] == peer


def test_it_is_signed(found: AskedApplication, application: Application) -> None:
    ask(found)
    headers, body, _ = application.asked[0]
    assert headers["Content-Type"] == "application/json"
    expected = signing.headers(KEY, headers["webhook-id"], 1_000_000, body)
    assert expected.items() <= headers.items()
    ask(found)
    assert application.asked[1][0]["webhook-id"] != headers["webhook-id"]


def test_the_answer(found: AskedApplication, application: Application) -> None:
    told = ask(found)
    assert told == []
    application.answer(said({"user": "tom", "claims": {"room": [1]}, "expires": 1_000_060}))
    assert told == [User("tom", {"room": [1]}, 1_000_060.0)]
    assert found.pending == 0


@pytest.mark.parametrize(("status", "kind"), [(401, "refused"), (403, "does not let this user in")])
def test_a_refusal(
    found: AskedApplication, application: Application, status: int, kind: str
) -> None:
    (told,) = (ask(found),)
    application.answer(WebAnswer(status, "broke off its answer", {}, b"s3cret \x1b[2J"))
    assert told[0].status == status
    assert kind in told[0].problem
    assert "s3cret" not in told[0].reason


@pytest.mark.parametrize(
    "answer",
    [
        WebAnswer(problem="gave no answer within 5 s"),
        WebAnswer(200, "answered with more than 65536 octets", {}, b'{"user": "tom"}'),
        WebAnswer(200, "broke off its answer", {}, b'{"user": "tom"}'),
        *(said({"user": "tom"}, status) for status in (201, 204, 301, 302, 400, 404, 429, 500)),
        said(b""),
        said(b"tom"),
        said([]),
        said(b'{"user": "tom", "user": "eve"}'),
        said({}),
        said({"user": None}),
        said({"user": ""}),
        said({"user": 5}),
        said({"user": "s3cret\n"}),
        said({"user": "x" * 10_000}),
        said({"user": "tom", "claims": []}),
        said({"user": "tom", "expires": "s3cret"}),
        said({"user": "tom", "expires": True}),
        said(b'{"user": "tom", "expires": 1e999}'),
        said({"user": "tom", "cache": "s3cret"}),
        said({"user": "tom", "cache": -1}),
        said({"user": "tom", "cache": True}),
        said(b'{"user": "tom", "cache": NaN}'),
    ],
)
def test_any_other_answer_lets_nobody_in(
    found: AskedApplication, application: Application, logged: Logged, answer: WebAnswer
) -> None:
    for _ in range(2):
        told = ask(found)
        application.answer(answer)
        assert isinstance(told[0], Refusal)
        assert told[0].status == 503
    assert logged.text.count("--auth webhook https://app.example: it ") == 1
    assert "s3cret" not in logged.text
    assert logged.failures == []
    ask(found)
    application.answer(said({"user": "tom"}))
    assert "it works again" in logged.text


def test_the_same_question_has_the_same_answer_for_a_while(
    found: AskedApplication, application: Application, clock: Clock
) -> None:
    ask(found)
    application.answer(said({"user": "tom", "claims": {"a": []}, "cache": 10}))
    (user,) = ask(found)
    user.claims["a"].append(1)  # of this connection alone
    assert ask(found)[0].claims == {"a": []}
    for other in (Asked("/rooms/2?access_token=s3cret-token"), Asked("/rooms/1")):
        assert ask(found, TOKEN, other) == []
    away = Asked()
    away.origin = None
    assert ask(found, TOKEN, away) == []
    assert ask(found, Credential(Form.TOKEN, "other", "the query")) == []
    assert ask(found, Credential(Form.PASSWORD, "s3cret-token", "the query")) == []
    clock.advance(10)
    assert ask(found) == []


def test_nothing_is_remembered_unasked_or_beyond_its_end(
    found: AskedApplication, application: Application, clock: Clock
) -> None:
    ask(found)
    application.answer(said({"user": "tom"}))
    assert ask(found) == []
    application.answer(said({"user": "tom", "cache": 10**9, "expires": 1_000_005}))
    assert len(ask(found)) == 1
    clock.advance(5)
    assert ask(found) == []
    application.answer(said({"user": "tom", "cache": 10**9}))
    clock.advance(3599)
    assert len(ask(found)) == 1
    clock.advance(1)
    assert ask(found) == []
    application.answer(said({"error": 1, "cache": 10**9}, 403))
    assert ask(found) == []


def test_only_so_many_at_once(found: AskedApplication, application: Application) -> None:
    waiting = [ask(found) for _ in range(MOST_PENDING)]
    assert ask(found)[0].status == 503
    assert len(application.asked) == MOST_PENDING
    application.answer(said({"user": "tom"}))
    assert waiting[0] == [User("tom")]
    assert ask(found) == []


def test_one_that_gives_up_makes_room(found: AskedApplication, application: Application) -> None:
    verdict = found.check(TOKEN, Asked())
    assert isinstance(verdict, Deferred)
    verdict.cancel()
    assert found.pending == 0


def test_a_reload(found: AskedApplication, application: Application, tmp_path: Path) -> None:
    ask(found)
    application.answer(said({"user": "tom", "cache": 10}))
    secret = tmp_path / "secret"
    secret.write_text("another")
    secret.chmod(0o600)
    config = Config(auth=("webhook:https://app.example/",), auth_secret_file=str(secret))
    commit = found.prepare(config)
    assert commit() == ["the secret of --auth webhook"]
    assert found.prepare(config)() == []
    assert ask(found) == []
    headers, body, _ = application.asked[0]
    expected = signing.headers(b"another", headers["webhook-id"], 1_000_000, body)
    assert expected.items() <= headers.items()


def test_opening_it(tmp_path: Path, logged: Logged) -> None:
    def opened(url: str, secret: str = "secret") -> Any:
        (tmp_path / "secret").write_text(secret)
        (tmp_path / "secret").chmod(0o600)
        spec = f"webhook:{url}"
        config = Config(auth=(spec,), auth_secret_file=str(tmp_path / "secret"))
        return open_authenticator(spec, config, Clock())

    assert opened("https://app.example/auth").forms == {Form.TOKEN, Form.PASSWORD}
    opened("http://localhost:8000/auth")
    assert logged.text == ""
    opened("http://app/s3cret")
    assert "credentials are sent by http:" in logged.text
    assert "s3cret" not in logged.text
    for url in ("app.example", "ftp://a/", "https://tom:s3cret@a/", "https://a/ b", "https://"):
        with pytest.raises(ConfigError, match="--auth: 'webhook:") as raised:
            opened(url)
        assert "s3cret" not in str(raised.value)
    with pytest.raises(ConfigError, match="no valid base64"):
        opened("https://a/", "whsec_?")
    with pytest.raises(ConfigError, match="without --auth-secret-file"):
        open_authenticator("webhook:https://a/", Config(), Clock())


def test_the_verdict_of_an_answer_without_a_body() -> None:
    with pytest.raises(ValueError, match="answered None"):
        verdict_of(WebAnswer())
