from __future__ import annotations

import re
from typing import Any

import attrs
import pytest

from wsservice.config import helptext
from wsservice.config.config import GROUPS, OPTIONS, Config
from wsservice.config.fields import BYTES, SECONDS, option_name, setting
from wsservice.config.helptext import WIDTH, default_of, help_text, summary_of, usage_of

FIELDS: dict[str, attrs.Attribute[Any]] = {field.name: field for field in OPTIONS}
EACH = pytest.mark.parametrize("name", FIELDS)


def made(**settings: Any) -> Config:
    return Config(**settings)


@EACH
def test_an_options_text_names_its_unit(name: str) -> None:
    field = FIELDS[name]
    unit = field.metadata["unit"]
    if re.search(r"\b(int|float)\b", str(field.type)):
        assert unit
    assert unit in f"{field.metadata['metavar']} {field.metadata['help']}".lower()


@EACH
def test_an_option_that_takes_0_says_what_it_means(name: str) -> None:
    field = FIELDS[name]
    if field.metadata["unit"]:
        try:
            made(**{"greeting": "", name: "0"})
        except ValueError:
            return
        assert "0: " in field.metadata["help"]


@EACH
def test_an_options_line_fits_the_screen(name: str) -> None:
    (line,) = [each for each in help_text(everything=True).splitlines() if _has(each, name)]
    assert len(line) <= WIDTH
    assert usage_of(FIELDS[name]) in line
    assert line.endswith(summary_of(FIELDS[name]))


def _has(line: str, name: str) -> bool:
    return bool(re.match(rf"  {option_name(name)}(?:=|  )", line))


@EACH
def test_a_default_is_read_from_the_config(name: str) -> None:
    shown = default_of(FIELDS[name])
    value = getattr(Config(), name)
    if shown:
        assert getattr(made(**{name: shown}), name) == value
        assert f"[{shown}]" in summary_of(FIELDS[name])
    else:
        assert value in (None, "", (), False)


def test_a_changed_default_changes_the_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helptext, "_DEFAULTS", Config(port=9, ping_timeout=90, max_fragments=7))
    assert "any free port [9]" in help_text(everything=False)
    assert "0: forever [90s]" in help_text(everything=False)


def test_every_option_has_a_group() -> None:
    assert {field.metadata["group"] for field in FIELDS.values()} == set(GROUPS)


def test_the_common_options_fit_two_screens() -> None:
    lines = help_text(everything=False).splitlines()
    assert len(lines) <= 80
    assert max(map(len, lines)) <= WIDTH
    options = [each for each in lines if re.match(r"  --[a-z-]+", each)]
    common = sum(field.metadata["common"] for field in FIELDS.values())
    assert len(options) == common + len(helptext.PROGRAM)
    headings = [each[:-1] for each in lines if re.fullmatch(r"\S.*:", each)]
    assert headings == [*GROUPS, "Settings and help", "Examples"]


def test_all_of_the_help_has_each_options_whole_text() -> None:
    lines = help_text(everything=True).splitlines()
    assert max(map(len, lines)) <= WIDTH
    text = " ".join(" ".join(lines).split())
    for field in FIELDS.values():
        assert field.metadata["more"] in text


def test_a_text_is_one_line_and_more_of_it_is_sentences() -> None:
    for field in FIELDS.values():
        assert not field.metadata["help"].endswith(".")
        assert field.metadata["more"] == "" or field.metadata["more"].endswith(".")


def test_sizes_and_times_have_their_unit_from_their_metavar() -> None:
    def unit(metavar: str) -> str:
        kind = attrs.make_class("Kind", {"x": setting(0, attrs.Converter(int), metavar, "x")})
        return str(attrs.fields_dict(kind)["x"].metadata["unit"])

    assert (unit(BYTES), unit(SECONDS), unit("CODE")) == ("bytes", "seconds", "")
