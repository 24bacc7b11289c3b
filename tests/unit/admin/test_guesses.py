from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from wsservice.admin.access import Access
from wsservice.admin.exchange import AdminRequest, Answer
from wsservice.admin.guesses import AT_ONCE, EVERY, MOST_ADDRESSES, Guesses, address_of
from wsservice.admin.tokens import AdminTokens

HERE = IPv4Address("TCP", "127.0.0.1", 8081)


class Attacked:
    """An admin face with one token, and the clock of its guesses."""

    def __init__(self) -> None:
        self.now = 100.0
        self.guesses = Guesses(lambda: self.now)
        self.access = Access(AdminTokens.bare(b"right"), self.guesses)

    def ask(self, token: str, peer: str = "192.0.2.1", **headers: str) -> int:
        """Return the status of the answer, 200 for a request that is let in."""
        given = {"host": ("localhost",), "authorization": (f"Bearer {token}",)}
        given |= {name.replace("_", "-"): (value,) for name, value in headers.items()}
        asked = AdminRequest("GET", "/metrics", given, at=HERE, peer=address(peer))
        judged = self.access.judge(asked)
        self.answer = judged if isinstance(judged, Answer) else None
        return 200 if self.answer is None else self.answer.status


def address(host: str) -> Any:
    if not host:
        return UNIXAddress("")
    kind = IPv6Address if ":" in host else IPv4Address
    return kind("TCP", host, 40000)


@pytest.fixture
def attacked() -> Attacked:
    return Attacked()


def test_guesses_of_one_address_are_bounded(attacked: Attacked) -> None:
    assert [attacked.ask(f"wrong-{n}") for n in range(AT_ONCE)] == [401] * AT_ONCE
    assert attacked.ask("another") == 429
    # The right one too: else an attacker would find it among all that are refused.
    assert attacked.ask("right") == 429
    assert attacked.answer is not None
    assert ("Retry-After", str(int(EVERY))) in attacked.answer.headers
    assert (attacked.guesses.wrong, attacked.guesses.held_off) == (AT_ONCE, 2)
    attacked.now += EVERY
    assert attacked.ask("another") == 401
    assert attacked.ask("right") == 429
    attacked.now += EVERY
    assert attacked.ask("right") == 200


def test_others_are_let_in_meanwhile(attacked: Attacked) -> None:
    for n in range(2 * AT_ONCE):
        attacked.ask(f"wrong-{n}")
    assert attacked.ask("right", "192.0.2.2") == 200
    assert attacked.ask("right", "::ffff:192.0.2.1") == 429


def test_a_token_out_of_date_locks_nobody_out(attacked: Attacked) -> None:
    assert {attacked.ask("old") for _ in range(10 * AT_ONCE)} == {401}
    assert attacked.guesses.wrong == 10 * AT_ONCE
    assert attacked.ask("right") == 200


def test_it_counts_at_once_when_it_becomes_right(attacked: Attacked) -> None:
    attacked.ask("new")
    for n in range(AT_ONCE - 1):
        attacked.ask(f"wrong-{n}" if n < 10 else "new")
    attacked.access = Access(AdminTokens.bare(b"new"), attacked.guesses)
    assert attacked.ask("new") == 200


def test_a_site_of_ipv6_is_one_address(attacked: Attacked) -> None:
    for n in range(2 * AT_ONCE):
        attacked.ask(f"wrong-{n}", f"2001:db8:0:1::{n + 1:x}")
    assert attacked.ask("right", "2001:db8:0:1:ffff::9") == 429
    assert attacked.ask("right", "2001:db8:0:2::1") == 200


@pytest.mark.parametrize("peer", ["", "127.0.0.1", "::1"])
def test_behind_a_gateway_each_client_counts_for_itself(attacked: Attacked, peer: str) -> None:
    for n in range(2 * AT_ONCE):
        attacked.ask(f"wrong-{n}", peer, x_forwarded_for=f"10.9.9.{n}, 203.0.113.5")
    assert attacked.ask("right", peer, x_forwarded_for="203.0.113.5") == 429
    assert attacked.ask("right", peer, x_forwarded_for="203.0.113.6") == 200
    assert attacked.ask("right", peer) == 200
    assert attacked.ask("right", peer, x_forwarded_for="none, at all") == 200


def test_other_machines_cannot_choose_their_address(attacked: Attacked) -> None:
    for n in range(2 * AT_ONCE):
        attacked.ask(f"wrong-{n}", x_forwarded_for=f"203.0.113.{n}")
    assert attacked.ask("right", x_forwarded_for="203.0.113.200") == 429


def test_many_addresses_take_bounded_room(attacked: Attacked) -> None:
    for n in range(3 * MOST_ADDRESSES):
        attacked.ask(f"wrong-{n}", f"10.0.{n // 250}.{n % 250}")
    assert len(attacked.guesses) == MOST_ADDRESSES
    assert attacked.ask("right", "10.0.0.1") == 200


def test_no_token_is_no_guess(attacked: Attacked) -> None:
    assert {attacked.ask("") for _ in range(3 * AT_ONCE)} == {401}
    assert attacked.guesses.wrong == 0
    assert attacked.ask("right") == 200


def test_the_name_of_an_address() -> None:
    asked = AdminRequest("GET", "/", peer=address("2001:db8::7"))
    assert address_of(asked) == "2001:db8::/64"
    assert address_of(AdminRequest("GET", "/", peer=address("::ffff:10.0.0.1"))) == "10.0.0.1"
    assert address_of(AdminRequest("GET", "/", peer=UNIXAddress("/x"))) == ""
    assert address_of(AdminRequest("GET", "/")) == ""
