from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from wsservice.client.protocol import ClientProtocol
from wsservice.errors import ConnectionClosed

from ...support import PING, PONG, Connecting, frame


class Ponged(ClientProtocol):
    def onOpen(self) -> None:
        self.pongs: list[bytes] = []

    def onPong(self, payload: bytes) -> None:
        self.pongs.append(payload)


@pytest.fixture
def connecting() -> Connecting:
    connecting = Connecting(Ponged)
    connecting.server.accept().taken()
    return connecting


def outcome(deferred: Deferred[Any]) -> list[Any]:
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    return outcome


def pinged(connecting: Connecting) -> list[bytes]:
    """The payloads of the pings that the server got."""
    frames = connecting.server.frames()
    assert {opcode for opcode, _ in frames} == {PING}
    return [payload for _, payload in frames]


def pong(connecting: Connecting, payload: bytes) -> None:
    connecting.server.send(frame(PONG, payload, masked=False))


def test_it_fires_with_the_seconds_that_the_answer_took(connecting: Connecting) -> None:
    took = outcome(connecting.protocol.ping())
    (payload,) = pinged(connecting)
    connecting.clock.advance(0.25)
    pong(connecting, payload)
    assert took == [0.25]
    # The callback is called as without it.
    assert connecting.protocol.pongs == [payload]


def test_a_pong_that_nobody_asked_for_is_no_answer(connecting: Connecting) -> None:
    took = outcome(connecting.protocol.ping())
    pong(connecting, b"")
    pong(connecting, b"guessed!")
    assert took == []
    assert connecting.protocol.pongs == [b"", b"guessed!"]


def test_a_pong_answers_the_pings_before_too(connecting: Connecting) -> None:
    took = [outcome(connecting.protocol.ping()) for _ in range(3)]
    payloads = pinged(connecting)
    pong(connecting, payloads[1])
    assert took == [[0.0], [0.0], []]
    pong(connecting, payloads[0])
    pong(connecting, payloads[2])
    assert took == [[0.0], [0.0], [0.0]]


def test_one_that_is_cancelled_is_forgotten(connecting: Connecting) -> None:
    ping = connecting.protocol.ping()
    took = outcome(ping)
    ping.cancel()
    assert took[0].check(CancelledError)
    pong(connecting, pinged(connecting)[0])
    ping = connecting.protocol.ping()
    ping.addErrback(lambda _: ping.cancel())
    connecting.server.lose()


def test_none_comes_of_a_connection_that_is_lost(connecting: Connecting) -> None:
    took = outcome(connecting.protocol.ping())
    connecting.server.lose()
    for each in (took, outcome(connecting.protocol.ping())):
        assert each[0].check(ConnectionClosed)


def test_its_payload_may_be_given(connecting: Connecting) -> None:
    took = outcome(connecting.protocol.ping(b"hello"))
    assert pinged(connecting) == [b"hello"]
    pong(connecting, b"hello")
    assert took == [0.0]


def test_a_payload_that_is_under_way_is_refused(connecting: Connecting) -> None:
    connecting.protocol.ping(b"hello").addErrback(lambda _: None)
    with pytest.raises(ValueError, match="a ping with this payload still waits for its pong"):
        connecting.protocol.ping(b"hello")
    assert pinged(connecting) == [b"hello"]
    connecting.server.lose()


def test_one_that_cannot_be_sent_is_an_error_and_leaves_nothing(connecting: Connecting) -> None:
    for _ in range(2):  # the second time for the same reason
        with pytest.raises(ValueError, match="126 octets are not allowed"):
            connecting.protocol.ping(b"x" * 126)
        with pytest.raises(TypeError, match="a payload is bytes, not str"):
            connecting.protocol.ping("x")
    assert connecting.server.frames() == []
    assert not connecting.protocol._pings.waiting
