from __future__ import annotations

import pytest

from wsservice.admin.queries import (
    WrongError,
    channels_wanted,
    closing_in,
    connections_wanted,
    history_wanted,
)
from wsservice.channels.query import Position
from wsservice.directory.listing import Closing, Wanted
from wsservice.directory.presence import ChannelsWanted


class TestWanted:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", Wanted(100, 0)),
            ("limit=1", Wanted(1, 0)),
            ("limit=1000&after=99", Wanted(1000, 99)),
            ("after=1&after=2", Wanted(100, 2)),
        ],
    )
    def test_what_can_be_asked_for(self, query: str, expected: Wanted) -> None:
        assert connections_wanted(query) == expected

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=",
            "limit=1e2",
            "limit=%D9%A1",
            "limit=1%00",
            "after=x",
            "after=" + "9" * 21,
            "limits=5",
            "&".join(["after=1"] * 17),
            "%ff=%ff",
        ],
    )
    def test_all_else_is_refused(self, query: str) -> None:
        with pytest.raises(WrongError, match="give"):
            connections_wanted(query)


class TestWantedOfSeveral:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("after=7", Wanted(after=7)),
            ("after=a-1.7&limit=3", Wanted(3, 7, "a-1")),
        ],
    )
    def test_what_can_be_asked_for(self, query: str, expected: Wanted) -> None:
        assert connections_wanted(query, several=True) == expected

    @pytest.mark.parametrize("query", ["after=a.", "after=.7", "limit=a.7", "after=a.b.7"])
    def test_all_else_is_refused(self, query: str) -> None:
        with pytest.raises(WrongError, match="is not a number"):
            connections_wanted(query, several=True)

    def test_where_there_is_one_node_no_other_has_anything(self) -> None:
        with pytest.raises(WrongError, match="after is not a number"):
            connections_wanted("after=a.7")


class TestClosing:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"", Closing(1000, "")),
            (b" \n", Closing(1000, "")),
            (b"{}", Closing(1000, "")),
            (b'{"code": 1001}', Closing(1001, "")),
            (b'{"code": 3000}', Closing(3000, "")),
            ('{"code": 4999, "reason": "\u00e4"}'.encode(), Closing(4999, "\u00e4")),
            (b'{"reason": "' + b"x" * 123 + b'"}', Closing(1000, "x" * 123)),
        ],
    )
    def test_how_one_can_be_closed(self, body: bytes, expected: Closing) -> None:
        assert closing_in(body) == expected

    @pytest.mark.parametrize(
        "body",
        [
            b"x",
            b"[]",
            b"1",
            b"null",
            b"\xff",
            b"[" * 4000,
            b'{"cod": 1000}',
            b'{"code": "1000"}',
            b'{"code": true}',
            b'{"code": 1000.0}',
            b'{"code": 999}',
            b'{"code": 1004}',
            b'{"code": 1005}',
            b'{"code": 1006}',
            b'{"code": 1010}',
            b'{"code": 1015}',
            b'{"code": 2000}',
            b'{"code": 5000}',
            b'{"reason": 1}',
            b'{"reason": "\\ud800"}',
            b'{"reason": "' + "\u00e4".encode() * 62 + b'"}',
        ],
    )
    def test_all_else_is_refused(self, body: bytes) -> None:
        with pytest.raises(WrongError, match="give"):
            closing_in(body)


class TestChannels:
    @pytest.mark.parametrize(
        ("query", "part"),
        [
            ("", ChannelsWanted()),
            ("limit=1", ChannelsWanted(1)),
            ("limit=1000&after=a%2Fb", ChannelsWanted(1000, "a/b")),
            ("after=", ChannelsWanted(after="")),
        ],
    )
    def test_right(self, query: str, part: ChannelsWanted) -> None:
        assert channels_wanted(query) == part

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=-1",
            "limit=",
            "x=1",
            "after=%ff",
            "after=" + "x" * 256,
        ],
    )
    def test_wrong(self, query: str) -> None:
        with pytest.raises(WrongError):
            channels_wanted(query)

    def test_too_much(self) -> None:
        with pytest.raises(WrongError, match="cannot be read"):
            channels_wanted("&".join(["limit=1"] * 17))


class TestHistory:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", (100, None)),
            ("limit=1", (1, None)),
            ("limit=1000&since=7&epoch=E.1", (1000, Position(7, "E.1"))),
            ("epoch=a-_.b&since=0", (100, Position(0, "a-_.b"))),
        ],
    )
    def test_what_can_be_asked_for(self, query: str, expected: tuple[int, Position | None]) -> None:
        assert history_wanted(query) == expected

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit=%D9%A1",
            "limit=1&limit=2",
            "since=1",
            "epoch=E",
            "since=&epoch=E",
            "since=-1&epoch=E",
            "since=%D9%A1&epoch=E",
            "since=" + "9" * 1000 + "&epoch=E",
            "since=1&epoch=a%20b",
            "since=1&epoch=" + "e" * 65,
            "history=5",
            "&".join(["limit=1"] * 17),
            "%ff=%ff",
        ],
    )
    def test_all_else_is_refused(self, query: str) -> None:
        with pytest.raises(WrongError, match="give a limit from 1 to 1000, and since with epoch"):
            history_wanted(query)
