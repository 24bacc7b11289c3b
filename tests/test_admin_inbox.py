from __future__ import annotations

from prometheus_client import CollectorRegistry

from wsservice.admin.inbox import InboxFigures


class Box:
    def __init__(self, figures: dict[str, int], states: dict[str, int]) -> None:
        self.figures = figures
        self.states = states


def shown(box: Box) -> dict[str, float | None]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(InboxFigures(lambda: box))
    found = {
        outcome: registry.get_sample_value("wsservice_inbox_messages_total", {"outcome": outcome})
        for outcome in ("appended", "dropped", "refused")
    }
    return {**found, "waiting": registry.get_sample_value("wsservice_inbox_waiting")}


def test_what_is_shown_of_an_inbox() -> None:
    box = Box({"appended": 5, "dropped": 2, "refused": 1}, {"waiting": 3})
    assert shown(box) == {"appended": 5, "dropped": 2, "refused": 1, "waiting": 3}


def test_what_was_never_there_is_shown_too() -> None:
    assert set(shown(Box({}, {})).values()) == {0}
