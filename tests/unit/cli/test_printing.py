from __future__ import annotations

import pytest

from wsservice.cli.printing import as_printed, for_people

EVERY_OCTET = bytes(range(256))


@pytest.mark.parametrize("form", ["raw", "hex", "base64"])
def test_text_is_printed_as_it_came(form: str) -> None:
    assert as_printed(b"\x1b[2J\\ \xe2\x9c\x93", False, form) == b"\x1b[2J\\ \xe2\x9c\x93"


@pytest.mark.parametrize(
    ("form", "printed"), [("raw", b"\0\xff\n"), ("hex", b"00ff0a"), ("base64", b"AP8K")]
)
def test_binary_is_printed_in_a_form(form: str, printed: bytes) -> None:
    assert as_printed(b"\0\xff\n", True, form) == printed


@pytest.mark.parametrize("form", ["raw", "hex", "base64"])
@pytest.mark.parametrize("is_binary", [False, True])
def test_people_get_nothing_but_printable_characters(form: str, is_binary: bool) -> None:
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x30000)])).encode()
    payload = EVERY_OCTET if is_binary else everything
    assert for_people(payload, is_binary, form).decode().isprintable()


def test_people_get_all_of_a_message() -> None:
    for payload in ("\U000e0001" * 3, "\u202e" * 3, "\x07" * 3):
        shown = for_people(payload.encode(), False, "raw").decode()
        assert shown.encode().decode("unicode_escape") == payload
    assert for_people(EVERY_OCTET, True, "raw").endswith(EVERY_OCTET.hex().encode())
    assert for_people(b"", False, "raw") == b""


def test_people_are_told_of_binary_unless_they_chose_a_form() -> None:
    assert for_people(b"\0\xff", True, "raw") == b"(binary, 2 bytes) 00ff"
    assert for_people(b"\0\xff", True, "hex") == b"00ff"
    assert for_people(b"\0\xff", True, "base64") == b"AP8="
