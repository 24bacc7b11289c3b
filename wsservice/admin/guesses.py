"""Count wrong tokens, and bound how many of them one address may try."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict, deque
from typing import Any

import attrs

from ..clock import Seconds
from .exchange import AdminRequest
from .tokens import digest_of

AT_ONCE = 20
"""The most different wrong tokens that an address may try at once."""

EVERY = 3.0
"""Seconds after which the address may try one more."""

MOST_ADDRESSES = 1000
"""The most addresses that are remembered. One more takes the place of the least recent."""

_MOST_REMEMBERED = 16
"""The most wrong tokens that are remembered of an address."""

_BITS_OF_SITE = 64
"""The bits of an IPv6 address that count: a site has all addresses that begin with them."""


@attrs.define
class _Guesser:
    spent: float
    at: float
    tried: deque[bytes]


class Guesses:
    """The wrong tokens of each address. `seconds` is a monotonic clock.

    A wrong token that the address tried just before is no new guess: a client whose token is out
    of date sends it again and again, and must not lock out others at its address.
    """

    def __init__(self, seconds: Seconds = time.monotonic) -> None:
        self._seconds = seconds
        self._addresses: OrderedDict[str, _Guesser] = OrderedDict()
        #: The number of requests with a wrong token, and of those that were not even compared.
        self.wrong = 0
        self.held_off = 0

    def __len__(self) -> int:
        return len(self._addresses)

    def wait(self, address: str) -> int:
        """Return the whole seconds until the address may try a token; 0 if it may now.

        While it has to wait, a right token must be refused too, or guessing would go on.
        """
        guesser = self._addresses.get(address)
        if guesser is None:
            return 0
        over = self._spent(guesser) - (AT_ONCE - 1)
        if over <= 0:
            return 0
        self.held_off += 1
        return math.ceil(over * EVERY)

    def tried(self, address: str, token: bytes) -> bool:
        """Return True if the token is among the last wrong ones of an address."""
        guesser = self._addresses.get(address)
        return guesser is not None and digest_of(token) in guesser.tried

    def add(self, address: str, token: bytes) -> None:
        """Count a wrong token."""
        self.wrong += 1
        if self.tried(address, token):
            return
        guesser = self._addresses.get(address)
        if guesser is None:
            guesser = _Guesser(0.0, self._seconds(), deque(maxlen=_MOST_REMEMBERED))
            self._addresses[address] = guesser
        guesser.spent, guesser.at = self._spent(guesser) + 1, self._seconds()
        guesser.tried.append(digest_of(token))
        self._addresses.move_to_end(address)
        if len(self._addresses) > MOST_ADDRESSES:
            self._addresses.popitem(last=False)

    def _spent(self, guesser: _Guesser) -> float:
        return max(0.0, guesser.spent - (self._seconds() - guesser.at) / EVERY)


def address_of(asked: AdminRequest) -> str:
    """Return the address whose guesses a request counts as; "" for a unix socket.

    It is the last address of `X-Forwarded-For` if the request came from this machine, where a
    gateway adds that, or the internet behind a gateway would be one address. Other machines could
    write any address there.
    """
    host = getattr(asked.peer, "host", None)
    if host is not None and not _parsed(host).is_loopback:
        return _site(host)
    last = (asked.header("x-forwarded-for") or "").rpartition(",")[2].strip()
    try:
        return f"by way of {_site(last)}" if last else _site(host or "")
    except ValueError:
        return _site(host or "")


def _parsed(text: str) -> Any:
    parsed = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return parsed if mapped is None else mapped


def _site(host: str) -> str:
    if not host:
        return ""
    address = _parsed(host)
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, _BITS_OF_SITE), strict=False))
