"""Two clocks: a monotonic one measures lengths of time, the wall clock tells the time of day.

The wall clock can be set: by an operator, by NTP, by a virtual machine that wakes up. Twisted's
reactors measure with it all the same: `reactor.seconds` is `time.time`. After the clock is set
back by an hour, a delayed call that is due waits for one more hour: no pings are sent, no limit
ends, no lost connection is made again. After it is set forward, each is called at once.

Every module of this package therefore asks here for the clock that it needs. A test passes a
`Clock` of `twisted.internet.task`, which then is both.

Our programs (`twistd wsdemo`, its workers and `wsclient`) call `use_monotonic` first, so that each
`callLater`, `LoopingCall`, `TimeoutMixin` and endpoint in the process is right too. A library does
not change somebody else's reactor. Connections in such a program measure with the monotonic clock,
so that none is dropped early; but while its wall clock is behind, its reactor calls late. A program
that wants to be right there as well calls `use_monotonic(reactor)` itself, at any time.

The monotonic clock is one for all processes of a machine, and another on the next machine: its
values are never sent. On Linux it stands still while the machine is suspended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.python import runtime

from .private.of_twisted import scheduled_calls

Seconds = Callable[[], float]
"""A clock: returns its time, in seconds."""


def monotonic_of(reactor: Any) -> Seconds:
    """Return the clock that measures lengths of time beside a reactor.

    It is `time.monotonic`, or `reactor.seconds` where that is not the wall clock.
    """
    return time.monotonic if _is_wall(reactor) else reactor.seconds


def wall_of(reactor: Any) -> Seconds:
    """Return the clock that tells the time of day beside a reactor, in seconds since 1970.

    It is `time.time`, or `reactor.seconds` where the reactor has a clock of its own, as in a test.
    """
    if _is_wall(reactor) or reactor.seconds is time.monotonic:
        return time.time
    return reactor.seconds  # type: ignore[no-any-return]


def use_monotonic(reactor: Any) -> None:
    """Have a reactor of Twisted measure with the monotonic clock. Idempotent.

    Delayed calls that are scheduled already keep the time that is left to them. From then on
    `reactor.seconds()` is no time of day: use `time.time()` for that. A reactor that has a clock
    of its own keeps it.
    """
    if not _is_wall(reactor):
        return
    scheduled = scheduled_calls(reactor)
    ahead = time.monotonic() - reactor.seconds()
    reactor.seconds = time.monotonic
    for call in scheduled:
        call.time += ahead
        call.seconds = time.monotonic  # `reset` calls it


def _is_wall(reactor: Any) -> bool:
    """Return True if a reactor measures with the wall clock, which can be set."""
    return reactor.seconds is runtime.seconds
