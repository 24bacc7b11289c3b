from __future__ import annotations

from wsservice.cli.prompt.stats import Stats


def test_messages_and_octets_are_counted_both_ways() -> None:
    stats = Stats(10.0)
    stats.sent.add(b"x")
    for payload in (b"abc", b""):
        stats.received.add(payload)
    assert stats.lines(72.4, 0, True) == [
        "open for 62 s",
        "sent 1 message, 1 byte; 0 bytes still waiting",
        "received 2 messages, 3 bytes",
    ]


def test_where_there_is_no_connection_it_is_said() -> None:
    lines = Stats(10.0).lines(72.4, 5, False)
    assert lines[0] == "opened 62 s ago, and closed now"
    assert lines[1] == "sent 0 messages, 0 bytes; 5 bytes still waiting"


def test_round_trips_are_told_once_there_are_some() -> None:
    stats = Stats(0.0)
    for seconds in (0.002, 0.001, 0.0034):
        stats.ponged(seconds)
    assert stats.lines(1, 5, True)[-1] == "round trip: 3.4 ms the last, 1.0 ms to 3.4 ms in 3 pings"
