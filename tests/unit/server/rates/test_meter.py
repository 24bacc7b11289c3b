"""Messages that come too fast wait, in order and none lost, or close the connection."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tests.examples import examples
from tests.support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    ByAutobahn,
    Client,
    Logged,
    Recorder,
    Served,
    frame,
)
from wsservice.auth.contract import User
from wsservice.config.config import Config

OTHER = IPv4Address("TCP", "192.0.2.2", 5000)
THIRD = IPv4Address("TCP", "192.0.2.3", 5000)


class Named(Recorder):
    """Takes the user's name from the path, as identity would."""

    def onConnect(self, request: Any) -> None:
        if self.channel:
            self.user = User(self.channel)


def serve(protocol: Any = Recorder, **settings: Any) -> Served:
    return Served(protocol, ping_interval=0, **settings)


def texts(client: Client) -> list[str]:
    return [each[0].decode() for each in client.protocol.seen if isinstance(each[0], bytes)]


def send(client: Client, *numbers: int) -> None:
    client.send(b"".join(frame(TEXT, str(number).encode()) for number in numbers))


def change(served: Served, **settings: Any) -> None:
    served.factory.prepare(Config(**{"ping_interval": 0, **settings}))()


def test_messages_of_one_read_beyond_the_burst_wait_and_come_in_order() -> None:
    served = serve(limit_messages="10:3")
    client = served.connect().open()
    send(client, *range(10))
    assert texts(client) == ["0", "1", "2"]
    assert client.transport.is_paused()
    assert served.factory.rates.waiting == 1
    for count in range(4, 11):
        served.clock.advance(0.1)
        assert texts(client) == [str(number) for number in range(count)]
    assert not client.transport.is_paused()
    assert served.factory.rates.waiting == 0
    assert served.factory.rates.counts["messages by connection"] >= 1


def test_without_a_limit_nothing_waits_and_no_meter_is_asked() -> None:
    served = serve()
    client = served.connect().open()
    send(client, *range(1000))
    assert len(texts(client)) == 1000
    assert client.protocol._common.meter is None


def test_a_high_rate_is_waited_for_in_larger_parts() -> None:
    served = serve(limit_messages="10000:100")
    client = served.connect().open()
    send(client, *range(1000))
    assert len(texts(client)) == 100
    served.clock.advance(0.005)
    assert len(texts(client)) == 100
    served.clock.advance(0.006)
    assert len(texts(client)) == 200


def test_one_in_a_minute() -> None:
    served = serve(limit_messages="1/m")
    client = served.connect().open()
    send(client, 0, 1, 2)
    assert texts(client) == ["0"]
    served.clock.advance(59.9)
    assert texts(client) == ["0"]
    served.clock.advance(0.2)
    assert texts(client) == ["0", "1"]


@pytest.mark.parametrize("protocol", [Recorder, ByAutobahn])
def test_pings_and_fragments_count_and_keep_their_place(protocol: Any) -> None:
    served = serve(protocol, limit_messages="10:4")
    client = served.connect().open()
    client.send(
        frame(TEXT, b"a", fin=False)  # 1
        + frame(0, b"b" * 1024, fin=False)  # long fragments are free
        + frame(PING, b"!")  # 2
        + frame(0, b"c", fin=False)  # 3
        + frame(0, b"d")  # 4
        + frame(TEXT, b"next")
    )
    assert client.protocol.seen == [("ping", b"!"), (b"a" + b"b" * 1024 + b"cd", False)]
    served.clock.advance(0.1)
    assert texts(client)[-1] == "next"


def test_a_flood_of_pings_is_answered_no_faster() -> None:
    served = serve(limit_messages="10:5")
    client = served.connect().open()
    client.send(frame(PING) * 1000)
    assert client.frames() == [(PONG, b"")] * 5
    served.clock.advance(1)
    assert client.frames() == [(PONG, b"")] * 10 or served.factory.rates.waiting


def test_a_close_behind_messages_comes_behind_them() -> None:
    served = serve(limit_messages="10:2")
    client = served.connect().open()
    send(client, 0, 1, 2)
    client.close()
    assert CLOSE not in dict(client.frames())
    for _ in range(3):
        served.clock.advance(0.1)
    assert texts(client) == ["0", "1", "2"]
    assert CLOSE in dict(client.frames())
    assert client.protocol.wasClean


def test_octets_count_as_they_are_sent() -> None:
    served = serve(limit_octets="100:256")
    client = served.connect().open()
    client.send(frame(BINARY, bytes(94)) * 5)  # 100 octets each
    assert len(client.protocol.seen) == 2
    served.clock.advance(0.5)
    assert len(client.protocol.seen) == 3
    served.clock.advance(0.9)
    assert len(client.protocol.seen) == 3
    served.clock.advance(0.2)
    assert len(client.protocol.seen) == 4


@pytest.mark.parametrize("size", [94, 1000, 70_000])
def test_a_message_beyond_the_burst_passes_and_is_paid_for_later(size: int) -> None:
    served = serve(limit_octets="1000:100")
    client = served.connect().open()
    whole = frame(BINARY, bytes(size)) * 2
    for start in range(0, len(whole), 16_384):
        client.send(whole[start : start + 16_384])
    steps = 0
    while len(client.protocol.seen) < 2:
        served.clock.advance(0.1)
        steps += 1
    assert client.protocol.seen == [(bytes(size), True)] * 2
    least = (len(whole) - 100 - max(100, min(size + 14, 262_144))) / 100
    assert least - 1 <= steps <= len(whole) / 100 + 1


def test_compressed_messages_count() -> None:
    served = serve(limit_messages="10:1", compression=True)
    client = served.connect()
    client.ask("/", "Sec-WebSocket-Extensions: permessage-deflate")
    client.send(frame(0x41, b"\x4a\x04\x00") * 3)  # "a"
    assert texts(client) == ["a"]
    served.clock.advance(0.1)
    assert len(texts(client)) == 2


def test_over_the_limit_a_connection_is_closed_if_wanted() -> None:
    served = serve(limit_messages="10:2", limit_action="close")
    client = served.connect().open()
    send(client, *range(5))
    assert texts(client) == ["0", "1"]
    assert client.frames() == [(CLOSE, b"\x03\xf0too many messages")]
    assert served.factory.rates.counts["messages by connection"] == 1
    other = served.connect().open()
    other.send(frame(TEXT, b"a"))
    assert texts(other) == ["a"]


def test_too_much_data_closes_too() -> None:
    served = serve(limit_octets="100:200", limit_action="close")
    client = served.connect().open()
    client.send(frame(BINARY, bytes(94)) * 3)
    assert client.frames() == [(CLOSE, b"\x03\xf0too much data")]


def test_a_dry_run_counts_and_logs_and_does_nothing(logged: Logged) -> None:
    served = serve(limit_messages="10:3", limit_octets="10", limits_dry_run=True)
    client = served.connect().open()
    for number in range(10):
        send(client, number)
    assert len(texts(client)) == 10
    assert served.factory.rates.counts["messages by connection"] == 7
    assert served.factory.rates.counts["octets by connection"] == 2
    lines = [line for line in logged.text.split("\n") if "is over --limit-messages" in line]
    assert len(lines) == 1
    assert "connection=10/s:3: nothing, in a dry run" in lines[0]
    served.clock.advance(0.3)
    before = dict(served.factory.rates.counts)
    send(client, 1, 2)
    assert before["messages by connection"] == 7
    assert served.factory.rates.counts["messages by connection"] == 7


def test_each_party_is_logged_once_in_a_minute(logged: Logged) -> None:
    served = serve(limit_messages=["connection=10", "address=100"])
    client = served.connect().open()
    for _ in range(30):
        send(client, *range(11))
        served.clock.advance(1)
    assert logged.text.count("is over --limit-messages connection=10/s:10") == 1
    served.clock.advance(31)
    send(client, *range(30))
    assert logged.text.count("is over --limit-messages connection=10/s:10") == 2


def test_connections_of_one_address_share_a_limit_and_others_are_not_concerned() -> None:
    served = serve(limit_messages="address=10:4")
    one, two, other = served.connect().open(), served.connect().open(), served.connect(OTHER).open()
    send(one, 0, 1, 2)
    send(two, 0, 1, 2)
    send(other, 0, 1, 2, 3)
    assert (len(texts(one)), len(texts(two)), len(texts(other))) == (3, 1, 4)
    served.clock.advance(0.1)
    assert (len(texts(one)), len(texts(two))) == (3, 2)
    # The bucket outlives its connections.
    two.lose()
    third = served.connect().open()
    send(third, 0)
    assert texts(third) == []
    served.clock.advance(0.1)
    assert texts(third) == ["0"]


def test_an_ipv6_network_counts_as_one_address_and_a_unix_socket_as_none() -> None:
    served = serve(limit_messages="address=10:1")
    one = served.connect(IPv6Address("TCP", "2001:db8::1", 5)).open()
    two = served.connect(IPv6Address("TCP", "2001:db8::2", 5)).open()
    other = served.connect(UNIXAddress("x")).open()
    send(one, 0)
    send(two, 0)
    send(other, *range(10))
    assert (len(texts(one)), len(texts(two)), len(texts(other))) == (1, 0, 10)


def test_connections_that_wait_for_one_bucket_take_turns() -> None:
    served = serve(limit_messages="address=100:1")
    clients = [served.connect().open() for _ in range(10)]
    for client in clients:
        send(client, *range(100))
    for _ in range(1000):
        served.clock.advance(0.01)
    counts = [len(texts(client)) for client in clients]
    assert sum(counts) == 1000
    assert max(counts) - min(counts) <= 1
    assert all(texts(client) == [str(number) for number in range(100)] for client in clients)


def test_a_client_that_says_one_word_waits_only_for_one_round() -> None:
    served = serve(limit_messages="address=100:1")
    floods = [served.connect().open() for _ in range(20)]
    for client in floods:
        send(client, *range(1000))
    quiet = served.connect().open()
    send(quiet, 0)
    for _ in range(25):
        served.clock.advance(0.01)
    assert texts(quiet) == ["0"]


def test_a_newcomer_does_not_overtake_those_that_wait() -> None:
    served = serve(limit_messages="address=100:10")
    first, newcomer = served.connect().open(), served.connect().open()
    send(first, *range(20))
    served.clock.advance(0.015)  # one token, but the wait is for two
    send(newcomer, 0)
    assert (len(texts(first)), len(texts(newcomer))) == (10, 0)
    served.clock.advance(0.006)
    # Each has its part of the two.
    assert (len(texts(first)), len(texts(newcomer))) == (11, 1)


def test_users_share_a_limit_over_their_addresses() -> None:
    served = serve(Named, limit_messages="user=10:2")
    one, two = served.connect().open("/tom"), served.connect(OTHER).open("/tom")
    other, nobody = served.connect(OTHER).open("/ann"), served.connect().open("/")
    for client in (one, two, other, nobody):
        send(client, 0, 1)
    assert [len(texts(each)) for each in (one, two, other, nobody)] == [2, 0, 2, 2]
    served.clock.advance(0.1)
    assert len(texts(two)) == 1


def test_a_user_that_is_known_later_is_limited_from_then_on() -> None:
    served = serve(limit_messages=["user=10:2", "connection=1000"])
    client = served.connect().open()
    send(client, *range(10))
    assert len(texts(client)) == 10
    client.protocol.user = User("tom")
    send(client, *range(10))
    assert len(texts(client)) == 12


def test_many_limits_together_keep_nobody_waiting_for_ever() -> None:
    """Several queues would keep each other's connections: see `account`."""
    served = serve(
        Named,
        limit_messages=["user=20:2", "address=30:3", "connection=15:1"],
        limit_octets=["user=200:50", "address=300:60", "connection=150:20"],
    )
    peers = [None, OTHER, THIRD]
    clients = [
        served.connect(*([peer] if peer else [])).open(f"/{name}")
        for peer in peers
        for name in ("tom", "ann", "joe", "tom")
    ]
    for client in clients:
        send(client, *range(30))
    for _ in range(3000):
        served.clock.advance(0.05)
    expected = [str(number) for number in range(30)]
    assert [texts(client) == expected for client in clients] == [True] * len(clients)
    assert served.factory.rates.waiting == 0


def test_a_connection_that_is_lost_leaves_the_queue() -> None:
    served = serve(limit_messages=["address=10:1", "connection=100"])
    one, two, three = (served.connect().open() for _ in range(3))
    for client in (one, two, three):
        send(client, *range(3))
    two.lose()
    assert served.factory.rates.waiting == 2
    one.lose()
    served.clock.advance(0.2)
    assert len(texts(three)) == 1 or served.factory.rates.waiting == 1
    three.lose()
    assert served.factory.rates.waiting == 0
    served.clock.advance(10)
    assert [call for call in served.clock.calls if call.active()] == []


def test_what_a_lost_connection_was_not_yet_allowed_is_thrown_away_and_said(
    logged: Logged,
) -> None:
    served = serve(limit_messages="10:2")
    client = served.connect().open()
    send(client, *range(5))
    client.lose()
    assert texts(client) == ["0", "1"]
    assert "21 octets came too late to be read" in logged.text


def test_a_reload_reaches_open_connections() -> None:
    served = serve()
    client = served.connect().open()
    send(client, *range(5))
    change(served, limit_messages="10:2")
    send(client, *range(5))
    assert len(texts(client)) == 7
    # Another rate keeps the time until the bucket is full, and wakes those that wait.
    change(served, limit_messages="1000:1000")
    assert len(texts(client)) == 10
    change(served, limit_messages="address=10:2")
    send(client, *range(5))
    assert len(texts(client)) == 12
    change(served)
    assert len(texts(client)) == 15
    assert not client.transport.is_paused()
    assert served.factory.rates.waiting == 0
    send(client, *range(5))
    assert len(texts(client)) == 20


def test_a_reload_keeps_what_an_address_has_used() -> None:
    served = serve(limit_messages="address=10:2")
    client = served.connect().open()
    send(client, 0, 1)
    change(served, limit_messages="address=10:2", limit_octets="address=1000")
    send(client, 2)
    assert len(texts(client)) == 2


def test_a_connection_that_waits_is_not_pinged_to_death() -> None:
    served = Served(Recorder, limit_messages="1/m", ping_interval=5, ping_timeout=5)
    client = served.connect().open()
    send(client, *range(4))
    for _ in range(100):
        served.clock.advance(1)
    assert len(texts(client)) == 2
    assert client.protocol.state == client.protocol.STATE_OPEN


def test_one_that_waits_while_its_message_is_unfinished_is_not_timed_out() -> None:
    served = serve(limit_octets="10:100", message_timeout=2)
    client = served.connect().open()
    client.send(frame(BINARY, bytes(94)) + frame(BINARY, bytes(1000))[:500])
    for _ in range(9):
        served.clock.advance(1)
    assert client.protocol.state == client.protocol.STATE_OPEN


def test_a_behaviour_that_pauses_and_a_limit_do_not_release_each_other() -> None:
    served = serve(limit_messages="10:1")
    client = served.connect().open()
    send(client, 0, 1, 2)
    client.protocol.pause_reading()
    served.clock.advance(1)
    assert len(texts(client)) == 1
    client.protocol.resume_reading()
    assert len(texts(client)) == 2
    assert client.transport.is_paused()


def test_limits_by_address_end_with_their_connections() -> None:
    served = serve(limit_messages="address=10:5")
    for _ in range(100):
        client = served.connect().open()
        send(client, 0)
        served.clock.advance(1)
        client.lose()
    (table,) = served.factory.rates._meter._tables.values()
    assert [each.users for each in table._buckets.values()] == [0]


@given(st.randoms(use_true_random=False))
@examples(60)
def test_any_traffic_in_any_pieces_comes_whole_and_in_order_and_no_faster(
    chance: random.Random,
) -> None:
    served = serve(limit_messages="50:5", limit_octets="2000:300")
    client = served.connect().open()
    sent, octets = [], b""
    for number in range(chance.randrange(40)):
        payload = str(number).encode() * chance.choice([1, 1, 1, 20, 400])
        sent.append(payload.decode())
        kind = chance.randrange(4)
        if kind == 0:
            octets += frame(PING, b"p")
        if kind == 1:
            octets += frame(TEXT, payload[:1], fin=False) + frame(0, payload[1:])
        else:
            octets += frame(TEXT, payload)
    seen: list[float] = []
    while octets or served.factory.rates.waiting:
        if not client.transport.is_paused() and octets:
            size = chance.choice([1, 7, 100, 5000])
            client.send(octets[:size])
            octets = octets[size:]
        seen += [served.clock.seconds()] * (len(texts(client)) - len(seen))
        if client.transport.is_paused():
            served.clock.advance(chance.choice([0.001, 0.05, 1]))
    assert texts(client) == sent
    for place, begin in enumerate(seen):
        for count, end in enumerate(seen[place:], 1):
            # One more may end with a long fragment, which is free.
            assert count <= 6 + 50 * (end - begin) + 1e-3
