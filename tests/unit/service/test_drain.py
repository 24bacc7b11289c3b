"""drain.py: which ports stay open while a service drains. `Goodbyes` is in test_service.py."""

from __future__ import annotations

from typing import Any

from wsservice.config.config import Config
from wsservice.service.drain import kept_open

NAMED: Any = [
    ("--port 8080", None),
    ("--listen unix:ws.sock", None),
    ("--listen haproxy:systemd:domain=INET:name=ws", None),
]
PORTS: Any = ["tcp", "unix", "systemd"]


def test_without_health_checks_none_does() -> None:
    assert kept_open(Config(), NAMED, PORTS) == []


def test_with_health_checks_all_do_but_those_of_systemd() -> None:
    config = Config(health_path="/health")
    assert kept_open(config, NAMED, PORTS) == PORTS[:2]
    assert kept_open(config, NAMED, []) == []
