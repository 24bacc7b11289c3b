from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from .codecs import CODECS, load
from .support import Logged


@pytest.fixture
def logged() -> Iterator[Logged]:
    """What is logged during the test."""
    observer = Logged()
    globalLogPublisher.addObserver(observer)
    yield observer
    globalLogPublisher.removeObserver(observer)


@pytest.fixture
def clock() -> Clock:
    """A reactor's time, that only moves when it is told to."""
    return Clock()


@pytest.fixture(scope="module", params=CODECS)
def codec(request: pytest.FixtureRequest) -> Any:
    """Each codec in turn."""
    return load(request.param)
