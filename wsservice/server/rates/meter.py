"""Let a connection's reader take what the limits on messages and octets allow.

A reader asks for each batch of messages, so a limit holds within one read, and costs nothing for
each message. Octets count as they are taken; messages count as follows:

- a data frame that begins a message: one
- a control frame (ping, pong, close): one, since a flood of pings is a flood
- a fragment behind the first: one if it has less than 1 KiB, otherwise none
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

from ...config.close_codes import CloseCode
from ...config.rates import ADDRESS, CONNECTION, USER, Rate, RateLimits
from ...net.timers import Timers
from ...protocol import frames
from ...protocol.common import Common
from ...protocol.owner import CONNECTING
from ...protocol.reading import Reader
from .account import Account, SharedAccount
from .allowance import Allowance
from .limited import Limited
from .table import Buckets

_LONG_FRAGMENT = 1024
"""Octets of a frame from which a fragment behind the first does not count as a message."""

_END = itemgetter(2)

_REASONS = {"messages": "too many messages", "octets": "too much data"}

_BECOMES = {"wait": "it is read no faster", "close": "its connections are closed with 1008"}


class Meter:
    """Measures the connections of a factory, whose readers have `common`.

    `address_of` returns the key of a connection's address, None without one.
    """

    def __init__(
        self,
        common: Common,
        timers: Timers,
        limited: Limited,
        address_of: Callable[[Any], str | None],
    ) -> None:
        self._common = common
        self._seconds = common.seconds
        self._address_of = address_of
        self._timers = timers
        self._limited = limited
        self._allowances: dict[Reader, Allowance] = {}
        self._closes = self._dry_run = False
        self._becomes = ""
        # By party, of messages and of octets.
        self._rates: dict[str, tuple[Rate | None, Rate | None]] = {}
        # By party, for those that connections share.
        self._tables: dict[str, Buckets[SharedAccount]] = {}
        # Another object after each change.
        self._settings = object()

    @property
    def is_on(self) -> bool:
        """True if there is any limit."""
        return bool(self._rates)

    @property
    def waiting(self) -> int:
        """The number of connections that are not read now for lack of tokens."""
        return sum(each.waits for each in self._allowances.values())

    def change(self, config: RateLimits) -> None:
        """Set the limits. Call `renew` when readers ask by them."""
        self._closes = config.limit_action == "close"
        self._dry_run = config.limits_dry_run
        self._becomes = "nothing, in a dry run"
        if not self._dry_run:
            self._becomes = _BECOMES[config.limit_action]
        messages, octets = config.message_rates, config.octet_rates
        self._rates = {
            party: (messages.get(party), octets.get(party))
            for party in (CONNECTION, USER, ADDRESS)
            if party in messages or party in octets
        }
        before, self._tables = self._tables, {}
        for party in self._rates.keys() - {CONNECTION}:
            table = before.get(party)
            self._tables[party] = table = self._new_table(party) if table is None else table
            table.change(partial(_change, self._rates[party], self._seconds()))
        self._settings = object()

    def renew(self) -> None:
        """Have waiting connections ask again, after a change."""
        waiting = [each for each in self._allowances.values() if each.waits]
        if not self.is_on:
            self._allowances.clear()
        for each in waiting:
            each.read_on()

    def forget(self, reader: Reader) -> None:
        """Forget a connection that is over. Idempotent."""
        allowance = self._allowances.pop(reader, None)
        if allowance is not None:
            allowance.end()

    def _new_table(self, party: str) -> Buckets[SharedAccount]:
        def new(key: str) -> SharedAccount:
            return SharedAccount(key, *self._rates[party], self._seconds, self._timers)

        return Buckets(new)

    # The tokens of a connection

    def _allowance(self, reader: Reader, connection: Any) -> Allowance:
        known = self._allowances.get(reader)
        user = connection.user
        if known is not None and known.settings is self._settings and known.user is user:
            return known
        accounts: dict[str, Account] = {}
        if CONNECTION in self._rates:
            accounts[CONNECTION] = self._own(None if known is None else known.of(CONNECTION))
        if user is not None and USER in self._rates:
            accounts[USER] = self._tables[USER].of(user.id, self._seconds())
        address = self._address_of(connection) if ADDRESS in self._rates else None
        if address is not None:
            accounts[ADDRESS] = self._tables[ADDRESS].of(address, self._seconds())
        made = Allowance(reader, connection.who, accounts, self._settings, user)
        self._allowances[reader] = made
        if known is not None:
            known.end()
        return made

    def _own(self, account: Account | None) -> Account:
        rates = self._rates[CONNECTION]
        if account is None:
            return Account(*rates)
        account.change(*rates, self._seconds())
        return account

    # Reading

    def step(self, reader: Reader, connection: Any, buffer: bytes, position: int) -> int:
        """Have a reader take what it may: where that ends, `position` if it takes nothing."""
        if connection.state in CONNECTING:
            return reader.step(buffer, position)
        taking = _Taking(self._allowance(reader, connection), buffer, position, self._seconds())
        if reader.partial is not None or connection.current_frame is not None:
            taking.size = min(reader.rest_of_frame(), taking.size)
            return self._take(reader, connection, taking, reader.step)
        size = frames.frame_size(buffer, position)
        if not size:
            return reader.step(buffer, position)  # its header is not whole yet
        go = reader.step
        if reader.codec_next:
            messages, stopped = self._decode(taking)
            if messages and messages[0][2] <= taking.fits:
                del messages[bisect_right(messages, taking.fits, key=_END) :]
                return self._deliver(reader, taking, messages)
            if messages:  # one beyond the burst
                go = partial(_deliver_first, reader, messages)
            elif stopped == frames.PARTIAL:
                go = reader.begin_partial
        is_long_fragment = not buffer[position] & 0x0F and size >= _LONG_FRAGMENT
        taking.messages = 0 if is_long_fragment else 1
        taking.size = min(size, taking.size)
        return self._take(reader, connection, taking, go)

    def _decode(self, taking: _Taking) -> tuple[list[tuple[bytes, bool, int]], int]:
        """Return whole messages that may be taken, but for their octets: see `taking.fits`."""
        masked, limit, _ = self._common.decoding
        most = self._common.batch
        if not self._dry_run:
            allowance, now = taking.allowance, taking.now
            some, octets = allowance.levels(now)
            most = int(min(most, some))
            taking.fits = taking.position + octets
        if most < 1:
            return [], frames.STOPPED
        return frames.decode(taking.buffer, taking.position, masked, limit, most)

    def _deliver(
        self, reader: Reader, taking: _Taking, messages: list[tuple[bytes, bool, int]]
    ) -> int:
        before = reader.messages_received
        end = reader.deliver(messages)
        taking.messages = reader.messages_received - before
        self._count(taking, end)
        return end

    def _take(
        self, reader: Reader, connection: Any, taking: _Taking, go: Callable[[bytes, int], int]
    ) -> int:
        """Take one frame, or a part of one, by calling `go`."""
        lacking = None if self._dry_run else taking.lacking()
        if lacking is not None:
            self._stop(reader, connection, taking, *lacking)
            return taking.position
        end = go(taking.buffer, taking.position)
        if end > taking.position:
            self._count(taking, end)
        return end

    def _stop(
        self, reader: Reader, connection: Any, taking: _Taking, limit: str, account: Account
    ) -> None:
        # A connection that is closed has a line of its own in the log.
        is_logged = not self._closes or isinstance(account, SharedAccount)
        self._note(taking, limit, account, self._becomes if is_logged else "")
        if self._closes:
            reason = _REASONS[limit.partition(" ")[0]]
            connection.fail_connection(CloseCode.POLICY_VIOLATION, reason)
        else:
            taking.allowance.wait(account, taking.messages, taking.size, taking.now, self._timers)

    def _note(self, taking: _Taking, limit: str, account: Account, becomes: str) -> None:
        who = account.key if isinstance(account, SharedAccount) else taking.allowance.who
        bucket = account.messages if limit.startswith("messages") else account.octets
        if bucket is not None:
            self._limited.note(limit, who, bucket, becomes)

    def _count(self, taking: _Taking, end: int) -> None:
        allowance, now = taking.allowance, taking.now
        taking.size = end - taking.position
        if not self._dry_run:
            allowance.take(taking.messages, taking.size, now)
            return
        for party, account in allowance.by_party():
            what = account.exceeded(taking.messages, taking.size, now)
            if what is not None:
                self._note(taking, f"{what} by {party}", account, self._becomes)
        allowance.take(taking.messages, taking.size, now)
        for account in allowance.accounts:
            account.forgive(now)


class _Taking:
    """The messages that a reader is about to take of a buffer, and octets from a position on."""

    __slots__ = ("allowance", "buffer", "fits", "messages", "now", "position", "size")

    def __init__(self, allowance: Allowance, buffer: bytes, position: int, now: float) -> None:
        self.allowance = allowance
        self.buffer = buffer
        self.position = position
        self.now = now
        self.messages = 0
        self.size = len(buffer) - position
        #: The position up to which the limits on octets let it go.
        self.fits = math.inf

    def lacking(self) -> tuple[str, Account] | None:
        """Return the limit that forbids it, and its account; None if all allow it."""
        return self.allowance.lacking(self.messages, self.size, self.now)


def _change(rates: tuple[Rate | None, Rate | None], now: float, account: Account) -> None:
    account.change(*rates, now)


def _deliver_first(
    reader: Reader, messages: list[tuple[bytes, bool, int]], _buffer: bytes, _position: int
) -> int:
    return reader.deliver(messages[:1])
