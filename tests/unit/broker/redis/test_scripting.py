from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from wsservice.broker.redis.scripting import LuaScript, Scripts
from wsservice.errors import Refused, Unknown

ONE, OTHER = LuaScript("return 1"), LuaScript("return 2")
MISSED = Refused("NOSCRIPT No matching script", "NOSCRIPT")


class Run:
    """Scripts, and a server that answers when it is told to, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.waiting: deque[Callable[[Any], None]] = deque()
        self.answers: list[Any] = []
        self.elements: list[int] = []
        self.scripts = Scripts(self.ask)

    def ask(self, words: Sequence[Any], answered: Callable[[Any], None], *, elements: int) -> None:
        self.elements.append(elements)
        self.asked.append(tuple(words))
        self.waiting.append(answered)

    def call(self, script: LuaScript, *words: Any) -> None:
        self.scripts.call(script, words, lambda answer: self.answers.append((words, answer)))

    def answer(self, *answers: Any) -> None:
        for answer in answers:
            self.waiting.popleft()(answer)


def test_a_script_is_known_by_its_sha() -> None:
    assert LuaScript("return 1").sha == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"


def test_the_text_is_sent_once() -> None:
    run = Run()
    run.call(ONE, 0, "a")
    run.call(ONE, 0, "b")
    run.call(OTHER, 0)
    assert run.asked == [
        ("EVAL", "return 1", 0, "a"),
        ("EVALSHA", ONE.sha, 0, "b"),
        ("EVAL", "return 2", 0),
    ]
    run.answer(1, 2, 3)
    assert run.answers == [((0, "a"), 1), ((0, "b"), 2), ((0,), 3)]


def test_what_the_server_lost_is_called_again_in_order() -> None:
    run = Run()
    run.call(ONE, 0, "first")
    run.answer(1)
    for name in ("a", "b"):
        run.call(ONE, 0, name)
    run.answer(MISSED)
    # The answer of b is not there yet, and c comes after it.
    run.call(ONE, 0, "c")
    run.call(OTHER, 0)
    assert run.asked[3:] == [("EVAL", "return 2", 0)]
    run.answer(MISSED)
    assert run.asked[4:] == [("EVAL", "return 1", 0, name) for name in ("a", "b", "c")]
    run.call(ONE, 0, "d")
    assert run.asked[-1] == ("EVALSHA", ONE.sha, 0, "d")
    run.answer("other", *"abcd")
    assert [answer for _, answer in run.answers] == [1, "other", *"abcd"]


def test_another_error_is_an_answer() -> None:
    run = Run()
    run.call(ONE, 0)
    run.call(ONE, 0)
    error = Refused("OOM", "OOM")
    run.answer(error, error)
    assert [answer for _, answer in run.answers] == [error, error]


def test_every_call_has_its_answer_where_the_connection_ends() -> None:
    run = Run()
    for number in range(4):
        run.call(ONE, 0, number)
    lost = Unknown("over")
    run.answer(1, MISSED, lost, lost)
    # What was missed is asked again, of a connection that is over.
    run.answer(lost)
    assert sorted(words[1] for words, _ in run.answers) == [0, 1, 2, 3]


def test_every_call_tells_how_much_its_answer_may_have() -> None:
    run = Run()
    script = LuaScript("return 3", elements=300)
    run.call(script)
    run.call(script)
    run.answer(1, MISSED)
    assert [words[0] for words in run.asked] == ["EVAL", "EVALSHA", "EVAL"]
    assert run.elements == [300, 300, 300]
