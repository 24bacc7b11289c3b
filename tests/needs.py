"""What a test needs of the machine: without it, it skips with one line.

`TESTS_REQUIRE_ALL=1`, as in CI, makes such a skip a failure: there,
something that is missing must not go unnoticed.
"""

from __future__ import annotations

import os
import shutil
import socket

import pytest


def need(there: bool, what: str) -> None:
    """Skip the test, or fail it in CI, unless `what` it needs is there."""
    if there:
        return
    if os.environ.get("TESTS_REQUIRE_ALL") == "1":
        pytest.fail(f"needs {what}, and TESTS_REQUIRE_ALL is set", pytrace=False)
    pytest.skip(f"needs {what}")


def need_program(name: str) -> str:
    """The path of a program that the test needs."""
    path = shutil.which(name)
    need(path is not None, name)
    return path or name


def need_ipv6() -> None:
    """The test needs IPv6 on the loopback interface."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        need(False, "IPv6 on loopback")
