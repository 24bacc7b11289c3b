"""unfinished.py: messages that have begun are bounded in time, and all of them in memory."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from wsservice.protocol.compression import deflate
from wsservice.server.behaviours import EchoServerProtocol, ServerProtocol

from ...support import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    ByAutobahn,
    Client,
    Connecting,
    Logged,
    Recorder,
    Served,
    close_payload,
    frame,
    opening_request,
)

MIB = 1024 * 1024
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"

BEGINNINGS = {
    "one octet of a header": frame(TEXT, b"hello")[:1],
    "a short frame": frame(TEXT, b"hello")[:-1],
    "a long frame": frame(BINARY, bytes(100_000))[:-1],
    "a fragment": frame(TEXT, b"hel", fin=False),
    "a fragment in part": frame(TEXT, b"hello", fin=False)[:-1],
    "a second fragment in part": frame(TEXT, b"h", fin=False) + frame(0, b"ello")[:-1],
    "a ping in part": frame(PING, b"hello")[:-1],
}


def code_of(octets: bytes) -> int:
    """The code of the close frame at the end of what a server sent."""
    place = octets.rindex(b"\x88")
    return int.from_bytes(octets[place + 2 : place + 4], "big")


def sent(client: Client) -> bytes:
    """Return the octets that a server sent since the last call."""
    return client.taken()


class Minute:
    """A server on which messages may take a minute, and time that goes by in steps."""

    def __init__(self, protocol: type[ServerProtocol] = Recorder, **settings: Any) -> None:
        settings = {"ping_interval": 0, "memory_for_messages": 0, **settings}
        self.served = Served(protocol, **settings)
        self.client = self.served.connect().open()

    def pass_time(self, seconds: float) -> None:
        self.served.clock.pump([0.5] * int(seconds * 2))

    @property
    def watched(self) -> int:
        return len(self.served.factory.unfinished._watched)


@pytest.mark.parametrize("protocol", [Recorder, ByAutobahn])
@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_message_that_does_not_end_is_closed_with_1008(
    protocol: type[ServerProtocol], beginning: bytes, logged: Logged
) -> None:
    minute = Minute(protocol)
    minute.client.send(beginning)
    minute.pass_time(59)
    assert sent(minute.client) == b""
    minute.pass_time(4)
    assert code_of(sent(minute.client)) == 1008
    assert minute.served.factory.message_timeouts == 1
    assert "closed with 1008: a message was not whole within 60 s" in logged.text
    assert minute.watched == 0


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_octets_that_drip_do_not_prolong_it(beginning: bytes) -> None:
    minute = Minute()
    long_one = frame(BINARY, bytes(100_000))
    minute.client.send(long_one[:30_000])
    for octet in long_one[30_000:30_062]:
        minute.client.send(bytes([octet]))
        minute.pass_time(1)
    assert code_of(sent(minute.client)) == 1008


def test_fragments_and_pings_do_not_prolong_it() -> None:
    minute = Minute()
    minute.client.send(frame(TEXT, b"a", fin=False))
    for _ in range(62):
        minute.client.send(frame(PING) + frame(0, b"b", fin=False))
        minute.pass_time(1)
    assert code_of(sent(minute.client)) == 1008


@pytest.mark.parametrize("protocol", [Recorder, ByAutobahn])
@pytest.mark.parametrize("size", [5, 20_000, 100_000])
def test_messages_that_follow_each_other_may_go_on_for_ever(
    protocol: type[ServerProtocol], size: int
) -> None:
    minute = Minute(protocol)
    one = frame(BINARY, bytes(size))
    stream = one[:-2] + one[-2:]
    minute.client.send(stream[:-2])
    for _ in range(200):
        minute.pass_time(1)
        minute.client.send(one[-2:] + one[:-2])
    assert sent(minute.client) == b""
    assert len(minute.client.protocol.seen) == 200


def test_pings_that_follow_each_other_in_part_may_too() -> None:
    minute = Minute()
    one = frame(PING, b"hello")
    minute.client.send(one[:-2])
    for _ in range(150):
        minute.pass_time(1)
        minute.client.send(one[-2:] + one[:-2])
    assert all(octets[:1] == b"\x8a" for octets in [sent(minute.client)])
    assert not minute.client.dropped


def test_the_time_in_which_it_is_not_read_does_not_count() -> None:
    minute = Minute()
    minute.client.send(BEGINNINGS["a long frame"])
    minute.pass_time(30)
    minute.client.protocol.pause_reading()
    minute.pass_time(100)
    minute.client.protocol.resume_reading()
    minute.pass_time(27)
    assert sent(minute.client) == b""
    minute.pass_time(7)
    assert code_of(sent(minute.client)) == 1008


def test_0_is_no_limit() -> None:
    minute = Minute(message_timeout=0)
    minute.client.send(BEGINNINGS["a long frame"])
    minute.pass_time(300)
    assert sent(minute.client) == b""


def test_a_message_that_ends_is_watched_no_more() -> None:
    minute = Minute()
    one = frame(BINARY, bytes(100_000))
    minute.client.send(one[:-1])
    assert minute.watched == 1
    minute.client.send(one[-1:])
    minute.pass_time(3)
    assert minute.watched == 0
    assert minute.served.factory.budget.octets == 0


def test_one_that_ends_with_its_connection_is_freed_at_once() -> None:
    minute = Minute()
    minute.client.send(BEGINNINGS["a fragment"] + BEGINNINGS["a second fragment in part"])
    minute.client.send(BEGINNINGS["a short frame"])
    gone = weakref.ref(minute.client.protocol)
    minute.client.lose()
    gc.disable()
    try:
        del minute.client
        assert minute.watched == 0
        assert gone() is None
    finally:
        gc.enable()


def test_a_client_closes_a_server_that_does_not_end_its_message() -> None:
    connecting = Connecting(message_timeout=1)
    connecting.server.accept()
    connecting.server.taken()
    connecting.server.send(frame(BINARY, bytes(100_000), masked=False)[:-1])
    connecting.clock.pump([0.1] * 12)
    assert connecting.server.taken()[:1] == b"\x88"
    assert connecting.factory.message_timeouts == 1


class Crowd:
    """A server on which messages may take so much memory."""

    def __init__(
        self,
        protocol: type[ServerProtocol] = Recorder,
        memory: int = 10 * MIB,
        **settings: Any,
    ) -> None:
        self.served = Served(protocol, memory_for_messages=memory, **settings)
        self.budget = self.served.factory.budget

    @property
    def held(self) -> int:
        self.budget.account_anew()
        return self.budget.octets

    def connect(self, *headers: str) -> Client:
        client = self.served.connect()
        client.send(opening_request("/x", *headers))
        client.taken()
        return client


def test_of_messages_one_octet_short_the_oldest_go(logged: Logged) -> None:
    crowd = Crowd()
    clients = [crowd.connect() for _ in range(30)]
    one = frame(BINARY, bytes(MIB))
    for client in clients:
        for start in range(0, len(one) - 1, 65536):
            client.send(one[start : min(start + 65536, len(one) - 1)])
        crowd.served.clock.advance(0.1)
        assert crowd.held <= 10 * MIB
    closed = [bool(client.taken()) for client in clients]
    assert closed == [True] * 20 + [False] * 10
    assert crowd.budget.given_up["message"] == 20
    assert "closed with 1008: too much memory is taken by unfinished messages" in logged.text
    clients[-1].send(one[-1:])
    assert clients[-1].protocol.seen == [(bytes(MIB), True)]
    for client in clients:
        client.lose()
    assert crowd.held == 0


@pytest.mark.parametrize("protocol", [Recorder, ByAutobahn])
@pytest.mark.parametrize("kind", ["fragments", "compressed", "compressed fragments", "tails"])
def test_it_counts_whatever_keeps_the_octets(protocol: type[ServerProtocol], kind: str) -> None:
    crowd = Crowd(protocol, compression=True)
    client = crowd.connect(OFFER)
    payload = bytes(range(256)) * 2000
    if kind == "fragments":
        client.send(frame(BINARY, payload, fin=False))
    elif kind == "compressed":
        compressed = bytearray(frame(BINARY, deflate(payload * 10, 12)))
        compressed[0] |= 0x40
        client.send(bytes(compressed[:-1]))
        payload = bytes(len(compressed))
    elif kind == "compressed fragments":
        compressed = bytearray(frame(BINARY, deflate(payload, 12), fin=False))
        compressed[0] |= 0x40
        client.send(bytes(compressed))
    else:
        payload = bytes(15_000)
        client.send(frame(BINARY, payload)[:-1])
    held = crowd.held
    unfinished = client.protocol._reader.unfinished
    assert held == pytest.approx(unfinished.holds() if unfinished else 0, abs=4096)
    if kind != "compressed":
        assert held == pytest.approx(len(payload), rel=0.1)
    client.lose()
    assert crowd.held == 0


def test_a_closed_message_takes_no_memory_while_its_peer_ends() -> None:
    crowd = Crowd(memory=100_000)
    client = crowd.connect()
    client.send(frame(BINARY, bytes(90_000), fin=False))
    client.send(frame(0, bytes(20_000), fin=False))
    assert code_of(client.taken()) == 1008
    assert crowd.held == 0
    assert client.protocol.message_data is None
    client.send(frame(0, bytes(20_000)) + frame(CLOSE, close_payload(1008)))
    assert crowd.held == 0


def stalled(crowd: Crowd) -> Client:
    """One whose transport takes no more."""
    client = crowd.connect()
    client.protocol.sendMessage(b"in the transport")
    client.protocol.pauseProducing()
    return client


@pytest.mark.parametrize("policy", ["close", "drop"])
def test_send_queues_count_as_well(policy: str, logged: Logged) -> None:
    crowd = Crowd(memory=MIB, slow_client=policy, send_buffer=0)
    clients = [stalled(crowd) for _ in range(3)]
    outcomes = [clients[0].protocol.sendMessage(bytes(100_000)) for _ in range(5)]
    crowd.served.clock.advance(10)
    for client in clients[1:]:
        outcomes += [client.protocol.sendMessage(bytes(100_000)) for _ in range(5)]
        assert crowd.held <= MIB
    assert all(outcomes)
    assert crowd.budget.given_up == {"message": 0, "send queue": 1}
    first, *others = (client.protocol for client in clients)
    if policy == "close":
        assert code_of(clients[0].taken()) == 1013
        assert "1013: too much memory is taken by messages that wait" in logged.text
        assert first.state == first.STATE_CLOSED
        crowd.served.clock.advance(1)
        assert clients[0].aborted
    else:
        assert first.state == first.STATE_OPEN
        assert first.traffic().queued < 1000
    assert all(each.state == each.STATE_OPEN for each in others)
    assert crowd.served.factory.slow_messages == 5


def test_one_that_is_closed_for_what_it_is_sent_learns_that_it_is_slow() -> None:
    crowd = Crowd(memory=MIB, send_buffer=0)
    client = stalled(crowd)
    outcomes = [bool(client.protocol.sendMessage(bytes(100_000))) for _ in range(12)]
    assert outcomes == [True] * 10 + [False] * 2


def test_a_message_to_all_closes_nobody() -> None:
    crowd = Crowd(memory=MIB)
    clients = [stalled(crowd) for _ in range(20)]
    for _ in range(5):
        crowd.served.hub.publish("x", bytes(100_000))
    assert 500_000 < crowd.held < 600_000
    for client in clients:
        assert client.protocol.traffic().queued > 500_000
        client.protocol.resumeProducing()
    assert crowd.held == 0
    assert crowd.budget.given_up["send queue"] == 0


def test_what_waits_when_a_connection_is_lost_counts_no_more() -> None:
    crowd = Crowd()
    client = stalled(crowd)
    client.protocol.sendMessage(bytes(1000))
    client.protocol.sendPing()
    client.protocol.sendPong()
    client.protocol.sendPong()
    assert crowd.held > 1000
    client.lose()
    assert crowd.held == 0


def test_what_waits_in_the_transport_makes_room_in_the_next_turn() -> None:
    crowd = Crowd(EchoServerProtocol, memory=MIB, max_message_size=0)
    client = crowd.connect()
    client.protocol.sendMessage(bytes(2 * MIB))
    client.protocol.pauseProducing()
    assert client.protocol.state == client.protocol.STATE_OPEN
    crowd.served.clock.advance(0)
    assert client.protocol.state == client.protocol.STATE_CLOSED
    assert crowd.held == 0


def test_another_limit_holds_at_once() -> None:
    crowd = Crowd(memory=MIB)
    crowd.served.factory.prepare(Served(memory_for_messages=1000).config)()
    client = crowd.connect()
    client.send(frame(BINARY, bytes(5000))[:-1])
    assert code_of(client.taken()) == 1008


def test_a_connection_that_is_over_is_watched_no_more() -> None:
    minute = Minute()
    minute.client.send(BEGINNINGS["a fragment"])
    minute.client.protocol.sendMessage(b"in the transport")
    minute.client.protocol.close()
    minute.client.send(frame(CLOSE, close_payload(1000)))
    minute.client.protocol.pauseProducing()
    assert minute.watched == 0
    minute.pass_time(70)
    assert minute.served.factory.message_timeouts == 0
