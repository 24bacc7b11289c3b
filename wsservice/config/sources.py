"""The settings of a service from all their sources, merged. PURE.

The sources are a file in TOML, the environment and the command line. A later
source overrides an earlier one, and replaces the whole list of a setting that may
be given several times. Each setting has the name of its field in `Config`:
`log_payload` is a key of the file, `WSSERVICE_LOG_PAYLOAD` a variable,
`--log-payload` an option.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from ..errors import ConfigError
from ..escape import MASK, escape, shown_url
from .config import OPTIONS, Config
from .fields import BYTES, SECONDS, option_name, refuse
from .files import read_file

_PREFIX = "WSSERVICE_"

FILE_VARIABLE = "WSSERVICE_CONFIG"
"""The variable that names the file, unless an option does."""

_NO_SETTINGS = {
    FILE_VARIABLE,
    "WSSERVICE_NATIVE",
    "WSSERVICE_ADMIN_URL",
    "WSSERVICE_ADMIN_TOKEN",
}
"""Variables with the prefix that are no settings: the file, the switch of the codec, and the
address and token with which a program publishes."""

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
    "str | tuple[str, ...]": ((str, list), "a string or an array of strings"),
    "tables": ((list,), "tables, each under a line [[channels]]"),
    BYTES: ((int, str), 'a whole number or a string such as "64KiB"'),
    SECONDS: ((int, float, str), 'a number or a string such as "500ms"'),
}
"""The types that a field may have in TOML, and their name, by the field's type or metavar."""


def nearest(name: str, known: Iterable[str], otherwise: str, prefix: str = "") -> str:
    """Return a hint for an unknown name: the nearest known name, or `otherwise`.

    `prefix` begins all known names, and does not count for their nearness.
    """
    rests = [each.removeprefix(prefix) for each in known]
    near = difflib.get_close_matches(name.removeprefix(prefix), rests, 1)
    return f"did you mean {prefix}{near[0]}?" if near else otherwise


@attrs.frozen
class Given:
    """A value in the form of its source, and a text that names its place."""

    value: Any
    source: str
    """The source: `ws.toml`, `WSSERVICE_PORT` or `--port`, for example."""
    place: str
    """The beginning of an error: the source, and the key where the source has several."""


def from_file(octets: bytes, name: str) -> dict[str, Given]:
    """Return the settings of a file in TOML, by field. Raises `ConfigError`."""
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
        raise ConfigError(f"{name}: has brackets nested too deeply") from None
    fields = attrs.fields_dict(Config)
    for key in table:
        if key not in fields:
            hint = nearest(key, fields, "see --help")
            raise ConfigError(f"{name}: {escape(key)}: unknown setting; {hint}")
    given = {key: Given(value, name, f"{name}: {key}") for key, value in table.items()}
    for key, each in given.items():
        _check_type(fields[key], each)
    return given


def _check_type(field: attrs.Attribute[Any], given: Given) -> None:
    """Refuse a value of another type, such as text for a number. Raises `ConfigError`."""
    kind = field.metadata["in_toml"] or str(field.type)
    if field.metadata["metavar"] in (BYTES, SECONDS):
        kind = field.metadata["metavar"]
    types, allowed = _IN_TOML[kind]
    wrong = bool not in types and isinstance(given.value, bool)
    if wrong or not isinstance(given.value, types):
        raise _placed(refuse(field, given.value, allowed), field.name, given)


def from_environment(variables: Mapping[str, str]) -> dict[str, Given]:
    """Return the settings of the environment, by field. Raises `ConfigError` for an unknown one.

    White space separates the values of a setting that may be given several times.
    """
    fields = {_PREFIX + field.name.upper(): field for field in OPTIONS}
    tables = {_PREFIX + field.name.upper() for field in attrs.fields(Config)} - fields.keys()
    given = {}
    for name, text in variables.items():
        if not name.startswith(_PREFIX) or name in _NO_SETTINGS:
            continue
        if name in tables:
            raise ConfigError(f"{name}: is not allowed; give tables in the file of --config")
        if name not in fields:
            raise ConfigError(
                f"{escape(name)}: unknown setting; "
                + nearest(name, [*fields, *_NO_SETTINGS], "see --help", _PREFIX)
            )
        field = fields[name]
        value = text.split() if field.metadata["repeatable"] else text
        given[field.name] = Given(value, name, name)
    return given


def from_options(options: Mapping[str, Any]) -> dict[str, Given]:
    """Return the settings of a command line, by field."""
    return {
        name: Given(value, option_name(name), option_name(name)) for name, value in options.items()
    }


@attrs.frozen
class Settings:
    """A configuration, and the source of each of its values, by field."""

    config: Config
    given: Mapping[str, Given]

    @classmethod
    def merged(cls, *sources: Mapping[str, Given]) -> Settings:
        """Merge sources: a later one overrides an earlier one. Raises `ConfigError`."""
        given = {name: each for source in sources for name, each in source.items()}
        try:
            config = Config(**{name: each.value for name, each in given.items()})
        except ConfigError as error:
            raise ConfigError(in_place(str(error), given)) from None
        return cls(config, given)

    def placed(self, problem: str) -> str:
        """Return an error's text with the place of the setting for the option it begins with."""
        return in_place(problem, self.given)

    def as_toml(self) -> Iterator[str]:
        """Yield the lines of a file with these settings, each with its source.

        A secret, or a URL with one, is a comment with a mask for the secret.
        """
        for field in attrs.fields(type(self.config)):
            if field.metadata["file_only"]:
                continue
            value = getattr(self.config, field.name)
            source = self._source(field.name)
            if value is None:
                yield f"# {field.name} is not set  # {source}"
            elif field.metadata["secret"] and value:
                yield f"# {field.name} = {_toml(MASK)}  # {source}"
            elif isinstance(value, str) and (shown := _shown(field, value)) != value:
                yield f"# {field.name} = {_toml(shown)}  # {source}"
            else:
                yield f"{field.name} = {_toml(value)}  # {source}"
        yield from self._rules_as_toml()

    def _source(self, name: str) -> str:
        given = self.given.get(name)
        return given.source if given else "default"

    def _rules_as_toml(self) -> Iterator[str]:
        # Last, since a table in TOML goes on to the next one.
        for number, rule in enumerate(self.config.channels, 1):
            yield f"[[channels]]  # {self._source('channels')}, rule {number}"
            for key, value in rule.shown():
                yield f"{key} = {_toml(value)}"


def _shown(field: attrs.Attribute[Any], value: str) -> str:
    return shown_url(value) if field.metadata["metavar"] == "URL" else value


def gather(
    options: Mapping[str, Any],
    variables: Mapping[str, str],
    file: str | None,
    inherited: Mapping[str, Given] | None = None,
) -> Settings:
    """Return the merged settings of a program.

    - `options`: the values of its command line, by field.
    - `variables`: its environment.
    - `file`: the path that `--config` gives. None stands for that of `WSSERVICE_CONFIG`,
      or for no file.
    - `inherited`: settings of the program that runs it. Every other source overrides them.

    Raises `ConfigError`.
    """
    named_by = "--config" if file is not None else FILE_VARIABLE
    file = variables.get(FILE_VARIABLE) if file is None else file
    return Settings.merged(
        inherited or {},
        {} if file is None else from_file(read_file(named_by, file, "give a file in TOML"), file),
        from_environment(variables),
        from_options(options),
    )


_OPTION = re.compile(r"--([a-z-]+)(?=[: ])")


def in_place(problem: str, given: Mapping[str, Given]) -> str:
    """Return an error's text with the place of the setting for the option it begins with."""
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
