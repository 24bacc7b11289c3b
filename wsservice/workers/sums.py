"""Figures of several workers, added up. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PASSING = ("held", "channels", "memory", "broker_states", "meeting_states", "inbox_states")
"""What is so now, and is nothing any more when a worker is gone."""

_QUEUED = 4
"""Which number of the traffic is so too."""


def added(one: Any, other: Any) -> Any:
    """The sum of two numbers, of two lists of them, or of two objects of such."""
    if isinstance(one, Mapping):
        both = one.keys() & other.keys()
        return {**other, **one, **{key: added(one[key], other[key]) for key in both}}
    if isinstance(one, list):
        return [added(*both) for both in zip(one, other, strict=True)]
    return one + other


def outlasting(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What of a worker's figures counts on when it is gone, so that no sum is less than before."""
    kept = {name: each for name, each in figures.items() if name not in PASSING}
    traffic = list(kept.get("traffic", ()))
    if len(traffic) > _QUEUED:
        traffic[_QUEUED] = 0
        kept["traffic"] = traffic
    if "waiting" in kept.get("webhook", ()):
        kept["webhook"] = {**kept["webhook"], "waiting": 0}
    return kept
