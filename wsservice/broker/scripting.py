"""Scripts, which a server keeps by their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from ..errors import Refused

Word = bytes | str | int | float
Ask = Callable[[Sequence[Word], Callable[[Any], None]], None]


@attrs.frozen
class Script:
    """A script in Lua."""

    text: str
    sha: str = attrs.field(init=False)

    @sha.default
    def _sha(self) -> str:
        return hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324 - Redis's way


_Call = tuple[Sequence[Word], Callable[[Any], None]]


@attrs.define(eq=False)
class _Use:
    under_way: int = 0
    """Calls by the digest that have no answer yet."""
    missed: list[_Call] = attrs.field(factory=list)
    """Those that were answered, by a server that did not know it."""
    later: list[_Call] = attrs.field(factory=list)
    """What was called since."""


class Scripts:
    """The scripts of one connection. The first call of each tells its text.

    Where the server has lost one since, its calls are made again, in their order.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._uses: dict[str, _Use] = {}

    def call(self, script: Script, words: Sequence[Word], answered: Callable[[Any], None]) -> None:
        """Call one. `words` are how many keys, the keys, and the arguments."""
        use = self._uses.get(script.sha)
        if use is None:
            self._uses[script.sha] = _Use()
            self._ask(("EVAL", script.text, *words), answered)
        elif use.missed:
            use.later.append((words, answered))
        else:
            self._by_digest(script, use, (words, answered))

    def _by_digest(self, script: Script, use: _Use, call: _Call) -> None:
        words, answered = call

        def came(answer: Any) -> None:
            use.under_way -= 1
            if isinstance(answer, Refused) and answer.kind == "NOSCRIPT":
                use.missed.append(call)
            else:
                answered(answer)
            if use.missed and not use.under_way:
                self._again(script, use)

        use.under_way += 1
        self._ask(("EVALSHA", script.sha, *words), came)

    def _again(self, script: Script, use: _Use) -> None:
        calls = [*use.missed, *use.later]
        use.missed, use.later = [], []
        for words, answered in calls:
            self._ask(("EVAL", script.text, *words), answered)
