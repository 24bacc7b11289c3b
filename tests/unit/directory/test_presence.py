from __future__ import annotations

from typing import Any, cast

from wsservice.directory.listing import Wanted
from wsservice.directory.presence import ChannelsWanted, channels, members
from wsservice.server.behaviours import EchoServerProtocol

from ...support import Served

SIZES = {"b": 2, "": 1, "a/c": 3, "a": 4, "\u00e4": 5}


class TestChannels:
    def test_all_by_their_names(self) -> None:
        assert channels(SIZES, SIZES.__getitem__, ChannelsWanted()) == {
            "total": 5,
            "channels": [
                {"channel": "", "connections": 1},
                {"channel": "a", "connections": 4},
                {"channel": "a/c", "connections": 3},
                {"channel": "b", "connections": 2},
                {"channel": "\u00e4", "connections": 5},
            ],
            "next": None,
        }

    def test_pages_have_each_of_them_once(self) -> None:
        seen: list[str] = []
        part = ChannelsWanted(2)
        while True:
            listed = channels(SIZES, SIZES.__getitem__, part)
            seen += [each["channel"] for each in listed["channels"]]
            if listed["next"] is None:
                break
            part = ChannelsWanted(2, listed["next"])
        assert seen == ["", "a", "a/c", "b", "\u00e4"]

    def test_none(self) -> None:
        assert channels([], SIZES.__getitem__, ChannelsWanted()) == {
            "total": 0,
            "channels": [],
            "next": None,
        }


class TestMembers:
    def test_who_is_there(self) -> None:
        made = Served(EchoServerProtocol)
        for path in ("/a", "/b", "/a/", "/a"):
            made.connect().open(path)
        made.connect()
        here = cast("tuple[Any, ...]", made.hub.local_members("a"))
        listed = members("a", here, Wanted(2))
        assert (listed["channel"], listed["total"], listed["next"]) == ("a", 3, "3")
        assert [each["id"] for each in listed["connections"]] == ["1", "3"]
        rest = members("a", here, Wanted(2, 3))
        assert [each["id"] for each in rest["connections"]] == ["4"]

    def test_nobody(self) -> None:
        assert members("x", (), Wanted())["total"] == 0
