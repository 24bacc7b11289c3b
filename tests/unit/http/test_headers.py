"""headers.py: many lines are one mapping, and what a handshake needs of it."""

from __future__ import annotations

import pytest

from wsservice.http.headers import (
    check_no_body,
    check_upgrade,
    headers_of,
    joined,
    names_websocket,
    subprotocols_of,
)
from wsservice.http.refusal import RefusedError

NEEDED = {
    "connection": "keep-alive, Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_names_are_in_lower_case_and_values_without_space_around_them() -> None:
    assert headers_of(b"Host: a\r\nX-Name:\t b c \r\nempty:\r\n") == {
        "host": "a",
        "x-name": "b c",
        "empty": "",
    }


def test_a_usual_name_is_one_string_for_all_requests() -> None:
    one, other = headers_of(b"User-Agent: a\r\n"), headers_of(b"User-Agent: b\r\n")
    assert next(iter(one)) is next(iter(other))


def test_lines_of_one_name_are_one_list() -> None:
    assert joined({"cookie": ["a", "", "b"], "x": [""]}) == {"cookie": "a, b", "x": ""}


@pytest.mark.parametrize("name", ["host", "origin", "sec-websocket-key", "content-length"])
def test_a_second_line_that_would_contradict_the_first_is_refused(name: str) -> None:
    with pytest.raises(RefusedError) as caught:
        joined({name: ["a", "a"]})
    assert caught.value.refusal.status == 400


@pytest.mark.parametrize(
    "headers", [{"content-length": "1"}, {"content-length": "00"}, {"transfer-encoding": ""}]
)
def test_a_body_is_refused(headers: dict[str, str]) -> None:
    check_no_body({"content-length": "0"})
    with pytest.raises(RefusedError):
        check_no_body(headers)


def test_websocket_may_be_one_of_a_list_in_any_case() -> None:
    assert names_websocket({"upgrade": "h2c, ,WebSocket"})
    assert not names_websocket({"upgrade": "websocket2"})
    assert not names_websocket({})


@pytest.mark.parametrize(
    ("name", "status"),
    [("connection", 400), ("sec-websocket-version", 426), ("sec-websocket-key", 400)],
)
def test_each_header_of_a_handshake_is_needed(name: str, status: int) -> None:
    check_upgrade(NEEDED)
    missing = {key: value for key, value in NEEDED.items() if key != name}
    with pytest.raises(RefusedError) as caught:
        check_upgrade(missing)
    assert caught.value.refusal.status == status


def test_subprotocols_keep_their_order() -> None:
    assert subprotocols_of({}) == ()
    assert subprotocols_of({"sec-websocket-protocol": " ,"}) == ()
    assert subprotocols_of({"sec-websocket-protocol": "b, a"}) == ("b", "a")


@pytest.mark.parametrize("value", ["a, a", "a b", "a;b"])
def test_a_malformed_list_of_subprotocols_is_refused(value: str) -> None:
    with pytest.raises(RefusedError):
        subprotocols_of({"sec-websocket-protocol": value})
