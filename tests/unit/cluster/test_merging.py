from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wsservice.cluster.merging import Portion, channels, listed, portions
from wsservice.cluster.rows import ChannelsPart, ListPart
from wsservice.directory.ids import Id
from wsservice.directory.listing import Wanted
from wsservice.directory.presence import ChannelsWanted


class TestPortions:
    def test_of_each_node_what_the_others_before_do_not_fill(self) -> None:
        totals = {"c": 5, "a": 60, "b": 30}
        asked, more = portions(Wanted(100), totals)
        assert asked == {"a": Portion(100, 0), "b": Portion(40, 0), "c": Portion(10, 0)}
        assert not more

    def test_of_none_that_has_nothing_or_comes_later(self) -> None:
        asked, more = portions(Wanted(100), {"a": 100, "b": 0, "c": 5})
        assert asked == {"a": Portion(100, 0)}
        assert more
        assert portions(Wanted(100), {"a": 100, "b": 0}) == ({"a": Portion(100, 0)}, False)

    def test_from_where_the_part_before_ended(self) -> None:
        totals = {"a": 60, "b": 500, "c": 30, "d": 90}
        asked, more = portions(Wanted(100, 7, "b"), totals)
        assert asked == {"b": Portion(100, 7), "c": Portion(100, 0), "d": Portion(70, 0)}
        assert not more

    def test_where_its_node_is_gone_from_the_next(self) -> None:
        assert portions(Wanted(100, 7, "b"), {"a": 60, "c": 30})[0] == {"c": Portion(100, 0)}


def part(*numbers: int, more: bool = False) -> ListPart:
    return ListPart(tuple({"id": str(each)} for each in numbers), more)


def ids(said: dict[str, Any]) -> tuple[list[str], str | None]:
    return [each["id"] for each in said["connections"]], said["next"]


class TestListed:
    def test_one_nodes_after_anothers(self) -> None:
        parts = {"b": part(1), "a": part(3, 4)}
        assert ids(listed(Wanted(3), parts, False)) == (["a.3", "a.4", "b.1"], None)
        assert ids(listed(Wanted(3), parts, True)) == (["a.3", "a.4", "b.1"], "b.1")

    def test_no_more_than_wanted(self) -> None:
        parts = {"a": part(3, 4), "b": part(1)}
        assert ids(listed(Wanted(1), parts, False)) == (["a.3"], "a.3")
        assert ids(listed(Wanted(2), parts, False)) == (["a.3", "a.4"], "a.4")
        parts["b"] = part()
        assert ids(listed(Wanted(2), parts, False)) == (["a.3", "a.4"], None)

    def test_what_was_cut_ends_the_part(self) -> None:
        parts = {"a": part(3, more=True), "b": part(1)}
        assert ids(listed(Wanted(9), parts, False)) == (["a.3"], "a.3")

    def test_nothing(self) -> None:
        assert ids(listed(Wanted(9), {}, False)) == ([], None)
        assert ids(listed(Wanted(9), {}, True)) == ([], None)

    @given(
        st.dictionaries(
            st.sampled_from("abcd"), st.sets(st.integers(1, 30), max_size=9), max_size=4
        ),
        st.integers(1, 10),
        st.integers(1, 4),
    )
    def test_page_by_page_all_come_once(
        self, nodes: dict[str, set[int]], limit: int, most: int
    ) -> None:
        """`most` is how many a node has room for in an answer."""
        wanted, seen = Wanted(limit), []
        while True:
            totals = {node: len(numbers) for node, numbers in nodes.items()}
            asked, more = portions(wanted, totals)
            parts = {}
            for node, portion in asked.items():
                behind = sorted(each for each in nodes[node] if each > portion.after)
                given = behind[: min(portion.limit, most)]
                parts[node] = part(*given, more=len(given) < len(behind))
            said, next_ = ids(listed(wanted, parts, more))
            seen += said
            if next_ is None:
                break
            last = Id.of(next_)
            assert last is not None
            wanted = Wanted(limit, last.number, last.node)
        assert seen == [f"{node}.{each}" for node in sorted(nodes) for each in sorted(nodes[node])]


def sizes(part: dict[str, Any]) -> list[tuple[str, int]]:
    return [(each["channel"], each["connections"]) for each in part["channels"]]


class TestChannels:
    def test_who_is_on_one_anywhere_is_counted(self) -> None:
        one = ChannelsPart((("a", 1), ("b", 2)), False, 2)
        two = ChannelsPart((("b", 3), ("c", 4)), False, 2)
        said = channels(ChannelsWanted(), (one, two))
        assert sizes(said) == [("a", 1), ("b", 5), ("c", 4)]
        assert (said["total"], said["at_most"], said["next"]) == (3, 3, None)

    def test_where_one_has_more_only_what_is_sure_is_shown(self) -> None:
        one = ChannelsPart((("a", 1), ("b", 2)), True, 9)
        two = ChannelsPart((("b", 3), ("c", 4)), False, 2)
        said = channels(ChannelsWanted(2), (one, two))
        assert sizes(said) == [("a", 1), ("b", 5)]
        assert (said["total"], said["at_most"], said["next"]) == (None, 11, "b")

    def test_of_one_that_has_all_the_total_is_known(self) -> None:
        one = ChannelsPart((("a", 1),), True, 9)
        said = channels(ChannelsWanted(1), (one, ChannelsPart((), False, 0)))
        assert (said["total"], said["at_most"]) == (9, 9)

    def test_but_for_one_that_does_not_know_it(self) -> None:
        one = ChannelsPart((("a", 1),), True, 9, (), False)
        said = channels(ChannelsWanted(1), (one, ChannelsPart((), False, 0)))
        assert (said["total"], said["at_most"]) == (None, 9)

    def test_nothing(self) -> None:
        expected = {"total": 0, "at_most": 0, "channels": [], "next": None}
        assert channels(ChannelsWanted(), ()) == expected

    @given(
        st.lists(st.dictionaries(st.text("abc", max_size=2), st.integers(1, 9)), max_size=3),
        st.integers(1, 5),
        st.integers(1, 3),
    )
    def test_page_by_page_all_come_once(
        self, nodes: list[dict[str, int]], limit: int, most: int
    ) -> None:
        seen: list[tuple[str, int]] = []
        after: str | None = None
        while True:
            parts = []
            for node in nodes:
                behind = sorted(name for name in node if after is None or name > after)
                given = behind[: min(limit, most)]
                rows = tuple((name, node[name]) for name in given)
                parts.append(ChannelsPart(rows, len(given) < len(behind), len(node)))
            said = channels(ChannelsWanted(limit, after), parts)
            seen += sizes(said)
            after = said["next"]
            if after is None:
                break
        every = sorted({name for node in nodes for name in node})
        assert seen == [(name, sum(node.get(name, 0) for node in nodes)) for name in every]
