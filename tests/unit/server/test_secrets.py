from __future__ import annotations

import base64

import pytest

from wsservice.escape import masked
from wsservice.http.request import Request, RequestReader
from wsservice.server.secrets import secrets_of

from ...support import opening_request

SECRET = "s3cr3t-t0k3n"


def request(path: str = "/", *headers: str) -> Request:
    outcome = RequestReader().feed(opening_request(path, *headers))
    assert isinstance(outcome, Request)
    return outcome


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        (f"/a?token={SECRET}", (), f"?token={SECRET}"),
        (f"/a?{SECRET}", (), SECRET),
        (f"/a?x=1&token={SECRET}&y=2", (), f"'{SECRET}'"),
        ("/a?token=s3cr3t%2Dt0k3n", (), SECRET),
        ("/a?token=s3cr3t%2Dt0k3n", (), "s3cr3t%2Dt0k3n"),
        ("/a?s3cr3t+t0k3n", (), "s3cr3t t0k3n"),
        ("/", (f"Authorization: Bearer {SECRET}",), f"Bearer {SECRET}"),
        ("/", (f"Authorization: Bearer {SECRET}",), SECRET),
        ("/", (f"Proxy-Authorization: Bearer {SECRET}",), SECRET),
        ("/", (f"Cookie: a=b; session={SECRET}; c=d",), SECRET),
        ("/", (f'Cookie: session="{SECRET}"',), SECRET),
        ("/", (f"Sec-WebSocket-Protocol: chat, {SECRET}",), SECRET),
        ("/", (f"X-Api-Key: {SECRET}",), SECRET),
        ("/", (f"X-Auth-Token: {SECRET}",), SECRET),
    ],
)
def test_no_secret_of_a_request_is_left(path: str, headers: tuple[str, ...], said: str) -> None:
    shown = masked(f"before {said} after", secrets_of(request(path, *headers)))
    assert "3cr3t" not in shown
    assert "********" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


def test_user_and_password_are_known_decoded_too() -> None:
    credentials = base64.b64encode(f"me:{SECRET}".encode()).decode()
    secrets = secrets_of(request("/", f"Authorization: Basic {credentials}"))
    for said in (credentials, f"me:{SECRET}", SECRET):
        assert masked(f"no {said}", secrets) == "no ********"


def test_credentials_that_are_none_are_no_error() -> None:
    assert "****!" in secrets_of(request("/", "Authorization: Basic ****!"))
    assert "_____" in secrets_of(request("/", "Authorization: Basic _____"))


def test_what_is_no_secret_is_left_alone() -> None:
    secrets = secrets_of(request("/path?a=1", "User-Agent: me/1.0", "Cookie: a=b"))
    text = "the path is /path, 1 of me/1.0 at localhost:8080, b, key dGhlIHNhbXBsZSBub25jZQ=="
    assert masked(text, secrets) == text


def test_a_secret_within_another_does_not_uncover_it() -> None:
    secrets = secrets_of(request("/?a=abcd&b=abcdefgh"))
    assert masked("abcdefgh abcd", secrets) == "******** ********"
