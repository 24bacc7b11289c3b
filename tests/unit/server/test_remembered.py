"""remembered.py: of a request, what is read later, in little memory."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from wsservice.http.request import Request, RequestReader
from wsservice.server.behaviours import ServerProtocol
from wsservice.server.remembered import MOST, Remembered

from ...support import Logged, Served, opening_request

MANY = [f"X-Header-{number}: {'v' * 150}" for number in range(89)]
"""Headers that, with those of any handshake, are 94: nearly all that a request may have."""


def request(target: str = "/chat?token=abcdef", *headers: str) -> Request:
    outcome = RequestReader().feed(opening_request(target, *headers))
    assert isinstance(outcome, Request)
    return outcome


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Cookie: a=b; c=d:e", "Empty:", "x-NAME: caf\xe9\x85", "x-space:\t a  b \t"),
        ("Sec-WebSocket-Protocol: one,,two",),
        ("X: 1", "x: 2"),
    ],
)
def test_a_usual_request_is_remembered_whole(headers: tuple[str, ...]) -> None:
    asked = request("/chat?token=abcdef", "Origin: https://app.example", *headers)
    remembered = Remembered(Remembered(asked))
    for name in ("target", "path", "query", "origin", "subprotocols", "headers", "lost_secrets"):
        assert getattr(remembered, name) == getattr(asked, name), name


def test_what_was_not_sent_is_not_there() -> None:
    remembered = Remembered(request())
    assert remembered.origin is None
    assert remembered.subprotocols == ()


def test_many_headers_take_no_more_than_is_said() -> None:
    asked = request("/", "User-Agent: me", "Cookie: session=secret", *MANY)
    remembered = Remembered(asked)
    assert len(asked.headers) > 90
    assert sys.getsizeof(remembered._lines) < MOST + 100
    kept = remembered.headers
    assert kept["user-agent"] == "me"
    assert kept["cookie"] == "session=secret"
    assert kept["host"] == asked.headers["host"]
    assert kept.items() <= asked.headers.items()
    assert not remembered.lost_secrets


def test_of_what_is_asked_for_the_longest_goes_first() -> None:
    remembered = Remembered(request("/", "User-Agent: me", f"Cookie: {'c' * MOST}"))
    assert "cookie" not in remembered.headers
    assert remembered.headers["user-agent"] == "me"
    assert remembered.lost_secrets


class Speaks(ServerProtocol):
    def onConnect(self, request: Any) -> None:
        self.in_on_connect = dict(request.headers)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        raise ValueError(self.in_on_connect["cookie"])


def test_on_connect_gets_all_and_the_open_connection_keeps_little() -> None:
    client = Served(Speaks).connect()
    client.send(opening_request("/", "User-Agent: me", "Cookie: a=secret", *MANY))
    protocol = client.protocol
    assert len(protocol.in_on_connect) > 90
    assert protocol.user_agent == protocol.http_headers["user-agent"] == "me"
    assert protocol.http_request_data == ""
    del protocol.in_on_connect
    assert _size(protocol) < 12_000


def _size(connection: Any) -> int:
    """Octets of a connection's own strings and of what it remembers of its request."""
    attributes = list(vars(connection).values())
    attributes += [getattr(connection._request, name) for name in Remembered.__slots__]
    assert not any(isinstance(each, dict) and len(each) > 10 for each in attributes)
    return sum(sys.getsizeof(each) for each in attributes if isinstance(each, str | bytes | dict))


@pytest.mark.parametrize("size", [100, MOST])
def test_a_secret_stays_out_of_the_log_even_where_it_was_too_long_to_remember(
    size: int, logged: Logged
) -> None:
    client = Served(Speaks).connect()
    client.send(opening_request("/", "Cookie: session=" + "s" * size))
    client.text("go on")
    (failure,) = logged.failures
    assert "ValueError" in failure
    assert "sssss" not in logged.text + failure
    assert "********" in failure
