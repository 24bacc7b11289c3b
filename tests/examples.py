"""How many examples hypothesis tries, by the profile in `HYPOTHESIS_PROFILE`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import hypothesis

USUAL = 100
"""Examples of a test that asks for no number, in the profile `untimed`."""

QUICK = 15
"""The same in the profile `quick`, for `make check`."""

LEAST = 10
"""Examples of any test in any profile: with fewer, hypothesis tries little but the simplest."""


def load_profile() -> None:
    """Register the profiles, and load the one that the environment names (`untimed`)."""
    # No test is timed: another's work on the machine is no fault of an example's.
    untimed = hypothesis.settings(
        max_examples=USUAL,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.register_profile("untimed", untimed)
    hypothesis.settings.register_profile("quick", untimed, max_examples=QUICK)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "untimed")


def examples(count: int) -> Callable[[Any], Any]:
    """Return a decorator that has a test try `count` examples, and fewer in a smaller profile.

    The profile is to be loaded before: hypothesis's own `settings(max_examples=...)` would be the
    same number in each.
    """
    usual = hypothesis.settings().max_examples
    return hypothesis.settings(max_examples=max(LEAST, count * usual // USUAL))
