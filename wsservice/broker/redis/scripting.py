"""Call scripts, which a server keeps by their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs

from ...errors import Refused
from .claims import LITTLE

Word = bytes | str | int | float


class Ask(Protocol):
    """A function that sends a command, such as `Conversation.ask`."""

    def __call__(
        self, words: Sequence[Word], answered: Callable[[Any], None], *, elements: int
    ) -> None:
        """Send a command; `answered` is called with its answer of at most `elements`."""


@attrs.frozen
class LuaScript:
    """A script in Lua. `elements` is the most elements of its answer (see `Conversation.ask`)."""

    text: str
    elements: int = LITTLE
    sha: str = attrs.field(init=False)

    @sha.default
    def _sha(self) -> str:
        return hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324 - Redis's way


_Call = tuple[Sequence[Word], Callable[[Any], None]]


@attrs.define(eq=False)
class _Use:
    under_way: int = 0
    """The number of calls by digest that have no answer yet."""
    missed: list[_Call] = attrs.field(factory=list)
    """Calls that the server refused since it did not know the digest."""
    later: list[_Call] = attrs.field(factory=list)
    """Calls that were made after the first refused one."""


class Scripts:
    """The scripts of one connection. The first call of each sends its text.

    If the server has lost a script since, its calls are made again in their order.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._uses: dict[str, _Use] = {}

    def call(
        self, script: LuaScript, words: Sequence[Word], answered: Callable[[Any], None]
    ) -> None:
        """Call a script. `words` are the number of keys, the keys, and the arguments."""
        use = self._uses.get(script.sha)
        if use is None:
            self._uses[script.sha] = _Use()
            self._ask(("EVAL", script.text, *words), answered, elements=script.elements)
        elif use.missed:
            # Behind the refused calls. A message that overtook an earlier one was once taken for
            # its successor, and the earlier one was never delivered.
            use.later.append((words, answered))
        else:
            self._by_digest(script, use, (words, answered))

    def _by_digest(self, script: LuaScript, use: _Use, call: _Call) -> None:
        words, answered = call

        def came(answer: Any) -> None:
            use.under_way -= 1
            if isinstance(answer, Refused) and answer.kind == "NOSCRIPT":
                use.missed.append(call)
            else:
                answered(answer)
            # Only after the last answer: calls on their way may be refused too, and come first.
            if use.missed and not use.under_way:
                self._again(script, use)

        use.under_way += 1
        self._ask(("EVALSHA", script.sha, *words), came, elements=script.elements)

    def _again(self, script: LuaScript, use: _Use) -> None:
        calls = [*use.missed, *use.later]
        use.missed, use.later = [], []
        for words, answered in calls:
            self._ask(("EVAL", script.text, *words), answered, elements=script.elements)
