"""A behaviour's callbacks: called one after another, and none does harm."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_MOST_CALLS = 16
_MOST_OCTETS = 64 * 1024
"""Too much waits when it is more than either."""


class Callbacks:
    """Calls callbacks that are plain, coroutines, or return Deferreds. To be mixed in.

    The next is called when the one before is done. `_too_much_waits` is told
    when too much waits for one that is still running, and when no more does;
    `_callback_failed` of a callback that raised.
    """

    _running: Deferred[Any] | None = None
    _calling = False
    _waiting_octets = 0
    # Made when first needed: most connections never do.
    _waiting_calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] | None = None

    def _callback_failed(self, failure: Failure) -> None:
        raise failure.value or RuntimeError  # pragma: no cover - to be overridden

    def _too_much_waits(self, too_much: bool) -> None:
        """Nothing, unless overridden."""

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back, after the callbacks that came before are done."""
        if self._nothing_waits():
            self._call_now(callback, args)
            return
        if self._waiting_calls is None:
            self._waiting_calls = deque()
        self._waiting_calls.append((callback, args))
        self._waiting_octets += _octets(args)
        if len(self._waiting_calls) > _MOST_CALLS or self._waiting_octets > _MOST_OCTETS:
            self._too_much_waits(True)

    def _nothing_waits(self) -> bool:
        """Whether a callback would be called now."""
        return self._running is None and not self._waiting_calls

    def _call_now(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            result = callback(*args)
        except Exception:
            self._callback_failed(Failure())
        else:
            if result is not None:
                self._called(result)

    def _called(self, result: object) -> None:
        """A callback returned something: if it goes on, those that come next wait for it."""
        deferred = self._followed(result)
        if deferred is not None:
            self._running = deferred
            deferred.addBoth(self._call_done)

    def _call_done(self, _result: object) -> None:
        self._running = None
        if self._calling or not self._waiting_calls:
            return
        self._calling = True
        while self._waiting_calls and self._running is None:
            callback, args = self._waiting_calls.popleft()
            self._waiting_octets -= _octets(args)
            self._call_now(callback, args)
        self._calling = False
        if not self._waiting_calls:
            self._too_much_waits(False)

    def _forget_calls(self, *but: Callable[..., object]) -> None:
        """Call none of those that wait, but these."""
        if self._waiting_calls:
            self._waiting_calls = deque(each for each in self._waiting_calls if each[0] in but)
            self._waiting_octets = 0

    def _run(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back now, whatever runs, and let nothing wait for it."""
        try:
            self._followed(callback(*args))
        except Exception:
            self._callback_failed(Failure())

    def _followed(self, result: object) -> Deferred[Any] | None:
        """What a callback returned, if it goes on: a Deferred that does not fail."""
        if isinstance(result, Coroutine):
            result = Deferred.fromCoroutine(result)
        if not isinstance(result, Deferred):
            return None
        return result.addErrback(self._callback_failed)


def _octets(args: tuple[Any, ...]) -> int:
    return len(args[0]) if args and isinstance(args[0], bytes) else 0
