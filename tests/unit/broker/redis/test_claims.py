from __future__ import annotations

import contextlib
import time
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.broker.redis import claims
from wsservice.broker.redis.claims import DEEPEST, LITTLE, Claims

from ....redis import bulk, push

MOST = 1000
NOTHING = object()


class Judge:
    """Claims, and the parser behind them. Each question can have so many `elements`."""

    def __init__(self, elements: int = 0, octets: int = MOST) -> None:
        self.claims = Claims(octets)
        self.elements = elements
        self.parsed = b""
        self.reader = hiredis.Reader(notEnoughData=NOTHING)
        self.answers: list[Any] = []

    def say(self, *octets: bytes) -> Judge:
        for rest in octets:
            while rest and self.claims.problem is None:
                taken, rest = self.claims.take(rest)
                self.parsed += taken
                self.reader.feed(taken)
                while (answer := self.reader.gets()) is not NOTHING:
                    self.answers.append(answer)
                if rest:
                    self.claims.allow(self.elements)
        return self


def one_by_one(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


@pytest.mark.parametrize("kind", ["*", "%", "~"])
@pytest.mark.parametrize("cut", [list, one_by_one])
def test_a_claim_a_little_over_what_the_question_can_have_is_not_parsed(
    kind: str, cut: Any
) -> None:
    each = 2 if kind == "%" else 1
    most = 30 * each
    within = Judge(most).say(f"{kind}30\r\n".encode())
    assert (within.claims.problem, within.parsed) == (None, f"{kind}30\r\n".encode())
    head = f"{kind}31\r\n".encode()
    judge = Judge(most).say(b":1\r\n", *(one_by_one(head) if cut is one_by_one else [head]))
    assert judge.claims.problem == (
        f"claims {31 * each} elements in an answer that can have {most}"
    )
    assert (judge.parsed, judge.answers) == (b":1\r\n", [1])


def test_what_is_claimed_within_an_answer_counts_too() -> None:
    inner = b"*9\r\n" + bulk(*range(9))
    assert Judge(30).say(b"*3\r\n", inner, inner, inner).answers == [[list(range(9))] * 3]
    judge = Judge(29).say(b"*3\r\n" + inner + inner + inner)
    assert judge.claims.problem == "claims 30 elements in an answer that can have 29"
    assert judge.parsed == b"*3\r\n" + inner + inner


def test_each_answer_has_its_own_bound() -> None:
    answer = b"*20\r\n" + bulk(*range(20))
    judge = Judge(20).say(answer)
    judge.elements = LITTLE
    judge.say(answer)
    assert judge.answers == [list(range(20))]
    assert judge.claims.problem == "claims 20 elements in an answer that can have 16"


def test_any_answer_may_have_a_few() -> None:
    assert Judge().say(b"*16\r\n" + bulk(*range(16))).answers == [list(range(16))]


def test_a_push_has_a_few_whatever_was_asked() -> None:
    judge = Judge(1000).say(b">17\r\n")
    assert judge.claims.problem == "claims 17 elements in a push that can have 16"
    judge = Judge(1000).say(b">2\r\n+invalidate\r\n*15\r\n")
    assert judge.claims.problem == "claims 17 elements in a push that can have 16"


def test_a_string_over_the_bound_is_refused_by_its_head() -> None:
    judge = Judge().say(bulk(b"x" * MOST))
    assert judge.claims.problem == "sent more than 1000 octets in one answer"
    assert judge.parsed == b""
    whole = bulk(b"x" * 100)
    assert Judge(octets=len(whole)).say(whole).answers
    assert Judge(octets=len(whole) - 1).say(whole).parsed == b""


@pytest.mark.parametrize("cut", [1, 1 << 20])
def test_strings_that_are_too_much_together_are_refused(cut: int) -> None:
    octets = b"*3\r\n" + bulk(b"x" * 400, b"y" * 400, b"z" * 400)
    judge = Judge().say(*(octets[at : at + cut] for at in range(0, len(octets), cut)))
    assert judge.claims.problem == "sent more than 1000 octets in one answer"
    assert judge.parsed == octets[: len(b"*3\r\n" + bulk(b"x" * 400, b"y" * 400))]


@pytest.mark.parametrize("message", [b"message", b"smessage"])
def test_a_message_over_the_bound_is_refused_by_its_head(message: bytes) -> None:
    whole = push(message, b"name", b"x" * 950)
    assert Judge(octets=len(whole)).say(whole).answers
    judge = Judge(octets=len(whole) - 1).say(whole)
    assert judge.claims.problem == f"sent more than {len(whole) - 1} octets in one answer"
    assert judge.answers == []


@pytest.mark.parametrize("kind", [b"*1\r\n", b"~1\r\n", b"%1\r\n+a\r\n"])
def test_no_answer_is_deep(kind: bytes) -> None:
    assert Judge(100).say(kind * DEEPEST + b":1\r\n").answers
    assert Judge(100).say(kind * (DEEPEST + 1)).claims.problem == (
        "nests an answer deeper than 8 levels"
    )


@pytest.mark.parametrize(
    "octets",
    [
        b"*1_6\r\n",
        b"*+1\r\n",
        b"*01\r\n",
        b"* 1\r\n",
        b"*?\r\n",
        b"$?\r\n",
        b"*-2\r\n",
        b"*1\r1\r\n",
        b"*99999999999\r\n",
        b"*" + b"1" * 20,
        b"|1\r\n+a\r\n+b\r\n",
        b"!3\r\nERR\r\n",
        b"*1\r\n>1\r\n+a\r\n",
        b">-1\r\n",
        b"+a\nb\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x1b[1m",
        b"+" + b"x" * 65_536,
    ],
)
def test_what_redis_never_sends_is_refused(octets: bytes) -> None:
    judge = Judge(octets=1 << 20).say(octets)
    problem = judge.claims.problem
    assert problem is not None
    assert problem.startswith("speaks something else than RESP: ")
    assert problem.isprintable()


def test_a_name_that_is_not_as_long_as_it_says_hides_no_claim() -> None:
    # The parser takes the text in the name's place for a head.
    hidden = b">3\r\n$7\r\nmessage\r\n$1\r\nab\r\n$30\r\n"
    judge = Judge(octets=1 << 20).say(
        push(b"message", b"a", b"b"), hidden + b"x\r\n*17\r\n" + b"x" * 40
    )
    assert judge.claims.problem is not None


@pytest.mark.parametrize("length", [b"-2", b"+5", b" 5", b"1_0", b"05", b""])
def test_a_payload_without_a_length_is_refused(length: bytes) -> None:
    head = b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$"
    judge = Judge(octets=1 << 20)
    with contextlib.suppress(hiredis.ProtocolError):
        judge.say(push(b"message", b"a", b"b"), head + length + b"\r\n" + b"x" * 40)
        assert judge.claims.problem is not None
    assert judge.answers == [[b"message", b"a", b"b"]]


def test_a_payload_that_is_null_hides_no_claim() -> None:
    # To who takes -1 for a length, a string begins here in which the claim stands.
    octets = b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$-1\r\n"
    judge = Judge().say(octets + b"+$40\r\n*17\r\n" + b"x" * 40)
    assert judge.parsed == octets + b"+$40\r\n"
    assert judge.claims.problem == "claims 17 elements in an answer that can have 16"


def test_messages_of_many_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_MOST_KNOWN", 5)
    names = [b"%d" % number for number in range(12)]
    judge = Judge(octets=1 << 20).say(*(push(b"message", name, b"x") for name in names * 2))
    assert [answer[1] for answer in judge.answers] == names * 2
    assert len(judge.claims._known) <= 5


def test_what_is_neither_a_message_nor_a_number_takes_no_longer_for_what_follows() -> None:
    # Were its end looked for in all that follows, this would take minutes.
    octets = b"*1\r\n:1\r\n" * 100_000 + b"$1\r\na\r\n"
    started = time.process_time()
    taken, rest = Claims(1 << 30).take(octets)
    assert (len(taken), rest) == (len(octets), b"")
    assert time.process_time() - started < 15


ANSWER = st.recursive(
    st.one_of(
        st.integers(-99, 99).map(lambda number: b":%d\r\n" % number),
        st.binary(max_size=30).map(bulk),
        st.sampled_from([b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(12\r\n", b"=5\r\ntxt:a\r\n"]),
        st.sampled_from(
            [b"$-1\r\n", b"*-1\r\n", b"+OK\r\n", b"-ERR no\r\n", b"*0\r\n", b"%0\r\n", b"~0\r\n"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(
            lambda parts: b"*%d\r\n" % len(parts) + b"".join(parts)
        ),
        inner.map(lambda part: b"%1\r\n+key\r\n" + part),
        st.just(b"*17\r\n" + bulk(*range(17))),
    ),
    max_leaves=8,
)
PUSH = st.builds(
    push,
    st.sampled_from([b"message", b"smessage", b"subscribe"]),
    st.binary(max_size=9),
    st.binary(max_size=30),
)
STREAM = st.lists(st.one_of(ANSWER, PUSH, PUSH), max_size=6).map(b"".join)


def pieces(octets: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted(min(cut, len(octets)) for cut in cuts)
    return [octets[a:b] for a, b in zip([0, *at], [*at, len(octets)], strict=True)]


CUTS = st.lists(st.integers(0, 200), max_size=8)


@given(STREAM, CUTS)
def test_what_redis_sends_is_parsed_as_without_it(octets: bytes, cuts: list[int]) -> None:
    judge = Judge(10_000, 1 << 20).say(*pieces(octets, cuts))
    assert (judge.claims.problem, judge.parsed) == (None, octets)
    assert not judge.reader.has_data()


def largest(answer: Any) -> int:
    """The most elements in one answer, those within it included."""
    if isinstance(answer, dict):
        return 2 * len(answer) + sum(map(largest, answer.values()))
    return len(answer) + sum(map(largest, answer)) if isinstance(answer, list) else 0


@given(STREAM, st.lists(st.tuples(st.integers(0, 120), st.binary(max_size=4)), max_size=3), CUTS)
def test_no_octets_have_the_parser_make_more_than_is_allowed(
    octets: bytes, changes: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    for at, change in changes:
        octets = octets[:at] + change + octets[at + len(change) :]
    judge = Judge(LITTLE, 200)
    with contextlib.suppress(hiredis.ProtocolError, TypeError):  # which end the connection
        judge.say(*pieces(octets + b"*17\r\n" + bulk(*range(17)), cuts))
    assert all(largest(answer) <= LITTLE for answer in judge.answers)
