from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address

from wsservice.directory.listing import Wanted, find, list_of
from wsservice.server.behaviours import EchoServerProtocol

from ...support import PING, Client, Served, frame


def served(count: int) -> tuple[Served, list[Client]]:
    made = Served(EchoServerProtocol)
    return made, [made.connect().open(f"/{each}") for each in range(count)]


def listed(made: Served, wanted: Wanted) -> dict[str, Any]:
    connections: Any = made.hub
    return list_of(connections, wanted)


def ids(page: dict[str, Any]) -> list[str]:
    return [each["id"] for each in page["connections"]]


class TestList:
    def test_what_there_is_of_each(self) -> None:
        made = Served(EchoServerProtocol)
        made.clock.advance(1_800_000_000)
        client = made.connect(IPv4Address("TCP", "192.0.2.1", 5000))
        client.ask("/chat/", "User-Agent: Some/1.0")
        client.text("hello")
        client.send(frame(PING, b"p"))
        (shown,) = listed(made, Wanted())["connections"]
        octets = shown.pop("octets")
        assert shown == {
            "id": "1",
            "peer": "192.0.2.1:5000",
            "channel": "chat",
            "state": "open",
            "since": "2027-01-15T08:00:00.000Z",
            "messages": {"received": 1, "sent": 1},
            "queue": 0,
            "rtt": None,
            "user_agent": "Some/1.0",
        }
        assert octets["received"] > 100 < octets["sent"]

    def test_one_that_shakes_hands_one_that_closes_and_one_that_left(self) -> None:
        made = Served()
        made.connect()
        closing = made.connect().open()
        closing.protocol.go_away()
        made.connect().open().lose()
        page = listed(made, Wanted())
        assert [each["state"] for each in page["connections"]] == ["opening", "closing"]
        assert page["connections"][0]["user_agent"] == ""
        assert page["total"] == 2

    def test_pages(self) -> None:
        made, clients = served(7)
        first = listed(made, Wanted(3))
        assert (ids(first), first["total"], first["next"]) == (["1", "2", "3"], 7, "3")
        clients[3].lose()
        second = listed(made, Wanted(3, int(first["next"])))
        assert (ids(second), second["total"], second["next"]) == (["5", "6", "7"], 6, None)
        assert listed(made, Wanted(3, 10**19))["connections"] == []

    def test_ids_are_ordered_as_numbers(self) -> None:
        made, _ = served(12)
        assert ids(listed(made, Wanted(2, 9))) == ["10", "11"]

    def test_what_a_peer_says_of_itself_is_bounded(self) -> None:
        made = Served()
        made.connect().ask("/" + "p" * 255, "User-Agent: " + "u" * 4000)
        (shown,) = listed(made, Wanted())["connections"]
        assert shown["channel"] == "p" * 255
        assert len(shown["user_agent"]) == 256
        assert len(json.dumps(shown)) < 1000

    def test_a_round_trip(self) -> None:
        made = Served(ping_interval=20)
        client = made.connect().open()
        made.clock.advance(20)
        made.clock.advance(0.125)
        client.send(frame(10))
        (shown,) = listed(made, Wanted())["connections"]
        assert shown["rtt"] == 0.125

    def test_one_is_found(self) -> None:
        made, clients = served(2)
        assert find(made.hub, "2") is clients[1].protocol
        assert find(made.hub, "02") is None
        assert find(made.hub, "3") is None
