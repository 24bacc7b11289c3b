from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.net.notify import ServiceManager
from wsservice.run.assembly import service_for
from wsservice.service.service import WebSocketService
from wsservice.workers.parent.service import ParentService


def made(**settings: Any) -> WebSocketService | ParentService:
    reactor = MemoryReactorClock()
    return service_for(Config(**settings), reactor, ServiceManager(reactor), pytest.fail)


def test_one_worker_is_one_process() -> None:
    assert isinstance(made(), WebSocketService)


def test_several_workers_have_a_parent() -> None:
    service = made(workers=3, drain=2)
    assert isinstance(service, ParentService)
    assert len(service.supervisor.slots) == 3
    assert service.config.drain == 2


def test_a_parent_refuses_a_behaviour_that_its_workers_would_not_find() -> None:
    with pytest.raises(ConfigError, match="--protocol: 'nonsense' is not allowed"):
        made(workers=2, protocol="nonsense")
