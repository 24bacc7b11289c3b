"""function.py: a function of the application finds the user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock

from wsservice.auth.contract import Credential, Form, User
from wsservice.auth.function import FunctionAuthenticator
from wsservice.auth.kinds import KINDS, open_authenticator
from wsservice.config.config import Config
from wsservice.errors import ConfigError, CredentialError
from wsservice.http.refusal import Refusal

TOKEN = Credential(Form.TOKEN, "abc", "there")
NOTHING = Credential(Form.REQUEST, "", "the request")


def asked(function: Any, credential: Credential = TOKEN) -> Any:
    request: Any = SimpleNamespace(as_autobahn=SimpleNamespace(headers={"x": "y"}))
    answer: Any = FunctionAuthenticator(function).check(credential, request)
    if hasattr(answer, "__await__"):
        got: list[Any] = []
        deferred = answer if isinstance(answer, Deferred) else ensureDeferred(answer)
        deferred.addBoth(got.append)
        (answer,) = got
    return answer


def ways(outcome: Any) -> Iterator[Any]:
    """Functions that return the outcome, or raise it, at once and later."""

    def plain(_: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def later(_: Any) -> Any:
        return plain(None)

    yield plain
    yield later
    yield lambda _: fail(outcome) if isinstance(outcome, Exception) else succeed(outcome)


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        ("tom", User("tom")),
        (User("tom", {"a": 1}, 5.0), User("tom", {"a": 1}, 5.0)),
    ],
)
def test_a_user(outcome: Any, verdict: User) -> None:
    for function in ways(outcome):
        assert asked(function) == verdict


@pytest.mark.parametrize(
    ("outcome", "status", "problem"),
    [
        (None, 401, "the application refused the client"),
        (CredentialError("the session is over"), 401, "the session is over"),
        (CredentialError("locked", 403), 403, "locked"),
        (CredentialError("away", 503), 503, "away"),
        ("", 403, "the user's id is empty"),
        ("a\nb", 403, "the user's id has a control character"),
        ("x" * 10_000, 403, "the user's id has more than 255 octets"),
    ],
)
def test_a_refusal(outcome: Any, status: int, problem: str) -> None:
    for function in ways(outcome):
        refusal = asked(function)
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.problem) == (status, problem)


def test_nobody_without_a_credential() -> None:
    for function in ways(None):
        assert asked(function, NOTHING).kind == "no credential"


def test_a_fault_is_the_callers() -> None:
    plain, later, deferred = ways(RuntimeError("on purpose"))
    with pytest.raises(RuntimeError):
        asked(plain)
    for function in (later, deferred):
        assert asked(function).check(RuntimeError)


def test_the_token_is_in_one_place_wherever_it_was() -> None:
    seen: list[Any] = []
    asked(lambda request: seen.append(request.headers))
    asked(lambda request: seen.append(request.headers), NOTHING)
    assert seen == [{"x": "y", "authorization": "Bearer abc"}, {"x": "y"}]


class TestKinds:
    def test_a_function_of_the_current_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "our_people.py").write_text(
            "def who(request):\n    return 'tom'\n\nnobody = 5\n"
        )
        opened = open_authenticator("our_people:who", Config(), Clock())
        assert isinstance(opened, FunctionAuthenticator)
        assert opened._function(None) == "tom"
        for name in ("none", "nobody"):
            with pytest.raises(ConfigError, match=f"module 'our_people' has no function '{name}'"):
                open_authenticator(f"our_people:{name}", Config(), Clock())

    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            ("jwtt:key.pem", "--auth: kind 'jwtt' is unknown; give htpasswd,"),
            ("nokind", "--auth: kind 'nokind' is unknown"),
            ("absent:who", "--auth: 'absent:who' cannot be imported, ModuleNotFoundError: "),
        ],
    )
    def test_an_unknown_one(self, spec: str, problem: str) -> None:
        with pytest.raises(ConfigError) as raised:
            open_authenticator(spec, Config(), Clock())
        assert str(raised.value).startswith(problem)
        assert ", tickets, tokens, " in str(raised.value)

    def test_each_kind_has_its_function(self) -> None:
        from importlib import import_module

        for module, function in KINDS.values():
            assert callable(getattr(import_module(f"wsservice.auth.{module}"), function))
