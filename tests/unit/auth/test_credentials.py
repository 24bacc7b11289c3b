"""credentials.py: the one credential of a request."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.auth.contract import Credential, Form
from wsservice.auth.credentials import LONGEST, admitted, find, token_of
from wsservice.http.refusal import Refusal, RefusedError
from wsservice.http.request import Request, RequestReader

from ...support import opening_request

ALL = frozenset(Form) - {Form.REQUEST}
TOKEN = frozenset({Form.TOKEN})


def request(path: str = "/", *headers: str) -> Request:
    outcome = RequestReader().feed(opening_request(path, *headers))
    assert isinstance(outcome, Request), outcome
    return outcome


def found(path: str = "/", *headers: str, forms: frozenset[Form] = ALL, **more: Any) -> Any:
    return find(request(path, *headers), forms, **more)


def refused(path: str = "/", *headers: str, forms: frozenset[Form] = ALL, **more: Any) -> Refusal:
    with pytest.raises(RefusedError) as raised:
        found(path, *headers, forms=forms, **more)
    return raised.value.refusal


def basic(text: bytes) -> str:
    return f"Authorization: Basic {base64.b64encode(text).decode()}"


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80))
def test_any_printable_token_is_found_in_the_query(token: str) -> None:
    credential = found(f"/?a=1&access_token={quote(token, safe='')}")
    assert credential == Credential(Form.TOKEN, token, "?access_token=")


def test_a_name_and_a_password() -> None:
    credential = found("/", basic("tom:pass:wörd".encode()))
    assert (credential.form, credential.name, credential.text) == (
        Form.PASSWORD,
        "tom",
        "pass:wörd",
    )


def test_nothing_of_it_is_shown() -> None:
    credential = found("/", basic(b"tommy:secret"))
    assert "secret" not in repr(credential)
    assert "tommy" not in repr(credential)


@pytest.mark.parametrize(
    "headers",
    [
        ("Authorization: Bearer",),
        ("Authorization: Bearer ",),
        ("Authorization: Bearer a b",),
        ("Authorization: Bearer a\x80",),
        ("Authorization: Bearer " + "x" * (LONGEST + 1),),
        ("Authorization: Negotiate abc",),
        ("Authorization: ",),
        ("Authorization: Bearer a", "Authorization: Bearer b"),
        ("Authorization: Basic ***",),
        ("Authorization: Basic dG9t",),  # no colon
        (basic(b":secret"),),
        (basic(b"tom:"),),
        (basic(b"tom:\x00"),),
        (basic(b"tom:\xff"),),
        ("Sec-WebSocket-Protocol: bearer.",),
        ("Sec-WebSocket-Protocol: bearer." + "x" * (LONGEST + 1),),
    ],
)
def test_a_malformed_one_is_401(headers: tuple[str, ...]) -> None:
    refusal = refused("/", *headers)
    assert refusal.status == 401
    assert refusal.shown == ""


@pytest.mark.parametrize(
    "query",
    ["access_token=", "access_token", "access_token=%ff", "access_token=a%20b", "ticket=%0a"],
)
def test_a_malformed_one_in_the_query_is_401(query: str) -> None:
    assert refused(f"/?{query}").status == 401


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/?access_token=a", ["Authorization: Bearer a"]),
        ("/?access_token=a&access_token=a", []),
        ("/?access_token=a&ticket=b", []),
        ("/", ["Authorization: Bearer a", "Sec-WebSocket-Protocol: bearer.a"]),
        ("/", ["Sec-WebSocket-Protocol: bearer.a, bearer.b"]),
    ],
)
def test_two_are_400(path: str, headers: list[str]) -> None:
    assert refused(path, *headers).status == 400


def test_one_of_another_form_is_401() -> None:
    refusal = refused("/", basic(b"tom:secret"), forms=TOKEN)
    assert (refusal.status, refusal.problem) == (
        401,
        "a password is not taken here, in the Authorization header",
    )


@pytest.mark.parametrize("name", ["Access_Token", "xaccess_token", "tickets", "bearer"])
def test_other_names_are_no_credential(name: str) -> None:
    assert found(f"/?{name}=a") is None


@pytest.mark.parametrize("name", ["Bearer.x", "xbearer.x", "bearer", "bearerx"])
def test_other_subprotocols_are_no_credential(name: str) -> None:
    assert found("/", f"Sec-WebSocket-Protocol: {name}") is None


class TestCookie:
    @pytest.mark.parametrize("value", ["sid=a.b", 'x=1; sid="a.b"; y=2', "sid=a.b; sid=a.b"])
    def test_it_is_found(self, value: str) -> None:
        credential = found("/", f"Cookie: {value}", cookie="sid")
        assert credential == Credential(Form.TOKEN, "a.b", "a cookie")

    @pytest.mark.parametrize("value", ["SID=a", "xsid=a", "x=sid=a", 'x="; y'])
    def test_another_is_not(self, value: str) -> None:
        assert found("/", f"Cookie: {value}", cookie="sid") is None

    def test_none_is_looked_for_unasked(self) -> None:
        assert found("/", "Cookie: sid=a") is None
        assert found("/", "Cookie: sid=a", cookie="sid", forms=ALL - TOKEN) is None

    def test_two_that_differ_are_400(self) -> None:
        assert refused("/", "Cookie: sid=a; sid=b", cookie="sid").status == 400

    @pytest.mark.parametrize("value", ["sid=", "sid=a b", "sid=a, x=b"])
    def test_a_malformed_one_is_401(self, value: str) -> None:
        assert refused("/", f"Cookie: {value}", cookie="sid").status == 401

    def test_one_that_was_sent_on_purpose_goes_first(self) -> None:
        credential = found("/?access_token=b", "Cookie: sid=a", cookie="sid")
        assert credential.text == "b"


class TestCertificate:
    def test_it_is_found_last(self) -> None:
        assert found("/", certificate=lambda: "PEM").form is Form.CERTIFICATE
        assert found("/?ticket=a", certificate=lambda: "PEM").form is Form.TICKET
        assert found("/", certificate=lambda: None) is None

    def test_none_is_asked_for_where_none_is_taken(self) -> None:
        def fail() -> str:
            raise AssertionError

        assert found("/", forms=TOKEN, certificate=fail) is None


def test_a_function_is_asked_about_a_request_without_one() -> None:
    forms = frozenset(Form)
    assert found("/", forms=forms).form is Form.REQUEST
    assert found("/", "Authorization: ApiKey x", forms=forms).form is Form.REQUEST
    assert found("/?ticket=a", forms=forms).form is Form.TICKET


class TestAdmitted:
    @given(
        st.lists(
            st.sampled_from(["a=1", "access_token=s3cret", "ticket=s3cret", "channel=x", "", "b"]),
            max_size=5,
        )
    )
    def test_the_rest_of_the_query_stays(self, parts: list[str]) -> None:
        before = request("/p?" + "&".join(parts))
        after = admitted(before)
        assert "s3cret" not in after.target
        kept = [each for each in parts if "s3cret" not in each]
        if len(kept) == len(parts):
            assert after is before
        else:
            assert after.target == ("/p?" + "&".join(kept) if kept else "/p")

    def test_a_bearer_is_left_out_of_all(self) -> None:
        after = admitted(request("/", "Sec-WebSocket-Protocol: a, bearer.s3cret, b"))
        assert after.subprotocols == ("a", "b")
        assert after.headers["sec-websocket-protocol"] == "a, b"
        assert "s3cret" not in repr(after) + str(after.lines)
        after = admitted(request("/", "Sec-WebSocket-Protocol: bearer.s3cret"))
        assert "sec-websocket-protocol" not in after.headers


def test_a_token_of_a_message_goes_by_the_same_rules() -> None:
    assert token_of("abc", "there").text == "abc"
    for text in ("", "a b", "a\n", "é", "x" * (LONGEST + 1)):
        with pytest.raises(RefusedError):
            token_of(text, "there")
