"""A request to the admin face, and what is answered, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import attrs

MOST_OF_BODY = 4096
"""Octets of a request's body, where that is no message."""


@attrs.frozen
class Asked:
    """A request, whole and within bounds, but otherwise as it came.

    Names of `headers` are in lower case, texts are Latin-1. `at` is the address
    of this end of its connection.
    """

    method: str
    target: str
    headers: Mapping[str, tuple[str, ...]] = {}
    body: bytes = b""
    at: object = None

    @property
    def path(self) -> str:
        """The target up to the query. Nothing in it is decoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after the first question mark."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """A header's value; that of one which came several times is none that fits anything."""
        values = self.headers.get(name, ())
        return ", ".join(values) if values else None


Headers = tuple[tuple[str, str], ...]

_ALWAYS: Headers = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""Besides those that the page brings: no other page may have an answer as its own."""


@attrs.frozen
class Answer:
    """A response that is whole."""

    status: int
    body: bytes
    headers: Headers


def answer(status: int, body: bytes, content_type: str, *headers: tuple[str, str]) -> Answer:
    """An answer with the headers that all have."""
    return Answer(status, body, (("Content-Type", content_type), *_ALWAYS, *headers))


def as_json(status: int, said: Any, *headers: tuple[str, str]) -> Answer:
    """An answer in JSON, all of it in ASCII: no terminal takes harm from it."""
    body = json.dumps(said, separators=(",", ":")).encode() + b"\n"
    return answer(status, body, "application/json", *headers)


def problem(status: int, what: str, *headers: tuple[str, str]) -> Answer:
    """The answer that says what is wrong, and what is allowed, in one line."""
    return as_json(status, {"error": what}, *headers)


class Outlet(Protocol):
    """Where a stream goes."""

    def write(self, octets: bytes) -> object:
        """Send some of it."""

    def end(self) -> object:
        """That was all."""

    def abort(self) -> object:
        """Whoever reads it does not: let go."""


class Stream(Protocol):
    """An answer without a known end, which is told when to wait (as `IPushProducer` is)."""

    headers: Headers

    def begin(self, outlet: Outlet) -> None:
        """Send from now on."""

    def pauseProducing(self) -> None:
        """It is enough for now."""

    def resumeProducing(self) -> None:
        """There is room again."""

    def stopProducing(self) -> None:
        """Nobody reads it any more."""
