"""The needs of a test: programs and modules without which it skips with one line.

`TESTS_REQUIRE_ALL=1`, as in CI, makes such a skip a failure: there,
something that is missing must not go unnoticed.
"""

from __future__ import annotations

import os
import shutil
import socket
from importlib.util import find_spec

import pytest

from tools.extras import is_optional

ALL = "TESTS_REQUIRE_ALL"


def need(there: bool, what: str) -> None:
    """Skip the test, or fail it in CI, unless `what` it needs is there."""
    if there:
        return
    if _are_all_required():
        pytest.fail(f"needs {what}, and {ALL} is set", pytrace=False)
    pytest.skip(f"needs {what}")


def need_program(name: str) -> str:
    """The path of a program that the test needs."""
    path = shutil.which(name)
    need(path is not None, name)
    return path or name


def need_package(name: str) -> None:
    """The test needs a package of Python, by the name that is imported."""
    need(find_spec(name) is not None, f"the package {name}")


def need_ipv6() -> None:
    """The test needs IPv6 on the loopback interface."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        need(False, "IPv6 on loopback")


def reason_to_skip_file(error: BaseException | None) -> str | None:
    """Return why a test file is skipped that failed to be imported with this error.

    None if it is not: some cause of the error has to be that a package of an extra of this
    project is not installed, and `TESTS_REQUIRE_ALL` must not be set.
    """
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and is_optional(error.name or ""):
            return None if _are_all_required() else f"needs the package {_top(error.name or '')}"
        error = error.__cause__ or error.__context__
    return None


def _top(module: str) -> str:
    return module.partition(".")[0]


def _are_all_required() -> bool:
    return os.environ.get(ALL) == "1"
