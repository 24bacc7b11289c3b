"""The facts that a node tells about itself, in the registry and in answers. PURE."""

from __future__ import annotations

from typing import Any

import attrs

from ..escape import escape_once
from .checking import a_line, a_list, a_number, a_switch, an_object, member, seconds

SHORT = 256
"""The most characters of each text."""

_MOST_REASONS = 16
_MOST_BROKERS = 16


@attrs.frozen
class Broker:
    """A broker, as a node sees it. `problem` says why it is down; None if it is up."""

    name: str
    up: bool
    version: str
    problem: str | None = None

    @classmethod
    def of(cls, value: object) -> Broker:
        """Parse a broker from the facts of a node. Raises `MalformedError`."""
        said = an_object(value, "a broker")
        problem = member(said, "problem")
        return cls(
            a_line(member(said, "name"), "a broker's name", SHORT),
            a_switch(member(said, "up"), "a broker's up"),
            a_line(member(said, "version"), "a broker's version", SHORT),
            None if problem is None else a_line(problem, "a broker's problem", SHORT),
        )


@attrs.frozen
class Facts:
    """The facts about a node. `host` and `pid` locate it; `started` is a time in RFC 3339.

    `workers` is 1 for a service in one process. `lag` is the largest lag of its reactors in the
    last ten seconds, in seconds. `reasons` say why it is not ready.
    """

    host: str
    pid: int
    version: str
    python: str
    started: str
    workers: int
    connections: int
    lag: float
    reasons: tuple[str, ...]
    brokers: tuple[Broker, ...]

    @classmethod
    def of(cls, value: object) -> Facts:
        """Parse the facts that a node has sent. Raises `MalformedError`."""
        said = an_object(value, "a node's facts")
        texts = [a_line(member(said, each), each, SHORT) for each in _TEXTS]
        host, version, python, started = texts
        reasons = a_list(member(said, "reasons"), "reasons", _MOST_REASONS)
        brokers = a_list(member(said, "brokers"), "brokers", _MOST_BROKERS)
        return cls(
            host=host,
            pid=a_number(member(said, "pid"), "pid"),
            version=version,
            python=python,
            started=started,
            workers=a_number(member(said, "workers"), "workers"),
            connections=a_number(member(said, "connections"), "connections"),
            lag=seconds(member(said, "lag"), "lag"),
            reasons=tuple(a_line(each, "a reason", SHORT) for each in reasons),
            brokers=tuple(map(Broker.of, brokers)),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the facts as JSON, for another node."""
        brokers = [attrs.asdict(each) for each in self.brokers]
        return {**attrs.asdict(self), "reasons": list(self.reasons), "brokers": brokers}


_TEXTS = ("host", "version", "python", "started")


def within(facts: Facts) -> Facts:
    """Return the facts, cut to the lengths that a reading node accepts."""
    brokers = tuple(
        Broker(_cut(each.name), each.up, _cut(each.version), each.problem and _cut(each.problem))
        for each in facts.brokers[:_MOST_BROKERS]
    )
    texts: dict[str, Any] = {name: _cut(getattr(facts, name)) for name in _TEXTS}
    reasons = tuple(map(_cut, facts.reasons[:_MOST_REASONS]))
    return attrs.evolve(facts, brokers=brokers, reasons=reasons, **texts)


def _cut(text: str) -> str:
    line = escape_once(text)
    return line if len(line) <= SHORT else line[: SHORT - 1] + "\u2026"
