"""The reason for refusing a request, and the cure. PURE."""

from __future__ import annotations

import re
from typing import NoReturn

import attrs

from ..escape import escape
from .grammar import TCHAR

UPGRADE_REQUIRED = (
    # RFC 9110, 15.5.22, asks for Upgrade, 7.8 that Connection names it, RFC 6455, 4.2.2, for the
    # version.
    ("Connection", "upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
)

_BEGINNING = re.compile(rf"[A-Z]{{1,20}}(?= )|{TCHAR}{{1,40}}(?=[ \t]*:)".encode())
"""A method, or a header's name."""

_SHOWN = 60
"""Characters of the peer's text that a reason may have. Escaped they take a few hundred octets,
so that the line of the log has room for the cure behind them."""


@attrs.frozen
class Refusal:
    """The reason for refusing a request, and the cure for the peer or the operator.

    `status` is the HTTP status of the answer, None where the peer speaks no HTTP and gets no
    answer. `problem` and `cure` are one line each. `headers` go into the answer. `kind` is the
    label under which the refusal is counted. None of these contains text from the peer.
    `shown` is text from the peer, not escaped: it is logged, and goes into the answer's body,
    escaped, if `is_told`. `for_operator` is only logged.
    """

    status: int | None
    problem: str
    cure: str = ""
    shown: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    kind: str = attrs.field(default="bad request", eq=False)
    is_told: bool = False
    for_operator: str = ""

    @property
    def reason(self) -> str:
        """Return the line for the log. It may hold the peer's text, not escaped."""
        line = self._line(self.shown)
        return f"{line}; {self.for_operator}" if self.for_operator else line

    @property
    def body(self) -> bytes:
        """Return the answer's body: one line of text, in ASCII where nothing is shown."""
        return f"{self._line(escape(self.shown) if self.is_told else '')}\n".encode()

    def _line(self, shown: str) -> str:
        problem = f"{self.problem}: {shown}" if shown else self.problem
        return f"{problem}; {self.cure}" if self.cure else problem


class RefusedError(Exception):
    """A request was refused. `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


def refuse(
    status: int,
    problem: str,
    cure: str,
    shown: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> NoReturn:
    """Raise `RefusedError`; the arguments are those of `Refusal`."""
    raise RefusedError(Refusal(status, problem, cure, shown, headers))


def without_secrets(url: str) -> str:
    """Return a URL without query, fragment and user information."""
    shown = re.split(r"[?#]", url, maxsplit=1)[0]
    return "..." if "@" in shown else shown if shown == url else f"{shown}..."


def quoted(text: str) -> str:
    """Return text in quotation marks, cut to the length that a reason has room for."""
    return f'"{text[:_SHOWN]}{"..." if len(text) > _SHOWN else ""}"'


def outlined(line: bytes) -> str:
    """Return what looks like a method or a header's name in a malformed line, or its size.

    The rest is not shown, since it may contain a secret.
    """
    first = _BEGINNING.match(line)
    return f'"{first[0].decode()}..."' if first else f"{len(line)} octets"
