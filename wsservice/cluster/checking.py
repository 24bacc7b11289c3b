"""Whether a value that came from elsewhere is what it should be. PURE."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

LARGEST = 2**63 - 1
"""The largest whole number that is taken."""


class MalformedError(ValueError):
    """What came is nothing that a node says; the text has nothing of it."""


def _refuse_constant(_: str) -> NoReturn:
    raise MalformedError("a number that is none")


def parsed(octets: bytes, most: int) -> Mapping[str, Any]:
    """The object that is said in JSON, in at most so many octets. Raises `MalformedError`."""
    if len(octets) > most:
        raise MalformedError(f"more than {most} octets")
    try:
        said = json.loads(octets, parse_constant=_refuse_constant)
    except MalformedError:
        raise
    except (ValueError, RecursionError):
        raise MalformedError("no JSON") from None
    return an_object(said, "it")


def an_object(value: object, what: str) -> Mapping[str, Any]:
    """An object. Raises `MalformedError`, as all of these do, which names `what` it is."""
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is no object")
    return value


def a_list(value: object, what: str, most: int) -> list[Any]:
    """A list of at most so many."""
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError(f"{what} is no list, or has more than {most}")
    return value


def a_number(value: object, what: str, least: int = 0, most: int = LARGEST) -> int:
    """A whole number within bounds."""
    if type(value) is not int or not least <= value <= most:
        raise MalformedError(f"{what} is no whole number from {least} to {most}")
    return value


def seconds(value: object, what: str) -> float:
    """Seconds, none less than 0."""
    if type(value) not in (int, float) or not isinstance(value, int | float):
        raise MalformedError(f"{what} is no number")
    if isinstance(value, int) and value > LARGEST:
        raise MalformedError(f"{what} is too large")
    if not math.isfinite(value) or value < 0:
        raise MalformedError(f"{what} is no time")
    return float(value)


def a_text(value: object, what: str, most: int) -> str:
    """Text of at most so many characters, whatever they are."""
    if not isinstance(value, str) or len(value) > most:
        raise MalformedError(f"{what} is no text, or has more than {most} characters")
    return value


def a_line(value: object, what: str, most: int) -> str:
    """The same, and all of it printable."""
    text = a_text(value, what, most)
    if not text.isprintable():
        raise MalformedError(f"{what} is not printable")
    return text


def a_switch(value: object, what: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise MalformedError(f"{what} is neither true nor false")
    return value


def member(said: Mapping[str, Any], name: str) -> Any:
    """A member that has to be there."""
    try:
        return said[name]
    except KeyError:
        raise MalformedError(f"there is no {name}") from None
