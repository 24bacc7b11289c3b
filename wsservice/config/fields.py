"""Fields that are settings too: their converters, and the text that people read of them. PURE.

A converter takes a value of the field's type, or the text that a command line
or a variable has for it. It refuses every other value with a `ConfigError` of
one line: the option, the value, and the values that are allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs

from ..errors import ConfigError
from ..escape import MASK, shown_url
from ..http.forwarded import TrustedProxies
from .close_codes import SENDABLE, is_sendable
from .origins import AllowedOrigins
from .units import SIZE_UNITS, TIME_UNITS, parse_seconds, parse_size, shown_seconds, shown_size

BYTES, SECONDS = "BYTES", "SECONDS"
"""The metavars of sizes and times, which take units."""

NEW = "new"
OPEN = "open"
"""Values of `reloads`: the reach of a setting that is read again on SIGHUP.

`NEW` reaches new connections and requests, `OPEN` the open connections too. All other
settings need a restart.
"""

_LONGEST_TIME_SECONDS = 86400
_MOST_WORKERS = 256

_T = TypeVar("_T")


def option_name(field: str) -> str:
    """Return the option that sets a field: `--log-payload` for `log_payload`."""
    return "--" + field.replace("_", "-")


def refuse(field: attrs.Attribute[Any], value: object, allowed: str) -> ConfigError:
    """Return the error for a wrong value: the option, the value, and what is allowed.

    A secret is masked, and so is one in a URL.
    """
    if field.metadata["metavar"] == "URL" and isinstance(value, str):
        value = shown_url(value)
    # An option that is repeated has a tuple, which nobody wrote.
    given = value if isinstance(value, tuple) and value else (value,)
    shown = MASK if field.metadata["secret"] else ", ".join(map(repr, given))
    return ConfigError(f"{option_name(field.name)}: {shown} is not allowed; give {allowed}")


def setting(
    default: Any,
    converter: attrs.Converter,  # type: ignore[type-arg]
    metavar: str,
    help: str,  # noqa: A002
    *,
    group: str = "",
    more: str = "",
    unit: str = "",
    common: bool = True,
    repeatable: bool = False,
    secret: bool = False,
    reloads: str | None = None,
    in_toml: str | None = None,
    file_only: bool = False,
) -> Any:
    """Return a field that is an option too, unless it is a table in the file.

    - `metavar` stands for the value in the help. "" makes a switch, which takes no value.
    - `help` fits the option's line of `--help`, with the meaning of 0 where 0 is special.
    - `more`, whole sentences, follows in `--help-all` and in docs/options.md.
    - `unit` is what a number counts. The metavars `BYTES` and `SECONDS` imply it.
    - `group` is the heading above the option. `common` false leaves it out of `--help`.
    - `secret` keeps the value out of every message.
    - `reloads` is `NEW`, `OPEN`, or None where a change needs a restart.
    - `in_toml` is the type of the value in a file, if it differs from the field's.
    - `file_only` is True for a table in the file, which is no option and no variable.
    """
    return attrs.field(
        default=default,
        converter=converter,
        metadata={
            "metavar": metavar,
            "help": help,
            "more": more,
            "group": group,
            "unit": unit or {BYTES: "bytes", SECONDS: "seconds"}.get(metavar, ""),
            "common": common,
            "repeatable": repeatable,
            "secret": secret,
            "reloads": reloads,
            "in_toml": in_toml,
            "file_only": file_only,
        },
    )


def shown(field: attrs.Attribute[Any], value: Any) -> str:
    """Return a field's value as people read it: `1MiB`, `20s`, `on`; "" for None and ()."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if field.metadata["metavar"] == BYTES:
        return shown_size(value)
    if field.metadata["metavar"] == SECONDS:
        return shown_seconds(value)
    return "" if value in (None, ()) else f"{value}"


def converter(allowed: str, parse: Callable[[Any], _T]) -> attrs.Converter:  # type: ignore[type-arg]
    """Return the converter that calls `parse`, and names `allowed` in its error.

    `parse` refuses a value by `TypeError`, `KeyError`, `ValueError` or `OverflowError`.
    """

    def convert(value: Any, field: attrs.Attribute[Any]) -> _T:
        try:
            return parse(value)
        except (TypeError, KeyError, ValueError, OverflowError):
            raise refuse(field, value, allowed) from None

    return attrs.Converter(convert, takes_field=True)


def parse_whole(value: Any, low: int, high: int | None = None) -> int:
    """Return a whole number within bounds. Raises `TypeError` or `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    # int() takes more than a person means by a number: " 1_0", "+1", digits of other scripts.
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(value)
    number = int(value)
    if number < low or (high is not None and number > high):
        raise ValueError(value)
    return number


def parse_time(value: Any) -> float:
    """Return seconds, at most a day. Raises `TypeError` or `ValueError`."""
    seconds = parse_seconds(value)
    if not 0 <= seconds <= _LONGEST_TIME_SECONDS:
        raise ValueError(value)
    return seconds


def parse_text(value: Any) -> str:
    """Return text that UTF-8 can carry. Raises `TypeError` or `ValueError`."""
    if not isinstance(value, str):
        raise TypeError(value)
    # Bytes of a command line that are not UTF-8 arrive as lone surrogates.
    value.encode()
    return value


def parse_line(value: Any) -> str:
    """Return printable text, "" too. Raises `TypeError` or `ValueError`."""
    text = parse_text(value)
    if not text.isprintable():
        raise ValueError(value)
    return text


def parse_some_text(value: Any) -> str:
    """Return printable text of at least one character. Raises `TypeError` or `ValueError`."""
    text = parse_line(value)
    if not text:
        raise ValueError(value)
    return text


def parse_texts(value: Any) -> tuple[str, ...]:
    """Return a tuple of texts as `parse_some_text` returns them; one text makes a tuple of one."""
    if isinstance(value, str):
        value = (value,)
    return tuple(parse_some_text(each) for each in value)


def optional(parse: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    """Return a function that parses a value, and returns None for None and ""."""
    return lambda value: None if value in (None, "") else parse(value)


def to_whole(low: int, high: int | None = None) -> attrs.Converter:  # type: ignore[type-arg]
    """Return the converter for a whole number within bounds."""
    upto = "" if high is None else f" to {high}"
    return converter(
        f"a whole number from {low}{upto}", lambda value: parse_whole(value, low, high)
    )


def to_size(low: int = 0) -> attrs.Converter:  # type: ignore[type-arg]
    """Return the converter for a size of at least `low` bytes."""

    def parse(value: Any) -> int:
        size = parse_size(value)
        if size < low:
            raise ValueError(value)
        return size

    return converter(f"a whole number of bytes from {low}, or a size with {SIZE_UNITS}", parse)


def to_choice(*words: str) -> attrs.Converter:  # type: ignore[type-arg]
    """Return the converter for one of several words."""
    allowed = f"{', '.join(words[:-1])} or {words[-1]}"
    return converter(allowed, {word: word for word in words}.__getitem__)


def _parse_switch(value: Any) -> bool:
    return value if isinstance(value, bool) else {"on": True, "off": False}[value]


def _parse_close_code(value: Any) -> int:
    code = parse_whole(value, 0)
    if not is_sendable(code):
        raise ValueError(value)
    return code


def _parse_workers(value: Any) -> int | str:
    return value if value == "auto" else parse_whole(value, 1, _MOST_WORKERS)


def _parse_memory(value: Any) -> int | str:
    if value == "auto":
        return "auto"
    size = parse_size(value)
    if size < 0:
        raise ValueError(value)
    return size


def _each(allowed: str, check: Callable[[tuple[Any]], object]) -> attrs.Converter:  # type: ignore[type-arg]
    """Return the converter for several texts, or one, that `check` takes, each by itself."""

    def convert(value: Any, field: attrs.Attribute[Any]) -> tuple[str, ...]:
        given: Iterable[Any] = value if isinstance(value, list | tuple) else (value,)
        for each in given:
            try:
                check((each,))
            except (TypeError, ValueError):
                raise refuse(field, each, allowed) from None
        return tuple(given)

    return attrs.Converter(convert, takes_field=True)


def _check_proxies(texts: tuple[Any]) -> None:
    TrustedProxies.of(map(parse_some_text, texts))


TO_SECONDS = converter(
    f"seconds from 0 to {_LONGEST_TIME_SECONDS}, or a time with {TIME_UNITS}", parse_time
)
TO_SWITCH = converter("on or off", _parse_switch)
TO_CLOSE_CODE = converter(SENDABLE, _parse_close_code)
TO_WORKERS = converter(f"auto, or a whole number from 1 to {_MOST_WORKERS}", _parse_workers)
TO_MEMORY = converter(
    f"auto, a whole number of bytes from 0, or a size with {SIZE_UNITS}", _parse_memory
)
TO_ORIGINS = _each(
    "* or an origin, such as https://app.example or http://localhost:3000", AllowedOrigins.of
)
TO_PROXIES = _each(
    "unix, an IP address, or a network whose last bits are 0, such as 10.0.0.0/8", _check_proxies
)
TO_FILE = converter("the path of a file", parse_line)
TO_PEMS = converter(
    "the path of a file in PEM", lambda value: () if value in (None, "") else parse_texts(value)
)
