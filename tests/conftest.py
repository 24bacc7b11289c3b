from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.logger import globalLogPublisher

from .support import Logged


@pytest.fixture
def logged() -> Iterator[Logged]:
    """What is logged during the test."""
    observer = Logged()
    globalLogPublisher.addObserver(observer)
    yield observer
    globalLogPublisher.removeObserver(observer)
