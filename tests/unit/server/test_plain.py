"""plain.py: a browser gets the page, and who else asks in plain HTTP is told what is spoken."""

from __future__ import annotations

import json

import pytest

from wsservice.http.refusal import Refusal
from wsservice.http.request import PlainRequest
from wsservice.server import page
from wsservice.server.plain import PlainAnswer, health_answer, plain_answer

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


def ask(accept: str, target: str = "/", method: str = "GET") -> PlainAnswer | Refusal:
    request = PlainRequest(method, target, {"host": "a", "accept": accept})
    return plain_answer(request, page.load(page.PUBLIC))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", ["/", "/chat", "/?a=b"])
def test_it_is_told_to_upgrade(method: str, target: str) -> None:
    request = PlainRequest(method, target, {"host": "evil.example", "accept": "text/html"})
    answer = plain_answer(request)
    assert isinstance(answer, Refusal)
    assert answer.status == 426
    headers = dict(answer.headers)
    assert headers["Upgrade"] == "websocket"
    assert headers["Sec-WebSocket-Version"] == "13"
    assert b"ws://" in answer.body
    assert len(answer.body) < 100
    assert b"--health-path" not in answer.body
    assert "--health-path" in answer.reason


def test_a_handshake_that_lost_its_upgrade_is_told_how_gateways_pass_it_on() -> None:
    answer = plain_answer(PlainRequest("GET", "/", {"host": "a", "sec-websocket-key": "x"}))
    assert isinstance(answer, Refusal)
    assert answer.status == 426
    assert b"proxy_set_header Upgrade $http_upgrade" in answer.body


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_a_health_check_learns_whether_it_is_ready_and_not_why(is_ready: bool, status: int) -> None:
    answer = health_answer(is_ready)
    assert answer.status == status
    assert json.loads(answer.body) == {"ready": is_ready}
    assert ("Cache-Control", "no-store") in answer.headers


@pytest.mark.parametrize(
    "accept", [CHROMIUM, "text/html", "TEXT/HTML;q=0.01", "a/b , text/html;level=1; q=1"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_names_html_gets_the_page(accept: str, method: str) -> None:
    answer = ask(accept, method=method)
    assert isinstance(answer, PlainAnswer)
    assert answer.status == 200
    assert answer.body is page.load(page.PUBLIC).body
    assert set(page.load(page.PUBLIC).headers) < set(answer.headers)
    assert ("Vary", "Accept") in answer.headers


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/*", "text/htmlx", "application/json", "text/html;q=0", "text/html; Q=0.000"],
)
def test_who_does_not_gets_none(accept: str) -> None:
    assert ask(accept).status == 426


@pytest.mark.parametrize("target", ["//", "/index.html", "/?", "/chat", "/%2f"])
def test_it_is_at_one_place_only(target: str) -> None:
    assert ask(CHROMIUM, target).status == 426
