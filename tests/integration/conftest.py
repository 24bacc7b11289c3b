from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .processes import Programs
from .redis import redises as redises
from .wire import Wire

Connect = Callable[..., Wire]


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    started = Programs(tmp_path)
    yield started
    started.end()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """An open connection to a port; ended with the test."""
    wires: list[Wire] = []

    def connect(port: int | str, host: str = "127.0.0.1", path: str = "/websockets/") -> Wire:
        wire = Wire(port, host, path)
        wires.append(wire)
        return wire.upgrade()

    yield connect
    for wire in wires:
        wire.end()
