from __future__ import annotations

from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.channels.query import (
    LONGEST,
    MOST_NAMED,
    ChannelError,
    ChannelNameError,
    ChannelQuery,
    Position,
    asked_for,
    channel_of,
    check_name,
    has_control,
    is_too_long,
    octets_of,
    position_of,
)

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20
).filter(lambda name: name.strip("/") == name)


class TestOfAPath:
    @pytest.mark.parametrize(
        ("path", "channel"),
        [
            ("/websockets/", "websockets"),
            ("/websockets", "websockets"),
            ("/", ""),
            ("", ""),
            ("//a//b//", "a//b"),
            ("/caf%C3%A9", "café"),
            ("/a%2Fb%2F", "a/b"),
            ("/100%25", "100%"),
            # What is no text of one line stands for itself.
            ("/a%0Ab", "a%0Ab"),
            ("/%ff", "%ff"),
            ("/100%", "100%"),
            ("/%e2%80%a8", "%e2%80%a8"),
        ],
    )
    def test_it_is_the_path_decoded_without_slashes_at_its_ends(
        self, path: str, channel: str
    ) -> None:
        assert channel_of(path) == channel

    @given(NAMES)
    def test_any_name_can_be_written_as_a_path_and_in_a_query(self, name: str) -> None:
        assert channel_of("/" + quote(name)) == name
        assert asked_for("channel=" + quote(name, safe=""), "", False).channels == (name,)
        assert asked_for("channel=" + quote_plus(name), "", False).channels == (name,)


class TestLength:
    @given(st.text(st.characters(), max_size=300).filter(lambda name: name[:1] != "\0"))
    def test_it_is_that_of_utf_8(self, name: str) -> None:
        octets = len(name.encode(errors="surrogatepass"))
        assert octets_of(name) == octets
        assert is_too_long(name) is (octets > LONGEST)
        if octets <= LONGEST:
            check_name(name)
        else:
            with pytest.raises(ChannelNameError, match=f"has {octets} octets of UTF-8; give one"):
                check_name(name)

    @pytest.mark.parametrize("character", ["a", "\u00e9", "\u20ac", "\U0001f600", "\ud800"])
    def test_the_bound_holds_for_characters_of_any_size(self, character: str) -> None:
        size = len(character.encode(errors="surrogatepass"))
        check_name(character * (LONGEST // size))
        with pytest.raises(ChannelNameError):
            check_name(character * (LONGEST // size + 1))

    @pytest.mark.parametrize("name", ["\0", "\0tom", "\0" + "x" * 300])
    def test_no_channel_has_the_name_of_a_user(self, name: str) -> None:
        with pytest.raises(ChannelNameError, match="begins with NUL"):
            check_name(name)


class TestOfAQuery:
    @pytest.mark.parametrize(
        ("query", "channels"),
        [
            ("", ()),
            ("token=channel", ()),
            ("channel=a", ("a",)),
            ("channel=a&x=y&channel=b", ("a", "b")),
            ("channel=/a/b/", ("a/b",)),
            ("channel=a%2Fb", ("a/b",)),
            ("channel=%63af%C3%A9+1", ("café 1",)),
            ("channel=a=b", ("a=b",)),
            # Once is enough, and the path's comes first anyway.
            ("channel=b&channel=a&channel=b&channel=here", ("b", "a")),
        ],
    )
    def test_it_names_channels(self, query: str, channels: tuple[str, ...]) -> None:
        assert asked_for(query, "here", True) == ChannelQuery(channels)

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            ("channel=a&channel=", "channel 2 of the query has no name"),
            ("channel", "channel 1 of the query has no name"),
            ("channel=//", "channel 1 of the query has no name"),
            ("channel=%ff", "channel 1 of the query is not UTF-8, percent-encoded"),
            ("channel=%zz", "channel 1 of the query is not UTF-8, percent-encoded"),
            ("channel=%ed%a0%80", "channel 1 of the query is not UTF-8, percent-encoded"),
            ("channel=a%0d%0ab", "channel 1 of the query has a control character"),
            ("channel=%C2%85", "channel 1 of the query has a control character"),
            ("channel=%E2%80%A8", "channel 1 of the query has a control character"),
            ("channel=" + "x" * 256, "channel 1 of the query is longer than 255 octets"),
            ("channel=" + "%C3%A9" * 128, "channel 1 of the query is longer than 255 octets"),
            ("&".join(f"channel={i}" for i in range(17)), "the query names more than 16 channels"),
            ("channel=a&" * 17, "the query names more than 16 channels"),
            ("since=x&epoch=e", "the query has a value of since that no envelope had"),
            ("since=-1&epoch=e", "the query has a value of since that no envelope had"),
            (
                "since=" + "9" * 16 + "&epoch=e",
                "the query has a value of since that no envelope had",
            ),
            ("since=1&epoch=a%20b", "the query has a value of epoch that no envelope had"),
            ("since=1&since=2&epoch=e", "the query has more than one since for a channel"),
            ("epoch=1&since=2&epoch=e", "the query has more than one epoch for a channel"),
            ("since=1", "the query has since or epoch of a channel without the other"),
            (
                "since=1&channel=a&epoch=e",
                "the query has since or epoch of a channel without the other",
            ),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line_without_a_word_of_it(
        self, query: str, problem: str
    ) -> None:
        with pytest.raises(ChannelError) as raised:
            asked_for(query, "here", True)
        assert str(raised.value) == problem

    def test_as_many_and_as_long_as_is_allowed(self) -> None:
        names = [str(number).rjust(LONGEST, "x") for number in range(MOST_NAMED)]
        assert asked_for(urlencode([("channel", name) for name in names]), "", False).channels == (
            *names,
        )

    def test_a_position_belongs_to_the_channel_named_before_it(self) -> None:
        asked = asked_for(
            "since=1&epoch=e&channel=a&since=2&epoch=f&channel=b&channel=c&epoch=h&since=3",
            "here",
            True,
        )
        assert asked.channels == ("a", "b", "c")
        assert asked.since == {
            "here": Position(1, "e"),
            "a": Position(2, "f"),
            "c": Position(3, "h"),
        }

    def test_the_paths_channel_may_be_named_to_give_its_position(self) -> None:
        asked = asked_for("channel=a&channel=here&since=2&epoch=f", "here", True)
        assert asked == ChannelQuery(("a",), {"here": Position(2, "f")})

    def test_where_it_cannot_be_asked_for_a_position_is_a_members_like_any_other(self) -> None:
        assert asked_for("since=yesterday&since=1&epoch=&channel=a", "here", False) == ChannelQuery(
            ("a",)
        )

    @given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#")))
    def test_any_query_is_taken_or_refused(self, query: str) -> None:
        try:
            asked = asked_for(query, "here", True)
        except ChannelError:
            return
        assert len(asked.channels) <= MOST_NAMED
        assert set(asked.since) <= {"here", *asked.channels}


@pytest.mark.parametrize("character", ["\0", "\n", "\x7f", "\x85", "\u2028"])
def test_a_name_with_a_control_character_is_known(character: str) -> None:
    assert has_control(f"a{character}b")
    assert not has_control("a b/é")


class TestHistory:
    def test_a_count_stands_for_all_channels_wherever_it_stands(self) -> None:
        for query in ("history=20&channel=a", "channel=a&history=20"):
            assert asked_for(query, "here", True, kept=True) == ChannelQuery(("a",), {}, 20)

    @pytest.mark.parametrize("value", ["1", "1000000"])
    def test_its_bounds(self, value: str) -> None:
        assert asked_for(f"history={value}", "", False, kept=True).history == int(value)

    @pytest.mark.parametrize(
        "value", ["", "0", "-1", "01", "1000001", "9" * 5000, "\u0661", "1%30", "1 ", "1\n"]
    )
    @pytest.mark.parametrize("resuming", [True, False])
    def test_all_else_is_refused(self, value: str, resuming: bool) -> None:
        with pytest.raises(ChannelError, match="a number from 1 to 1000000"):
            asked_for(f"history={value}", "", resuming, kept=True)

    def test_of_many_the_second_is_refused(self) -> None:
        with pytest.raises(ChannelError, match="more than one history"):
            asked_for("&".join(["history=1"] * 1000), "", False, kept=True)

    @pytest.mark.parametrize(
        ("query", "resuming"),
        [
            ("history=1&since=1&epoch=e", True),
            ("since=1&epoch=e&channel=a&history=1", True),
            ("since=yesterday&history=1", False),
        ],
    )
    def test_it_does_not_stand_beside_since(self, query: str, resuming: bool) -> None:
        with pytest.raises(ChannelError, match="the query has history beside since; give one"):
            asked_for(query, "", resuming, kept=True)

    def test_without_a_history_it_is_a_behaviours(self) -> None:
        assert asked_for("history=all&history=1", "", True) == ChannelQuery()

    def test_a_position_of_two_values(self) -> None:
        assert position_of("7", "E.1") == Position(7, "E.1")
        for since, epoch in (("x", "E"), ("1" * 16, "E"), ("1", "a b"), ("\u0661", "E")):
            with pytest.raises(ChannelError):
                position_of(since, epoch)
