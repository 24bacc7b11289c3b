from __future__ import annotations

from pathlib import Path

import pytest

from wsservice.client.web.credentials import (
    basic,
    check_bearer,
    check_login,
    read_bearer,
)
from wsservice.errors import ConfigError


def test_basic_is_utf8_in_base64() -> None:
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert basic("u", "é") == "Basic dTrDqQ=="


@pytest.mark.parametrize("login", [("a:b", "c"), ("a\r\n", "secret"), ("a", "secret\x00")])
def test_a_login_that_cannot_be_sent_is_refused_and_not_told(login: tuple[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_login(login)
    assert "secret" not in str(caught.value)


def test_a_login_may_be_any_other_text() -> None:
    assert check_login(("", "pass: word")) == ("", "pass: word")
    assert check_login(None) is None


@pytest.mark.parametrize("token", ["", "a b", "a\r\nb", "é", "secret\x00"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_told(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_bearer(token)
    assert not token or token not in str(caught.value)


def test_a_token_may_be_any_token68() -> None:
    assert check_bearer("aZ09-._~+/==") == "aZ09-._~+/=="
    assert check_bearer(None) is None


class TestReadBearer:
    def test_it_is_given_itself(self) -> None:
        assert read_bearer("abc", {}) == "abc"

    def test_it_is_in_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("abc\n")
        assert read_bearer(f"@{tmp_path}/token", {}) == "abc"

    def test_it_is_in_the_environment(self) -> None:
        assert read_bearer("env:TOKEN", {"TOKEN": "abc"}) == "abc"

    @pytest.mark.parametrize("given", ["@/nowhere/at\x1ball", "env:TOKEN", "env:"])
    def test_it_is_nowhere(self, given: str) -> None:
        with pytest.raises(ConfigError) as caught:
            read_bearer(given, {"TOKEN": ""})
        assert str(caught.value).startswith("--bearer: ")
        assert str(caught.value).isprintable()

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_bytes(b"\xff")
        with pytest.raises(ConfigError, match="is not text"):
            read_bearer(f"@{tmp_path}/token", {})
