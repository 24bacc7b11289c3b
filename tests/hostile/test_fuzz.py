"""A short run of the fuzzer; `python -m tests.hostile.fuzz` takes any number."""

from __future__ import annotations

from .fuzz import fuzz


def test_mutated_traffic_does_to_the_codec_what_it_does_to_autobahn_alone() -> None:
    fuzz(3000)
