from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from wsservice.broker.redis import connection as module
from wsservice.broker.redis.connection import (
    MOST_WAITING,
    PATIENCE,
    ConnectionOwner,
    Conversation,
    refused,
)
from wsservice.errors import Away, Refused, Unknown

from ....redis import Server, bulk, push
from ....support import Logged


class Kept(ConnectionOwner):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.pushes: list[Any] = []
        self.seconds: list[float] = []
        self.ends: list[str] = []

    def pushed(self, push: Sequence[Any]) -> None:
        self.pushes.append(list(push))

    def took(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def lost(self, conversation: Conversation, why: str) -> None:
        self.ends.append(why)


class Run:
    def __init__(self, **how: Any) -> None:
        self.clock = Clock()
        self.owner = Kept()
        self.conversation = Conversation(self.clock, self.owner, **how)
        self.server = Server(self.conversation)
        self.answers: list[Any] = []

    def ask(self, *words: Any, names: int = 0) -> None:
        self.conversation.ask(words, self.answers.append, names)

    def asked(self) -> list[list[Any]]:
        self.clock.advance(0)
        return self.server.asked()


def test_what_is_asked_in_one_turn_leaves_in_one_write() -> None:
    run = Run()
    writes: list[bytes] = []
    run.conversation._write = writes.append
    run.ask("SET", b"key\xff", 1, 0.5)
    run.ask("GET", "key")
    assert writes == []
    run.clock.advance(0)
    assert len(writes) == 1
    run.server.transport.write(writes[0])
    assert run.server.asked() == [[b"SET", b"key\xff", b"1", b"0.5"], [b"GET", b"key"]]
    assert run.conversation.octets_sent == len(writes[0])


def test_answers_come_in_order() -> None:
    run = Run()
    for number in range(4):
        run.ask("GET", number)
    run.server.say(bulk(b"a"), b":1\r\n", b"_\r\n", b"#f\r\n")
    assert run.answers == [b"a", 1, None, False]


def test_what_is_asked_because_of_answers_leaves_with_the_read() -> None:
    run = Run()
    run.conversation.ask(("A",), lambda _: run.ask("B"))
    run.clock.advance(0)
    run.server.asked()
    run.server.say(b"+OK\r\n")
    assert run.server.asked() == [[b"B"]]


@given(st.data())
def test_octets_may_come_in_any_pieces(data: st.DataObject) -> None:
    octets = (
        bulk(b"a" * 20) + push(b"message", b"x", b"y") + b"*2\r\n" + bulk(b"", 7) + b"-ERR n\r\n"
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    run = Run()
    for _ in range(3):
        run.ask("X")
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        run.server.say(octets[start:end])
    assert run.answers[:2] == [b"a" * 20, [b"", 7]]
    assert isinstance(run.answers[2], Refused)
    assert run.owner.pushes == [[b"message", b"x", b"y"]]


def test_pushes_come_between_answers_in_their_order() -> None:
    run = Run()
    seen: list[Any] = []
    run.owner.pushed = seen.append  # type: ignore[method-assign, assignment]
    run.conversation.ask(("PUBLISH",), seen.append)
    run.server.say(push(b"message", b"c", b"1"), b":2\r\n", push(b"message", b"c", b"3"))
    assert [each if isinstance(each, int) else each[2] for each in seen] == [b"1", 2, b"3"]


def test_an_error_is_an_answer() -> None:
    run = Run()
    run.ask("X")
    run.server.say(b"-WRONGTYPE Operation\t against\r\n")
    (error,) = run.answers
    assert (error.kind, error.text) == ("WRONGTYPE", "WRONGTYPE Operation\\t against")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ERR no", "ERR"),
        ("NOAUTH", "NOAUTH"),
        ("READONLY You can't write against a read only replica. script: abc", "READONLY"),
        ("ERR Error running script (call to f_ab): @user_script:1: -OOM command", "OOM"),
        ("ERR Error running script (call to f_ab): @user_script: 12: READONLY You", "READONLY"),
        ("something else", ""),
        ("", ""),
    ],
)
def test_the_kind_of_an_error_is_the_one_within_a_script(text: str, kind: str) -> None:
    assert refused(text).kind == kind


def test_an_error_is_shown_in_part() -> None:
    assert len(refused("ERR " + "x" * 10_000).text) == 300
    assert "\n" not in refused("ERR \n\x1b[1m").text


def test_a_subscription_has_a_push_for_each_name() -> None:
    run = Run()
    errors: list[Any] = []
    run.conversation.ask(("SUBSCRIBE", "a", "b"), errors.append, names=2)
    run.ask("GET", "c")
    run.server.say(push(b"subscribe", b"a", 1), push(b"subscribe", b"b", 2), bulk(b"c"))
    assert (run.answers, errors) == ([b"c"], [])
    assert len(run.owner.pushes) == 2


def test_a_subscription_that_is_refused_has_an_error() -> None:
    run = Run()
    run.ask("SUBSCRIBE", "a", "b", names=2)
    run.ask("GET", "c")
    run.server.say(b"-NOPERM no\r\n", bulk(b"c"))
    assert [getattr(each, "kind", each) for each in run.answers] == ["NOPERM", b"c"]


def test_where_it_is_lost_what_has_no_answer_is_unknown() -> None:
    run = Run()
    run.ask("A")
    run.ask("B")
    run.ask("SUBSCRIBE", "a", names=1)
    run.server.say(b"+OK\r\n")
    run.server.lose()
    assert run.answers[0] == b"OK"
    assert [type(each) for each in run.answers[1:]] == [Unknown, Unknown]
    assert run.owner.ends == ["Connection was closed cleanly."]
    run.ask("C")
    assert isinstance(run.answers[-1], Away)
    assert not run.clock.getDelayedCalls()


def test_what_comes_after_the_end_is_not_read() -> None:
    run = Run()
    run.conversation.ask(("A",), lambda _: run.conversation.abort("enough"))
    run.ask("B")
    run.server.say(b"+1\r\n+2\r\n")
    assert [str(each) for each in run.answers] == ["no answer: enough"]
    assert run.owner.ends == ["enough"]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"HTTP/1.1 400\r\n", "speaks something else than RESP"),
        (b"\x15\x03\x01\x00\x02\x02", "speaks something else than RESP"),
        (b"+OK\r\n", "sent an answer to nothing"),
    ],
)
def test_what_is_not_redis_ends_it(octets: bytes, why: str) -> None:
    run = Run()
    run.server.say(octets)
    (end,) = run.owner.ends
    assert end.startswith(why)
    assert end.isprintable()
    assert run.server.is_lost()


def test_an_answer_is_bounded() -> None:
    run = Run(most=1000)
    run.ask("A")
    run.ask("B")
    run.server.say(bulk(b"x" * 900), bulk(b"y" * 900))
    assert len(run.answers) == 2
    run.ask("C")
    run.server.say(b"$5000\r\n", b"x" * 995)
    run.server.say(b"x" * 10)
    assert run.owner.ends == ["sent more than 1000 octets in one answer"]


def test_a_claim_over_what_the_question_can_have_ends_it_before_it_is_parsed() -> None:
    run = Run()
    run.ask("A")
    run.conversation.ask(("B",), run.answers.append, elements=20)
    run.ask("C")
    fed: list[bytes] = []

    class Reader:
        def __init__(self, reader: Any) -> None:
            self.gets = reader.gets
            self._parse = reader.feed

        def feed(self, octets: bytes) -> None:
            fed.append(octets)
            self._parse(octets)

    run.conversation._reader = Reader(run.conversation._reader)
    run.server.say(b"+OK\r\n*20\r\n" + bulk(*range(20)) + b"*17\r\n", b":1\r\n" * 17)
    assert run.answers[:2] == [b"OK", list(range(20))]
    assert b"".join(fed) == b"+OK\r\n*20\r\n" + bulk(*range(20))
    assert run.owner.ends == ["claims 17 elements in an answer that can have 16"]
    assert [type(each) for each in run.answers[2:]] == [Unknown]
    assert run.server.is_lost()


def test_a_claim_in_an_answer_to_nothing_ends_it() -> None:
    run = Run()
    run.server.say(b"*17\r\n")
    assert run.owner.ends == ["claims 17 elements in an answer that can have 16"]


def test_until_it_is_trusted_answers_are_small() -> None:
    run = Run()
    run.ask("A")
    run.server.say(b"$65537\r\n")
    assert run.owner.ends == ["sent more than 65536 octets in one answer"]
    other = Run()
    other.conversation.trust()
    other.ask("A")
    other.server.say(bulk(b"x" * 65_537))
    assert len(other.answers[0]) == 65_537


def test_a_map_with_a_list_for_a_key_ends_it(logged: Logged) -> None:
    run = Run()
    run.ask("A")
    run.server.say(b"%1\r\n*1\r\n+a\r\n+b\r\n")
    (end,) = run.owner.ends
    assert end.startswith("speaks something else than RESP: ")
    assert (logged.text, run.server.is_lost()) == ("", True)


def test_what_the_parser_holds_is_freed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reader(hiredis.Reader):
        pass

    monkeypatch.setattr(hiredis, "Reader", Reader)
    run = Run()
    run.ask("A")
    errors: list[Any] = []

    def answered(error: Exception) -> None:
        try:
            raise error
        except Unknown as raised:
            errors.append(raised)  # with the frames that led to it

    run.conversation.ask(("B",), answered)
    gone = weakref.ref(run.conversation._reader)
    gc.disable()
    try:
        run.server.say(b"*2\r\n$100\r\nabc")
        assert gone() is not None
        run.server.say(b"x" * 97 + b"\r\n:1\r\n*17\r\n")
        assert len(errors) == 1
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("how", ["by us", "by it"])
def test_one_that_is_over_is_freed_at_once(how: str) -> None:
    run = Run()
    run.ask("A")
    run.server.say(b"*2\r\n$100\r\nabc")
    transport = run.server.transport
    transport.wrapped = run.conversation  # type: ignore[attr-defined] # as TLS does
    gone = weakref.ref(run.conversation)
    gc.disable()
    try:
        if how == "by us":
            run.conversation.abort("enough")
            assert run.conversation._reader is None
        else:
            run.server.lose()
        assert len(run.answers) == 1
        del transport.abortConnection  # which is the server's
        del run.server, run.conversation, transport
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "octets", [push(), b">1\r\n*1\r\n+a\r\n", b">3\r\n%0\r\n:1\r\n_\r\n", b">1\r\n_\r\n"]
)
def test_a_push_of_any_kind_is_none_of_an_answer(octets: bytes, logged: Logged) -> None:
    run = Run()
    run.ask("A")
    run.server.say(octets, b"+OK\r\n")
    assert (run.answers, len(run.owner.pushes)) == ([b"OK"], 1)
    assert (run.owner.ends, logged.text) == ([], "")


def test_an_answer_of_many_parts_is_bounded_too() -> None:
    run = Run(most=1000)
    run.ask("A")
    for _ in range(300):
        run.server.say(b"*1\r\n")
        if run.owner.ends:
            break
    assert len(run.owner.ends) == 1


def test_what_waits_to_be_sent_is_bounded() -> None:
    run = Run()
    run.conversation.pauseProducing()
    half = b"x" * (MOST_WAITING // 2)
    for _ in range(3):
        run.ask("SET", "a", half)
    assert [type(each) for each in run.answers] == [Away]
    assert run.asked() == []
    run.conversation.resumeProducing()
    assert len(run.server.asked()) == 2
    run.ask("GET", "a")
    assert run.asked() == [[b"GET", b"a"]]


def test_names_find_room_in_any_case() -> None:
    run = Run()
    run.conversation.pauseProducing()
    run.ask("SET", "a", b"x" * MOST_WAITING)
    run.ask("SUBSCRIBE", "a", names=1)
    assert run.answers == []
    run.conversation.end()
    run.ask("SUBSCRIBE", "b", names=1)
    assert [type(each) for each in run.answers] == [Away]


def test_what_is_waited_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ASKED", 3)
    run = Run()
    for _ in range(4):
        run.ask("A")
    assert [type(each) for each in run.answers] == [Away]


def test_a_late_answer_is_unknown_and_its_place_is_kept() -> None:
    run = Run()
    run.ask("A")
    for _ in range(PATIENCE + 1):
        run.clock.advance(1)
        # It is there: something comes, if no answer.
        run.server.say(push(b"message", b"c", b"x"))
    assert [type(each) for each in run.answers] == [Unknown]
    run.ask("B")
    run.server.say(b"+A\r\n+B\r\n")
    assert run.answers[1:] == [b"B"]
    assert not run.owner.ends


def test_silence_ends_it_where_something_was_asked() -> None:
    run = Run()
    run.clock.advance(1)
    run.ask("A")
    for _ in range(PATIENCE):
        run.clock.advance(1)
    assert run.owner.ends == []
    run.clock.advance(1)
    assert run.owner.ends == ["gave no answer within 5 s"]
    assert run.server.is_lost()
    assert [type(each) for each in run.answers] == [Unknown]


def test_silence_is_fine_where_nothing_was_asked() -> None:
    run = Run()
    run.clock.pump([1] * 100)
    assert run.owner.ends == []
    assert run.asked() == []


def test_a_clock_that_jumps_ends_nothing() -> None:
    run = Run()
    run.ask("A")
    run.clock.advance(3600)
    assert run.owner.ends == []
    run.server.say(b"+OK\r\n")
    assert run.answers == [b"OK"]


def test_it_ends_once_what_was_asked_is_answered() -> None:
    run = Run()
    run.ask("A")
    run.conversation.end()
    assert run.asked() == [[b"A"]]
    run.ask("B")
    assert [type(each) for each in run.answers] == [Away]
    assert not run.server.is_lost()
    run.server.say(b"+OK\r\n")
    assert run.answers[1:] == [b"OK"]
    assert run.server.is_lost()


def test_it_ends_at_once_where_nothing_was_asked() -> None:
    run = Run()
    run.conversation.end()
    run.conversation.end()
    assert run.owner.ends == ["ended"]


def test_how_long_answers_took_is_told() -> None:
    run = Run()
    run.ask("A")
    run.ask("SUBSCRIBE", "a", names=1)
    run.clock.advance(0.25)
    run.server.say(b"+OK\r\n", push(b"subscribe", b"a", 1))
    assert run.owner.seconds == [0.25]
