from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from wsservice.net.memory import collect_seldom

CHURN = """
import resource
from wsservice.net.memory import keep_freed

keep_freed()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def churn(times):
    for _ in range(times):
        several = [bytearray(b"x") * 1_000_000 for _ in range(4)]

churn(5)
before = faults()
churn(50)
print(faults() - before)
"""


def test_the_collector_looks_seldom_and_not_at_what_the_program_is_made_of() -> None:
    thresholds = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.get_threshold() == (10_000, *thresholds[1:])
        assert gc.get_freeze_count() > 1000
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def page_faults(**environment: str) -> int:
    """How many pages the kernel gave for 200 allocations of a megabyte, 244 pages each."""
    octets = subprocess.check_output(
        [sys.executable, "-c", CHURN], env={**os.environ, **environment}, timeout=60
    )
    return int(octets)


@pytest.mark.skipif(os.confstr("CS_GNU_LIBC_VERSION") is None, reason="another C library")
def test_freed_memory_is_kept_unless_the_environment_says_otherwise() -> None:
    assert page_faults() < 2_000
    assert page_faults(MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072") > 20_000
