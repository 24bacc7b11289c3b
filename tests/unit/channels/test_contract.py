"""Every hub meets the contract alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.broker.hub import BrokerHub
from wsservice.channels.contract import Hub
from wsservice.channels.following import FollowingHub
from wsservice.channels.history import History
from wsservice.channels.hub import LocalHub
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Latest, Position
from wsservice.errors import NoHistoryError
from wsservice.workers.child.hub import WorkerHub
from wsservice.workers.child.kept import KeptHub

from ..broker.test_hub import Met


class Bus:
    """A bus that takes everything."""

    def publish(self, _: bytes) -> bool:
        return True

    def say(self, *_: Any, **__: Any) -> None: ...


BUS: Any = Bus()
CLASSES = (LocalHub, FollowingHub, WorkerHub, KeptHub, BrokerHub)
WITHOUT_HISTORY: list[Callable[[], Hub]] = [
    LocalHub,
    lambda: WorkerHub(BUS),
    lambda: Met().hub,
]
WITH_HISTORY: list[Callable[[], Hub]] = [
    lambda: LocalHub(history=History(10, 0, 100_000)),
    lambda: KeptHub(BUS, Clock()),
    lambda: Met(history="10,60").hub,
]
METHODS = sorted(
    name
    for name, member in vars(Hub).items()
    if inspect.isfunction(member) and (not name.startswith("_") or name in ("__len__", "__iter__"))
)


@pytest.mark.parametrize("hub", CLASSES)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_takes_and_returns_the_same_in_every_hub(hub: type, method: str) -> None:
    assert inspect.signature(getattr(hub, method)) == inspect.signature(getattr(Hub, method))


@pytest.mark.parametrize("make", [*WITHOUT_HISTORY, *WITH_HISTORY])
def test_publishing_is_plain_and_the_rest_comes_later(make: Callable[[], Hub]) -> None:
    hub = make()
    assert hub.publish("a", b"x") == 0
    answers = [hub.deliver(ChannelMessage("a", b"x")), hub.presence("a"), hub.when_settled()]
    assert [type(each) for each in answers] == [Deferred] * 3


@pytest.mark.parametrize("make", WITH_HISTORY)
def test_the_history_comes_later_too(make: Callable[[], Hub]) -> None:
    hub = make()
    assert hub.has_history
    answers: list[Any] = [hub.position("a"), hub.missed("a", Position(0, "e"))]
    answers += [hub.missed("a", Latest(5)), hub.history("a")]
    assert [type(each) for each in answers] == [Deferred] * 4


@pytest.mark.parametrize("make", WITHOUT_HISTORY)
def test_where_none_is_kept_none_is_asked_for(make: Callable[[], Hub]) -> None:
    hub = make()
    assert not hub.has_history
    with pytest.raises(NoHistoryError, match="no history is kept; give --history"):
        hub.history("a")
    with pytest.raises(RuntimeError, match="no history is kept"):
        hub.position("a")
    with pytest.raises(RuntimeError, match="no history is kept"):
        hub.missed("a", Position(0, "e"))


@pytest.mark.parametrize("make", [*WITHOUT_HISTORY, *WITH_HISTORY])
def test_what_is_not_allowed_raises_at_once(make: Callable[[], Hub]) -> None:
    hub = make()
    with pytest.raises(TypeError, match="a payload is bytes"):
        hub.publish("a", "x")  # type: ignore[arg-type]
    for ask in (lambda: hub.publish("a" * 256, b"x"), lambda: hub.presence("a" * 256)):
        with pytest.raises(ValueError, match="give one of at most 255"):
            ask()
    with pytest.raises(ValueError, match="give 0 to 1000"):
        hub.presence("a", 1001)
    with pytest.raises(ValueError, match="give 1 to 1000"):
        hub.history("a", 0)
