from __future__ import annotations

from http import HTTPStatus

import pytest

from wsservice.http.head import head_of, last_head


def test_a_head_has_a_status_line_and_headers_in_their_order() -> None:
    assert head_of(503, [("Retry-After", "1"), ("A", "b")]) == (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nA: b\r\n\r\n"
    )


@pytest.mark.parametrize("status", [404, HTTPStatus.NOT_FOUND])
def test_a_status_is_a_number_or_a_name(status: int) -> None:
    assert head_of(status, ()) == b"HTTP/1.1 404 Not Found\r\n\r\n"


def test_an_unknown_status_has_no_phrase() -> None:
    assert head_of(499, ()) == b"HTTP/1.1 499 \r\n\r\n"


def test_the_last_head_says_that_the_connection_ends_and_how_long_its_body_is() -> None:
    assert last_head(400, [("A", "b")], b"no\n") == (
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 3\r\nA: b\r\n\r\n"
    )
