"""Represent requests to the admin face, and their answers, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from ..directory.tracing import TraceStream
from ..http.refusal import RefusedError
from ..http.target import Target, parse_target

MOST_OF_BODY = 4096
"""The most octets of a request's body that is no message to publish."""


@attrs.frozen
class AdminRequest:
    """A whole request within the bounds of size; nothing else is validated.

    Names of `headers` are in lower case; texts are Latin-1. `at` is the address of this end of the
    connection. `url` is the parsed target; a malformed target stands in it unparsed, and does not
    begin with a slash, or has a #. `peer` is the address of the other end.
    """

    method: str
    target: str
    headers: Mapping[str, tuple[str, ...]] = {}
    body: bytes = b""
    at: object = None
    version: str = "HTTP/1.1"
    peer: object = None
    url: Target = attrs.field(init=False)

    @url.default
    def _read(self) -> Target:
        try:
            return parse_target(self.target)
        except RefusedError:
            return Target(self.target)

    @property
    def path(self) -> str:
        """The path of the target, not decoded."""
        return self.url.text.partition("?")[0]

    @property
    def query(self) -> str:
        """The query of the target: the part after the first question mark."""
        return self.url.text.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Return the value of a header; None if it is absent.

        The values of a repeated header are joined by commas, which makes a value that no rule
        accepts.
        """
        values = self.headers.get(name, ())
        return ", ".join(values) if values else None


Headers = tuple[tuple[str, str], ...]

_ALWAYS: Headers = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""Headers that every answer has: no cache keeps it, and no other page may embed it."""


@attrs.frozen
class Answer:
    """A whole response."""

    status: int
    body: bytes
    headers: Headers


def answer(status: int, body: bytes, content_type: str, *headers: tuple[str, str]) -> Answer:
    """Return an answer with the common headers."""
    return Answer(status, body, (("Content-Type", content_type), *_ALWAYS, *headers))


def as_json(status: int, said: Any, *headers: tuple[str, str]) -> Answer:
    """Return an answer in JSON. It is pure ASCII, so that no terminal takes harm from it."""
    body = json.dumps(said, separators=(",", ":")).encode() + b"\n"
    return answer(status, body, "application/json", *headers)


def problem(status: int, what: str, *headers: tuple[str, str]) -> Answer:
    """Return an answer with an error: one line that says what is wrong and what is allowed."""
    return as_json(status, {"error": what}, *headers)


@attrs.frozen
class Stream:
    """A response of unknown length, whose body is what `source` sends."""

    source: TraceStream
    headers: Headers


def as_events(trace: TraceStream) -> Stream:
    """Return the answer that sends the events of a trace."""
    # nginx as a proxy would otherwise hold events back in its buffer.
    unbuffered = ("X-Accel-Buffering", "no")
    return Stream(trace, (("Content-Type", "text/event-stream"), *_ALWAYS, unbuffered))
