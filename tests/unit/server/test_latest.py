"""`?history=`: the last messages of a channel first, then new ones, on connections in memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from wsservice.channels.envelopes import SharedFrames
from wsservice.channels.history import PAGE, Missed
from wsservice.channels.query import ChannelQuery, Latest
from wsservice.server.behaviours import GreetingServerProtocol, ServerProtocol
from wsservice.server.latest import last_of, most_allowed

from ...examples import examples
from ...support import BINARY, CLOSE, TEXT, Client, Logged, Served
from ..channels.test_resuming import OFFER, data, envelopes, speak


def published(served: Served, count: int, channel: str = "a", first: int = 1) -> None:
    for number in range(first, first + count):
        served.hub.publish(channel, str(number).encode())


def turns(served: Served, count: int = 20) -> None:
    for _ in range(count):
        served.clock.advance(0)


def payloads(client: Client) -> list[bytes]:
    return [payload for opcode, payload in client.frames() if opcode in (TEXT, BINARY)]


@pytest.fixture
def kept() -> Served:
    return Served(history="1000")


class TestPlain:
    def test_the_last_come_first_then_what_comes(self, kept: Served) -> None:
        published(kept, 5)
        client = kept.connect().open("/a?history=3")
        kept.hub.publish("a", b"6")
        assert payloads(client) == [b"3", b"4", b"5", b"6"]

    def test_text_and_binary_as_they_were(self, kept: Served) -> None:
        kept.hub.publish("a", b"text")
        kept.hub.publish("a", b"\xff", True)
        assert kept.connect().open("/a?history=2").frames() == [(TEXT, b"text"), (BINARY, b"\xff")]

    def test_fewer_where_fewer_were_said(self, kept: Served) -> None:
        assert payloads(kept.connect().open("/a?history=20")) == []
        published(kept, 2)
        assert payloads(kept.connect().open("/a?history=20")) == [b"1", b"2"]

    def test_no_more_than_are_kept(self) -> None:
        served = Served(history="3")
        published(served, 5)
        assert payloads(served.connect().open("/a?history=1000000")) == [b"3", b"4", b"5"]

    def test_none_that_are_too_old(self) -> None:
        served = Served(history="10,60")
        published(served, 2)
        served.clock.advance(50)
        published(served, 1, first=3)
        served.clock.advance(20)
        client = served.connect().open("/a?history=5")
        published(served, 1, first=4)
        assert payloads(client) == [b"3", b"4"]

    def test_many_in_several_turns(self, kept: Served) -> None:
        published(kept, 500)
        client = kept.connect().open("/a?history=400")
        assert payloads(client) == [b"%d" % number for number in range(101, 101 + PAGE)]
        published(kept, 100, first=501)
        turns(kept)
        published(kept, 1, first=601)
        assert payloads(client) == [b"%d" % number for number in range(101 + PAGE, 602)]

    def test_the_same_count_of_each_channel_and_each_in_order(self, kept: Served) -> None:
        for channel in "abc":
            for number in range(3):
                kept.hub.publish(channel, f"{channel}{number}".encode())
        client = kept.connect().open("/a?channel=b&history=2&channel=c")
        assert payloads(client) == [b"a1", b"a2", b"b1", b"b2", b"c1", b"c2"]
        kept.hub.publish("c", b"c3")
        kept.hub.publish("a", b"a3")
        assert payloads(client) == [b"c3", b"a3"]

    def test_of_a_channel_that_has_none_live_ones_come_at_once(
        self, kept: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        allowed = {"a": 0, "b": 1}
        monkeypatch.setattr(
            "wsservice.server.latest.most_allowed", lambda _, channel: allowed[channel]
        )
        published(kept, 2)
        published(kept, 2, "b")
        client = kept.connect().open("/a?channel=b&history=2")
        kept.hub.publish("a", b"live")
        assert payloads(client) == [b"2", b"live"]

    def test_with_compression(self) -> None:
        served = Served(history="10", compression=True)
        published(served, 2)
        client = served.connect()
        client.ask("/a?history=2", "Sec-WebSocket-Extensions: permessage-deflate")
        assert served.hub.publish("a", b"3") == 1
        assert len(client.frames()) == 1


class TestOrderWithTheBehaviour:
    def test_a_greeting_comes_first(self) -> None:
        served = Served(GreetingServerProtocol, history="10")
        published(served, 2)
        client = served.connect().open("/a?history=2")
        assert payloads(client) == [b"Hello from server", b"1", b"2"]

    def test_what_onopen_broadcasts_is_a_part_of_the_past(self) -> None:
        class Telling(ServerProtocol):
            def onOpen(self) -> None:
                self.broadcast(b"here")

            def onJoin(self, channel: str) -> None:
                self.sendMessage(b"joined")

        served = Served(Telling, history="10")
        published(served, 1)
        assert payloads(served.connect().open("/a?history=5")) == [b"1", b"here", b"joined"]

    def test_an_onopen_that_is_still_going_on_delays_nothing(self) -> None:
        class Waiting(ServerProtocol):
            def onOpen(self) -> Any:
                self.sendMessage(b"first")
                return Deferred()

        served = Served(Waiting, history="10")
        published(served, 1)
        client = served.connect().open("/a?history=5")
        served.hub.publish("a", b"2")
        assert payloads(client) == [b"first", b"1", b"2"]

    def test_who_is_closed_in_onopen_gets_nothing(self, logged: Logged) -> None:
        class Closing(ServerProtocol):
            def onOpen(self) -> None:
                self.close(1000, "")

        served = Served(Closing, history="10")
        published(served, 1)
        client = served.connect().open("/a?history=5")
        assert [opcode for opcode, _ in client.frames()] == [CLOSE]
        client.lose()
        assert served.hub.channels() == []
        assert logged.failures == []


class TestEnvelopes:
    def test_they_have_their_offsets_behind_the_place_before_them(self, kept: Served) -> None:
        published(kept, 5)
        client = speak(kept, "/a?history=3")
        kept.hub.publish("a", b"6")
        joined, *rest = envelopes(client)
        assert (joined["joined"], joined["offset"]) == (True, 2)
        assert [(each["offset"], each["data"]) for each in rest] == [
            (number, str(number)) for number in (3, 4, 5, 6)
        ]

    def test_without_a_message_there_is_the_current_place(self, kept: Served) -> None:
        (joined,) = envelopes(speak(kept, "/a?history=3"))
        assert (joined["joined"], joined["offset"]) == (True, 0)

    def test_it_comes_back_to_what_follows(self, kept: Served) -> None:
        published(kept, 5)
        client = speak(kept, "/a?history=3")
        last = envelopes(client)[-1]
        published(kept, 1, first=6)
        assert data(speak(kept, f"/a?since={last['offset']}&epoch={last['epoch']}")) == ["6"]

    def test_what_leaves_the_history_before_it_is_read_is_a_gap(self) -> None:
        served = Served(history="100")
        published(served, 100)
        client = speak(served, "/a?history=100")
        client.protocol.pauseProducing()
        published(served, 200, first=101)
        client.protocol.resumeProducing()
        turns(served)
        told = envelopes(client)
        assert [each["offset"] for each in told if "gap" in each] == [300]
        assert client.protocol.state == client.protocol.STATE_OPEN


class TestWrong:
    @pytest.mark.parametrize(
        "value",
        [
            "",
            "0",
            "-1",
            "+5",
            "1.5",
            "1e3",
            "0x10",
            "05",
            "1000001",
            "9" * 4000,
            "%D9%A3",
            "\u0663",
        ],
    )
    @pytest.mark.parametrize("offer", [(), (OFFER,)])
    def test_a_value_that_is_no_count_is_400(
        self, kept: Served, value: str, offer: tuple[str, ...]
    ) -> None:
        head, _, body = kept.connect().ask(f"/a?history={value}", *offer).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert body.count(b"\n") <= 1

    @pytest.mark.parametrize(
        "query",
        ["history=1&history=1", "history=1&channel=b&history=2", "history=1&since=1&epoch=e"],
    )
    @pytest.mark.parametrize("offer", [(), (OFFER,)])
    def test_so_are_two_and_one_beside_since(
        self, kept: Served, query: str, offer: tuple[str, ...]
    ) -> None:
        answer = kept.connect().ask(f"/a?{query}", *offer)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith((b"one of them\n", b"one for all channels\n"))

    @pytest.mark.parametrize("query", ["history=20", "history=all", "history=1&history=2"])
    def test_without_a_history_it_is_a_behaviours(self, query: str) -> None:
        client = Served().connect().open(f"/a?{query}")
        assert client.frames() == []


class TestSlowly:
    """A peer that does not read while it is sent what was said."""

    def slow(self, served: Served) -> Client:
        published(served, 100)
        client = served.connect().open("/a?history=100")
        assert len(payloads(client)) == PAGE
        client.protocol.pauseProducing()
        turns(served)
        published(served, 200, first=101)
        assert client.protocol._queue.octets < 1000
        client.protocol.resumeProducing()
        turns(served)
        return client

    def test_it_is_closed_if_the_history_has_no_more_what_it_was_to_get(
        self, logged: Logged
    ) -> None:
        served = Served(history="100")
        client = self.slow(served)
        assert client.frames() == [(CLOSE, b"\x03\xf5reads too slowly")]
        assert served.factory.slow_closed == 1
        assert "reads too slowly" in logged.text

    def test_or_that_is_left_out(self) -> None:
        served = Served(history="100", slow_client="drop")
        client = self.slow(served)
        published(served, 1, first=301)
        assert payloads(client) == [b"301"]
        assert (served.factory.slow_dropped, served.factory.slow_messages) == (1, 300 - PAGE)

    def test_while_it_waits_it_has_nothing_but_its_place(self, kept: Served) -> None:
        for number in range(50):
            kept.hub.publish("a", str(number).encode().ljust(10_000))
        client = kept.connect()
        queue = client.protocol._queue

        def writing(octets: bytes) -> None:
            write(octets)
            client.protocol.pauseProducing()

        write, _ = queue.write_by(writing)
        client.open("/a?history=50")
        came = len(payloads(client))
        for _ in range(100):
            turns(kept, 2)
            assert queue.octets < 100_000
            client.protocol.resumeProducing()
            came += len(payloads(client))
        assert came == 50

    def test_and_no_message_stays_in_memory_for_it(self, kept: Served) -> None:
        for number in range(50):
            kept.hub.publish("a", str(number).encode().ljust(10_000))
        client = kept.connect()
        queue = client.protocol._queue

        def writing(octets: bytes) -> None:
            write(octets)
            client.protocol.pauseProducing()

        write, _ = queue.write_by(writing)
        client.open("/a?history=50")
        client.protocol.resumeProducing()  # its first page, and it waits again
        turns(kept)
        assert 0 < len(payloads(client)) < 50
        gc.collect()
        kinds = (SharedFrames, Missed)
        alive = [each for each in gc.get_objects() if type(each) in kinds]
        # Other tests may have left some of their own.
        texts = [
            each.payload if isinstance(each, SharedFrames) else each.entries[0].payload
            for each in alive
            if isinstance(each, SharedFrames) or each.entries
        ]
        assert not any(text.endswith(b" " * 900) for text in texts)

    def test_while_there_is_no_memory_past_messages_wait_and_new_ones_do_not(
        self, kept: Served
    ) -> None:
        published(kept, 2)
        budget = kept.factory.budget
        budget.limit, budget.octets = 1000, 990
        live, client = kept.connect().open("/a"), kept.connect().open("/a?history=2")
        published(kept, 1, first=3)
        assert (payloads(live), payloads(client)) == ([b"3"], [])
        budget.octets = 0
        kept.clock.advance(0.05)
        published(kept, 1, first=4)
        assert (payloads(live), payloads(client)) == ([b"4"], [b"2", b"3", b"4"])

    def test_who_leaves_while_it_waits_for_memory(self, kept: Served, logged: Logged) -> None:
        published(kept, 2)
        budget = kept.factory.budget
        budget.limit, budget.octets = 1000, 990
        kept.connect().open("/a?history=2").lose()
        kept.clock.advance(0.05)
        assert (kept.hub.channels(), logged.failures) == ([], [])


def test_the_hook_is_the_size_of_the_history() -> None:
    served = Served(history="7")
    connection = served.connect().open("/a?channel=b").protocol
    assert most_allowed(connection, "a") == 7
    asked = last_of(connection, ChannelQuery(history=9))
    assert asked == {"a": Latest(7), "b": Latest(7)}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 90)),
        st.tuples(st.just("join"), st.integers(1, 250)),
        st.tuples(st.just("speak"), st.integers(1, 250)),
        st.tuples(st.sampled_from(["pause", "resume", "turn"]), st.integers(0, 5)),
    ),
    max_size=40,
)


class Reader:
    """A client that asked for the last messages, and all that it got."""

    def __init__(self, served: Served, count: int, speaks: bool, last: int, size: int) -> None:
        path = f"/a?history={count}"
        self.speaks = speaks
        self.client = speak(served, path) if speaks else served.connect().open(path)
        self.begin = last - min(count, last, size)
        self.numbers: list[int] = []
        self.is_closed = self.had_gap = False

    def read(self) -> None:
        if self.speaks:
            told = envelopes(self.client)
            self.numbers += [int(each["data"]) for each in told if "data" in each]
            self.had_gap |= any("gap" in each for each in told)
            return
        for opcode, payload in self.client.frames():
            assert not self.is_closed
            self.is_closed = opcode == CLOSE
            self.numbers += [] if self.is_closed else [int(payload)]


@examples(300)
@given(STEPS)
def test_however_it_goes_each_comes_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    size = 200
    served = Served(history=str(size))
    readers: list[Reader] = []
    last = 0

    def joined(count: int, speaks: bool) -> None:
        readers.append(Reader(served, count, speaks, last, size))

    def one(act: Callable[[Any], None], number: int) -> None:
        if number < len(readers):
            act(readers[number].client.protocol)

    paused = False
    for step, number in steps:
        if step == "publish":
            published(served, number, first=last + 1)
            last += number
        elif step in ("join", "speak"):
            joined(number, step == "speak")
        elif step == "pause":
            paused = True
            one(lambda protocol: protocol.pauseProducing(), number)
        elif step == "resume":
            one(lambda protocol: protocol.resumeProducing(), number)
        else:
            turns(served, number)
    for reader in readers:
        reader.client.protocol.resumeProducing()
    turns(served)
    published(served, 1, first=last + 1)
    last += 1
    for reader in readers:
        reader.read()
        came, count = reader.numbers, len(reader.numbers)
        assert came[:1] in ([], [reader.begin + 1])
        if reader.had_gap:
            assert came == sorted(set(came))
            assert came[-1] == last
            continue
        assert came == list(range(reader.begin + 1, reader.begin + 1 + count))
        assert reader.is_closed or came[-1] == last
        # The history is far larger than what is published between two turns of one that reads.
        assert paused or not reader.is_closed or last > size
