"""A user, a credential, and the interface of what finds the user of a credential. PURE."""

from __future__ import annotations

import enum
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import attrs

from ..channels.query import CONTROL, LONGEST
from ..config.config import Config
from ..http.refusal import Refusal

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


def check_expiry(expires: object) -> float | None:
    """Return a time in seconds since 1970, or None. Raises `ValueError` for anything else."""
    if expires is None:
        return None
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise ValueError("the time at which the credential ends is not a number")
    try:
        seconds = float(expires)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise ValueError("the time at which the credential ends is not finite")
    return seconds


@attrs.frozen
class User:
    """The user of a connection.

    `claims` is what the credential says besides: those of a JSON Web Token, or what the application
    answered. `expires` is the time at which the credential ends, in seconds since 1970, with any
    leeway that is granted; None is never. The connection is closed then. Raises `ValueError` for an
    id as `check_user_id` does, and for a time as `check_expiry` does.
    """

    id: str = attrs.field(converter=check_user_id)
    claims: Mapping[str, Any] = attrs.field(default=NO_CLAIMS, repr=False)
    expires: float | None = attrs.field(default=None, converter=check_expiry)


class Form(enum.Enum):
    """The form of a credential."""

    TOKEN = "token"  # noqa: S105 - a word
    """One string, such as a JSON Web Token."""
    PASSWORD = "password"  # noqa: S105 - a word
    """A name and a password, by HTTP's Basic scheme (RFC 7617)."""
    TICKET = "ticket"
    """A string that is used once."""
    CERTIFICATE = "certificate"
    """The certificate that the client showed within TLS, in PEM."""
    REQUEST = "request"
    """No credential in the known places: an authenticator that takes this form looks elsewhere in
    the request, and returns `refusals.no_credential` if there is none."""


@attrs.frozen
class Credential:
    """A credential, and the place in the request where it was found, for the log.

    `text` is a secret: never log it. It has 1 to `credentials.LONGEST` characters; those of a token
    and a ticket are printable ASCII without spaces. It is empty for `Form.REQUEST`.
    """

    form: Form
    text: str = attrs.field(repr=False)
    place: str
    name: str = attrs.field(default="", repr=False)
    """The name beside a password."""


class Inquiry(Protocol):
    """The request of a connection, as an authenticator sees it: the credential is still in it."""

    @property
    def target(self) -> str:
        """Return the path and the query, not decoded."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers by their names in lower case."""

    @property
    def origin(self) -> str | None:
        """Return the page's origin, None if the request had none."""

    @property
    def address(self) -> str | None:
        """Return the IP address of the client, None without one, as on a unix socket."""

    @property
    def as_autobahn(self) -> Any:
        """Return the request as `onConnect` gets it: Autobahn's `ConnectionRequest`."""


Verdict = User | Refusal
"""The user, or why there is none, by a function of `refusals`. A refusal's `problem` says which
check failed, for the log and the client, and has nothing of the credential."""


class Authenticator(Protocol):
    """Finds the user of a credential. Make a subclass, and a line for it in `kinds`.

    A constructor, or the function in `kinds`, reads files and raises `ConfigError`, and has no
    other effect: connections to others begin with `start`.
    """

    forms: frozenset[Form]
    """The forms of credentials that it takes."""

    def check(self, credential: Credential, request: Inquiry) -> Verdict | Awaitable[Verdict]:
        """Return the user of a credential, or a refusal, or either later.

        An exception is a fault of the authenticator: it is logged, and answered with 503. An
        answer that comes too late is dropped; a Deferred or coroutine is cancelled then. With
        `renew` of a behaviour this is called again for an open connection.
        """
        raise NotImplementedError

    def prepare(self, config: Config) -> Callable[[], Iterable[str] | None]:
        """Read files anew for a reload. Return the function that puts them in force.

        As `service.reloading.Reloadable`: raises `ConfigError`, and changes nothing itself. The
        function may return names of what changed, for the log.
        """
        return lambda: None

    def start(self) -> None:
        """Begin, once the service starts or a reload adds it."""
        return

    def stop(self) -> Any:
        """End, once the service has closed its connections, or a reload removes this.

        Return None or a Deferred.
        """
        return None
