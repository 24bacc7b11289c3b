from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from .codecs import CODECS, load
from .examples import load_profile
from .needs import need_package, reason_to_skip_file
from .support import Logged


def pytest_configure() -> None:
    """Load the profile, and drop proxy variables, so that tests behave the same everywhere."""
    load_profile()
    for name in ("ws", "wss", "http", "https", "all", "no"):
        for variable in (f"{name}_proxy", f"{name}_PROXY".upper()):
            os.environ.pop(variable, None)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip files whose import needs a package that is not installed: see `needs`."""
    report = yield
    raised = report.call.excinfo if report.failed else None
    reason = reason_to_skip_file(raised.value if raised else None)
    if reason is not None:
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, reason)
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that is marked as one that needs a package, if that is not installed."""
    for mark in item.iter_markers("needs"):
        need_package(*mark.args)


@pytest.fixture
def logged() -> Iterator[Logged]:
    """Yield the log of the test."""
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
