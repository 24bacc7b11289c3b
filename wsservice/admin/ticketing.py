"""Make tickets on an operator's request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from prometheus_client.metrics_core import CounterMetricFamily, Metric

from ..auth.contract import User
from ..auth.tickets import LASTS, TicketStore, content_of, digest_of, new_ticket
from ..clock import Seconds
from ..errors import TicketsError
from .exchange import Answer, as_json, problem
from .queries import WrongError

_BODY = 'give such as {"user": "tom"}, or {"user": "tom", "claims": {"role": "editor"}}'


class Ticketing:
    """Makes tickets, and keeps them in `store` until clients show them.

    `wall` is the wall clock: a ticket for claims whose `exp` is over would let nobody in.
    """

    def __init__(self, store: TicketStore, wall: Seconds) -> None:
        self._store = store
        self._wall = wall
        #: True while clients are asked for a credential.
        self.is_on = False
        #: The number of tickets that were made, and of those for which there was no room, or
        #: whose Redis did not answer.
        self.made = 0
        self.failed = 0

    async def make(self, body: bytes) -> Answer:
        """Return the answer with a new ticket. Raises `WrongError` for an invalid body."""
        if not self.is_on:
            return problem(404, "no ticket is taken without --auth; give such as --auth tickets")
        user = user_in(body)
        if user.expires is not None and user.expires <= self._wall():
            raise WrongError(f"the claim exp is in the past; {_BODY}")
        ticket = new_ticket()
        digest = digest_of(ticket)
        assert digest is not None  # noqa: S101 - it was made just now
        try:
            await self._store.put(digest, content_of(user))
        except TicketsError as error:
            self.failed += 1
            return problem(503, str(error), ("Retry-After", "1"))
        self.made += 1
        return as_json(201, {"ticket": ticket, "expires": LASTS})

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, for `prometheus_client`."""
        for name, text, count in (
            ("made", "Tickets that were made.", self.made),
            ("failed", "Tickets that could not be made.", self.failed),
        ):
            yield CounterMetricFamily(f"wsservice_tickets_{name}", text, count)


def user_in(body: bytes) -> User:
    """Return the user that a request's body names.

    The claim `exp` is the time at which the connection ends, in seconds since 1970 (RFC 7519,
    4.1.4). Raises `WrongError`, which has nothing of the body.
    """
    try:
        said = json.loads(body, parse_constant=_no_json)
        return _user(said)
    except RecursionError:
        raise WrongError(f"the body is nested too deeply; {_BODY}") from None
    except json.JSONDecodeError:
        raise WrongError(f"the body is not JSON; {_BODY}") from None
    except UnicodeDecodeError:
        raise WrongError(f"the body is not UTF-8; {_BODY}") from None
    except ValueError as error:
        raise WrongError(f"{error}; {_BODY}") from None


def _user(said: Any) -> User:
    if not isinstance(said, dict) or not {"user"} <= said.keys() <= {"user", "claims"}:
        raise ValueError("the body is not an object with the member user, and perhaps claims")
    claims = said.get("claims", {})
    if not isinstance(claims, dict):
        raise ValueError("claims is not an object")
    user = User(said["user"], claims, claims.get("exp"))
    content_of(user)
    return user


def _no_json(name: str) -> NoReturn:
    raise ValueError("the body has a number that JSON does not have")
