"""The step of the opening handshake that finds the user, and the renewal of a credential."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from autobahn.util import encode_truncate
from OpenSSL import crypto
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from ..auth.contract import Credential, User, Verdict
from ..auth.credentials import LONGEST, admitted, token_of
from ..auth.refusals import away, bad_credential
from ..config.close_codes import MOST_OF_REASON, CloseCode
from ..errors import CredentialError
from ..escape import to_mask
from ..http.refusal import Refusal, RefusedError
from ..http.request import Request
from ..log.peer import discreet
from ..net.timers import Timer
from ..protocol import frames
from ..protocol.compression import inflate
from ..protocol.owner import CONNECTING, OPEN, Hold
from ..protocol.sending import Kind
from .admission import COME_AGAIN
from .attributes import connection_request
from .expiry import Expiry
from .first_message import FirstMessage, FirstMessageError
from .peers import address_key_of, ip_address
from .permitted import objection

if TYPE_CHECKING:
    from ..auth.identification import Identification

CHECK_SECONDS = 10.0
"""Seconds that a check may take where there is no `--handshake-timeout`."""

_RENEWAL = "a renewal"
_FIRST_MESSAGE = "the first message"
_CLOSE = 0x88
NO_USER = "the connection has no user, or is not open"
_NO_TOKEN = attrs.evolve(bad_credential("no token came in time"), kind="timed out")
_NOT_DECIDED = Refusal(
    503,
    "the service did not let the client in within its time",
    COME_AGAIN,
    kind="timed out",
    for_operator="--handshake-timeout says how long onConnect may take",
)
OTHER_SUBPROTOCOL = Refusal(
    400,
    "onConnect chose another subprotocol than the 101 had, which was sent before the token came",
    kind="denied",
)
_TOO_LATE = away("the credential could not be checked in time")
_FAULT = away()


Done = Callable[[Verdict | None], object]
"""Takes a verdict that is settled: see `Identification.settled`."""


class ConnectionInquiry:
    """The request of a connection, as an authenticator sees it: see `auth.contract.Inquiry`."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def target(self) -> str:
        """Return the path and the query, not decoded."""
        return self._connection._request.target  # type: ignore[no-any-return]

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers by their names in lower case."""
        return self._connection._request.headers  # type: ignore[no-any-return]

    @property
    def origin(self) -> str | None:
        """Return the page's origin, None if the request had none."""
        return self._connection._request.origin  # type: ignore[no-any-return]

    @property
    def address(self) -> str | None:
        """Return the IP address of the client, None without one."""
        return ip_address(self._connection.client_address)

    @property
    def as_autobahn(self) -> Any:
        """Return the request as `onConnect` gets it."""
        return connection_request(self._connection)


class Check(ConnectionInquiry):
    """A credential that is being checked. It calls `done` with the verdict, once.

    An error of `done` is raised from `begin`, or contained by the connection later.
    """

    __slots__ = (
        "_answer",
        "_credential",
        "_done",
        "_identification",
        "_timer",
        "is_over",
    )

    def __init__(self, connection: Any, credential: Credential, done: Done) -> None:
        super().__init__(connection)
        self._identification: Identification = connection.factory.identification
        self._credential = credential
        self._done = done
        self._answer: Deferred[Any] | None = None
        self._timer: Timer | None = None
        #: True once `done` was called, or never will be.
        self.is_over = False

    def begin(self) -> None:
        """Ask the authenticator. Without a wait, `is_over` is True after this."""
        try:
            answer = self._identification.check(self._credential, self, self._key)
        except Exception:
            self._failed(Failure())
            return
        # The first is nearly always so, and takes no look at an abstract class.
        if type(answer) is not User and isinstance(answer, Awaitable):
            self._wait(answer)
        else:
            self._answered(answer)

    def give_up(self) -> None:
        """Refuse, since no answer came in time, or nobody needs one any more. Idempotent."""
        if not self.is_over:
            self._end(_TOO_LATE)

    def _key(self) -> str | None:
        """Return the key by which failures of the client's address are counted."""
        return address_key_of(self._connection)

    def _wait(self, answer: Awaitable[Verdict]) -> None:
        self._answer = answer if isinstance(answer, Deferred) else ensureDeferred(_await(answer))
        self._identification.pending += 1
        seconds = self._connection._common.limits.handshake_timeout or CHECK_SECONDS
        self._timer = self._connection.factory._batched_timer.call_later(seconds, self.give_up)
        self._done = partial(self._connection._contain, self._done)
        self._answer.addCallbacks(self._answered, self._failed)

    def _answered(self, verdict: object) -> None:
        if self.is_over:
            return
        try:
            settled = self._identification.settled(verdict, self._credential, self._key)
        except Exception:
            self._failed(Failure())
        else:
            self._end(settled)

    def _failed(self, failure: Failure) -> None:
        if self.is_over:
            return
        connection, credential = self._connection, self._credential
        secrets = to_mask([credential.text, credential.name, *connection._secrets()])
        failure = discreet(failure, secrets)
        connection.log.failure(
            "[{who}] --auth failed, the credential was in {place}",
            failure,
            who=connection.who,
            place=credential.place,
        )
        self._end(_FAULT)

    def _end(self, verdict: Verdict | None) -> None:
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer, self._answer = self._answer, None
        if answer is not None:
            self._identification.pending -= 1
            answer.cancel()
        self._done(verdict)


async def _await(answer: Awaitable[Verdict]) -> Verdict:
    return await answer


class Identified:
    """The part of a connection that finds its user, renews it, and ends with it.

    It is made for each connection of a service with `--auth`, and for others whose user has an end.
    """

    __slots__ = ("_check", "_connection", "_expiry")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._check: Check | None = None
        self._expiry: Expiry | None = None

    # The opening handshake

    def ask(self, request: Request) -> None:
        """Find the user of a request, and admit or refuse it."""
        connection = self._connection
        found = connection.factory.identification.credential(request, self._certificate)
        if isinstance(found, Refusal):
            connection._refuse(found)
        elif found is None:
            self._go_without(request)
        else:
            self._begin(found, self._decided)
            if self._check is not None:
                # Read nothing until it is decided.
                connection._reader.hold(Hold.DECIDING)

    def _begin(self, credential: Credential, done: Done) -> None:
        check = Check(self._connection, credential, done)
        check.begin()
        if not check.is_over:
            self._check = check

    def _decided(self, verdict: Verdict | None) -> None:
        """Admit or refuse a request, after its credential was checked."""
        self._check = None
        connection = self._connection
        if connection.state not in CONNECTING:
            return  # refused meanwhile, since the service stops; or lost
        if isinstance(verdict, Refusal):
            connection._refuse(verdict)
        elif verdict is None:
            self._go_without(connection._request)
        elif (too_soon := connection.factory.rates.refusal_of_user(verdict.id)) is not None:
            connection._refuse(too_soon)
        else:
            connection.user = verdict
            self._let_in(connection._request)

    def _go_without(self, request: Request) -> None:
        """Admit a request without a credential, or wait for its token."""
        identification = self._connection.factory.identification
        if identification is not None and identification.takes_first_message:
            self._wait_for_token(request)
        else:
            self._let_in(request)

    def _let_in(self, request: Request) -> None:
        connection = self._connection
        connection._request = shown = admitted(request)
        if len(shown.subprotocols) < len(request.subprotocols):
            # A browser gives up if it offered subprotocols and the server speaks none.
            connection._shake_hands().subprotocol = next(iter(shown.subprotocols), None)
        connection._admit()

    def _certificate(self) -> str | None:
        """Return the client's certificate in PEM, None if it showed none."""
        shown = getattr(self._connection.transport, "getPeerCertificate", lambda: None)()
        if shown is None:
            return None
        # Not by way of `cryptography`, which raises for some certificates that OpenSSL accepts.
        return crypto.dump_certificate(crypto.FILETYPE_PEM, shown).decode("ascii")

    def timed_out(self) -> bool:
        """Refuse, since the time of the handshake is over. Return False if that is not ours."""
        if self._check is not None:
            self._check.give_up()
        elif (first := self._connection._shake_hands().first) is not None:
            self._connection._refuse(_NO_TOKEN if first.token is None else _NOT_DECIDED)
        else:
            return False
        return True

    # The first message

    def _wait_for_token(self, request: Request) -> None:
        """Answer with 101, and take the first message as the token. The connection is not open."""
        connection = self._connection
        handshake = connection._shake_hands()
        # `onConnect` is not called yet, and a browser gives up without the subprotocol it offered.
        handshake.subprotocol = next(iter(request.subprotocols), None)
        connection._switch(None, {})
        extension = connection._perMessageCompress
        handshake.first = FirstMessage(
            None if extension is None else partial(inflate, extension, limit=LONGEST)
        )
        if connection.openHandshakeTimeoutCall is not None:
            connection.openHandshakeTimeoutCall.cancel()
        connection.openHandshakeTimeoutCall = connection.factory._batched_timer.call_later(
            connection._common.limits.handshake_timeout or CHECK_SECONDS,
            connection.onOpenHandshakeTimeout,
        )

    def read_first(self, data: bytes) -> None:
        """Take octets of a client that has to send its token."""
        connection = self._connection
        first = connection._shake_hands().first
        if first is None or first.token is not None or connection.state not in CONNECTING:
            return
        try:
            token = first.feed(data)
            while first.pongs:
                connection._queue.put_other(first.pongs.pop(0), Kind.PONG)
            if token is None:
                return
            credential = token_of(token, _FIRST_MESSAGE)
        except FirstMessageError as error:
            first.code = error.code
            connection._refuse(bad_credential(str(error)))
        except RefusedError as error:
            connection._refuse(error.refusal)
        else:
            # What comes behind the token waits until it is decided.
            connection.data = first.rest
            connection._reader.hold(Hold.DECIDING)
            if connection.factory.identification is None:
                # A reload took `--auth` away meanwhile. The message is no other's all the same.
                self._let_in(connection._request)
            else:
                self._begin(credential, self._decided)

    # The open connection

    def stop(self) -> None:
        """Stop what waits for the user, at the end of the connection."""
        if self._check is not None:
            self._check.give_up()
        if self._expiry is not None:
            self._expiry.stop()

    def watch(self, ends: float | None) -> None:
        """Close the connection at `ends`, in place of any other time.

        `ends` is in seconds since 1970, None is never.
        """
        if self._expiry is not None:
            self._expiry.stop()
        self._expiry = None if ends is None else Expiry(self._connection, ends)

    def renew(self, token: str) -> Deferred[User]:
        """Check a new token of the user: see `ServerProtocol.renew`."""
        renewed: Deferred[User] = Deferred()

        def done(verdict: Verdict | None) -> None:
            self._check = None
            try:
                user = self._renewed(verdict)
            except CredentialError as error:
                renewed.errback(error)
            else:
                renewed.callback(user)

        try:
            self._begin(self._renewal(token), done)
        except CredentialError as error:
            renewed.errback(error)
        return renewed

    def _renewal(self, token: str) -> Credential:
        connection = self._connection
        if self._check is not None:
            raise CredentialError("another renewal is under way", 503)
        if connection.user is None or connection.state != OPEN:
            raise CredentialError(NO_USER)
        if connection.factory.identification is None:
            raise CredentialError("no credential is taken any more", 503)
        try:
            return token_of(token, _RENEWAL)
        except RefusedError as error:
            raise CredentialError(error.refusal.problem) from None

    def _renewed(self, verdict: Verdict | None) -> User:
        """Put a renewed user in the place of the old one. Raises `CredentialError`."""
        connection = self._connection
        if connection.state != OPEN:
            raise CredentialError("the connection is over")
        if isinstance(verdict, Refusal):
            connection.log.info(
                "[{who}] renewal refused: {why}", who=connection.who, why=verdict.problem
            )
            raise CredentialError(verdict.problem, verdict.status or 401)
        if verdict is None or connection.user is None:
            raise CredentialError(NO_USER)
        if verdict.id != connection.user.id:
            raise CredentialError("the token is another user's", 403)
        forbidden = objection(connection, verdict)
        if forbidden is not None:
            raise CredentialError(forbidden.problem, 403)
        connection.user = verdict
        return verdict


def follow(connection: Any) -> None:
    """Close a connection when the credential of its user ends, whoever has set that user."""
    user, identified = connection.user, connection._identified
    if connection.state != OPEN:
        return
    ends = None if user is None else user.expires
    if identified is None and ends is not None:
        # Without `--auth`, the behaviour has set the user.
        identified = connection._identified = Identified(connection)
    if identified is not None:
        identified.watch(ends)


def refused_after_101(
    first: FirstMessage, status: int, denial: bytes, overload: int
) -> tuple[int, bytes]:
    """Return the close code for a status of HTTP, and the close frame, once the 101 was sent.

    `denial` is what the peer is told. `overload` is the code for 503.
    """
    code = first.code
    if code is None:
        code = {500: CloseCode.INTERNAL_ERROR, 503: overload}.get(
            status, CloseCode.POLICY_VIOLATION
        )
    reason = encode_truncate(denial.decode(errors="replace").strip(), MOST_OF_REASON)
    return code, frames.encode(_CLOSE, code.to_bytes(2, "big") + reason, b"")
