from __future__ import annotations

import os
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from wsservice.config.config import Config
from wsservice.config.sources import Settings
from wsservice.log.threshold import Threshold
from wsservice.run.reloading import SharedReloading

from ...support import Logged


class Service:
    """A parent whose settings are read anew, and its workers."""

    def __init__(self) -> None:
        self.new = Config(drain=7)
        self.config = Config()
        self.asked: list[tuple[Config, Deferred[str]]] = []
        self.reloading = SharedReloading(
            self._ask, self.config, self._read, [self], Threshold("info"), os.getcwd()
        )

    def _read(self) -> Settings:
        return Settings(self.new, {})

    def _ask(self, config: Config) -> Deferred[str]:
        answer: Deferred[str] = Deferred()
        self.asked.append((config, answer))
        return answer

    def prepare(self, config: Config) -> Any:
        return lambda: setattr(self, "config", config)


@pytest.fixture
def service() -> Service:
    service = Service()
    service.reloading.reload()
    return service


def test_nothing_changes_until_all_workers_have_looked(service: Service, logged: Logged) -> None:
    ((config, answer),) = service.asked
    assert config.drain == 7
    assert service.config.drain == 10
    answer.callback("")
    assert service.config.drain == 7
    assert "SIGHUP: the settings were read anew; changed: drain" in logged.text


def test_what_one_cannot_take_none_does(service: Service, logged: Logged) -> None:
    service.asked[0][1].callback("--tls-cert: no")
    assert service.config.drain == 10
    assert logged.text == "[wsservice#error] SIGHUP: nothing was changed, --tls-cert: no"


def test_asked_for_meanwhile_it_is_done_once_more(service: Service) -> None:
    for drain in (8, 9):
        service.new = Config(drain=drain)
        service.reloading.reload()
    assert len(service.asked) == 1
    service.asked[0][1].callback("")
    assert service.config.drain == 7
    assert len(service.asked) == 2
    service.asked[1][1].callback("")
    assert service.config.drain == 9
    assert len(service.asked) == 2


def test_what_is_wrong_for_the_parent_no_worker_is_asked(
    monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    service = Service()
    monkeypatch.setattr(service, "prepare", lambda _: 1 / 0)
    service.reloading.reload()
    assert service.asked == []
    assert "SIGHUP: nothing was changed" in logged.text
