"""lingering.py: what comes after the last words is thrown away, up to an amount."""

from __future__ import annotations

import pytest

from wsservice.protocol.lingering import OCTETS_AFTER_OPEN, OCTETS_AFTER_REFUSAL
from wsservice.protocol.reading import READ_OCTETS

from ...support import Client, Served, frame, opening_request

READ = bytes(READ_OCTETS)
REFUSED = {
    "431": b"GET / HTTP/1.1\r\nX: " + bytes(16 * 1024),
    "414": b"GET /" + b"a" * 16 * 1024,
    "a body": b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 536870912\r\n\r\n",
    "plain HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a health check": b"GET /health HTTP/1.0\r\n\r\n",
    "a foreign origin": opening_request("/", "Origin: http://evil.example"),
    "TLS": b"\x16\x03\x01",
    "no HTTP": b"\x80",
}


def thrown_away(client: Client) -> int:
    """Send until nothing is read any more: the octets that were."""
    octets = 0
    while not client.transport.is_paused():
        client.send(READ)
        octets += len(READ)
        assert octets < 2 * OCTETS_AFTER_OPEN
    return octets


def is_aborted_after(served: Served, client: Client, seconds: float) -> bool:
    served.clock.advance(seconds)
    return client.aborted


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("close_timeout", [5, 0])
def test_of_one_that_was_refused_little_is_read(request_: bytes, close_timeout: float) -> None:
    served = Served(health_path="/health", close_timeout=close_timeout)
    client = served.connect()
    client.send(request_)
    assert client.dropped
    assert READ_OCTETS < thrown_away(client) <= OCTETS_AFTER_REFUSAL
    # It may read the answer for a moment still.
    assert not is_aborted_after(served, client, 0.5)
    assert is_aborted_after(served, client, 0.6)
    client.lose()
    assert served.clock.getDelayedCalls() == []


def test_one_that_sends_no_more_has_its_close_timeout() -> None:
    served = Served(close_timeout=5)
    client = served.connect()
    client.send(REFUSED["431"])
    assert not is_aborted_after(served, client, 4.9)
    assert is_aborted_after(served, client, 0.2)


def test_what_was_open_is_read_for_longer() -> None:
    served = Served(max_message_size=100)
    client = served.connect().open()
    client.send(frame(2, bytes(101)))
    assert client.dropped
    assert OCTETS_AFTER_REFUSAL < thrown_away(client) <= OCTETS_AFTER_OPEN
    assert is_aborted_after(served, client, 1.1)


def test_what_still_comes_is_read_no_further_however_it_comes() -> None:
    # TLS hands over what it has decrypted, also while it is paused.
    served = Served()
    client = served.connect()
    client.send(REFUSED["414"])
    for _ in range(100):
        client.send(READ)
    assert is_aborted_after(served, client, 1.1)
