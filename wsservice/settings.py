"""The settings of a service from all their sources, merged. PURE.

A file in TOML, the environment, the command line: in this order, the later
wins, and what may be given several times is replaced too, not added to. Each
setting goes by the name of its field in `Config`: `log_payload` is a key of
the file, `WSSERVICE_LOG_PAYLOAD` a variable, `--log-payload` an option.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from .config import MASK, Config, option_name, refuse
from .errors import ConfigError
from .escape import escape

_PREFIX = "WSSERVICE_"

FILE_VARIABLE = "WSSERVICE_CONFIG"
"""Names the file, where no option does."""

_NO_SETTINGS = {
    FILE_VARIABLE,
    "WSSERVICE_NATIVE",
    "WSSERVICE_ADMIN_URL",
    "WSSERVICE_ADMIN_TOKEN",
}
"""Variables with the prefix that are something else: the file, the codec's own switch, and how
whoever publishes reaches the admin face."""

_IN_TOML: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "int | None": ((int,), "a whole number"),
    "int | str": ((int, str), 'a whole number or "auto"'),
    "float": ((int, float), "a number"),
    "str": ((str,), "a string"),
    "str | None": ((str,), "a string"),
    "str | int": ((str, int), "a string or a whole number"),
    "tuple[str, ...]": ((list,), "an array of strings"),
}
"""What a field of each type is in TOML."""


def nearest(name: str, known: Iterable[str], otherwise: str, prefix: str = "") -> str:
    """A hint for a name that nothing has: the nearest that something has, or `otherwise`.

    `prefix` is what all of them begin with, and what makes none nearer.
    """
    rests = [each.removeprefix(prefix) for each in known]
    near = difflib.get_close_matches(name.removeprefix(prefix), rests, 1)
    return f"did you mean {prefix}{near[0]}?" if near else otherwise


@attrs.frozen
class Given:
    """A value as a source has it, and where that is, for people."""

    value: Any
    source: str
    """Such as `ws.toml`, `WSSERVICE_PORT` or `--port`."""
    place: str
    """What an error begins with: the source, and the key where the source has several."""


def from_file(octets: bytes, name: str) -> dict[str, Given]:
    """The settings of a file in TOML, by field. Raises `ConfigError`."""
    name = escape(name)
    try:
        table = tomllib.loads(octets.decode())
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        column = error.start - octets.rfind(b"\n", 0, error.start)
        raise ConfigError(
            f"{name}: is not UTF-8 (at line {line}, column {column}); give a file in TOML"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: is not TOML, {escape(str(error))}") from None
    except RecursionError:
        raise ConfigError(f"{name}: has too much in brackets within brackets") from None
    fields = attrs.fields_dict(Config)
    for key in table:
        if key not in fields:
            hint = nearest(key, fields, "see --help")
            raise ConfigError(f"{name}: {escape(key)}: there is no such setting; {hint}")
    given = {key: Given(value, name, f"{name}: {key}") for key, value in table.items()}
    for key, each in given.items():
        _check_type(fields[key], each)
    return given


def _check_type(field: attrs.Attribute[Any], given: Given) -> None:
    """Text for a number is what an option has; in TOML it is a mistake."""
    types, allowed = _IN_TOML[field.metadata["in_toml"] or str(field.type)]
    wrong = bool not in types and isinstance(given.value, bool)
    if wrong or not isinstance(given.value, types):
        raise _placed(refuse(field, given.value, allowed), field.name, given)


def from_environment(variables: Mapping[str, str]) -> dict[str, Given]:
    """The settings of the environment, by field. Raises `ConfigError` for one there is not.

    What may be given several times is separated by white space.
    """
    fields = {_PREFIX + field.name.upper(): field for field in attrs.fields(Config)}
    given = {}
    for name, text in variables.items():
        if not name.startswith(_PREFIX) or name in _NO_SETTINGS:
            continue
        if name not in fields:
            raise ConfigError(
                f"{escape(name)}: there is no such setting; "
                + nearest(name, [*fields, *_NO_SETTINGS], "see --help", _PREFIX)
            )
        field = fields[name]
        value = text.split() if field.metadata["repeatable"] else text
        given[field.name] = Given(value, name, name)
    return given


def from_options(options: Mapping[str, Any]) -> dict[str, Given]:
    """The settings of a command line, by field."""
    return {
        name: Given(value, option_name(name), option_name(name)) for name, value in options.items()
    }


@attrs.frozen
class Settings:
    """A configuration, and where each of its values was given, by field."""

    config: Config
    given: Mapping[str, Given]

    @classmethod
    def merged(cls, *sources: Mapping[str, Given]) -> Settings:
        """Of several sources, of which the later wins. Raises `ConfigError`."""
        given = {name: each for source in sources for name, each in source.items()}
        try:
            config = Config(**{name: each.value for name, each in given.items()})
        except ConfigError as error:
            raise ConfigError(in_place(str(error), given)) from None
        return cls(config, given)

    def placed(self, problem: str) -> str:
        """An error's text that begins with an option, with the place where that was given."""
        return in_place(problem, self.given)

    def as_toml(self) -> Iterator[str]:
        """The lines of a file that has these settings, each with where it was given.

        A secret stands there as a comment, without its value.
        """
        for field in attrs.fields(type(self.config)):
            value = getattr(self.config, field.name)
            given = self.given.get(field.name)
            source = given.source if given else "default"
            if value is None:
                yield f"# {field.name} is not set  # {source}"
            elif field.metadata["secret"] and value:
                yield f"# {field.name} = {_toml(MASK)}  # {source}"
            else:
                yield f"{field.name} = {_toml(value)}  # {source}"


def gather(
    options: Mapping[str, Any],
    variables: Mapping[str, str],
    file: str | None,
    inherited: Mapping[str, Given] | None = None,
) -> Settings:
    """The settings of a program.

    `options` are those of its command line, by field, `variables` its
    environment, `file` the path that `--config` gives; without one it is
    `WSSERVICE_CONFIG`'s, if there is any. `inherited` are those of the program
    that runs it, which any other source overrules. Raises `ConfigError`.
    """
    named_by = "--config" if file is not None else FILE_VARIABLE
    file = variables.get(FILE_VARIABLE) if file is None else file
    return Settings.merged(
        inherited or {},
        {} if file is None else from_file(_read(file, named_by), file),
        from_environment(variables),
        from_options(options),
    )


def _read(path: str, named_by: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(
            f"{named_by}: {escape(path) or 'an empty path'} cannot be read, {error.strerror};"
            " give a file in TOML"
        ) from None


_OPTION = re.compile(r"--([a-z-]+)(?=[: ])")


def in_place(problem: str, given: Mapping[str, Given]) -> str:
    """An error's text that begins with an option, with the place where that was given."""
    match = _OPTION.match(problem)
    each = given.get(match[1].replace("-", "_")) if match else None
    return problem if match is None or each is None else each.place + problem[match.end() :]


def _placed(error: ConfigError, field: str, given: Given) -> ConfigError:
    return ConfigError(in_place(str(error), {field: given}))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(map(_toml_character, value)) + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


def _toml_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
