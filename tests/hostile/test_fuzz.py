"""A short run of the fuzzer; `python -m tests.hostile.fuzz` takes any number."""

from __future__ import annotations

from ..integration.processes import Programs
from .fuzz import fuzz
from .harness import alone


@alone(
    "valid traffic, mutated, to a server in memory",
    "what Autobahn's own state machine does, no traceback, no hang",
)
def test_mutated_traffic_does_to_the_codec_what_it_does_to_autobahn_alone(
    programs: Programs, full: bool
) -> str:
    runs = 20_000 if full else 3_000
    fuzz(runs)
    return f"the same, {runs:,} times"
