"""Tickets: strings by which one client connects once, as a user that an operator names.

A ticket is 24 random octets in base64url. A store has no tickets, only their SHA-256 digests, so
whoever reads it cannot connect. A ticket that is claimed leaves the store in the same step, so of
two that come at once one is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections import OrderedDict
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from ..clock import Seconds
from ..errors import TicketsError
from .contract import User

LASTS = 30
"""Seconds for which a ticket can be used. A page connects at once, after one request for it."""

MOST_TICKETS = 100_000
"""The most tickets of a store that were not used yet: enough for as many clients that come back at
once after a restart."""

MOST_BYTES = 64 * 1024 * 1024
"""The most bytes of the users and claims of all these tickets."""

_RANDOM_BYTES = 24
_TICKET = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)


class TicketClaims(Protocol):
    """Takes tickets from a store."""

    def claim(self, digest: str) -> Deferred[bytes | None]:
        """Take a ticket out, and fire with its content; None for one that is not there.

        Of two claims of one ticket, in any processes, one gets None. Fails with `TicketsError`
        where nobody can tell now; the ticket may be used up then.
        """


class TicketStore(TicketClaims, Protocol):
    """Keeps tickets until they are used or `LASTS` seconds old."""

    def put(self, digest: str, content: bytes) -> Deferred[None]:
        """Keep a ticket. Fails with `TicketsError` if it is not kept."""


def new_ticket() -> str:
    """Return a ticket that nobody can guess: 192 random bits."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def digest_of(ticket: str) -> str | None:
    """Return the digest under which a ticket is kept; None for text that is no ticket."""
    if not _TICKET.fullmatch(ticket):
        return None
    return hashlib.sha256(ticket.encode()).hexdigest()


def content_of(user: User) -> bytes:
    """Return a user as the content of a ticket. Raises `ValueError` for claims that are no JSON."""
    said = {"user": user.id, "claims": dict(user.claims), "expires": user.expires}
    try:
        return json.dumps(said, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, RecursionError):
        raise ValueError("the claims are not JSON, or nested too deeply") from None


def user_of(content: bytes) -> User:
    """Return the user in the content of a ticket. Raises `ValueError` if it is malformed."""
    try:
        said = json.loads(content)
    except RecursionError:
        raise ValueError("the ticket's content is nested too deeply") from None
    match said:
        case {"user": str(id_), "claims": dict(claims), "expires": expires}:
            return User(id_, claims, expires)
    raise ValueError("the ticket's content is malformed")


@attrs.frozen
class _Held:
    until: float
    content: bytes


class LocalTickets:
    """The tickets of a service without a broker, in one process.

    `seconds` is a monotonic clock, `most` the most tickets, `most_bytes` the most bytes of their
    content.
    """

    def __init__(
        self, seconds: Seconds, most: int = MOST_TICKETS, most_bytes: int = MOST_BYTES
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._most_bytes = most_bytes
        # In the order in which they end, which is that in which they were made.
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def put(self, digest: str, content: bytes) -> Deferred[None]:
        """Keep a ticket: see `TicketStore`."""
        self._forget_old()
        if len(self._held) >= self._most or self._bytes + len(content) > self._most_bytes:
            return fail(full())
        self._held[digest] = _Held(self._seconds() + LASTS, content)
        self._bytes += len(content)
        return succeed(None)

    def claim(self, digest: str) -> Deferred[bytes | None]:
        """Take a ticket out: see `TicketClaims`."""
        self._forget_old()
        held = self._held.pop(digest, None)
        if held is None:
            return succeed(None)
        self._bytes -= len(held.content)
        return succeed(held.content)

    def _forget_old(self) -> None:
        now = self._seconds()
        while self._held:
            digest, held = next(iter(self._held.items()))
            if held.until > now:
                return
            del self._held[digest]
            self._bytes -= len(held.content)


def full() -> TicketsError:
    """Return the error of a store that has no room for another ticket."""
    return TicketsError(
        f"too many tickets were made in the last {LASTS} s and not used; try again later"
    )
