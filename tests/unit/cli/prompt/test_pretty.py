from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.cli.prompt.pretty import pretty


def plain(_kind: str, text: str) -> str:
    return text


def shown(text: str, limit: int = 10_000) -> str | None:
    return pretty(text, limit, plain)


def test_what_has_parts_is_indented() -> None:
    assert shown('{"a":[1,{"b" : null}],"c":{},"d":[ ]}') == (
        '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ],\n  "c": {},\n  "d": []\n}'
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).filter(lambda value: isinstance(value, list | dict))
)
def test_it_is_what_python_makes_of_it(value: object) -> None:
    if "Infinity" in json.dumps(value):
        return
    result = shown(json.dumps(value), 1_000_000)
    assert result == json.dumps(value, indent=2)
    result = shown(json.dumps(value, ensure_ascii=False), 1_000_000)
    assert result is not None
    assert json.loads(result) == value
    assert all(line.isprintable() for line in result.split("\n"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "1",
        '"text"',
        "null",
        "{",
        "[1,]",
        "{'a': 1}",
        "[NaN]",
        "[-Infinity]",
        "[1] [2]",
        "\ufeff[1]",
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '["\x1b"]',
        '["\n"]',
    ],
    ids=lambda text: text[:10],
)
def test_what_is_none_or_has_no_parts_is_left_alone(text: str) -> None:
    assert shown(text, 10**7) is None


def test_numbers_and_names_stay_as_they_came() -> None:
    result = shown('{"a":1.00000000000000000000001,"a":1e999,"b":-0.0}')
    assert result == '{\n  "a": 1.00000000000000000000001,\n  "a": 1e999,\n  "b": -0.0\n}'


def test_a_number_of_a_million_digits_takes_no_time() -> None:
    began = time.monotonic()
    assert shown("[" + "9" * 1_000_000 + "]", 2_000_000) is not None
    assert time.monotonic() - began < 2


def test_what_would_not_be_printable_is_escaped_as_json_is() -> None:
    assert shown('["\u202e\x7f\x9b\u2028","\U000e0001","ä😀"]') == (
        '[\n  "\\u202e\\u007f\\u009b\\u2028",\n  "\\udb40\\udc01",\n  "ä😀"\n]'
    )


def test_a_backslash_and_a_quote_stay_in_their_text() -> None:
    assert shown(r'["\"]\\",",{"]') == '[\n  "\\"]\\\\",\n  ",{"\n]'


def test_what_grows_too_much_is_left_alone() -> None:
    deep = "[" * 500 + "0" + ",0" * 500 + "]" * 500
    assert shown(deep, 10 * len(deep)) is None
    assert shown("[1]", 11) is not None
    assert shown("[1]", 6) is None


def test_each_kind_has_its_colour() -> None:
    def named(kind: str, text: str) -> str:
        return f"<{kind}:{text}>" if kind else text

    assert pretty('{"a":["b",1,true]}', 1000, named) == (
        '{\n  <name:"a">: [\n    <string:"b">,\n    <value:1>,\n    <value:true>\n  ]\n}'
    )
