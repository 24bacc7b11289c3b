"""Parse requests for users, and answer them from the outcome."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from ..channels.outcome import Published
from ..directory.outcomes import UserReached
from .exchange import Answer, as_json, problem
from .publishing import answered
from .queries import WrongError, user_id

_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)
_NOBODY = "the user has no connection"


def named(text: str) -> str:
    """Return the user's id that stands percent-encoded in a request's path, octets as Latin-1.

    Raises `WrongError` for a malformed id.
    """
    if not _ESCAPES.fullmatch(text):
        raise WrongError("the user's id is not percent-encoded; write %25 for a percent sign")
    return user_id(unquote_to_bytes(text.encode("latin-1")))


def sent(reached: UserReached) -> Answer:
    """Return the answer to a request to send a message to a user."""
    if not reached.handed + reached.dropped:
        return _not_reached(reached)
    if not reached.missing:
        return answered(Published(reached.handed, reached.dropped))
    said = {"handed": reached.handed, "dropped": reached.dropped}
    return as_json(202, {**said, "missing": list(reached.missing)})


def closed(reached: UserReached) -> Answer:
    """Return the answer to a request to close the connections of a user."""
    if not reached.handed:
        return _not_reached(reached)
    said = {"closing": reached.handed}
    return as_json(202, {**said, "missing": list(reached.missing)} if reached.missing else said)


def listed(user: str, said: dict[str, object]) -> Answer:
    """Return the answer to a request for the connections of a user."""
    if not said["total"] and not said.get("missing") and not said.get("problem"):
        return nobody()
    return as_json(200, {"user": user, **said})


def nobody() -> Answer:
    """Return the answer for a user without a connection."""
    return problem(404, _NOBODY)


def _not_reached(reached: UserReached) -> Answer:
    if not reached.missing:
        return nobody()
    silent = ", ".join(reached.missing)
    return problem(504, f"whether the user was reached is not known: no answer of {silent}")
