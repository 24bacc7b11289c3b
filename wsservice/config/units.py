"""Sizes and times as people write them: 64KiB, 1.5m. PURE.

A bare number is octets, or seconds. MB is refused: to some it is 1,000,000 octets, to
others 1,048,576.
"""

from __future__ import annotations

import re

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

SIZES = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
"""Octets of each unit of sizes."""

TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Seconds of each unit of times."""

SIZE_UNITS = "B, KiB, MiB or GiB, such as 64KiB"
TIME_UNITS = "ms, s, m or h, such as 500ms"
"""The units that may follow a number, in words."""

_SIZE = re.compile(r"([0-9]{1,18})(?: ?(B|KiB|MiB|GiB))?")
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]*)?|\.[0-9]+)(?: ?(ms|s|m|h))?")


def parse_size(value: object) -> int:
    """Return the octets of a size: a whole number, or text such as `4096`, `64KiB`.

    Raises `TypeError` or `ValueError` for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise TypeError(value)
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError(value)
    return int(match[1]) * SIZES[match[2] or "B"]


def parse_seconds(value: object) -> float:
    """Return the seconds of a time: a number, or text such as `0.5`, `500ms`, `2m`.

    Raises `TypeError` or `ValueError` for anything else. A number may be negative, or NaN.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise TypeError(value)
    match = _TIME.fullmatch(value)
    if match is None:
        raise ValueError(value)
    number = float(match[1])
    # Not times 0.001, which is no power of two: 7 ms would not be 0.007.
    return number / 1000 if match[2] == "ms" else number * TIMES[match[2] or "s"]


def shown_size(octets: int) -> str:
    """Return a size with the largest unit of which it is a whole number, 0 alone."""
    for name, unit in reversed(SIZES.items()):
        if octets and octets % unit == 0:
            return f"{octets // unit}{name}"
    return f"{octets}"


def shown_seconds(seconds: float) -> str:
    """Return a time in seconds, 0 alone."""
    return f"{seconds:g}s" if seconds else "0"
