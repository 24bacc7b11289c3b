"""Write docs/options.md, the table of all options: `make options`.

Texts, units and defaults are those of the help, and come from the fields of `Config`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from wsservice.config.config import GROUPS
from wsservice.config.fields import NEW, OPEN
from wsservice.config.helptext import PROGRAM, default_of, fields_of, usage_of
from wsservice.config.units import SIZE_UNITS, TIME_UNITS

PATH = Path(__file__).parents[1] / "docs" / "options.md"

_HEAD = ("option", "unit", "default", "key", "effect", "SIGHUP")
_RELOADS = {NEW: "new connections", OPEN: "all connections", None: "restart"}

_PAGE = f"""\
# Options

Every option of `twistd wsdemo`, by group. `make options` writes this page from the code. \
[operations.md](operations.md#configure) explains how files, variables and options combine.

- **Key** is the name in a TOML file. The environment variable is `WSSERVICE_` and the key in \
capitals: `WSSERVICE_PING_TIMEOUT` for `ping_timeout`.
- `BYTES` is a number of bytes, or a size with {SIZE_UNITS}.
- `SECONDS` is a number of seconds, or a time with {TIME_UNITS}.
- **SIGHUP** says where a changed setting takes effect when the service reads its settings again: \
for new connections, for all connections, or only after a restart.
"""


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _prose(text: str, more: str = "") -> str:
    """Return a sentence and those after it, with the options in them as code."""
    return re.sub(r"--[a-z-]+", r"`\g<0>`", f"{text[0].upper()}{text[1:]}. {more}".strip())


def _table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "|" + "|".join(f" {each} ".replace("|", "\\|") if each else " " for each in row) + "|"


def _row(field: attrs.Attribute[Any]) -> Iterator[str]:
    yield _code(usage_of(field))
    yield field.metadata["unit"]
    yield _code(default_of(field))
    yield _code(field.name)
    yield _prose(field.metadata["help"], field.metadata["more"])
    yield _RELOADS[field.metadata["reloads"]]


def page() -> str:
    """Return docs/options.md."""
    lines = [_PAGE]
    for group in GROUPS:
        lines += [f"## {group}", "", *_table(_HEAD, map(_row, fields_of(group))), ""]
    program = ((_code(option), _prose(text)) for option, text in PROGRAM)
    lines += ["## Settings and help", "", *_table(("option", "effect"), program)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(page())
