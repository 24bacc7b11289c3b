"""A user, a credential, and the interface of what finds the user of a credential. PURE."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import attrs

from ..channels.query import CONTROL, LONGEST
from ..http.refusal import Refusal
from ..http.request import Request

LONGEST_ID = LONGEST
"""The most octets of a user's id, as of a channel's name: a channel may have the id in it."""

NO_CLAIMS: Mapping[str, Any] = MappingProxyType({})


def check_user_id(id_: object) -> str:
    """Return a user's id. Raises `ValueError`, whose text has nothing of the id.

    It has 1 to 255 octets of UTF-8, without control characters.
    """
    if not isinstance(id_, str):
        raise ValueError("the user's id is not text")
    if not id_:
        raise ValueError("the user's id is empty")
    if CONTROL.search(id_):
        raise ValueError("the user's id has a control character")
    # A lone surrogate, which JSON can name, has no octets in UTF-8: the replacement counts for it.
    octets = id_[: LONGEST_ID + 1].encode("utf-8", "replace")
    if octets.decode() != id_[: LONGEST_ID + 1]:
        raise ValueError("the user's id is not text")
    if len(id_) > LONGEST_ID or len(octets) > LONGEST_ID:
        raise ValueError(f"the user's id has more than {LONGEST_ID} octets")
    return id_


@attrs.frozen
class User:
    """The user of a connection. Raises `ValueError` for an id as `check_user_id` does.

    `claims` is what the credential says besides: those of a JSON Web Token, or what the application
    answered. `expires` is the time at which the credential ends, in seconds since 1970; None is
    never.
    """

    id: str = attrs.field(converter=check_user_id)
    claims: Mapping[str, Any] = attrs.field(default=NO_CLAIMS, repr=False)
    expires: float | None = None


class Form(enum.Enum):
    """The form of a credential."""

    TOKEN = "token"  # noqa: S105 - a word
    """One string, such as a JSON Web Token."""
    PASSWORD = "password"  # noqa: S105 - a word
    """A name and a password, by HTTP's Basic scheme (RFC 7617)."""
    TICKET = "ticket"
    """A string that is used once."""
    CERTIFICATE = "certificate"
    """The certificate that the client showed within TLS."""


@attrs.frozen
class Credential:
    """A credential, and the place in the request where it was found, for the log.

    `text` is a secret: never log it.
    """

    form: Form
    text: str = attrs.field(repr=False)
    place: str
    name: str = attrs.field(default="", repr=False)
    """The name beside a password."""


Verdict = User | Refusal
"""The user, or why there is none: 401 for a bad credential, 403 for a user who may not connect,
503 where nobody can tell now. A refusal's `problem` says which check failed, for the log and the
client, and has nothing of the credential."""


class Authenticator(Protocol):
    """Finds the user of a credential."""

    forms: frozenset[Form]
    """The forms of credentials that it takes."""

    def check(self, credential: Credential, request: Request) -> Verdict | Awaitable[Verdict]:
        """Return the user of a credential, or a refusal, or either later.

        An exception is a fault of the authenticator: it is logged, and answered with 503.
        """
