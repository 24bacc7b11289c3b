"""The rules of channels in the file of the settings: `[[channels]]`. PURE.

This module reads rules. `auth.rules` judges users by them, `channels.keeping` says what is kept of
a channel.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from ..errors import ConfigError
from .fields import parse_text
from .globs import USER
from .keep import KEEP_ALLOWED, parse_keep

MOST_RULES = 1000
"""The most rules. A name is compared with each of them."""

LONGEST_MATCH = 255
"""The most characters of a glob, as many as a channel's name may have octets."""


class Level(enum.StrEnum):
    """The clients that may do something on a channel."""

    NOBODY = "nobody"
    TOKEN = "token"  # noqa: S105 - a word
    """Users whose token names the channel: see `auth.claims`."""
    USERS = "users"
    """All users, not the anonymous."""
    SUBSCRIBERS = "subscribers"
    """Users that are on the channel."""
    ANYONE = "anyone"
    """The anonymous too."""


_BRACES = re.compile(r"[{}]")


def _problem(key: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"{key}: {value!r} is not allowed; give {allowed}")


def _to(allowed: str, parse: Callable[[Any], Any]) -> attrs.Converter:  # type: ignore[type-arg]
    def convert(value: Any, field: attrs.Attribute[Any]) -> Any:
        try:
            return parse(value)
        except (TypeError, ValueError):
            raise _problem(field.name, value, allowed) from None

    return attrs.Converter(convert, takes_field=True)


def _parse_match(value: Any) -> str:
    text = parse_text(value)
    if not text.isprintable() or len(text) > LONGEST_MATCH:
        raise ValueError(value)
    if text != text.strip("/") or _BRACES.search(text.replace(USER, "")):
        raise ValueError(value)
    return text


def _parse_keep(value: Any) -> str | None:
    return None if value is None else parse_keep(value)


def _parse_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _to_level(levels: tuple[Level, ...]) -> attrs.Converter:  # type: ignore[type-arg]
    def parse(value: Any) -> Level:
        level = Level(value)
        if level not in levels:
            raise ValueError(value)
        return level

    return _to(f"{', '.join(levels[:-1])} or {levels[-1]}", parse)


_TO_MATCH = _to(
    f"a glob of at most {LONGEST_MATCH} printable characters, without slashes at its ends, and"
    f" with braces in {USER} only",
    _parse_match,
)
_TO_SUBSCRIBE = _to_level(tuple(each for each in Level if each is not Level.SUBSCRIBERS))
_TO_LEVEL = _to_level(tuple(Level))
_TO_KEEP = _to(KEEP_ALLOWED, _parse_keep)
_TO_SWITCH = _to("true or false", _parse_switch)


def _key(converter: Any, default: Any = attrs.NOTHING) -> Any:
    return attrs.field(default=default, converter=converter)


@attrs.frozen(kw_only=True)
class ChannelRule:
    """A rule for the channels that its glob matches. Raises `ConfigError`, in one line.

    `keep` is what the history keeps of such a channel, as in `--history`; None is as much as
    `--history` says. `join_leave` is for clients that ask to be told who comes and leaves; nothing
    reads it yet.
    """

    match: str = _key(_TO_MATCH)
    subscribe: Level = _key(_TO_SUBSCRIBE, Level.NOBODY)  # noqa: RUF009 - a field
    publish: Level = _key(_TO_LEVEL, Level.NOBODY)  # noqa: RUF009 - a field
    history: Level = _key(_TO_LEVEL, Level.NOBODY)  # noqa: RUF009 - a field
    presence: Level = _key(_TO_LEVEL, Level.NOBODY)  # noqa: RUF009 - a field
    keep: str | None = _key(_TO_KEEP, None)
    join_leave: bool = _key(_TO_SWITCH, False)

    def shown(self) -> Iterator[tuple[str, str | bool]]:
        """Yield the keys and values of its table in a file, without those that it lacks."""
        for field in attrs.fields(ChannelRule):
            value = getattr(self, field.name)
            if value not in (None, False, Level.NOBODY):
                yield field.name, value


_KEYS = tuple(field.name for field in attrs.fields(ChannelRule))


def parse_rules(value: Any) -> tuple[ChannelRule, ...]:
    """Return the rules of an array of tables. Raises `ConfigError`.

    The text of an error begins with the number of the rule, from 1 on, and the key.
    """
    if not isinstance(value, list | tuple) or not all(
        isinstance(each, Mapping | ChannelRule) for each in value
    ):
        raise ConfigError(f"{value!r} is not allowed; give tables, each under [[channels]]")
    if len(value) > MOST_RULES:
        raise ConfigError(f"{len(value)} rules are not allowed; give at most {MOST_RULES}")
    return tuple(_parse_rule(number, each) for number, each in enumerate(value, 1))


def _parse_rule(number: int, given: Mapping[str, Any] | ChannelRule) -> ChannelRule:
    if isinstance(given, ChannelRule):
        return given
    try:
        for key in given:
            if key not in _KEYS:
                near = difflib.get_close_matches(key, _KEYS, 1)
                hint = f"did you mean {near[0]}?" if near else f"give some of {', '.join(_KEYS)}"
                raise ConfigError(f"{key!r}: unknown key; {hint}")
        if "match" not in given:
            raise ConfigError('match: is missing; give a glob such as "room.*"')
        return ChannelRule(**given)
    except ConfigError as error:
        raise ConfigError(f"rule {number}: {error}") from None
