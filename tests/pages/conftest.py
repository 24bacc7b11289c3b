from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..integration.processes import Programs
from ..integration.redis import redises as redises
from .browser import Browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for the tests of a file: to start it takes a second."""
    started = Browser(tmp_path_factory.mktemp("chromium"))
    yield started
    started.end()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser, in whose pages nothing may break their policy or complain."""
    chromium.look()
    yield chromium
    assert chromium.violations == []
    assert chromium.console == []


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    started = Programs(tmp_path)
    yield started
    started.end()
