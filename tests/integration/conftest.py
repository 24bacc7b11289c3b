from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import building
from benchmarks.errors import BenchmarkError

from ..needs import need
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


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The load generator."""
    need(sys.platform == "linux", "Linux, for epoll and /proc")
    try:
        return building.load_generator(tmp_path_factory.mktemp("load"))
    except BenchmarkError as error:
        need(False, f"a load generator: {error}")
        raise
