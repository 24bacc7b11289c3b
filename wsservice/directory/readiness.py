"""Tell whether a process is ready to serve. PURE."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Check = Callable[[], str | None]
"""Return why the service is not ready, in a few words without any text of a peer; None if
ready."""


def reasons_of(checks: Sequence[Check]) -> Callable[[], list[str]]:
    """Return a function that asks all `checks` why the service is not ready.

    It returns their reasons in order, and an empty list if the service is ready. It reads `checks`
    at each call, so checks may be added later.
    """
    return lambda: [reason for check in checks if (reason := check()) is not None]
