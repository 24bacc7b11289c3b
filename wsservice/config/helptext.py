"""The help of `twistd wsdemo`. PURE.

Every text, unit and default comes from the fields of `Config`. docs/options.md is made of
the same texts, by `tools/options.py`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import attrs

from .config import GROUPS, Config
from .fields import option_name, shown
from .integrations import Integrations

WIDTH = 80
"""Columns of the help."""

_TEXT_COLUMN = 31
_DEFAULTS = Config()
_INHERITED = {field.name for field in attrs.fields(Integrations)}

PROGRAM = (
    ("--config=FILE", "read settings from this TOML file"),
    ("--check-config", "print the settings in effect, start nothing"),
    ("--may=USER CHANNEL", "print what a user may do on a channel"),
    ("--may-claims=JSON", "claims of that user"),
    ("--help", "print the common options"),
    ("--help-all", "print every option, in full"),
    ("--version", "print the version"),
)
"""The options beside the settings, and their texts."""

_CONFIG_MORE = (
    "Its keys are the names of the options, with _ for -: ping_timeout for --ping-timeout. The"
    " variable WSSERVICE_CONFIG names a file too. Environment variables such as"
    " WSSERVICE_PING_TIMEOUT override the file, and options override both."
)

_INTRO = (
    "A WebSocket service: it greets each client, logs each message, and can send at any time."
    " Defaults stand in [brackets]. BYTES and SECONDS are numbers, or have a unit: 64KiB, 500ms."
)

EXAMPLES = (
    "twistd -n wsdemo --port 9000 --protocol echo",
    "twistd -n wsdemo --port 8443 --tls-cert fullchain.pem --tls-key privkey.pem",
    "twistd -n wsdemo --workers auto --admin tcp:8081:interface=127.0.0.1",
    "twistd -n wsdemo --config ws.toml --ping-timeout 500ms --check-config",
)
"""Command lines at the end of the help."""


def fields_of(group: str) -> list[attrs.Attribute[Any]]:
    """Return the fields of a group: those of `Config` itself, then those that it inherits."""
    members = [each for each in attrs.fields(Config) if each.metadata["group"] == group]
    return sorted(members, key=lambda field: field.name in _INHERITED)


def default_of(field: attrs.Attribute[Any]) -> str:
    """Return the default of a field as people read it, "" for a switch or for no default."""
    if not field.metadata["metavar"]:
        return ""
    return shown(field, getattr(_DEFAULTS, field.name))


def usage_of(field: attrs.Attribute[Any]) -> str:
    """Return an option with its metavar: `--ping-timeout=SECONDS`."""
    metavar = field.metadata["metavar"]
    return option_name(field.name) + (f"={metavar}" if metavar else "")


def summary_of(field: attrs.Attribute[Any]) -> str:
    """Return the line of text of an option, with its default in brackets."""
    default = default_of(field)
    text: str = field.metadata["help"]
    return f"{text} [{default}]" if default else text


def _line(option: str, text: str) -> str:
    return f"  {option.ljust(_TEXT_COLUMN - 4)}  {text}"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _more(text: str) -> list[str]:
    return _wrapped(text, " " * 6)


def _settings(group: str, everything: bool) -> Iterator[str]:
    for field in fields_of(group):
        if everything or field.metadata["common"]:
            yield _line(usage_of(field), summary_of(field))
        if everything:
            yield from _more(field.metadata["more"])


def _program(everything: bool) -> Iterator[str]:
    for option, text in PROGRAM:
        yield _line(option, text)
        if everything and option.startswith("--config="):
            yield from _more(_CONFIG_MORE)


def help_text(everything: bool) -> str:
    """Return the help: the common options in a line each, or every option in full."""
    lines = _wrapped(_INTRO)
    for group in GROUPS:
        lines += ["", f"{group}:", *_settings(group, everything)]
    lines += ["", "Settings and help:", *_program(everything)]
    lines += ["", "Examples:", *(f"  {example}" for example in EXAMPLES)]
    return "\n".join(lines) + "\n"
