from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from .codecs import CODECS, load
from .coverage_data import UNMEASURED, remove_parts
from .support import Logged


def pytest_configure() -> None:
    """What is tested is tested alike wherever that is."""
    # No test is timed: another's work on the machine is no fault of an example's.
    hypothesis.settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("untimed")
    for name in ("ws", "wss", "http", "https", "all", "no"):
        for variable in (f"{name}_proxy", f"{name}_PROXY".upper()):
            os.environ.pop(variable, None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Before the processes are started that run tests beside each other.

    In each, pytest-cov measures; told by the environment, coverage would too, and write
    what it has when all is added up already.
    """
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Innermost, so that this is done before coverage adds up what there is."""
    result = yield
    # Where tests run in several processes, once they have all ended.
    if not hasattr(session.config, "workerinput"):
        remove_parts(session.config.rootpath)
    return result


@pytest.fixture(scope="module")
def unmeasured() -> Iterator[None]:
    """Programs that tests start run without coverage, where others have them do the same.

    It would make the start of each longer by half.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in UNMEASURED.items():
            patch.setenv(name, value)
        yield


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
