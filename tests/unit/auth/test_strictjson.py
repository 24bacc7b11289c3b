from __future__ import annotations

import pytest

from wsservice.auth.strictjson import MOST_DEPTH, parse_object


def test_an_object() -> None:
    assert parse_object('{"a": [1, {"b": "ż"}]}'.encode()) == {"a": [1, {"b": "ż"}]}


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b'"a"',
        b"null",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "\\u0062": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1} {}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_text_that_might_mean_something_else_to_others(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it is") as raised:
        parse_object(octets)
    assert len(str(raised.value)) < 80


@pytest.mark.parametrize(("more", "is_taken"), [(0, True), (1, False)])
@pytest.mark.parametrize("kind", ["list", "object", "both"])
def test_how_deep(more: int, is_taken: bool, kind: str) -> None:
    inner = MOST_DEPTH - 1 + more
    opening, closing = {
        "list": (b"[" * inner, b"]" * inner),
        "object": (b'{"b":' * (inner - 1) + b"{", b"}" * inner),
        "both": (
            b'[{"b":' * (inner // 2) + b"[" * (inner % 2),
            b"]" * (inner % 2) + b"}]" * (inner // 2),
        ),
    }[kind]
    if kind == "both" and not inner % 2:
        opening += b"1"
    octets = b'{"a":' + opening + closing + b"}"
    if is_taken:
        assert "a" in parse_object(octets)
    else:
        with pytest.raises(ValueError, match="levels deep"):
            parse_object(octets)


def test_width_is_not_depth() -> None:
    assert len(parse_object(b'{"a": [' + b"[]," * 200 + b"[]]}")["a"]) == 201
