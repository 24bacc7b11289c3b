"""The service of a configuration: one process, or a parent and its workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..auth.identification import Identification
from ..config.config import Config
from ..net.notify import ServiceManager
from ..service.behaviour import find_protocol
from ..service.service import WebSocketService
from ..workers.cpus import processes
from ..workers.parent.service import ParentService


def service_for(
    config: Config, reactor: Any, manager: ServiceManager, give_up: Callable[[str], None]
) -> WebSocketService | ParentService:
    """Return the service of a configuration: one process, or a parent and its workers.

    The service reports its state to `manager`. It calls `give_up` with the problem if no worker
    can be started. Raises `ConfigError` or `JournalError`.
    """
    count = processes(config.workers)
    if count == 1:
        return WebSocketService(config, reactor, manager)
    find_protocol(config.protocol)
    Identification(config, reactor)
    return ParentService(config, reactor, count, give_up, manager)
