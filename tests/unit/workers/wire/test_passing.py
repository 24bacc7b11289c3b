from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from wsservice.server.admission import Verdict
from wsservice.workers.wire import passing
from wsservice.workers.wire.passing import Handing, hand, pair, possible, take

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Pair]:
    ends = pair()
    yield ends
    for end in ends:
        end.close()


def handed(end: socket.socket, handing: Handing) -> bool:
    """Hand over one end of a pipe's sort, the other of which is closed with it."""
    one, two = socket.socketpair()
    with one, two:
        return hand(end, one.fileno(), handing)


@pytest.mark.parametrize(
    "handing",
    [
        Handing(1, Verdict.ADMITTED, ("192.0.2.1", 5000)),
        Handing(2**60, Verdict.REFUSED, ("2001:db8::1", 5000, 0, 3)),
        Handing(3, Verdict.DROPPED, ""),
    ],
)
def test_a_connection_comes_with_what_is_said_of_it(ends: Pair, handing: Handing) -> None:
    one, two = socket.socketpair()
    with two:
        with one:
            assert hand(ends[0], one.fileno(), handing)
        taken = take(ends[1])
        assert taken is not None
        connection, said = taken
        assert said == handing
        assert connection is not None
        with connection:
            assert not connection.get_inheritable()
            two.sendall(b"hello")
            assert connection.recv(5) == b"hello"


def test_a_name_of_octets_is_text(ends: Pair) -> None:
    assert handed(ends[0], Handing(1, Verdict.ADMITTED, b"\0abstract"))
    taken = take(ends[1])
    assert taken is not None
    assert taken[1].address == "\0abstract"
    assert taken[0] is not None
    taken[0].close()


def test_what_was_not_taken_can_be_taken_back_at_the_same_end(ends: Pair) -> None:
    numbers = []
    for number in range(3):
        assert handed(ends[0], Handing(number, Verdict.ADMITTED, ""))
    for _ in range(3):
        taken = take(ends[1])
        assert taken is not None
        assert taken[0] is not None
        taken[0].close()
        numbers.append(taken[1].number)
    assert numbers == [0, 1, 2]
    with pytest.raises(BlockingIOError):
        take(ends[1])


def test_the_end_is_told(ends: Pair) -> None:
    ends[0].close()
    assert take(ends[1]) is None


def test_a_pair_that_is_full_takes_no_more(ends: Pair) -> None:
    count = 0
    while handed(ends[0], Handing(count, Verdict.ADMITTED, "")):
        count += 1
        assert count < 10_000
    assert count > 32


def test_what_else_is_wrong_is_raised(ends: Pair) -> None:
    ends[1].close()
    with pytest.raises(OSError, match=r"pipe|reset|onnect"):
        handed(ends[0], Handing(1, Verdict.ADMITTED, ""))


def test_one_for_which_there_is_no_descriptor_comes_without(ends: Pair) -> None:
    ends[0].sendmsg([b'[7, "ADMITTED", ""]'])
    assert take(ends[1]) == (None, Handing(7, Verdict.ADMITTED, ""))


def test_where_there_are_no_such_sockets_it_is_not_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = len(os.listdir("/dev/fd"))
    assert possible()
    assert len(os.listdir("/dev/fd")) == before

    def fail() -> Pair:
        raise OSError("no")

    monkeypatch.setattr(passing, "pair", fail)
    assert not possible()
