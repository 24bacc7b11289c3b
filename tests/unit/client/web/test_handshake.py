from __future__ import annotations

from typing import Any

from wsservice.client.options import ClientConfig
from wsservice.client.web.answer import parse_head
from wsservice.client.web.cookiefile import CookieFile
from wsservice.client.web.cookies import keep_cookies
from wsservice.client.web.handshake import opening_request


def request(url: str = "ws://a.example/p", extensions: tuple[str, ...] = (), **given: Any) -> Any:
    octets = opening_request(ClientConfig(url=url, **given), "key", extensions)
    assert octets.endswith(b"\r\n\r\n")
    return octets.decode().split("\r\n")[:-2]


def test_the_least_that_is_said() -> None:
    assert request(user_agent=None) == [
        "GET /p HTTP/1.1",
        "Host: a.example",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: key",
        "Sec-WebSocket-Version: 13",
    ]


def test_the_most() -> None:
    jar = CookieFile()
    answer = parse_head(b"HTTP/1.1 101 OK\r\nSet-Cookie: c=d")
    config = ClientConfig(url="wss://a.example:9/")
    keep_cookies(config.target, answer, jar)
    assert request(
        "wss://a.example:9/?q",
        ("permessage-deflate", "x"),
        origin="https://o.example",
        subprotocols=["s", "t"],
        headers=[("X-A", "1"), ("X-A", "2")],
        auth=("u", "p"),
        cookies="a=b",
        cookie_jar=jar,
        user_agent="me",
    ) == [
        "GET /?q HTTP/1.1",
        "Host: a.example:9",
        "User-Agent: me",
        "Origin: https://o.example",
        "Authorization: Basic dTpw",
        "Cookie: a=b; c=d",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: key",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: s, t",
        "Sec-WebSocket-Extensions: permessage-deflate, x",
        "X-A: 1",
        "X-A: 2",
    ]


def test_a_token() -> None:
    assert "Authorization: Bearer abc" in request(bearer="abc")


def test_a_name_and_a_password_of_the_url() -> None:
    assert "Authorization: Basic dTpw" in request("ws://u:p@a.example/")
    assert "Authorization: Bearer abc" in request("ws://u:p@a.example/", bearer="abc")
    assert "Authorization: Basic djpx" in request("ws://u:p@a.example/", auth=("v", "q"))


def test_a_header_that_is_given_stands_in_place_of_ours() -> None:
    headers = {
        "host": "b.example",
        "user-agent": "me",
        "ORIGIN": "x",
        "authorization": "Digest",
        "cookie": "q=r",
    }
    lines = request(headers=headers, origin="o", auth=("u", "p"), cookies="a=b")
    for name, value in headers.items():
        having = [each for each in lines if each.lower().startswith(f"{name.lower()}:")]
        assert having == [f"{name}: {value}"]
