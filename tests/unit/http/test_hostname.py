from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.http.hostname import (
    address_of,
    ascii_name,
    ascii_url,
    certified_name,
    parse_place,
    without_zone,
)

LONG = ".".join(["x" * 63] * 3)


class TestName:
    @pytest.mark.parametrize(
        "name",
        [
            "a",
            "a.example",
            "my_service",
            "_a._tcp.example",
            "r3---sn.cdn.example",
            "a.example.",
            "-a",
            "a-",
            "0",
            "1.2.3.4.5",
            "x" * 63,
            f"{LONG}.{'x' * 61}.",
            "xn--bcher-kva.example",
        ],
    )
    def test_what_dns_may_have_is_a_name(self, name: str) -> None:
        assert ascii_name(name) == name

    def test_it_is_in_lower_case(self) -> None:
        assert ascii_name("A.Example") == "a.example"

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("例え。jp", "xn--r8jz45g.jp"),
            ("my_service.bücher.example.", "my_service.xn--bcher-kva.example."),
            ("\uff41.example", "a.example"),
        ],
    )
    def test_beyond_ascii_it_is_that_of_idna(self, text: str, name: str) -> None:
        assert ascii_name(text) == name

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "has letters, digits"),
            ("a b", "has letters, digits"),
            ("a%41", "has letters, digits"),
            ("a/b", "has letters, digits"),
            ("a..b", "no two dots in a row"),
            (".a", "no two dots in a row"),
            (".", "no two dots in a row"),
            ("x" * 64, "at most 63 characters between two dots"),
            (f"{LONG}.{'x' * 62}", "and 253 in all"),
            ("\u00fc_", "write it as xn--"),
            ("ä" * 60, "write it as xn--"),
            ("\ud800", "write it as xn--"),
            # A character that IDNA maps to ASCII must not become another part of a URL.
            ("a\uff0fb", "has letters, digits"),
            ("a\uff20b", "has letters, digits"),
        ],
    )
    def test_what_is_none(self, text: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            ascii_name(text)

    @given(st.text())
    def test_a_name_never_makes_python_raise_where_it_is_looked_up(self, text: str) -> None:
        try:
            name = ascii_name(text)
        except ValueError:
            return
        assert name.encode("idna").decode("ascii") == name
        assert ascii_name(name) == name


class TestPlace:
    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("A.example:80", ("a.example", 80)),
            ("a.example", ("a.example", None)),
            ("a.example:", ("a.example", None)),
            ("192.0.2.1:1", ("192.0.2.1", 1)),
            ("[2001:DB8:0::1]:65535", ("2001:db8::1", 65535)),
            ("[fe80::1%25eth0]", ("fe80::1%eth0", None)),
            ("[fe80::1%eth0.7]:9", ("fe80::1%eth0.7", 9)),
        ],
    )
    def test_it_is(self, text: str, place: tuple[str, int | None]) -> None:
        assert parse_place(text) == place

    @pytest.mark.parametrize(
        "text",
        [
            "",
            ":80",
            "a:b",
            "a:0",
            "a:65536",
            "a:123456",
            "::1",
            "[::1",
            "[::g]",
            "[1.2.3.4]",
            "[fe80::1%]",
            "[fe80::1%a b]",
            "u@a",
            "a:1:2",
            "[a]",
            "a:\u0661",
        ],
    )
    def test_it_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^(a host|a port|the text in brackets)"):
            parse_place(text)


def test_of_an_address_and_its_zone() -> None:
    assert without_zone("fe80::1%eth0") == "fe80::1"
    assert str(address_of("fe80::1%eth0")) == "fe80::1%eth0"
    assert address_of("a.example") is None


def test_a_certificate_has_neither_zone_nor_last_dot() -> None:
    assert certified_name("fe80::1%eth0") == "fe80::1"
    assert certified_name("a.example.") == "a.example"
    assert certified_name("a.example") == "a.example"


@pytest.mark.parametrize(
    ("url", "ascii_one"),
    [
        ("https://a.example/%ff?a=b#c", "https://a.example/%ff?a=b#c"),
        ("https://ü:ä@bücher.example:8/é?ö#ß", ""),
        ("/é", "/%C3%A9"),
        ("é?x", "%C3%A9?x"),
        ("//bücher.example", "//xn--bcher-kva.example"),
        ("unix:/é", "unix:/%C3%A9"),
    ],
)
def test_a_url_in_ascii(url: str, ascii_one: str) -> None:
    wanted = ascii_one or "https://%C3%BC:%C3%A4@xn--bcher-kva.example:8/%C3%A9?%C3%B6#%C3%9F"
    assert ascii_url(url) == wanted
