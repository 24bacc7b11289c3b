"""docs/options.md is the table that tools/options.py makes."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest

from tools.options import PATH, page
from wsservice.config import helptext
from wsservice.config.config import OPTIONS, Config
from wsservice.config.fields import option_name
from wsservice.config.helptext import default_of, usage_of

FIELDS: dict[str, attrs.Attribute[Any]] = {field.name: field for field in OPTIONS}


def test_the_page_is_the_one_that_make_options_writes() -> None:
    assert PATH.read_text() == page(), "run make options"


def test_a_changed_default_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helptext, "_DEFAULTS", Config(max_fragments=7))
    assert "| `7` | `max_fragments` |" in page()


@pytest.mark.parametrize("name", FIELDS)
def test_the_page_has_a_row_for_each_option(name: str) -> None:
    begins = re.compile(rf"\| `{option_name(name)}[=`]")
    (row,) = [each for each in page().splitlines() if begins.match(each)]
    cells = [each.strip() for each in re.split(r"(?<!\\)\|", row)][1:-1]
    option, unit, default, key, effect, reloads = (each.replace("\\|", "|") for each in cells)
    field = FIELDS[name]
    assert option == f"`{usage_of(field)}`"
    assert unit == field.metadata["unit"]
    assert default.strip("`") == default_of(field)
    assert key == f"`{name}`"
    assert effect.startswith(field.metadata["help"][1:].partition("--")[0], 1)
    assert reloads in ("new connections", "all connections", "restart")
