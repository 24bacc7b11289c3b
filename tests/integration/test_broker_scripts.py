"""The scripts in a real redis-server, beside the history of one process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import hiredis
import pytest

from wsservice.broker import calls, scripts
from wsservice.broker.calls import Appended, ChannelPlace, EntryPage, Terms
from wsservice.broker.standing import UNKNOWN, MisplacedError, Standing
from wsservice.channels.history import History
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Latest, Position

from .processes import wait_until
from .redis import SERVERS, Asking, Redis, Redises


class RefusedError(Exception):
    """The server answered with an error."""


FOREVER = Terms(5, 0, 10**9)


class Asked:
    """The commands of a node, on one connection."""

    def __init__(self, redis: Redis) -> None:
        self._asking = Asking(redis.port)
        self.end = self._asking.end
        self.sequence = 0
        #: The octets that epochs begin with.
        self.fresh = "ID"
        self.standing = UNKNOWN
        #: The messages that were published on the channel that this subscribes to.
        self.heard: list[bytes] = []

    def ask(self, *words: Any) -> Any:
        """Ask, and have the answer. Raises `RefusedError`."""
        answer = self._asking.ask(*words)
        while isinstance(answer, hiredis.PushNotification):
            if answer[0] == b"message":
                self.heard.append(answer[2])
            elif answer[0] == b"subscribe":
                return answer
            answer = self._asking.answer()
        if isinstance(answer, Exception):
            raise RefusedError(str(answer))
        return answer

    def call(self, text: str, keys: list[str], words: list[Any]) -> Any:
        return self.ask("EVAL", text, len(keys), *keys, *words)

    def keys(self, channel: str) -> list[str]:
        return ["p:places", "p:ages", f"p:stream:{{{channel}}}"]

    def append(self, channel: str, body: bytes, terms: Terms = FOREVER) -> Appended:
        """Append after the last one, wherever that is."""
        try:
            return self.append_after(self.standing, channel, body, terms)
        except MisplacedError as error:
            self.standing = error.standing
            appended = self.append_after(self.standing, channel, body, terms)
            return appended._replace(healed=appended.healed or error.healed)

    def append_after(
        self,
        standing: Standing,
        channel: str,
        body: bytes,
        terms: Terms = FOREVER,
        anew: bool = False,
    ) -> Appended:
        """Append, if it stands there. Raises `MisplacedError`."""
        keys = [*self.keys(channel), "p:seen:{n}", f"p:said:{{{channel}}}"]
        sequence = self.sequence + 1
        words = calls.to_append(terms, standing, anew, b"PUBLISH", sequence, body)
        words[0] = self.fresh
        appended = calls.appended(self.call(scripts.APPEND, keys, words))
        self.sequence = sequence
        self.standing = Standing(standing.life, sequence)
        return appended

    def look(self, channel: str, at: Position | None = None, mark: bytes = b"") -> ChannelPlace:
        words = [self.fresh, *calls.to_look(at, mark)[1:]]
        return calls.looked(self.call(scripts.LOOK, self.keys(channel), words))

    def since(self, channel: str, since: Position | Latest, terms: Terms = FOREVER) -> EntryPage:
        words = [self.fresh, *calls.to_read(terms, since)[1:]]
        return calls.read(self.call(scripts.SINCE, self.keys(channel), words))

    def place(self, channel: str) -> list[bytes]:
        """Return the fields that it has of a channel."""
        packed: bytes = self.ask("HGET", "p:places", self.stream(channel))
        return packed.split()

    def milliseconds(self) -> int:
        """The server's clock."""
        seconds, micros = map(int, self.ask("TIME"))
        return seconds * 1000 + micros // 1000

    def stream(self, channel: str) -> str:
        return self.keys(channel)[2]


@pytest.fixture(params=SERVERS)
def asked(redises: Redises, request: pytest.FixtureRequest) -> Iterator[Asked]:
    given = Asked(redises.start(which=request.param))
    yield given
    given.end()


def test_they_do_as_the_history_of_one_process_does(asked: Asked) -> None:
    chance = random.Random(7)
    history = History(5, 0, 10**9, 4)
    terms = Terms(5, 0, 10**9, channels=4)
    names = ["a", "b", "c", "d", "e", "f"]
    places: dict[str, list[tuple[Position, Position]]] = {name: [] for name in names}
    for number in range(1500):
        name = chance.choice(names)
        if chance.random() < 0.5:
            body = b"%d" % number
            asked.append(name, body, terms)
            history.append(ChannelMessage(name, body), 0)
            # Which channel was published on longest ago is a matter of milliseconds there.
            before = asked.milliseconds()
            while asked.milliseconds() == before:
                pass
        here, there = history.position(name), asked.look(name).position
        assert here.offset == there.offset
        assert here.epoch.rpartition(".")[2] == there.epoch.rpartition(".")[2]
        places[name].append((here, there))
        ours, theirs = chance.choice(places[name][-8:])
        missed, page = history.since(name, ours, 0), asked.since(name, theirs)
        assert missed.gap == page.gap, (name, ours, theirs)
        assert [each.payload for each in missed.entries] == [rest for _, rest in page.entries]
        assert [each.offset for each in missed.entries] == [
            int(entry.split(b"-")[0]) for entry, _ in page.entries
        ]
        count = chance.randrange(1, 8)
        missed, page = history.latest(name, count, 0), asked.since(name, Latest(count))
        assert not page.gap
        assert [each.payload for each in missed.entries] == [rest for _, rest in page.entries]
        assert missed.position.offset == page.position.offset


def test_what_is_published_says_its_place(asked: Asked) -> None:
    asked.ask("HELLO", "3")
    asked.ask("SUBSCRIBE", "p:said:{a}")
    assert asked.append("a", b"t n 1\nhello") == Appended(1)
    asked.append("a", b"t n 2\nmore")
    asked.ask("PING")  # what one publishes comes before its answer, or, in newer ones, behind it
    assert [octets.partition(b"\n")[2] for octets in asked.heard] == [b"hello", b"more"]
    assert asked.heard[0].startswith(b"1 1 ID.1 ")
    assert asked.heard[1].startswith(b"1 2 ID.1 ")
    assert b" t n 2\n" in asked.heard[1]
    assert asked.look("a").position == Position(2, "ID.1")


def test_a_page_is_bounded_by_count_and_by_octets(asked: Asked) -> None:
    terms = Terms(1000, 0, 10**9)
    for number in range(100):
        asked.append("a", b"%d" % number, terms)
    page = asked.since("a", Position(0, "ID.1"), terms)
    assert len(page.entries) == calls.PAGE
    for _ in range(10):
        asked.append("b", b"x" * 500_000, terms)
    page = asked.since("b", Position(0, "ID.3"), terms)
    assert 1 <= len(page.entries) <= 8
    assert page.position == Position(10, "ID.3")


def test_what_is_too_old_is_gone(asked: Asked) -> None:
    terms = Terms(1000, 0.5, 10**9)
    for number in range(5):
        asked.append("a", b"%d" % number, terms)
    assert len(asked.since("a", Position(0, "ID.1"), terms).entries) == 5
    wait_until(lambda: asked.since("a", Position(0, "ID.1"), terms).gap, "the messages to age")
    # Who has all of them missed nothing.
    assert not asked.since("a", Position(5, "ID.1"), terms).gap
    asked.append("a", b"new", terms)
    assert [rest for _, rest in asked.since("a", Position(5, "ID.1"), terms).entries] == [b"new"]
    assert asked.ask("XLEN", asked.stream("a")) <= 5


def test_of_the_last_ones_none_is_too_old(asked: Asked) -> None:
    terms = Terms(1000, 1, 10**9)
    asked.append("a", b"old", terms)
    before = asked.milliseconds()
    wait_until(lambda: asked.milliseconds() > before + 600, "half of its time")
    asked.append("a", b"new", terms)
    wait_until(
        lambda: [rest for _, rest in asked.since("a", Latest(5), terms).entries] == [b"new"],
        "the first one to age",
    )
    wait_until(lambda: not asked.since("a", Latest(5), terms).entries, "both to age")
    page = asked.since("a", Latest(5), terms)
    assert (page.gap, page.position) == (False, Position(2, "ID.1"))


def test_of_the_last_ones_there_is_a_page(asked: Asked) -> None:
    terms = Terms(1000, 0, 10**9)
    for number in range(100):
        asked.append("a", b"%d" % number, terms)
    page = asked.since("a", Latest(90), terms)
    assert [int(rest) for _, rest in page.entries] == list(range(10, 10 + calls.PAGE))
    assert page.position == Position(100, "ID.1")
    assert asked.since("none", Latest(90), terms).entries == []


def test_all_channels_have_so_many_octets_together(asked: Asked) -> None:
    terms = Terms(1000, 0, 20_000)
    counted = 0
    for number in range(200):
        asked.append("abc"[number % 3], b"x" * (number % 7 * 300), terms)
        counted = int(asked.ask("HGET", "p:places", "octets"))
        assert counted <= 20_000
    places = asked.ask("HGETALL", "p:places")
    kept = {places[at]: places[at + 1] for at in range(0, len(places), 2)}
    sums = [int(value.split()[4]) for name, value in kept.items() if name.startswith(b"p:stream")]
    assert sum(sums) == counted
    for channel in "abc":
        entries = asked.ask("XRANGE", asked.stream(channel), "-", "+")
        octets = sum(len(fields[1]) + scripts.ENTRY_OVERHEAD for _, fields in entries)
        overhead = scripts.CHANNEL_OVERHEAD + len(asked.stream(channel))
        assert int(kept[asked.stream(channel).encode()].split()[4]) == octets + overhead
    # One that alone is too large is passed on, and leads nowhere.
    at = asked.look("a").position
    asked.append("a", b"x" * 30_000, terms)
    assert asked.look("a").position.offset == at.offset + 1
    assert asked.since("a", at, terms).gap


def test_channels_are_bounded_in_number_and_those_of_long_ago_are_forgotten(asked: Asked) -> None:
    terms = Terms(10, 0, 10**9, channels=3)
    for channel in "abcde":
        asked.append(channel, b"x", terms)
    assert asked.ask("ZCARD", "p:ages") == 3
    assert asked.ask("EXISTS", asked.stream("a")) == 0
    assert asked.since("a", Position(0, "ID.0"), terms).gap
    asked.ask("ZADD", "p:ages", "1", asked.stream("d"))
    asked.append("f", b"x", terms)
    assert asked.ask("EXISTS", asked.stream("d")) == 0


def test_a_server_that_lost_its_end_numbers_anew(asked: Asked) -> None:
    for number in range(5):
        asked.append("a", b"t n %d\nx" % number)
    assert not asked.look("a", Position(5, "ID.1"), b"t n 4\n").rolled
    assert not asked.look("a", Position(5, "ID.0"), b"other").rolled
    asked.fresh = "OTHER"
    place = asked.look("a", Position(5, "ID.1"), b"t other 4\n")
    assert place == ChannelPlace(Position(0, "OTHER.0"), rolled=True)
    assert asked.since("a", Position(5, "ID.1")).gap
    asked.append("a", b"t n 9\nx")
    assert asked.look("a", Position(1, "OTHER.1")) == ChannelPlace(Position(1, "OTHER.1"))
    assert asked.look("a", Position(7, "OTHER.1")).rolled


def test_another_ones_key_is_left_alone(asked: Asked) -> None:
    for key in ("a", "b"):
        asked.ask("SET", asked.stream(key), "mine")
    assert asked.append("a", b"1") == Appended(0, healed=True)
    assert asked.append("a", b"2") == Appended(0, healed=True)
    assert asked.since("a", Position(0, "ID.1")).gap
    assert not asked.since("a", Position(2, "ID.1")).gap
    # Also when room is made.
    small = Terms(10, 0, 5000, channels=2)
    for number in range(30):
        asked.append(f"c{number}", b"x" * 2000, small)
    assert asked.ask("GET", asked.stream("a")) == b"mine"
    asked.ask("DEL", asked.stream("a"))
    assert asked.append("a", b"3") == Appended(0)


def test_what_somebody_else_added_is_dropped_with_what_came_before(asked: Asked) -> None:
    asked.append("a", b"1")
    asked.ask("XADD", asked.stream("a"), "*", "x", "y")
    assert asked.append("a", b"2") == Appended(0, healed=True)
    assert asked.append("a", b"3") == Appended(0)
    assert asked.since("a", Position(0, "ID.1")).gap
    page = asked.since("a", Position(1, "ID.1"))
    assert [rest for _, rest in page.entries] == [b"2", b"3"]


def test_garbage_in_what_all_have_in_common_begins_anew_or_is_an_error(asked: Asked) -> None:
    asked.append("a", b"1")
    asked.ask("HSET", "p:places", "count", "garbage", asked.stream("a"), "\0")
    assert asked.look("a").position.offset == 0
    asked.append("a", b"1")
    assert asked.look("a").position.offset == 1
    asked.ask("DEL", "p:ages")
    asked.ask("SET", "p:ages", "x")
    with pytest.raises(RefusedError, match="WRONGTYPE"):
        asked.append("b", b"1")


def test_a_full_server_does_nothing_of_it(asked: Asked) -> None:
    asked.append("a", b"1")
    before = asked.ask("HGETALL", "p:places")
    asked.ask("CONFIG", "SET", "maxmemory", "1")
    for _ in range(2):
        with pytest.raises(RefusedError, match="OOM"):
            asked.append("a", b"2")
    assert asked.since("a", Position(0, "ID.1")).entries
    asked.ask("CONFIG", "SET", "maxmemory", "0")
    assert asked.ask("HGETALL", "p:places") == before
    assert asked.ask("GET", "p:seen:{n}") == b"1 ID 3"


def test_a_stream_that_the_server_threw_out_is_a_gap_and_counts_for_nothing(asked: Asked) -> None:
    for number in range(5):
        asked.append("a", b"%d" % number)
    asked.ask("DEL", asked.stream("a"))
    assert asked.since("a", Position(0, "ID.1")).gap
    assert not asked.since("a", Position(5, "ID.1")).gap
    for number in range(20):
        asked.append("a", b"%d" % number)
    assert asked.since("a", Position(5, "ID.1")).gap
    page = asked.since("a", Position(20, "ID.1"))
    assert [rest for _, rest in page.entries] == [b"15", b"16", b"17", b"18", b"19"]
    octets = 5 * scripts.ENTRY_OVERHEAD + 10 + scripts.CHANNEL_OVERHEAD + len(asked.stream("a"))
    assert int(asked.ask("HGET", "p:places", "octets")) == octets
