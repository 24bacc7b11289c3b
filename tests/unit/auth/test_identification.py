"""identification.py: settings in force, reloads, and which authenticator is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.auth import identification
from wsservice.auth.contract import Authenticator, Credential, Form, Inquiry, User, Verdict
from wsservice.auth.credentials import COOKIE
from wsservice.auth.identification import Identification
from wsservice.auth.refusals import no_credential
from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.http.refusal import Refusal

from .test_credentials import request

NOBODY: Any = None


class Known(Authenticator):
    """Knows everybody, by one form."""

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.forms = frozenset({Form(spec.partition(":")[0])})
        self.calls: list[str] = []

    def check(self, credential: Credential, request: Inquiry) -> Verdict:
        return User(self.spec)

    def prepare(self, config: Config) -> Any:
        if config.greeting == "wrong":
            raise ConfigError("--auth: is wrong")
        self.calls.append("prepare")

        def commit() -> list[str]:
            self.calls.append("commit")
            return ["it"]

        return commit

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> Any:
        self.calls.append("stop")
        return Deferred() if self.spec.endswith("slow") else None


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Known]:
    known: dict[str, Known] = {}

    def opened(spec: str, *_: Any) -> Known:
        known[spec] = Known(spec)
        return known[spec]

    monkeypatch.setattr(identification, "open_authenticator", opened)
    return known


def of(*auth: str, **settings: Any) -> Identification:
    return Identification(Config(auth=auth, **settings), Clock())


def no_certificate() -> None:
    return None


def test_off_without_any(made: dict[str, Known]) -> None:
    assert not of().is_on
    assert of("token:a").is_on


def test_each_form_has_the_first_that_takes_it(made: dict[str, Known]) -> None:
    both = of("token:a", "password:b")
    for form, spec in ((Form.TOKEN, "token:a"), (Form.PASSWORD, "password:b")):
        user = both.check(Credential(form, "x", "there"), NOBODY, lambda: None)
        assert user == User(spec)
    refusal = both.check(Credential(Form.TICKET, "x", "there"), NOBODY, lambda: None)
    assert isinstance(refusal, Refusal)


def test_one_that_would_never_be_asked_is_refused(made: dict[str, Known]) -> None:
    with pytest.raises(ConfigError, match="'token' is not allowed behind another one"):
        of("token:a", "token:b")


def test_a_further_one_is_asked_last(made: dict[str, Known]) -> None:
    extra = Known("ticket:x")
    further = {"ticket": extra, "token": Known("token:c")}
    both = Identification(Config(auth=("token:a",)), Clock(), further)
    for form, spec in ((Form.TOKEN, "token:a"), (Form.TICKET, "ticket:x")):
        assert both.check(Credential(form, "x", ""), NOBODY, lambda: None) == User(spec)
    both.start()
    both.stop()
    assert extra.calls == ["start", "stop"]


def test_a_further_one_may_be_named_and_be_the_only_one(made: dict[str, Known]) -> None:
    extra = Known("ticket:x")
    alone = Identification(Config(auth=("ticket",)), Clock(), {"ticket": extra})
    assert alone.is_on
    assert made == {}
    assert alone.check(Credential(Form.TICKET, "x", ""), NOBODY, lambda: None) == User("ticket:x")
    assert not Identification(Config(), Clock(), {"ticket": extra}).is_on
    alone.start()
    alone.stop()
    assert extra.calls == ["start", "stop"]


class TestReload:
    def test_files_are_read_anew(self, made: dict[str, Known]) -> None:
        both = of("token:a")
        both.start()
        changed: list[int] = []
        both.changed = lambda: changed.append(1)
        assert both.prepare(Config(auth=("token:a",), auth_failures=7))() == ["it"]
        assert made["token:a"].calls == ["start", "prepare", "commit"]
        assert both.throttle.most == 7
        assert changed == [1]

    def test_one_is_added_and_another_goes(self, made: dict[str, Known]) -> None:
        both = of("token:a")
        both.start()
        commit = both.prepare(Config(auth=("password:b",)))
        assert made["password:b"].calls == []
        commit()
        assert made["password:b"].calls == ["start"]
        assert made["token:a"].calls == ["start", "stop"]
        both.prepare(Config())()
        assert not both.is_on
        assert made["password:b"].calls == ["start", "stop"]

    def test_a_wrong_one_changes_nothing(self, made: dict[str, Known]) -> None:
        both = of("token:a")
        with pytest.raises(ConfigError):
            both.prepare(Config(auth=("token:a",), greeting="wrong"))
        assert both.is_on
        assert made["token:a"].calls == []

    def test_it_stops_once_all_have(self, made: dict[str, Known]) -> None:
        both = of("token:slow", "password:b")
        stopped: list[Any] = []
        both.stop().addBoth(stopped.append)
        assert not stopped
        assert made["password:b"].calls == ["stop"]


class TestCookie:
    """A browser sends a cookie whatever page asks, so the page must be ours."""

    def asked(self, origin: str | None, *allowed: str) -> Any:
        both = of("token:a", auth_cookie="sid", allow_origin=allowed)
        headers = ["Cookie: sid=abc", *([] if origin is None else [f"Origin: {origin}"])]
        found = both.credential(request("/", *headers), no_certificate)
        return found.status if isinstance(found, Refusal) else found

    @pytest.mark.parametrize(
        "origin",
        [None, "http://localhost:8080", "https://localhost:8080", "https://app.example"],
    )
    def test_ours(self, made: dict[str, Known], origin: str | None) -> None:
        found = self.asked(origin, "https://app.example", "*")
        assert found == Credential(Form.TOKEN, "abc", COOKIE)

    @pytest.mark.parametrize(
        "origin",
        [
            *("null", "https://evil.example", "http://localhost", "http://localhost:80"),
            *("https://app.example.evil.example", "https://xapp.example", "http://app.example"),
            *("https://app.example:8443", "https://APP.example.", "https://app.example/", ""),
            *("https://localhost:8080@evil.example", "http://127.0.0.1:8080", "file://"),
        ],
    )
    def test_others(self, made: dict[str, Known], origin: str) -> None:
        assert self.asked(origin, "https://app.example", "*") == 403

    def test_a_credential_that_the_page_has_itself_needs_no_origin(
        self, made: dict[str, Known]
    ) -> None:
        both = of("token:a", auth_cookie="sid", allow_origin=("*",))
        asked = request("/?access_token=x", "Cookie: sid=abc", "Origin: https://evil.example")
        assert both.credential(asked, no_certificate) == Credential(
            Form.TOKEN, "x", "?access_token="
        )


class TestVerdicts:
    @pytest.mark.parametrize("settings", [{"auth_optional": True}, {"auth_first_message": True}])
    def test_only_a_request_without_a_credential_goes_without(
        self, made: dict[str, Known], settings: dict[str, Any]
    ) -> None:
        both = of("token:a", **settings)
        assert both.credential(request("/"), no_certificate) is None
        none = no_credential(frozenset())
        known, unknown = Credential(Form.TOKEN, "x", ""), Credential(Form.REQUEST, "", "")
        assert both.settled(none, unknown, lambda: None) is None
        refusal = both.settled(none, known, lambda: None)
        assert isinstance(refusal, Refusal)
        assert refusal.status == 401

    def test_one_that_ended_is_refused(self, made: dict[str, Known]) -> None:
        both = of("token:a")
        credential = Credential(Form.TOKEN, "x", "")
        refusal = both.settled(User("tom", expires=0.0), credential, lambda: None)
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.kind) == (401, "expired credential")

    def test_nonsense(self, made: dict[str, Known]) -> None:
        for each in (None, "tom", True, {"id": "tom"}):
            with pytest.raises(TypeError):
                of("token:a").settled(each, Credential(Form.TOKEN, "x", ""), lambda: None)

    def test_a_refusal_gets_what_its_status_needs(self, made: dict[str, Known]) -> None:
        both = of("token:a", "password:b")
        credential = Credential(Form.TOKEN, "x", "there")
        refusal = both.settled(Refusal(401, "no"), credential, lambda: None)
        assert isinstance(refusal, Refusal)
        assert refusal.kind == "bad credential"
        assert [name for name, _ in refusal.headers] == ["WWW-Authenticate"] * 2
        mine = attrs.evolve(refusal, headers=(("www-authenticate", "Bearer x"),))
        again = both.settled(mine, credential, lambda: None)
        assert isinstance(again, Refusal)
        assert again.headers == (("www-authenticate", "Bearer x"),)


def test_settings_that_do_not_go_together() -> None:
    config: Any = Config
    wrong: Any
    for name, value in (
        ("auth_optional", True),
        ("auth_cookie", "a"),
        ("auth_first_message", True),
    ):
        with pytest.raises(ConfigError, match="is not allowed without --auth"):
            config(**{name: value})
    for name, value, kind in (
        ("auth_audience", "shop", "jwt:"),
        ("auth_issuer", "us", "jwt:"),
        ("auth_secret_file", "x", "webhook:"),
    ):
        with pytest.raises(ConfigError, match=f"is not allowed without --auth {kind}…"):
            config(auth=("tokens:x",), **{name: value})
        config(auth=("tokens:x", f"{kind}https://app.example/"), **{name: value})
    with pytest.raises(ConfigError, match="beside --auth-first-message"):
        config(auth=("tokens:x",), auth_optional=True, auth_first_message=True)
    for wrong in ("", ":x", "a b:c", "é:x", "tokens:", ["tokens:x", "tokens:x"], 5):
        with pytest.raises(ConfigError, match="--auth: "):
            config(auth=wrong)
    for wrong in ("a b", "a;b", "a=b", "é"):
        with pytest.raises(ConfigError, match="--auth-cookie: "):
            config(auth="tokens:x", auth_cookie=wrong)
    assert config(auth="tokens:x").auth == ("tokens:x",)
    assert config(auth=["tokens:a/b c", "m.n:f", "tls"]).auth == ("tokens:a/b c", "m.n:f", "tls")


def test_a_file_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.touch(0o600)
    assert Identification(Config(auth=(f"tokens:{path}",)), Clock()).is_on
