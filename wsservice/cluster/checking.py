"""Validate values that came from elsewhere. PURE."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

LARGEST = 2**63 - 1
"""The largest whole number that is accepted."""


class MalformedError(ValueError):
    """An invalid value. The text quotes nothing of it."""


def _refuse_constant(_: str) -> NoReturn:
    raise MalformedError("a number is not finite")


def parsed(octets: bytes, most: int) -> Mapping[str, Any]:
    """Parse a JSON object of at most `most` octets. Raises `MalformedError`."""
    if len(octets) > most:
        raise MalformedError(f"more than {most} octets")
    try:
        said = json.loads(octets, parse_constant=_refuse_constant)
    except MalformedError:
        raise
    except (ValueError, RecursionError):
        raise MalformedError("not JSON") from None
    return an_object(said, "it")


def an_object(value: object, what: str) -> Mapping[str, Any]:
    """Return `value` if it is an object.

    Raises `MalformedError`, as all these functions do; its text names the value by `what`.
    """
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not an object")
    return value


def a_list(value: object, what: str, most: int) -> list[Any]:
    """Return `value` if it is a list of at most `most` elements."""
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError(f"{what} is not a list, or has more than {most}")
    return value


def a_number(value: object, what: str, least: int = 0, most: int = LARGEST) -> int:
    """Return `value` if it is a whole number from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:
        raise MalformedError(f"{what} is not a whole number from {least} to {most}")
    return value


def seconds(value: object, what: str) -> float:
    """Return `value` if it is a number of seconds, at least 0."""
    if type(value) not in (int, float) or not isinstance(value, int | float):
        raise MalformedError(f"{what} is not a number")
    if isinstance(value, int) and value > LARGEST:
        raise MalformedError(f"{what} is too large")
    if not math.isfinite(value) or value < 0:
        raise MalformedError(f"{what} is not a time")
    return float(value)


def a_text(value: object, what: str, most: int) -> str:
    """Return `value` if it is text of at most `most` characters. Any character may occur."""
    if not isinstance(value, str) or len(value) > most:
        raise MalformedError(f"{what} is not text, or has more than {most} characters")
    return value


def a_line(value: object, what: str, most: int) -> str:
    """Return `value` if it is printable text of at most `most` characters."""
    text = a_text(value, what, most)
    if not text.isprintable():
        raise MalformedError(f"{what} is not printable")
    return text


def a_switch(value: object, what: str) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        raise MalformedError(f"{what} is neither true nor false")
    return value


def member(said: Mapping[str, Any], name: str) -> Any:
    """Return a required member of an object."""
    try:
        return said[name]
    except KeyError:
        raise MalformedError(f"there is no {name}") from None
