from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from wsservice.auth.contract import User
from wsservice.broker import framing, hearing, scripts
from wsservice.broker import hub as module
from wsservice.broker.hub import BrokerHub
from wsservice.broker.naming import Names
from wsservice.broker.questions import NOWHERE
from wsservice.broker.queued import QueuedMessage
from wsservice.channels.envelopes import SharedFrames
from wsservice.channels.history import Missed
from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.channels.query import Latest, Position
from wsservice.config.config import Config
from wsservice.errors import (
    Away,
    HistoryAwayError,
    NotPublishedError,
    Refused,
    UncertainError,
    Unknown,
)
from wsservice.net.gathering import Gathering
from wsservice.protocol.sending import PreparedMessage

from ...support import Logged

BROKER = "redis://x"


class Link:
    """A server, as the hub sees it, that answers when it is told to."""

    def __init__(self) -> None:
        self.up = True
        self.problem: str | None = None
        self.watchers: list[Callable[[Any], None]] = []
        self.publishes = b"SPUBLISH"
        self.heard: dict[bytes, Callable[[bytes], None]] = {}
        self.confirming: dict[bytes, Deferred[None]] = {}
        self.published: list[tuple[bytes, bytes, Deferred[int]]] = []
        self.scripts: list[tuple[str, list[Any], list[Any], Deferred[Any]]] = []

    def __str__(self) -> str:
        return BROKER

    def subscribe(self, name: bytes, heard: Callable[[bytes], None]) -> Deferred[None]:
        assert name not in self.heard
        self.heard[name] = heard
        self.confirming[name] = Deferred()
        return self.confirming[name]

    def unsubscribe(self, name: bytes) -> None:
        del self.heard[name]
        confirming = self.confirming.pop(name, None)
        if confirming is not None:
            confirming.errback(Away("unsubscribed"))

    def publish(self, name: bytes, payload: bytes) -> Deferred[int]:
        if not self.up:
            return fail(Away("away"))
        self.published.append((name, payload, Deferred()))
        return self.published[-1][2]

    def script(self, script: Any, keys: Sequence[Any], words: Sequence[Any]) -> Deferred[Any]:
        if not self.up:
            return fail(Away("away"))
        kinds = {scripts.APPEND: "append", scripts.LOOK: "look", scripts.SINCE: "since"}
        self.scripts.append((kinds[script.text], list(keys), list(words), Deferred()))
        return self.scripts[-1][3]

    # What a test does

    def confirm(self) -> None:
        for name in tuple(self.confirming):
            self.confirming.pop(name).callback(None)

    def say(self, octets: bytes, channel: str = "a") -> None:
        self.heard[b"p:said:{%s}" % channel.encode()](octets)

    def echo(self, nodes: int = 1) -> None:
        """Say what was published first, and answer it."""
        name, octets, answer = self.published.pop(0)
        if name in self.heard:
            self.heard[name](octets)
        answer.callback(nodes)

    def asked(self, kind: str) -> list[Any]:
        """The arguments of the calls of a script that were not answered yet."""
        return [words for named, _, words, _ in self.scripts if named == kind]

    def answer(self, answer: Any) -> None:
        """Answer the first call of a script."""
        deferred = self.scripts.pop(0)[3]
        (deferred.errback if isinstance(answer, Exception) else deferred.callback)(answer)

    def go_down(self) -> None:
        calls = [each[3] for each in self.scripts] + [each[2] for each in self.published]
        self.scripts.clear()
        self.published.clear()
        for each in calls:
            each.errback(Unknown("lost"))
        self.up, self.problem = False, "refused"
        for watcher in self.watchers:
            watcher(self)

    def come_up(self) -> None:
        self.up, self.problem = True, None
        for watcher in self.watchers:
            watcher(self)


class Engine:
    node = "n1"
    names = Names("p")

    def __init__(self, *links: Link) -> None:
        self.links = links

    def of(self, channel: str) -> Link:
        return self.links[len(channel) % len(self.links)]


class Member:
    """A connection that keeps what it is sent, and how it fell behind."""

    def __init__(self, channel: str = "a") -> None:
        self.channel = channel
        self.channels: tuple[str, ...] = (channel,)
        self.user: User | None = None
        self.got: list[tuple[bytes, Position | None]] = []
        self.behind: list[tuple[str, Position]] = []
        self.gaps: list[str] = []

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> bool:
        position = preparedMsg.message.position if isinstance(preparedMsg, SharedFrames) else None
        self.got.append((preparedMsg.payload, position))
        return True

    def fall_behind(self, channel: str, since: Position) -> None:
        self.behind.append((channel, since))

    def tell_gap(self, channel: str) -> None:
        self.gaps.append(channel)

    def go_away(self) -> None:
        raise AssertionError("nobody asked")

    @property
    def payloads(self) -> list[bytes]:
        return [payload for payload, _ in self.got]


class Met:
    """A hub, and its server."""

    def __init__(self, **settings: Any) -> None:
        self.link = Link()
        self.clock = Clock()
        self.config = Config(broker=(BROKER,), **settings)
        engine: Any = Engine(self.link)
        self.hub = BrokerHub(self.config, engine, self.clock)

    def join(self, channel: str = "a", behind: bool = False) -> Member:
        member = Member(channel)
        self.hub.arrive(member)
        self.hub.join(member, behind)
        return member

    def joined(self, channel: str = "a", at: Position | None = None) -> Member:
        """One on a channel that is heard; `at` is where it is by the history."""
        member = self.join(channel)
        self.link.confirm()
        if at is not None:
            self.link.answer([at.offset, at.epoch.encode(), 0, 0])
        return member

    def deliver(self, payload: bytes = b"x", channel: str = "a") -> list[Any]:
        became: list[Any] = []
        self.hub.deliver(ChannelMessage(channel, payload)).addBoth(became.append)
        return became


def said(payload: bytes, sequence: int, node: bytes = b"n2") -> bytes:
    """A message of another node."""
    return framing.framed(framing.body(node, sequence, payload, False), 5.0)


def numbered(
    payload: bytes, offset: int, epoch: str = "E.1", node: bytes = b"n2", sequence: int = 0
) -> bytes:
    body = framing.body(node, sequence or offset, payload, False)
    return b"1 %d %s 5000 %s" % (offset, epoch.encode(), body)


class TestPublishing:
    def test_what_is_published_comes_back_to_who_is_here(self) -> None:
        met = Met()
        member = met.joined()
        assert met.hub.publish("a", b"x") == 1
        assert member.got == []
        name, octets, _ = met.link.published[0]
        heard = framing.heard("a", octets, 100)
        assert (name, heard.message.payload) == (b"p:said:{a}", b"x")
        assert (heard.node, heard.sequence) == (b"n1", 1)
        met.link.echo()
        assert member.got == [(b"x", None)]
        assert met.hub.figures["published"] == met.hub.figures["received"] == 1

    def test_whoever_came_a_moment_ago_gets_it_too(self) -> None:
        met = Met()
        met.join()
        assert met.hub.publish("a", b"1") == 1
        assert met.hub.publish("a", b"2") == 1
        assert met.link.published == []
        assert met.hub.publish("b", b"elsewhere") == 0
        met.link.confirm()
        heard = [framing.heard("a", octets, 100) for _, octets, _ in met.link.published]
        assert [each.message.payload for each in heard] == [b"elsewhere", b"1", b"2"]

    def test_what_is_held_for_all_channels_is_bounded_in_octets(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        met = Met()
        least = QueuedMessage(ChannelMessage("a", b"")).octets
        monkeypatch.setattr(hearing, "MOST_OCTETS", 2 * least + 100)
        for channel in ("a", "b", "c"):
            met.join(channel)
            met.hub.publish(channel, b"x" * 50)
        # The third is published though who has just come may not get it.
        assert [name for name, _, _ in met.link.published] == [b"p:said:{c}"]
        met.link.confirm()
        assert sorted(name for name, _, _ in met.link.published) == [
            b"p:said:{a}",
            b"p:said:{b}",
            b"p:said:{c}",
        ]
        met.join("d")
        met.hub.publish("d", b"x" * 100)
        assert len(met.link.published) == 3

    def test_not_for_ever_and_not_where_the_server_is_away(self) -> None:
        met = Met()
        met.join()
        became = met.deliver()
        met.clock.advance(4)
        assert became[0].type is NotPublishedError
        became = met.deliver()
        met.link.go_down()
        assert became[0].type is NotPublishedError
        met.link.come_up()
        met.link.confirm()
        assert met.link.published == []

    def test_what_becomes_of_it(self) -> None:
        met = Met()
        assert met.deliver() == []
        met.link.echo(0)
        nobody = met.deliver()
        met.link.echo(0)
        assert nobody == [Published(0, 0, True, 0)]
        met.joined()
        here = met.deliver()
        met.link.echo(1)
        assert here == [Published(1, 0, True, 1)]
        everywhere = met.deliver()
        # The answer may come first.
        _, octets, answer = met.link.published.pop()
        answer.callback(3)
        assert everywhere == []
        met.link.say(octets)
        assert everywhere == [Published(1, 0, False, 3)]
        again = met.deliver()
        met.link.echo(-1)
        assert again == [Published(1, 0, False, None)]
        assert met.hub.servers[0].echoes == {}

    def test_what_does_not_come_back_is_not_waited_for(self) -> None:
        met = Met()
        met.joined()
        became = met.deliver()
        met.link.published.pop()[2].callback(2)
        met.clock.advance(1)
        assert became == [Published(0, 0, False, 2)]
        assert met.hub.servers[0].echoes == {}

    def test_where_the_server_is_away_or_does_not_answer(self) -> None:
        met = Met()
        became = met.deliver()
        met.clock.advance(4)
        assert became[0].type is UncertainError
        met.link.go_down()
        assert met.hub.publish("a", b"x") == 0
        assert met.deliver()[0].type is NotPublishedError

    def test_what_no_node_would_take_is_not_published(self) -> None:
        met = Met()
        with pytest.raises(ValueError, match="UTF-8"):
            met.hub.publish("a", b"\xff")
        met.hub.publish("a", b"\xff", True)
        with pytest.raises(ValueError, match="larger"):
            met.hub.publish("a", b"x" * (1024 * 1024 + 1))
        with pytest.raises(ValueError, match="give one of at most 255"):
            met.hub.publish("a" * 256, b"x")
        with pytest.raises(TypeError):
            met.hub.publish("a", "x")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="larger"):
            met.hub.deliver(ChannelMessage("a", b"x" * (1024 * 1024 + 1)))
        met.hub.prepare(Config(max_message_size=3_000_000))()
        met.hub.publish("a", b"x" * 2_000_000)
        assert len(met.link.published) == 2

    def test_a_channel_is_on_one_of_several_servers(self) -> None:
        links = Link(), Link()
        engine: Any = Engine(*links)
        hub = BrokerHub(Config(broker=(BROKER,)), engine, Clock())
        hub.publish("bb", b"x")
        hub.publish("a", b"x")
        assert [len(link.published) for link in links] == [1, 1]
        links[0].go_down()
        assert hub.publish("bb", b"x") == 0
        assert hub.figures["refused"] == 1
        hub.publish("a", b"x")
        assert len(links[1].published) == 2


class TestHearing:
    def test_channels_are_heard_from_the_first_connection_to_a_while_after_the_last(self) -> None:
        met = Met()
        first, second = met.join(), met.join()
        assert list(met.link.heard) == [b"p:said:{a}"]
        assert met.hub.states == {"waiting": 0, "heard": 0, "unheard": 1}
        met.link.confirm()
        met.hub.leave(first)
        met.hub.leave(second)
        met.clock.advance(hearing.LINGERING - 1)
        again = met.join()
        met.clock.advance(hearing.LINGERING)
        met.link.say(said(b"x", 1))
        assert again.payloads == [b"x"]
        met.hub.leave(again)
        met.clock.advance(hearing.LINGERING)
        assert met.link.heard == {}
        assert met.hub.states["heard"] == 0

    def test_one_that_leaves_before_it_is_heard(self) -> None:
        met = Met()
        met.hub.leave(met.join())
        met.clock.advance(hearing.LINGERING)
        assert met.link.heard == {}
        assert met.clock.getDelayedCalls() == []

    def test_a_channel_that_may_not_be_heard_is_tried_again(self) -> None:
        met = Met()
        logged = Logged()
        globalLogPublisher.addObserver(logged)
        try:
            member = met.join()
            met.hub.publish("a", b"x")
            name, confirming = met.link.confirming.popitem()
            del met.link.heard[name]
            confirming.errback(Refused("NOPERM no", "NOPERM"))
        finally:
            globalLogPublisher.removeObserver(logged)
        assert "the channel a cannot be heard: NOPERM no" in logged.text
        met.hub.publish("a", b"y")
        assert len(met.link.published) == 2
        met.clock.advance(5)
        met.link.confirm()
        met.link.echo()
        assert member.payloads == [b"x"]
        assert met.hub.states["unheard"] == 0

    def test_what_comes_in_one_turn_leaves_together(self) -> None:
        met = Met()
        gathering = met.hub.gathering = Gathering()
        met.joined()
        sent: list[int] = []

        class Gatherer:
            def send_gathered(self) -> None:
                sent.append(1)

        for sequence in (1, 2):
            met.link.say(said(b"x", sequence))
            assert gathering.under_way
        gathering.gatherers.append(Gatherer())
        assert sent == []
        met.clock.advance(0)
        assert (sent, gathering.under_way) == ([1], False)
        # Where something else has begun, it is ended by that.
        with gathering.together():
            met.link.say(said(b"x", 3))
        assert not gathering.under_way
        assert met.clock.getDelayedCalls() == []

    def test_what_comes_twice_is_given_once(self) -> None:
        met = Met()
        member = met.joined()
        for payload, sequence, node in (
            *((b"1", 1, b"n2"), (b"1", 1, b"n2"), (b"2", 2, b"n2"), (b"1", 1, b"n2")),
            (b"other", 1, b"n3"),
        ):
            met.link.say(said(payload, sequence, node))
        assert member.payloads == [b"1", b"2", b"other"]
        assert met.hub.figures["repeated"] == 2

    def test_so_many_nodes_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MOST_NODES", 2)
        met = Met()
        met.joined()
        for number in range(5):
            met.link.say(said(b"x", 1, b"n%d" % number))
        met.link.say(said(b"x", 2, b"n3"))
        assert list(met.hub.servers[0].heard) == [b"n4", b"n3"]

    def test_what_is_no_message_is_passed_over_and_said_now_and_then(self) -> None:
        met = Met()
        member = met.joined()
        met.clock.advance(1)
        logged = Logged()
        globalLogPublisher.addObserver(logged)
        try:
            for _ in range(5):
                met.link.say(b"\x1b[31m garbage")
            met.clock.advance(20)
            met.link.say(b"")
        finally:
            globalLogPublisher.removeObserver(logged)
        met.link.say(said(b"x", 1))
        assert member.payloads == [b"x"]
        assert met.hub.figures["poisoned"] == 6
        assert logged.text.count("passed over") == 2
        assert "\x1b" not in logged.text

    def test_who_may_have_missed_something_is_told_so_where_no_history_has_it(self) -> None:
        met = Met()
        member, other = met.joined(), met.join("b")
        met.link.go_down()
        late = met.join("c")
        assert member.gaps == []
        met.link.confirm()
        met.link.come_up()
        assert (member.gaps, other.gaps, late.gaps) == (["a"], [], [])
        met.link.go_down()
        met.link.come_up()
        assert (member.gaps, late.gaps) == (["a", "a"], ["c"])

    def test_of_very_many_channels_some_are_looked_at_at_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_AT_ONCE", 2)
        met = Met()
        members = [met.joined(str(number)) for number in range(5)]

        def told() -> int:
            return sum(len(each.gaps) for each in members)

        met.link.go_down()
        met.link.come_up()
        assert told() == 2
        # One that is away again tells the rest when it is back, and nobody twice for one time.
        met.link.go_down()
        met.clock.advance(0)
        assert told() == 2
        met.link.come_up()
        met.clock.advance(0)
        met.clock.advance(0)
        assert told() == 7

    def test_a_place_means_nothing_where_no_history_is_kept(self) -> None:
        met = Met()
        member = met.joined()
        met.link.say(numbered(b"x", 7))
        assert member.got == [(b"x", None)]
        assert not met.hub.has_history

    def test_why_it_is_not_ready(self) -> None:
        met = Met()
        assert met.hub.check() is None
        met.deliver()
        met.link.published.pop()[2].errback(Refused("OOM it is full", "OOM"))
        assert met.hub.check() == "broker redis://x refuses messages: OOM it is full"

    def test_at_the_end_no_timer_is_left(self) -> None:
        met = Met(broker_buffer=5)
        met.hub.leave(met.joined())
        met.link.go_down()
        became = met.deliver()
        met.hub.close()
        assert became[0].type is NotPublishedError
        assert met.clock.getDelayedCalls() == []
        met.link.come_up()
        assert met.link.published == []


AT = Position(3, "E.1")


class TestHistory:
    def met(self) -> Met:
        return Met(history="100,60")

    def test_what_is_published_is_appended_in_one_step(self) -> None:
        met = self.met()
        met.hub.publish("a", b"x")
        ((kind, keys, words, _),) = met.link.scripts
        assert kind == "append"
        kinds = [b"p:places", b"p:ages", b"p:stream:{a}", b"p:seen:{n1}", b"p:said:{a}"]
        assert keys == kinds
        assert words[1:7] == [b"", 0, 0, 1, 100, 60_000]
        assert words[-2:] == [b"SPUBLISH", b"t n1 1\nx"]
        # The standing of Redis is not known before its first answer.
        met.link.answer([b"E.x", 0, 1])
        ((_, _, words, _),) = met.link.scripts
        assert words[1:5] == [b"E.x", 0, 0, 1]
        became = met.deliver(b"y")
        assert met.link.scripts[1][2][1:5] == [b"E.x", 1, 0, 2]
        met.link.answer([2, 0])
        met.link.answer([2, 1])
        assert became == [Published(0, 0, False, 2)]
        assert met.hub.figures["poisoned"] == 2

    def test_each_call_brings_a_beginning_of_its_own(self) -> None:
        met = self.met()
        met.joined(at=AT)
        for number in range(3):
            met.hub.publish("b", b"x")
            met.hub.missed("a", Position(number, "E.1"))
        begins = [words[0] for _, _, words, _ in met.link.scripts]
        assert len(begins) == len(set(begins)) == 6

    def test_live_messages_have_their_place(self) -> None:
        met = self.met()
        member = met.joined(at=AT)
        met.link.say(numbered(b"x", 4))
        met.link.say(numbered(b"y", 1, "E.3", sequence=5))
        assert member.got == [(b"x", Position(4, "E.1")), (b"y", Position(1, "E.3"))]
        assert member.behind == []

    def test_a_jump_has_everybody_fetch_what_is_missing(self) -> None:
        met = self.met()
        member = met.joined(at=AT)
        met.link.say(numbered(b"x", 5))
        assert (member.got, member.behind) == ([], [("a", AT)])
        assert met.hub.figures["fetched"] == 1
        # It asks, and catches up.
        told: list[Missed] = []
        met.hub.missed("a", AT).addCallback(told.append)
        assert met.link.asked("since")[0][1:3] == [3, "E.1"]
        entries = [b"4-5000", b"t n2 4\nw", b"5-5000", b"t n2 5\nx"]
        met.link.answer([0, 5, b"E.1", *entries])
        (missed,) = told
        assert [entry.payload for entry in missed.entries] == [b"w", b"x"]
        assert missed.position == Position(5, "E.1")
        # That there is no more is known here: nothing need be asked.
        met.hub.missed("a", missed.position).addCallback(told.append)
        assert told[1] == Missed((), missed.position)
        met.hub.catch_up(member, "a", missed.position)
        met.link.say(numbered(b"y", 6))
        assert member.payloads == [b"y"]

    def test_the_last_messages_are_asked_for_once_the_channel_is_heard(self) -> None:
        met = self.met()
        member = met.join(behind=True)
        told: list[Missed] = []
        met.hub.missed("a", Latest(2)).addCallback(told.append)
        assert met.link.scripts == []
        met.link.confirm()
        (since,) = met.link.asked("since")
        assert (since[1:3], since[-1]) == ([0, ""], 2)
        met.link.answer([0, 5, b"E.1", b"4-5000", b"t n2 4\nw", b"5-5000", b"b n2 5\n\xff"])
        (missed,) = told
        assert [entry.payload for entry in missed.entries] == [b"w", b"\xff"]
        assert (missed.position, missed.whole, missed.gap) == (Position(5, "E.1"), True, False)
        # In this turn there is no message after them: new ones come next.
        met.hub.catch_up(member, "a", missed.position)
        met.link.say(numbered(b"y", 6))
        assert member.payloads == [b"y"]

    def test_a_page_before_others_is_not_whole(self) -> None:
        met = self.met()
        told: list[Missed] = []
        met.hub.missed("a", Latest(9)).addCallback(told.append)
        met.link.answer([0, 6, b"E.1", b"4-5000", b"t n2 4\nw", b"5-5000", b"t n2 5\nx"])
        assert (told[0].whole, told[0].position) == (False, Position(5, "E.1"))

    @pytest.mark.parametrize("name", [b"4-5000", b"nonsense", b"9" * 16 + b"-5"])
    def test_of_the_last_ones_one_that_makes_no_sense_is_passed_over(self, name: bytes) -> None:
        met = self.met()
        told: list[Missed] = []
        met.hub.missed("a", Latest(2)).addCallback(told.append)
        met.link.answer([0, 5, b"E.1", name, b"nonsense", b"5-5000", b"t n2 5\nx"])
        offset = 4 if name == b"4-5000" else 5
        assert told == [Missed((), Position(offset, "E.1"), gap=True)]
        assert met.hub.figures["poisoned"] == 1

    def test_a_behaviour_reads_it(self) -> None:
        met = self.met()
        told: list[Any] = []
        met.hub.history("a", limit=2).addCallback(told.append)
        met.link.answer([0, 5, b"E.1", b"4-5000", b"t n2 4\nw", b"5-5000", b"t n2 5\nx"])
        assert [each.payload for each in told[0].messages] == [b"w", b"x"]
        assert (told[0].position, told[0].gap) == (Position(5, "E.1"), False)

    def test_a_server_that_is_away_or_silent_is_an_error(self) -> None:
        met = self.met()
        told: list[Any] = []
        met.hub.history("a").addErrback(told.append)
        met.clock.advance(10)
        assert told[0].getErrorMessage() == "the history did not answer within 10 s"
        met.link.go_down()
        met.hub.history("a").addErrback(told.append)
        assert told[1].getErrorMessage() == f"broker {BROKER} is away"
        assert all(each.check(HistoryAwayError) for each in told)

    def test_where_a_channel_is_is_asked_for_once_it_is_heard(self) -> None:
        met = self.met()
        met.join(behind=True)
        told: list[Any] = []
        met.hub.position("a").addCallback(told.append)
        assert met.link.scripts == []
        met.link.confirm()
        assert len(met.link.asked("look")) == 1
        met.link.answer([3, b"E.1", 0, 0])
        assert told == [AT]
        met.hub.position("a").addCallback(told.append)
        assert told == [AT, AT]

    def test_who_leaves_meanwhile_is_not_told(self) -> None:
        met = self.met()
        met.join(behind=True)
        told: list[Any] = []
        for ask in (lambda: met.hub.position("a"), lambda: met.hub.missed("a", AT)):
            waiting: Deferred[Any] = ask()
            waiting.addErrback(lambda _: None).addCallback(told.append)
            waiting.cancel()
        met.link.confirm()
        met.link.answer([3, b"E.1", 0, 0])
        assert met.link.scripts == []
        assert told == [None, None]

    def test_when_it_is_back_channels_are_looked_at_and_what_was_missed_is_fetched(self) -> None:
        met = self.met()
        quiet, busy = met.joined("a", AT), met.joined("b", AT)
        met.link.say(numbered(b"x", 4), "b")
        met.link.go_down()
        assert met.hub.states["unheard"] == 2
        met.link.come_up()
        looked = met.link.asked("look")
        assert [words[1:] for words in looked] == [[3, "E.1", b""], [4, "E.1", b"t n2 4\n"]]
        met.link.answer([3, b"E.1", 0, 0])
        met.link.answer([9, b"E.1", 0, 0])
        assert quiet.behind == []
        assert busy.behind == [("b", Position(4, "E.1"))]
        assert quiet.gaps == busy.gaps == []

    def test_what_was_lost_by_the_server_is_found_out(self) -> None:
        met = self.met()
        member = met.joined(at=AT)
        met.link.go_down()
        # Before anything is known of it, something new has come that seems to follow.
        met.link.say(numbered(b"x", 4))
        met.link.come_up()
        assert met.link.asked("look")[0][1:] == [3, "E.1", b""]
        logged = Logged()
        globalLogPublisher.addObserver(logged)
        try:
            met.link.answer([0, b"E.8", 1, 0])
        finally:
            globalLogPublisher.removeObserver(logged)
        assert "Redis has lost messages of the channel a" in logged.text
        assert member.behind == [("a", AT)]

    def test_the_first_of_another_epoch_follows_nothing_that_is_in_doubt(self) -> None:
        met = self.met()
        member, other = met.joined("a", AT), met.joined("b", AT)
        met.link.go_down()
        met.link.come_up()
        # Redis has begun anew meanwhile, and this may be the first of many that were lost.
        met.link.say(numbered(b"x", 1, "F.1"))
        assert (member.got, member.behind) == ([], [("a", AT)])
        met.link.answer([1, b"F.1", 0, 0])
        told: list[Missed] = []
        met.hub.missed("a", AT).addCallback(told.append)
        # Nor does one that seems to be the next.
        met.link.say(numbered(b"y", 4, sequence=2), "b")
        assert (other.got, other.behind) == ([], [("b", AT)])
        met.link.answer([4, b"E.1", 0, 0])
        met.link.answer([1, 1, b"F.1"])
        assert told == [Missed((), Position(1, "F.1"), gap=True)]
        met.hub.catch_up(member, "a", told[0].position)
        met.hub.catch_up(other, "b", Position(4, "E.1"))
        # From there on each has its place again, also that of another epoch.
        met.link.say(numbered(b"z", 2, "F.1", sequence=3))
        met.link.say(numbered(b"z", 1, "F.3", sequence=4), "b")
        assert (member.payloads, other.payloads) == ([b"z"], [b"z"])
        assert len(member.behind) == len(other.behind) == 1

    def test_who_came_a_moment_ago_is_in_no_doubt(self) -> None:
        met = self.met()
        member = met.joined("a")
        met.link.say(numbered(b"x", 7))
        met.link.answer([7, b"E.1", 0, 0])
        met.link.say(numbered(b"y", 8))
        assert member.payloads == [b"x", b"y"]
        assert member.behind == []

    def test_a_number_that_was_heard_is_passed_over_in_another_epoch_too(self) -> None:
        met = self.met()
        member = met.joined(at=AT)
        met.link.say(numbered(b"x", 4, sequence=9))
        met.link.say(numbered(b"x", 1, "F.1", sequence=9))
        assert (member.payloads, member.behind, member.gaps) == ([b"x"], [], ["a"])
        met.link.say(numbered(b"y", 2, "F.1", sequence=10))
        met.link.say(numbered(b"of another", 3, "F.1", b"n3", sequence=1))
        assert member.payloads == [b"x", b"y", b"of another"]
        assert met.hub.figures["repeated"] == 1

    def test_one_of_this_node_that_was_heard_is_waited_for_no_longer(self) -> None:
        met = self.met()
        met.joined(at=AT)
        met.link.say(numbered(b"x", 4, node=b"n1", sequence=1))
        became = met.deliver()
        met.link.say(numbered(b"x", 5, node=b"n1", sequence=1))
        met.link.answer([1, 0])
        assert became == [Published(0, 0, True, 1)]

    def test_what_redis_has_begun_anew_is_counted(self) -> None:
        met = self.met()
        met.joined()
        met.link.answer([0, b"F.0", 0, 1])
        met.hub.missed("a", AT)
        met.link.answer([2, 0, b"F.0"])
        assert met.hub.figures["poisoned"] == 2

    def test_a_look_that_the_connection_did_not_outlive_is_made_again(self) -> None:
        met = self.met()
        met.joined(at=AT)
        met.link.go_down()
        met.link.come_up()
        met.link.go_down()
        assert met.link.scripts == []
        met.link.come_up()
        assert len(met.link.asked("look")) == 1
        assert met.link.asked("look")[0][1:3] == [3, "E.1"]

    def test_who_comes_to_a_channel_that_is_still_heard_knows_its_place(self) -> None:
        met = self.met()
        met.hub.leave(met.joined(at=AT))
        met.link.say(numbered(b"x", 4))
        member = met.join()
        met.link.say(numbered(b"y", 6))
        assert member.behind == [("a", Position(4, "E.1"))]

    def test_a_gap_is_said_to_be_one(self) -> None:
        met = self.met()
        met.joined(at=AT)
        told: list[Missed] = []
        met.hub.missed("a", Position(1, "E.0")).addCallback(told.append)
        met.link.answer([1, 3, b"E.1"])
        assert told == [Missed((), AT, gap=True)]

    def test_an_entry_that_is_none_is_a_gap_and_the_next_ones_are_not(self) -> None:
        met = self.met()
        met.joined(at=AT)
        told: list[Missed] = []
        page = [0, 3, b"E.1", b"1-5", b"t n 1\nx", b"2-5", b"garbage", b"3-5", b"t n 3\nz"]
        met.hub.missed("a", Position(0, "E.0")).addCallback(told.append)
        met.link.answer(page)
        met.hub.missed("a", Position(1, "E.1")).addCallback(told.append)
        met.link.answer([*page[:3], *page[5:]])
        assert [entry.payload for entry in told[0].entries] == [b"x"]
        assert told[0].position == Position(1, "E.1")
        assert told[1] == Missed((), Position(2, "E.1"), gap=True)
        assert met.hub.figures["poisoned"] == 1

    def test_where_the_history_cannot_be_read_it_is_a_gap_and_all_goes_on(self) -> None:
        met = self.met()
        met.join(behind=True)
        met.link.confirm()
        met.link.answer(Refused("WRONGTYPE no", "WRONGTYPE"))
        told: list[Missed] = []
        met.hub.missed("a", AT).addCallback(told.append)
        met.link.answer(Refused("WRONGTYPE no", "WRONGTYPE"))
        met.hub.missed("a", NOWHERE).addCallback(told.append)
        assert told == [Missed((), NOWHERE, gap=True), Missed((), NOWHERE)]

    def test_an_answer_that_makes_no_sense_is_no_answer(self) -> None:
        met = self.met()
        became = met.deliver()
        met.link.answer("nonsense")
        assert became[0].type is UncertainError


class TestUsers:
    def test_each_user_that_is_here_is_heard_and_no_other(self) -> None:
        met = Met()
        tom, two = met.join("a"), met.join("a")
        met.link.confirm()
        for each in (tom, two):
            each.user = User("tom/é")
            met.hub.identify(each)
        met.link.confirm()
        assert sorted(met.link.heard) == [b"p:said:{%00tom/%C3%A9}", b"p:said:{a}"]
        met.link.heard[b"p:said:{%00tom/%C3%A9}"](said(b"hi", 1))
        assert (tom.payloads, two.payloads) == ([b"hi"], [b"hi"])
        met.hub.leave(tom)
        met.clock.advance(hearing.LINGERING)
        assert b"p:said:{%00tom/%C3%A9}" in met.link.heard
        met.hub.leave(two)
        met.clock.advance(hearing.LINGERING)
        assert met.link.heard == {}

    @pytest.mark.parametrize("history", ["0", "10,60"])
    def test_a_message_comes_back_by_way_of_the_server_and_no_history_has_it(
        self, history: str
    ) -> None:
        met = Met(history=history)
        member = met.join("a", behind=history != "0")
        member.user = User("tom")
        met.hub.identify(member)
        met.link.confirm()
        became: list[Any] = []
        met.hub.send_user("tom", b"hi", True).addBoth(became.append)
        met.hub.send_user("tom", b"ho").addBoth(became.append)
        assert member.got == []
        assert [name for name, _, _ in met.link.published] == [b"p:said:{%00tom}"] * 2
        met.link.echo()
        met.link.echo()
        assert member.payloads == [b"hi", b"ho"]
        # All questions about a history are about the channel.
        assert [
            keys for _, keys, _, _ in met.link.scripts if b"%00tom" in repr(keys).encode()
        ] == []

    def test_whoever_came_a_moment_ago_gets_it_too(self) -> None:
        met = Met()
        member = met.join("a")
        member.user = User("tom")
        met.hub.identify(member)
        met.hub.send_user("tom", b"hi")
        assert met.link.published == []
        met.link.confirm()
        assert [name for name, _, _ in met.link.published] == [b"p:said:{%00tom}"]

    def test_a_server_that_was_away_makes_no_gap_for_a_user(self) -> None:
        met = Met()
        member = met.join("a")
        member.user = User("tom")
        met.hub.identify(member)
        met.link.confirm()
        met.link.go_down()
        met.link.come_up()
        met.link.confirm()
        assert member.gaps == ["a"]
