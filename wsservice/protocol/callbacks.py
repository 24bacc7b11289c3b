"""Call a behaviour's callbacks one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from .owner import Owner

_MOST_CALLS = 16
_MOST_OCTETS = 64 * 1024
"""Calls that may wait, and octets of their messages, before the peer is no longer read."""

Callback = Callable[..., object]


class Callbacks:
    """Calls callbacks of a connection that are plain, coroutines, or return Deferreds.

    Each begins when the one before is done. Every method gets the connection, so that no reference
    to it is kept while nothing is under way.
    """

    __slots__ = ("calls",)

    def __init__(self) -> None:
        #: The calls that are under way, if there are any.
        self.calls: Calls | None = None

    def call(self, connection: Owner, callback: Callback, *args: Any) -> None:
        """Call a callback with arguments, once the callbacks before it are done."""
        if self.calls is not None and self.calls.under_way:
            self.calls.wait(callback, args)
        else:
            self.call_now(connection, callback, args)

    def call_now(self, connection: Owner, callback: Callback, args: tuple[Any, ...]) -> None:
        """Call a callback, and contain its errors."""
        try:
            result = callback(*args)
        except Exception:
            connection.callback_failed(Failure())
        else:
            if result is not None:
                self.follow(connection, result)

    def follow(self, connection: Owner, result: object) -> None:
        """Make later callbacks wait for the result of one, if it is not done yet."""
        deferred = _followed(result, connection.callback_failed)
        if deferred is not None:
            # Also for a Deferred that has fired: it may wait for another one.
            if self.calls is None:
                self.calls = Calls(self, connection)
            self.calls.run(deferred)

    def run(self, connection: Owner, callback: Callback, *args: Any) -> None:
        """Call a callback at once, even if another one is running. No other waits for it."""
        try:
            _followed(callback(*args), connection.callback_failed)
        except Exception:
            connection.callback_failed(Failure())

    def forget(self, *but: Callback) -> int:
        """Forget the waiting calls except those to `but`. Return how many are forgotten."""
        return 0 if self.calls is None else self.calls.forget(but)

    def done(self, calls: Calls) -> None:
        """Forget calls that are done, if there are no others by now."""
        # Others are there if a message came while the peer was read again.
        if self.calls is calls:
            self.calls = None


class Calls:
    """A callback that is running, and the calls that wait for it.

    It is made when a callback is not done at once. So most connections have none.
    """

    __slots__ = ("_callbacks", "_calling", "_connection", "_octets", "_running", "_waiting")

    def __init__(self, callbacks: Callbacks, connection: Owner) -> None:
        self._callbacks = callbacks
        self._connection = connection
        self._running: Deferred[Any] | None = None
        self._calling = False
        self._octets = 0
        # Made when first needed, since an empty deque takes 600 octets.
        self._waiting: deque[tuple[Callback, tuple[Any, ...]]] | None = None

    def __len__(self) -> int:
        """Return how many calls wait."""
        return len(self._waiting or ())

    @property
    def under_way(self) -> bool:
        """True if a further call must wait."""
        return self._running is not None or bool(self._waiting)

    def run(self, deferred: Deferred[Any]) -> None:
        """Make calls wait until a Deferred fires, which must not fail."""
        self._running = deferred
        deferred.addBoth(self._done)

    def wait(self, callback: Callback, args: tuple[Any, ...]) -> None:
        """Call a callback with arguments when those before it are done."""
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((callback, args))
        self._octets += _octets(args)
        if len(self._waiting) > _MOST_CALLS or self._octets > _MOST_OCTETS:
            self._connection.too_much_waits(True)

    def forget(self, but: tuple[Callback, ...]) -> int:
        """Forget the waiting calls except those to `but`. Return how many are forgotten."""
        if not self._waiting:
            return 0
        before = len(self._waiting)
        self._waiting = deque(each for each in self._waiting if each[0] in but)
        self._octets = 0
        return before - len(self._waiting)

    def _done(self, _result: object) -> None:
        self._running = None
        # A Deferred that has fired already comes here within the loop below. Without `_calling`
        # each call that waits would nest one level deeper.
        if self._calling:
            return
        if self._waiting:
            self._calling = True
            while self._waiting and self._running is None:
                callback, args = self._waiting.popleft()
                self._octets -= _octets(args)
                self._callbacks.call_now(self._connection, callback, args)
            self._calling = False
            if self._waiting:
                return
            self._connection.too_much_waits(False)
        if not self.under_way:
            self._callbacks.done(self)


def _followed(result: object, failed: Callable[[Failure], object]) -> Deferred[Any] | None:
    """Return a Deferred that fires without failure when a callback is done.

    `result` is what the callback returned, and `failed` gets its failure. Returns None for a
    callback that was done when it returned.
    """
    if isinstance(result, Coroutine):
        result = Deferred.fromCoroutine(result)
    if not isinstance(result, Deferred):
        return None
    return result.addErrback(failed)


def _octets(args: tuple[Any, ...]) -> int:
    return len(args[0]) if args and isinstance(args[0], bytes) else 0
