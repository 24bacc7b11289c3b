from __future__ import annotations

import pytest

from wsservice.net.gathering import Gathering
from wsservice.protocol.sending import Bound, Kind, PreparedMessage, SendQueue, Sent


class Outlet:
    """A transport that says stop after so many writes, and gives what was written."""

    def __init__(self, limit: int = 0, room: int = 10**9, overhead: int = 0) -> None:
        self.written: list[bytes] = []
        self.room = room
        self.gathering = Gathering()
        self.bound = Bound(limit)
        self.queue = SendQueue(self.write, self.bound, self.gathering, overhead)

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.room -= 1
        if self.room == 0:
            self.queue.pause()

    def drain(self, room: int = 10**9) -> None:
        self.room = room
        self.queue.resume()

    def put(self, *messages: bytes, kind: Kind = Kind.MESSAGE) -> list[Sent]:
        return [self.queue.put(message, kind) for message in messages]


def state(outlet: Outlet) -> tuple[int, bool, bool]:
    queue = outlet.queue
    return queue.octets, queue.half_full, queue.full


def test_what_can_be_sent_is_sent_at_once() -> None:
    outlet = Outlet()
    assert outlet.put(b"a", b"b") == [Sent.SENT, Sent.SENT]
    assert outlet.written == [b"a", b"b"]
    assert outlet.queue.octets == 0


def test_what_cannot_waits_and_leaves_in_order() -> None:
    outlet = Outlet(room=1)
    assert outlet.put(b"a", b"b", b"c") == [Sent.SENT, Sent.QUEUED, Sent.QUEUED]
    outlet.drain(room=1)
    assert outlet.written == [b"a", b"b"]
    outlet.put(b"d")
    outlet.drain()
    assert outlet.written == [b"a", b"b", b"c", b"d"]


def test_what_waits_is_counted_with_what_the_transport_holds() -> None:
    outlet = Outlet(limit=10, room=1)
    outlet.put(b"1234", b"56")
    assert state(outlet) == (6, True, False)
    outlet.put(b"7890")
    assert state(outlet) == (10, True, True)
    outlet.drain()
    assert state(outlet) == (0, False, False)


def test_without_a_limit_it_is_never_full() -> None:
    outlet = Outlet(limit=0, room=1)
    outlet.put(b"x" * 1000, b"x" * 1000)
    assert not outlet.queue.full
    assert not outlet.queue.half_full


def test_only_the_last_pong_waits() -> None:
    outlet = Outlet(room=1)
    outlet.put(b"a")
    outlet.put(b"pong 1", kind=Kind.PONG)
    outlet.put(b"b")
    outlet.put(b"pong 2", kind=Kind.PONG)
    outlet.drain()
    assert outlet.written == [b"a", b"b", b"pong 2"]


def test_the_oldest_messages_are_dropped_and_nothing_else() -> None:
    outlet = Outlet(limit=8, room=1)
    outlet.put(b"0")
    outlet.put(b"cc", kind=Kind.OTHER)
    outlet.put(b"11", b"22")
    assert outlet.queue.octets == 7
    assert outlet.queue.drop_messages(3) == 1
    outlet.put(b"333")
    outlet.drain()
    assert outlet.written == [b"0", b"cc", b"22", b"333"]


def test_what_is_kept_beside_each_frame_counts_too() -> None:
    outlet = Outlet(limit=400, room=1, overhead=100)
    outlet.put(b"0", b"1", b"2", b"3")
    assert state(outlet) == (304, True, False)
    outlet.put(b"4")
    assert outlet.queue.full
    assert outlet.queue.drop_messages(1) == 2
    assert outlet.queue.octets == 203
    outlet.drain(room=1)
    assert state(outlet) == (102, False, False)
    outlet.drain()
    assert state(outlet) == (0, False, False)
    assert outlet.written == [b"0", b"3", b"4"]


def test_a_pong_waits_again_after_one_has_left() -> None:
    outlet = Outlet(room=1)
    outlet.put(b"a")
    outlet.put(b"pong 1", kind=Kind.PONG)
    outlet.drain(room=1)
    outlet.put(b"b")
    outlet.put(b"pong 2", kind=Kind.PONG)
    outlet.put(b"pong 3", kind=Kind.PONG)
    outlet.drain()
    assert outlet.written == [b"a", b"pong 1", b"b", b"pong 3"]


def test_all_messages_can_be_dropped() -> None:
    outlet = Outlet(limit=8, room=1)
    outlet.put(b"0", b"1", b"2")
    outlet.put(b"c", kind=Kind.OTHER)
    assert outlet.queue.drop_messages() == 2
    outlet.queue.flush()
    assert outlet.written == [b"0", b"c"]
    assert outlet.queue.octets == 0


@pytest.mark.parametrize(
    ("outcome", "on_its_way"),
    [(Sent.SENT, True), (Sent.QUEUED, True), (Sent.SLOW, False), (Sent.CLOSED, False)],
)
def test_an_outcome_is_true_where_the_message_is_on_its_way(
    outcome: Sent, on_its_way: bool
) -> None:
    assert bool(outcome) is on_its_way


def test_what_is_sent_while_it_gathers_leaves_in_one_write_for_each() -> None:
    outlet = Outlet()
    others: list[bytes] = []
    other = SendQueue(others.append, Bound(0), outlet.gathering)
    outlet.gathering.under_way = True
    assert outlet.put(b"a", b"b") == [Sent.SENT, Sent.SENT]
    other.put(b"c", Kind.MESSAGE)
    outlet.put(b"d", kind=Kind.OTHER)
    assert outlet.written == others == []
    outlet.gathering.end()
    assert outlet.written == [b"abd"]
    assert others == [b"c"]
    outlet.put(b"e")
    assert outlet.written == [b"abd", b"e"]


def test_no_more_is_gathered_than_goes_into_one_write() -> None:
    outlet = Outlet(room=2)
    outlet.gathering.under_way = True
    large = bytes(40_000)
    outcomes = outlet.put(large, large, large, large, b"waits")
    assert outcomes == [Sent.SENT] * 4 + [Sent.QUEUED]
    assert list(map(len, outlet.written)) == [80_000, 80_000]
    outlet.gathering.end()
    assert len(outlet.written) == 2
    outlet.drain()
    assert outlet.written[2:] == [b"waits"]


def test_what_was_gathered_is_written_before_the_rest_or_forgotten() -> None:
    outlet = Outlet()
    outlet.gathering.under_way = True
    outlet.put(b"a", b"b")
    outlet.queue.flush()
    assert outlet.written == [b"ab"]
    outlet.put(b"c")
    outlet.queue.forget_gathered()
    outlet.gathering.end()
    assert outlet.written == [b"ab"]


def test_a_prepared_message_is_made_once_for_each_variant() -> None:
    asked: list[tuple[bytes, int]] = []

    def deflate(payload: bytes, window_bits: int) -> bytes:
        asked.append((payload, window_bits))
        return b"short" if window_bits == 12 else payload + b"longer"

    message = PreparedMessage(b"payload", True)
    assert message.plain == b"\x82\x07payload"
    assert message.plain is message.plain
    frames = [message.compressed(bits, deflate) for bits in (12, 9, 12, 9)]
    assert frames == [b"\xc2\x05short", message.plain] * 2
    assert asked == [(b"payload", 12), (b"payload", 9)]


def test_a_prepared_message_is_of_bytes() -> None:
    with pytest.raises(TypeError, match="a payload is bytes, not str"):
        PreparedMessage("text")  # type: ignore[arg-type]


def test_what_was_gathered_leaves_before_what_waits() -> None:
    outlet = Outlet()
    outlet.gathering.under_way = True
    outlet.put(b"first")
    outlet.queue.pause()
    outlet.put(b"second")
    outlet.drain()
    outlet.gathering.end()
    assert outlet.written == [b"first", b"second"]


@pytest.mark.parametrize("limit", [10, 11, 64])
def test_what_is_gathered_never_fills_a_small_queue_at_the_end(limit: int) -> None:
    for count in range(1, 30):
        outlet = Outlet(limit=limit, room=1)
        outlet.gathering.under_way = True
        for _ in range(count):
            outlet.put(b"abc")
            if outlet.queue.waits:
                break  # who sent it can ask, and has
        else:
            outlet.gathering.end()
            assert not outlet.queue.half_full


def test_a_bound_holds_for_all_that_have_it_from_when_it_is_changed() -> None:
    outlet = Outlet(limit=100, room=1)
    outlet.put(b"x" * 60, b"y" * 10)
    assert state(outlet) == (70, True, False)
    outlet.bound.change(70)
    assert state(outlet) == (70, True, True)
    outlet.bound.change(1000)
    assert state(outlet) == (70, False, False)
    outlet.bound.change(0)
    assert state(outlet) == (70, False, False)


def test_what_is_gathered_is_bounded_by_it_too() -> None:
    outlet = Outlet(limit=0)
    outlet.gathering.under_way = True
    outlet.put(b"x" * 60)
    assert outlet.written == []
    outlet.bound.change(100)
    outlet.put(b"y")
    assert outlet.written == [b"x" * 60 + b"y"]


class TestCounting:
    def counted(self, outlet: Outlet) -> tuple[int, int]:
        assert outlet.queue.octets_sent == len(b"".join(outlet.written))
        return outlet.queue.messages_sent, outlet.queue.octets_sent

    def test_what_is_written_at_once(self) -> None:
        outlet = Outlet()
        outlet.put(b"one", b"three")
        assert outlet.queue.put_other(b"ping", Kind.OTHER) is Sent.SENT
        assert self.counted(outlet) == (2, 12)

    def test_what_is_gathered(self) -> None:
        outlet = Outlet()
        outlet.gathering.under_way = True
        outlet.put(b"one", b"three")
        outlet.queue.put_other(b"ping", Kind.PONG)
        outlet.gathering.end()
        assert self.counted(outlet) == (2, 12)

    def test_what_waits_once_it_is_written(self) -> None:
        outlet = Outlet(room=1)
        outlet.put(b"one", b"three")
        outlet.queue.put_other(b"pong", Kind.PONG)
        outlet.queue.put_other(b"gnop", Kind.PONG)
        assert self.counted(outlet) == (1, 3)
        outlet.drain()
        assert self.counted(outlet) == (2, 12)

    def test_what_is_flushed(self) -> None:
        outlet = Outlet(room=1)
        outlet.put(b"one", b"three")
        outlet.queue.put_other(b"close", Kind.OTHER)
        outlet.queue.flush()
        assert self.counted(outlet) == (2, 13)

    def test_what_was_said_to_be_sent_and_lost(self) -> None:
        outlet = Outlet()
        outlet.gathering.under_way = True
        outlet.put(b"one", b"three")
        outlet.queue.put_other(b"close", Kind.OTHER)
        outlet.queue.forget_gathered()
        # Never fewer than before.
        assert outlet.queue.messages_sent == 2
        assert outlet.queue.octets_sent == 0


def test_octets_may_go_another_way_for_a_while() -> None:
    outlet = Outlet()
    elsewhere: list[bytes] = []
    before = outlet.queue.write_by(elsewhere.append)
    outlet.put(b"a")
    outlet.queue.write_by(*before)
    outlet.put(b"b")
    assert (elsewhere, outlet.written) == ([b"a"], [b"b"])


class ASocket:
    """A socket that takes a limited number of octets at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        self.sent.append(data[: self.room])
        return len(self.sent[-1])


class SocketOutlet:
    """A transport whose socket may be used beside it while nothing waits in the transport."""

    def __init__(self, room: int = 100) -> None:
        self.socket = ASocket(room)
        self.written: list[bytes] = []
        self.caught_up = True
        self.queue = SendQueue(self.write, Bound(0), Gathering(), socket=self.socket)

    def write(self, data: bytes) -> bool:
        self.written.append(data)
        return self.caught_up

    def put(self, *messages: bytes) -> None:
        for message in messages:
            assert self.queue.put(message, Kind.MESSAGE) is Sent.SENT


def test_the_socket_is_used_once_the_transport_has_nothing() -> None:
    outlet = SocketOutlet()
    outlet.caught_up = False
    outlet.put(b"a")
    outlet.caught_up = True
    outlet.put(b"b", b"c", b"d")
    assert (outlet.written, outlet.socket.sent) == ([b"a", b"b"], [b"c", b"d"])


@pytest.mark.parametrize(("room", "sent", "rest"), [(2, [b"bc"], b"d"), (0, [], b"bcd")])
def test_what_the_socket_has_no_room_for_goes_to_the_transport_and_all_behind_it(
    room: int, sent: list[bytes], rest: bytes
) -> None:
    outlet = SocketOutlet(room)
    outlet.put(b"a")
    outlet.caught_up = False
    outlet.put(b"bcd", b"e")
    assert (outlet.socket.sent, outlet.written) == (sent, [b"a", rest, b"e"])


def test_going_another_way_the_socket_of_before_is_not_used() -> None:
    outlet = SocketOutlet()
    outlet.put(b"a", b"b")
    elsewhere: list[bytes] = []

    def write(data: bytes) -> bool:
        elsewhere.append(data)
        return True

    before = outlet.queue.write_by(write)
    outlet.put(b"c", b"d")
    outlet.queue.write_by(*before)
    outlet.put(b"e", b"f")
    assert (elsewhere, outlet.written, outlet.socket.sent) == (
        [b"c", b"d"],
        [b"a", b"e"],
        [b"b", b"f"],
    )
