"""Limit how fast the clients of one process connect and send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ...config.rates import ADDRESS, USER, Rate, RateLimits
from ...http.refusal import Refusal
from ...net.timers import Timers
from ...protocol.common import Common
from .connects import ConnectRate, Notes
from .limited import Limited
from .meter import Meter


class PacedLimits(Protocol):
    """The limits of connections, which know a client's address first."""

    notes: Notes | None

    def pace(self, rate: Rate | None, dry_run: bool = False) -> None:
        """Set how fast each address may connect; None for no limit."""


class Rates:
    """The limits of a factory's connections.

    `common` is what the connections share. `limits` admits them. `address_of` returns the key of a
    connection's address, None without one.
    """

    def __init__(
        self,
        common: Common,
        timers: Timers,
        limits: PacedLimits,
        address_of: Callable[[Any], str | None],
    ) -> None:
        self._common = common
        self._limits = limits
        self._limited = limits.notes = Limited(common.seconds)
        self._users = ConnectRate(USER, common.seconds, self._limited)
        self._meter = Meter(common, timers, self._limited, address_of)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each limit took effect, by the names in `limited.LIMITS`."""
        return self._limited.counts

    @property
    def waiting(self) -> int:
        """The number of connections that are not read now because they send too fast."""
        return self._meter.waiting

    def change(self, config: RateLimits) -> None:
        """Set the limits, for open connections too."""
        rates = config.connect_rates
        self._limits.pace(rates.get(ADDRESS), config.limits_dry_run)
        self._users.change(rates.get(USER), config.limits_dry_run)
        self._meter.change(config)
        self._common.measure(self._meter if self._meter.is_on else None)
        self._meter.renew()

    def refusal_of_user(self, id_: str) -> Refusal | None:
        """Count a connection of a user; return the refusal if the user connects too often."""
        return None if self._users.admits(id_) else self._users.refusal
