from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.log.lines import JSONLines, TextLines, describe, rfc3339


class TestDescribe:
    @pytest.mark.parametrize(
        ("payload", "shown"),
        [
            (b"Msg from client", "Msg from client"),
            (b"", ""),
            ("Grüße".encode(), "Grüße"),
            (b"a\nMessage received: forged", r"a\nMessage received: forged"),
            (b"\x1b[2J", r"\x1b[2J"),
            ("\u2028\u202e".encode(), r"\u2028\u202e"),
            (b"C:\\n", r"C:\\n"),
            (b"\xff", r"\udcff"),
        ],
    )
    def test_text_is_shown_as_it_is_with_what_is_dangerous_escaped(
        self, payload: bytes, shown: str
    ) -> None:
        assert describe(payload, False, 4096) == shown

    @pytest.mark.parametrize(
        ("payload", "shown"),
        [
            (b"12345678", "12345678"),
            (b"123456789", "12345678... (9 bytes)"),
            (b"1234567\n", "1234567... (8 bytes)"),
            ("1234567é".encode(), "1234567... (9 bytes)"),
            ("éééé".encode(), "éééé"),
            (b"\n\n\n\n\n", r"\n\n\n\n... (5 bytes)"),
        ],
    )
    def test_text_is_cut_to_the_limit_with_its_full_size_told(
        self, payload: bytes, shown: str
    ) -> None:
        assert describe(payload, False, 8) == shown

    @pytest.mark.parametrize(
        ("payload", "limit", "shown"),
        [
            (b"\x00\xff", 4096, "(binary, 2 bytes) 00ff"),
            (b"\x00", 4096, "(binary, 1 byte) 00"),
            (b"\x00\x01\x02", 4, "(binary, 3 bytes) 0001..."),
            (b"\x00\x01", 4, "(binary, 2 bytes) 0001"),
        ],
    )
    def test_binary_is_shown_as_size_and_hex_digits(
        self, payload: bytes, limit: int, shown: str
    ) -> None:
        assert describe(payload, True, limit) == shown

    def test_a_limit_of_0_tells_sizes_only(self) -> None:
        assert describe(b"secret", False, 0) == "(6 bytes)"
        assert describe(b"s", False, 0) == "(1 byte)"
        assert describe(b"secret", True, 0) == "(binary, 6 bytes)"

    @given(st.one_of(st.binary(), st.text().map(str.encode)), st.booleans(), st.integers(0, 50))
    def test_a_message_is_one_printable_line_and_within_its_limit(
        self, payload: bytes, is_binary: bool, limit: int
    ) -> None:
        shown = describe(payload, is_binary, limit)
        assert shown.isprintable()
        told = len(f"(binary, {len(payload)} bytes) ...")
        assert len(shown.encode()) <= limit + told


PAYLOADS = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=10).map(str.encode),
    st.sampled_from([b"plain", b"\xc3", b"\xa9", b'a\\"b', b"x" * 20, b"x" * 21, b"\x7f", b'"']),
)
MESSAGES = st.lists(st.tuples(st.sampled_from("ab"), PAYLOADS, st.booleans()), min_size=1)


class TestText:
    def test_a_connection_is_called_by_its_id_and_peer(self) -> None:
        assert TextLines().name("1 192.0.2.1:5000", "chat") == "1 192.0.2.1:5000"

    def test_the_time_is_made_anew_each_second(self) -> None:
        lines = TextLines()
        seconds = [lines.stamp(now)[17:19] for now in (0.0, 0.9, 1.0, 2.5)]
        assert seconds == [b"00", b"00", b"01", b"02"]


def parsed(lines: JSONLines, messages: list[Any], limit: int = 20) -> list[dict[str, Any]]:
    """The objects of the lines of some messages, without their time."""
    held = [each for message in messages for each in message]
    octets = lines.lines(held, limit)
    assert octets.endswith(b"\n")
    text = octets.decode()
    assert text.replace("\n", "").isprintable()
    assert text.count("\n") == len(messages)
    return [json.loads("{" + line) for line in text.splitlines()]


class TestJSON:
    @pytest.fixture
    def lines(self) -> JSONLines:
        return JSONLines()

    def test_a_line_has_the_members_that_are_documented(self, lines: JSONLines) -> None:
        name = lines.name("7 192.0.2.1:5000", 'ch"at')
        octets = lines.stamp(1.5) + lines.lines([name, b"hi", False], 20)
        assert octets == (
            b'{"time":"1970-01-01T00:00:01.500Z","connection":"7","peer":"192.0.2.1:5000",'
            b'"channel":"ch\\"at","kind":"text","size":2,"payload":"hi","cut":false}\n'
        )

    @pytest.mark.parametrize(
        ("payload", "is_binary", "limit", "kind", "shown", "cut"),
        [
            ("Grüße".encode(), False, 20, "text", "Grüße", False),
            (b'"quoted"\n\\', False, 20, "text", '"quoted"\n\\', False),
            (b"\xff", False, 20, "text", "\ufffd", False),
            (b"12345", False, 5, "text", "12345", False),
            (b"123456", False, 5, "text", "12345", True),
            ("1234é".encode(), False, 5, "text", "1234", True),
            (b"secret", False, 0, "text", "", True),
            (b"", False, 0, "text", "", False),
            (b"\x00\xff", True, 20, "binary", "AP8=", False),
            (b"\x00\xff", True, 1, "binary", "AA==", True),
            (b"secret", True, 0, "binary", "", True),
        ],
    )
    def test_a_message(
        self,
        lines: JSONLines,
        payload: bytes,
        is_binary: bool,
        limit: int,
        kind: str,
        shown: str,
        cut: bool,
    ) -> None:
        name = lines.name("1 a", "")
        (line,) = parsed(lines, [(name, payload, is_binary)], limit)
        assert line == {
            "connection": "1",
            "peer": "a",
            "channel": "",
            "kind": kind,
            "size": len(payload),
            "payload": shown,
            "cut": cut,
        }

    @given(MESSAGES, st.sampled_from([0, 5, 20]))
    def test_any_payload_is_one_line_of_json_from_which_it_is_read_back(
        self, messages: list[tuple[str, bytes, bool]], limit: int
    ) -> None:
        lines = JSONLines()
        named = [(lines.name(f"{who} p", "c"), *rest) for who, *rest in messages]
        objects = parsed(lines, named, limit)
        for line, (who, payload, binary) in zip(objects, messages, strict=True):
            assert (line["connection"], line["size"]) == (who, len(payload))
            assert line["cut"] is (len(payload) > limit)
            if binary:
                assert base64.b64decode(line["payload"]) == payload[:limit]
            elif not line["cut"]:
                assert line["payload"] == payload.decode(errors="replace")
            else:
                assert payload.decode(errors="replace").startswith(line["payload"].rstrip("\ufffd"))

    @given(MESSAGES)
    def test_a_line_is_what_it_is_alone_whatever_stands_beside_it(
        self, messages: list[tuple[str, bytes, bool]]
    ) -> None:
        lines = JSONLines()
        named = [(lines.name(f"{who} p", "c"), *rest) for who, *rest in messages]
        assert parsed(lines, named) == [parsed(lines, [each])[0] for each in named]

    @given(st.text(), st.text())
    def test_any_name_is_json(self, peer: str, channel: str) -> None:
        lines = JSONLines()
        (line,) = parsed(lines, [(lines.name(f"1 {peer}", channel), b"", False)])
        half = re.compile("[\ud800-\udfff]")
        assert (line["peer"], line["channel"]) == (
            half.sub("\ufffd", peer),
            half.sub("\ufffd", channel),
        )


def test_a_time_is_that_of_rfc_3339() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(86400.25) == "1970-01-02T00:00:00.250Z"
