from __future__ import annotations

from wsservice.directory.readiness import Check, reasons_of


def test_each_check_that_fails_gives_a_reason_in_order() -> None:
    checks: list[Check] = [lambda: "draining", lambda: None, lambda: "no room"]
    assert reasons_of(checks)() == ["draining", "no room"]


def test_checks_may_come_later() -> None:
    checks: list[Check] = []
    reasons = reasons_of(checks)
    assert reasons() == []
    checks.append(lambda: "starting")
    assert reasons() == ["starting"]
