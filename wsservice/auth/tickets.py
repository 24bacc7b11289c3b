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
from twisted.python.failure import Failure

from ..clock import Seconds
from ..config.config import Config
from ..errors import ConfigError, TicketsError
from .contract import Authenticator, Credential, Form, Inquiry, User, Verdict
from .refusals import away, bad_credential

NAME = "tickets"
"""The kind of `--auth`."""

LASTS = 30
"""Seconds for which a ticket can be used. A page connects at once, after one request for it."""

MOST_TICKETS = 100_000
"""The most tickets of a store that were not used yet: enough for as many clients that come back at
once after a restart."""

MOST_BYTES = 64 * 1024 * 1024
"""The most bytes of the users and claims of all these tickets."""

_RANDOM_BYTES = 24
_TICKET = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)


_MALFORMED = bad_credential("the ticket is malformed")
_UNKNOWN = bad_credential(
    "the ticket is unknown",
    f"get a new one for each connection: a ticket is used once, within {LASTS} seconds",
)


class TicketClaims(Protocol):
    """Takes tickets from a store."""

    def claim(self, digest: str) -> Deferred[bytes | None]:
        """Take a ticket out, and fire with its content; None for one that is not there.

        If two processes claim one ticket, one of them gets None. Fails with `TicketsError`
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


class TicketAuthenticator(Authenticator):
    """Finds the user of a ticket, which is used up by that.

    `claims` is the store; None for an authenticator that only stands for one in a check of the
    settings.
    """

    forms = frozenset({Form.TICKET})

    def __init__(self, claims: TicketClaims | None) -> None:
        self._claims = claims

    def check(self, credential: Credential, request: Inquiry) -> Verdict | Deferred[Verdict]:
        digest = digest_of(credential.text)
        if digest is None:
            return _MALFORMED
        if self._claims is None:
            return away()
        # The ticket is used up, whatever becomes of the handshake.
        return self._claims.claim(digest).addCallbacks(_verdict, _unclear)


def _verdict(content: bytes | None) -> Verdict:
    if content is None:
        return _UNKNOWN
    try:
        return user_of(content)
    except ValueError as error:
        # Nobody but a store that is not ours can have made it.
        return away(for_operator=f"the store of tickets is wrong: {error}")


def _unclear(failure: Failure) -> Verdict:
    failure.trap(TicketsError)
    return away("tickets cannot be checked now", failure.getErrorMessage())


def open_tickets(value: str, config: Config, _reactor: object) -> TicketAuthenticator:
    """Return the authenticator for a check of the settings. Raises `ConfigError`."""
    if not config.admin and not config.broker:
        raise ConfigError(
            f"--auth: {NAME!r} is not allowed without --admin, where they are made, or --broker, by"
            " which other nodes make them"
        )
    if value:
        raise ConfigError(f"--auth: a value is not allowed behind {NAME!r}; give {NAME} alone")
    return TicketAuthenticator(None)
