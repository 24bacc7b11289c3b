"""A client that connects too often gets 429; others, and patient clients, connect."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tests.support import PEER, Logged, Served
from wsservice.config.config import Config
from wsservice.config.rates import Rate
from wsservice.server.admission import ConnectionLimits, Verdict
from wsservice.server.rates.connects import ConnectRate, too_soon
from wsservice.server.rates.limited import Limited
from wsservice.server.rates.table import MOST_KEPT

OTHER = IPv4Address("TCP", "192.0.2.2", 5000)


def statuses(served: Served, count: int, peer: object = PEER) -> list[int]:
    found = []
    for _ in range(count):
        client = served.connect(peer)
        found.append(int(client.ask().split(b" ")[1]))
    return found


def test_an_address_beyond_its_rate_is_refused_and_another_one_is_not() -> None:
    served = Served(limit_connects="2/m:3")
    assert statuses(served, 5) == [101, 101, 101, 429, 429]
    assert statuses(served, 1, OTHER) == [101]
    served.clock.advance(30)
    assert statuses(served, 2) == [101, 429]
    assert served.factory.counts.refusals["too many connects"] == 3
    assert served.factory.rates.counts["connects by address"] == 3


def test_the_answer_says_when_to_come_again_and_the_log_why(logged: Logged) -> None:
    served = Served(limit_connects="2/m:1")
    statuses(served, 1)
    answer = served.connect().ask()
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: 30\r\n" in answer
    assert answer.endswith(
        b"\r\n\r\nthere are too many new connections of this address; try again in 30 s\n"
    )
    assert "--limit-connects says how many there may be" in logged.text
    assert "[192.0.2.1] is over --limit-connects address=2/m:1: 429" in logged.text


def test_refused_attempts_do_not_count() -> None:
    served = Served(limit_connects="1:1")
    assert statuses(served, 1) == [101]
    for _ in range(9):
        served.clock.advance(0.1)
        statuses(served, 1)
    served.clock.advance(0.2)
    assert statuses(served, 2) == [101, 429]


def test_plain_http_counts_too() -> None:
    served = Served(limit_connects="1:1")
    plain = served.connect()
    plain.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert plain.taken().startswith(b"HTTP/1.1 426 ")
    assert statuses(served, 1) == [429]


def test_an_ipv6_network_is_one_address_and_a_unix_socket_is_none() -> None:
    served = Served(limit_connects="1:1")
    assert statuses(served, 1, IPv6Address("TCP", "2001:db8::1", 5)) == [101]
    assert statuses(served, 1, IPv6Address("TCP", "2001:db8::2", 5)) == [429]
    assert statuses(served, 1, IPv6Address("TCP", "2001:db8:0:1::1", 5)) == [101]
    assert statuses(served, 5, UNIXAddress("x")) == [101] * 5


def test_a_dry_run_admits_all_and_counts() -> None:
    served = Served(limit_connects="1:1", limits_dry_run=True)
    assert statuses(served, 3) == [101] * 3
    assert served.factory.rates.counts["connects by address"] == 2


def test_a_reload_sets_and_lifts_the_limit() -> None:
    served = Served()
    assert statuses(served, 3) == [101] * 3
    served.factory.prepare(Config(limit_connects=("1:2",)))()
    assert statuses(served, 3) == [101, 101, 429]
    served.factory.prepare(Config(limit_connects=("1:3",)))()
    assert statuses(served, 3)[-1] == 429
    served.factory.prepare(Config())()
    assert statuses(served, 3) == [101] * 3


def test_beside_a_limit_on_open_connections_both_hold() -> None:
    served = Served(limit_connects="1:3", max_connections_per_ip=2)
    assert statuses(served, 5) == [101, 101, 503, 429, 429]


def test_too_many_that_wait_for_their_429_are_dropped() -> None:
    limits = ConnectionLimits(0, most_refused=1, seconds=lambda: 0.0, notes=Limited(lambda: 0.0))
    limits.pace(Rate(1, 1.0, 1))
    one, two, three = (limits.arrive("192.0.2.1") for _ in range(3))
    assert [each.verdict for each in (one, two, three)] == [
        Verdict.ADMITTED,
        Verdict.TOO_SOON,
        Verdict.DROPPED,
    ]
    assert limits.refusal(one) is None
    assert limits.refusal(two) == too_soon("address", Rate(1, 1.0, 1))
    for each in (one, two, three):
        limits.leave(each)
        limits.leave(each)
    assert limits.arrive("192.0.2.1").verdict is Verdict.TOO_SOON


def test_users_are_limited_by_their_id() -> None:
    now = [0.0]
    limited = Limited(lambda: now[0])
    users = ConnectRate("user", lambda: now[0], limited)
    assert users.admits("tom")
    assert len(users) == 0
    users.change(Rate(6, 60.0, 1), dry_run=False)
    assert users.admits("tom")
    assert not users.admits("tom")
    assert users.admits("ann")
    assert dict(users.refusal.headers) == {"Retry-After": "10"}
    assert users.refusal.status == 429
    now[0] = 10
    assert users.admits("tom")


@pytest.mark.slow
def test_a_hundred_thousand_addresses_leave_little_and_few_lines(logged: Logged) -> None:
    served = Served(limit_connects="1/m:1")
    limits = served.factory.limits
    for number in range(100_000):
        address = f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
        for _ in range(2 if number % 10 == 0 else 1):
            limits.leave(limits.arrive(address))
    assert limits.rate is not None
    assert len(limits.rate) == MOST_KEPT
    assert served.factory.rates.counts["connects by address"] == 10_000
    assert 1 <= logged.text.count("is over --limit-connects") <= 21


def test_what_is_left_out_of_the_log_is_counted(logged: Logged) -> None:
    now = [0.0]
    limited = Limited(lambda: now[0])
    users = ConnectRate("user", lambda: now[0], limited)
    users.change(Rate(1, 3600.0, 1), dry_run=False)
    for number in range(30):
        users.admits(str(number))
        users.admits(str(number))
    now[0] = 5.0
    users.admits("a\nb")
    users.admits("a\nb")
    assert logged.text.count("\n") == 20
    assert "; 10 other lines were left out" in logged.text.split("\n")[-1]
    assert "[a\\nb] is over" in logged.text


@pytest.mark.parametrize(
    ("most", "path", "status"),
    [
        (0, "/?channel=a&channel=b", 101),
        (3, "/x?channel=a&channel=b", 101),
        (2, "/x?channel=a&channel=b", 400),
        (2, "/x?channel=a", 101),
        (1, "/x?channel=a", 400),
        (1, "/x", 101),
        (17, "/x?" + "&".join(f"channel={number}" for number in range(16)), 101),
        (17, "/x?" + "&".join(f"channel={number}" for number in range(17)), 400),
    ],
)
def test_the_channels_of_a_connection(most: int, path: str, status: int) -> None:
    answer = Served(max_subscriptions=most).connect().ask(path)
    assert int(answer.split(b" ")[1]) == status
