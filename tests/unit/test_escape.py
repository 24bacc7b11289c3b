from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.escape import (
    escape,
    escape_once,
    escape_within,
    is_secret,
    masked,
    quote,
    secret_parameters,
    shown_query,
    shown_subprotocol,
    shown_url,
    to_mask,
)

# hypothesis leaves surrogates out unless told otherwise.
any_text = st.text(st.characters(codec=None, exclude_categories=()))


def unescape(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("unicode_escape")


@pytest.mark.parametrize(
    ("character", "escaped"),
    [
        ("\n", r"\n"),
        ("\r", r"\r"),
        ("\t", r"\t"),
        ("\0", r"\x00"),
        ("\x1b", r"\x1b"),
        ("\x7f", r"\x7f"),
        ("\x85", r"\x85"),
        ("\x9b", r"\x9b"),
        ("\xa0", r"\xa0"),
        ("\u2028", r"\u2028"),
        ("\u2029", r"\u2029"),
        ("\u202e", r"\u202e"),
        ("\u2066", r"\u2066"),
        ("\ufeff", r"\ufeff"),
        ("\ud800", r"\ud800"),
        ("\udfff", r"\udfff"),
        ("\U000e0001", r"\U000e0001"),
        ("\\", r"\\"),
    ],
)
def test_what_could_move_a_cursor_or_start_a_line_is_escaped(character: str, escaped: str) -> None:
    assert escape(f"a{character}b") == f"a{escaped}b"


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)])
def test_every_control_character_is_escaped(code: int) -> None:
    assert escape(chr(code)).isprintable()
    assert escape(chr(code)) != chr(code)


@pytest.mark.parametrize("text", ["", "plain text", "Grüße, 世界, привет 🙂", "'\"%{}<>"])
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


@given(any_text)
def test_the_result_is_one_printable_line(text: str) -> None:
    assert escape(text).isprintable()


@given(any_text)
def test_the_result_can_be_read_back(text: str) -> None:
    assert unescape(escape(text)) == text


@given(any_text, st.integers(0, 60))
def test_a_cut_text_is_never_over_its_limit(text: str, limit: int) -> None:
    kept, _ = escape_within(text, limit)
    assert len(kept.encode()) <= limit


@given(any_text, st.integers(0, 60))
def test_a_cut_text_is_the_beginning_of_the_whole_and_no_escape_is_torn(
    text: str, limit: int
) -> None:
    kept, _ = escape_within(text, limit)
    assert escape(text).startswith(kept)
    assert text.startswith(unescape(kept))
    assert escape(unescape(kept)) == kept


@given(any_text, st.integers(0, 60))
def test_a_text_is_cut_exactly_when_it_does_not_fit(text: str, limit: int) -> None:
    whole = escape(text)
    kept, cut = escape_within(text, limit)
    assert cut == (len(whole.encode()) > limit)
    assert (kept == whole) != cut


@given(any_text, st.integers(0, 60))
def test_no_room_is_wasted_that_the_next_character_would_fit_in(text: str, limit: int) -> None:
    kept, cut = escape_within(text, limit)
    if cut:
        following = escape(text[len(unescape(kept))])
        assert len((kept + following).encode()) > limit


def test_of_a_huge_text_only_what_can_be_shown_is_looked_at() -> None:
    class Counting(str):
        def isprintable(self) -> bool:
            raise AssertionError("the whole text was looked at")

    assert escape_within(Counting("x" * 1000), 3) == ("xxx", True)


@given(any_text)
def test_a_quoted_text_is_printable_and_read_back_but_for_halves_of_surrogates(text: str) -> None:
    quoted = quote(text)
    assert quoted.isprintable()
    assert json.loads(quoted) == re.sub("[\ud800-\udfff]", "\ufffd", text)
    assert quoted.encode()


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("é\N{SMILE}", '"é\N{SMILE}"'),
        ('"\\', r'"\"\\"'),
        ("\n\x1b\x7f\x85", r'"\n\u001b\u007f\u0085"'),
        ("\u202e\U000e0001", r'"\u202e\udb40\udc01"'),
        ("\ud800", '"\ufffd"'),
    ],
)
def test_a_text_is_quoted(text: str, quoted: str) -> None:
    assert quote(text) == quoted


class TestSecrets:
    @pytest.mark.parametrize(
        "name",
        [
            *("Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "X-Api-Key"),
            *("X-Auth-Token", "token", "access_token", "accessToken", "id-token", "TICKET"),
            *("jwt", "sid", "PHPSESSID", "session_id", "X-Amz-Signature", "sig", "code", "pwd"),
            *("password", "client_secret", "api_key", "apikey", "X-CSRF-Token", "auth[value]"),
        ],
    )
    def test_names_that_are_secret(self, name: str) -> None:
        assert is_secret(name)

    @pytest.mark.parametrize(
        "name",
        [
            *("Sec-WebSocket-Key", "Sec-WebSocket-Accept", "WWW-Authenticate", "Host", "Server"),
            *("Proxy-Authenticate", "channel", "since", "epoch", "room", "id", "user", "state"),
        ],
    )
    def test_names_that_are_not(self, name: str) -> None:
        assert not is_secret(name)

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("http://u:p@proxy:1", "http://********@proxy:1"),
            ("u:p@proxy", "********@proxy"),
            ("http://u:p/w@proxy", "http://********@proxy"),
            ("wss://h/p?room=1&token=abc", "wss://h/p?room=1&token=********"),
            ("wss://u:p@h/p?ticket=a=b;x=1#t", "wss://********@h/p?ticket=********;x=1#t"),
            ("wss://h/?%74oken=abc", "wss://h/?%74oken=********"),
            ("wss://h/?abc", "wss://h/?********"),
            ("wss://h/?eyJhbGciOiJIUzI1NiJ9==", "wss://h/?********"),
            ("wss://h/#access_token=abc&x=1", "wss://h/#access_token=********&x=1"),
            ("wss://h/?to=https%3A%2F%2Fa%2F%3Ftoken%3Dabc", "wss://h/?to=********"),
            ("wss://h/?to=https://a/?token=abc", "wss://h/?to=https://a/?token=********"),
        ],
    )
    def test_no_secret_of_a_url_is_shown(self, url: str, shown: str) -> None:
        assert shown_url(url) == shown

    @pytest.mark.parametrize(
        "url",
        [
            *("http://proxy:1", "ws://h/chat@home#x", "ws://h:8080/a@b", "ws://[::1]:80/a@b"),
            *(
                "ws:///run/a@b",
                "wss://h/?channel=a&channel=b",
                "wss://h/?x=",
                "wss://h/?",
                "/p?a=1",
            ),
        ],
    )
    def test_a_url_without_a_secret_is_shown_as_it_is(self, url: str) -> None:
        assert shown_url(url) == url

    @given(st.text(alphabet="ab=&;?#/:@%", max_size=30), st.sampled_from(["token", "sid", "jwt"]))
    def test_whatever_stands_around_it_a_secret_value_is_masked(self, rest: str, name: str) -> None:
        assert "S3CRET" not in shown_query(f"ws://h/{rest}?{name}=S3CRET&{rest}")

    def test_values_are_known_as_they_stand_and_decoded(self) -> None:
        assert secret_parameters("ws://h/?a=1&token=a%20b&sid=") == ["a%20b", "a b"]

    def test_a_subprotocol_is_shown_where_many_servers_share_it(self) -> None:
        assert shown_subprotocol("wsservice.v1") == "wsservice.v1"
        assert shown_subprotocol("eyJhbGciOiJIUzI1NiJ9.e30.x") == "********"

    def test_each_secret_is_masked(self) -> None:
        assert masked("a bc bcd", ["bcd", "bc"]) == "a ******** ********"


def test_texts_are_masked_once_each_the_longest_first_and_short_ones_not() -> None:
    assert to_mask(["abc", "secret", "secret", "a secret", "four"]) == [
        "a secret",
        "secret",
        "four",
    ]


@given(any_text)
def test_text_that_is_escaped_already_is_not_escaped_again(text: str) -> None:
    escaped = escape(text)
    assert escape_once(escaped) == escaped
    assert escape_once(text).isprintable()
