from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.cluster.home import Doing, LocalHome


def test_what_a_node_in_one_process_does() -> None:
    clock, everybody = Clock(), [1, 2]
    people: Any = object()
    home = LocalHome(people, everybody, lambda: ["draining"], clock)
    home.start()
    clock.advance(0.25)
    clock.advance(1.25)
    done: list[Any] = []
    Deferred.fromCoroutine(home.doing()).addCallback(done.append)
    assert done == [Doing(1, 2, 1.0)]
    assert home.reasons() == ["draining"]
    home.stop()
    assert clock.getDelayedCalls() == []
