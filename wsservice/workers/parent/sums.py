"""Figures of several workers, added up. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PASSING = (
    "held",
    "open",
    "memory",
    "memory_for_messages",
    "rate_waiting",
    "broker_states",
    "meeting_states",
    "inbox_states",
)
"""The figures that count a current state, and drop out when a worker is gone."""

_QUEUED = 4
"""The index in the traffic of a number that counts a current state too: the queued octets."""


def added(one: Any, other: Any) -> Any:
    """Return the sum of two numbers, or of the numbers in two lists or two objects."""
    if isinstance(one, Mapping):
        both = one.keys() & other.keys()
        return {**other, **one, **{key: added(one[key], other[key]) for key in both}}
    if isinstance(one, list):
        return [added(*both) for both in zip(one, other, strict=True)]
    return one + other


def outlasting(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a worker that is gone which still count, so that no sum decreases."""
    kept = {name: each for name, each in figures.items() if name not in PASSING}
    traffic = list(kept.get("traffic", ()))
    if len(traffic) > _QUEUED:
        traffic[_QUEUED] = 0
        kept["traffic"] = traffic
    if "waiting" in kept.get("webhook", ()):
        kept["webhook"] = {**kept["webhook"], "waiting": 0}
    return kept
