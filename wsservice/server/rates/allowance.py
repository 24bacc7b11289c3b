"""Let one connection take tokens of its own, of its user's and of its address's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ...net.timers import Timer, Timers
from ...protocol.owner import Hold
from ...protocol.reading import Reader
from .account import Account, SharedAccount

_NO_PART = (math.inf, math.inf)


class Allowance:
    """The allowance of one connection: how much it may send now.

    `accounts` are those of its parties, by name, the narrowest first: connection, user, address. A
    connection takes of all or of none. It waits at the narrowest that has too little. If it has
    its turn, it passes the queues of narrower accounts, since it has waited at those before, or
    needed not to; that way no two queues can keep each other's connections for ever.

    `settings` and `user` are what it was made of, so that a change of either is noticed.
    """

    __slots__ = (
        "_names",
        "_part",
        "_reader",
        "_timer",
        "_turn",
        "_waits_at",
        "accounts",
        "settings",
        "user",
        "who",
    )

    def __init__(
        self,
        reader: Reader,
        who: str,
        accounts: dict[str, Account],
        settings: object,
        user: object,
    ) -> None:
        self._reader = reader
        #: The connection's id and peer, for the log.
        self.who = who
        self._names = tuple(accounts)
        self.accounts: Sequence[Account] = tuple(accounts.values())
        self.settings = settings
        self.user = user
        # The index of the account at which it has its turn, and what it may take there.
        self._turn = -1
        self._part = _NO_PART
        self._waits_at: SharedAccount | None = None
        self._timer: Timer | None = None
        for account in self.accounts:
            if isinstance(account, SharedAccount):
                account.users += 1

    def of(self, party: str) -> Account | None:
        """Return the account of a party, None without one."""
        return dict(self.by_party()).get(party)

    def by_party(self) -> Iterable[tuple[str, Account]]:
        """Return the accounts, each with the party's name."""
        return zip(self._names, self.accounts, strict=True)

    def levels(self, now: float) -> tuple[float, float]:
        """Return the messages and the octets that may be taken now. They may be negative."""
        messages, octets = self._part
        for place, account in enumerate(self.accounts):
            if account.waiting and place > self._turn:
                return 0.0, 0.0
            some, size = account.levels(now)
            messages = min(messages, some)
            octets = min(octets, size)
        return messages, octets

    def lacking(self, messages: float, octets: float, now: float) -> tuple[str, Account] | None:
        """Return the limit that forbids to take so much, and its account; None if all allow it.

        The limit's name is one of `limited.LIMITS`.
        """
        for place, account in enumerate(self.accounts):
            what = account.lacking(messages, octets, now)
            if what is None and account.waiting and place > self._turn:
                # It has enough, but others come first.
                what = "octets" if account.messages is None else "messages"
            if what is None and place == self._turn and messages > self._part[0]:
                what = "messages"
            if what is None and place == self._turn and octets > self._part[1]:
                what = "octets"
            if what is not None:
                return f"{what} by {self._names[place]}", account
        return None

    def take(self, messages: int, octets: int, now: float) -> None:
        """Take tokens for what was read."""
        self._part = self._part[0] - messages, self._part[1] - octets
        for account in self.accounts:
            account.take(messages, octets, now)

    def wait(
        self, account: Account, messages: float, octets: float, now: float, timers: Timers
    ) -> None:
        """Stop reading until an account has enough."""
        self._reader.hold(Hold.RATE)
        if isinstance(account, SharedAccount):
            self._waits_at = account
            account.join(self, messages, octets)
        elif self._timer is None:
            delay = account.wait(messages, octets, now)
            self._timer = timers.call_later(delay, self.read_on)

    @property
    def waits(self) -> bool:
        """True while the connection is not read for lack of tokens."""
        return self._timer is not None or self._waits_at is not None

    def take_turn_at(self, account: SharedAccount, part: tuple[float, float]) -> None:
        """Read on, and take at most `part` meanwhile, messages and octets."""
        self._turn = self.accounts.index(account)
        self._part = part
        try:
            self.read_on()
        finally:
            self._turn = -1
            self._part = _NO_PART

    def read_on(self) -> None:
        """Read on, and take what is there."""
        self.stop_waiting()
        self._reader.release(Hold.RATE)

    def stop_waiting(self) -> None:
        """Leave the queue. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waits_at is not None:
            self._waits_at.leave(self)
            self._waits_at = None

    def end(self) -> None:
        """Give the accounts up, since the connection is over or gets other ones."""
        self.stop_waiting()
        for account in self.accounts:
            if isinstance(account, SharedAccount):
                account.users -= 1
