from __future__ import annotations

import hypothesis
import pytest

from ..examples import LEAST, QUICK, USUAL, examples, load_profile


@pytest.fixture(autouse=True)
def profile_afterwards() -> object:
    yield
    load_profile()


def tried(count: int) -> int:
    """How many examples a test tries that asks for a number."""

    @examples(count)
    @hypothesis.given(hypothesis.strategies.integers())
    def test(_: int) -> None:
        pass

    settings: hypothesis.settings = test._hypothesis_internal_use_settings
    return settings.max_examples


def test_without_a_profile_a_test_has_the_number_it_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HYPOTHESIS_PROFILE", raising=False)
    load_profile()
    assert hypothesis.settings().max_examples == USUAL
    assert tried(500) == 500


def test_the_quick_profile_has_as_many_times_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPOTHESIS_PROFILE", "quick")
    load_profile()
    assert hypothesis.settings().max_examples == QUICK
    assert hypothesis.settings().deadline is None
    assert tried(500) == 500 * QUICK // USUAL
    assert tried(20) == LEAST
