from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from wsservice.channels.figures import HistoryFigures
from wsservice.channels.history import History
from wsservice.channels.message import ChannelMessage


def test_what_is_shown() -> None:
    history = History(2, 0, 70_000)
    for channel in "aab":
        history.append(ChannelMessage(channel, b"123"), 1.0)
    registry = CollectorRegistry()
    registry.register(HistoryFigures(history))
    lines = generate_latest(registry).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "wsservice_history_channels 2.0",
        "wsservice_history_messages 3.0",
        f"wsservice_history_octets {float(history.octets)}",
        "wsservice_history_octets_max 70000.0",
    ]
