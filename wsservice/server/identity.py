"""The step of the opening handshake that finds the user, and the renewal of a credential."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from autobahn.util import encode_truncate
from OpenSSL import crypto
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import connectionDone
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
from ..protocol.connection import Connection
from ..protocol.owner import CLOSING, CONNECTING, OPEN, Hold
from ..protocol.sending import Kind
from .admission import address_key
from .attributes import connection_request
from .expiry import Expiry
from .first_message import FirstMessage, FirstMessageError
from .handshake import Handshake
from .peers import ip_address

if TYPE_CHECKING:
    from ..auth.identification import Identification

CHECK_SECONDS = 10.0
"""Seconds that a check may take where there is no `--handshake-timeout`."""

_RENEWAL = "a renewal"
_FIRST_MESSAGE = "the first message"
_CLOSE = 0x88
NO_TOKEN = attrs.evolve(bad_credential("no token came in time"), kind="timed out")
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


class Check:
    """A credential that is being checked. It calls `done` with the verdict, once."""

    __slots__ = (
        "_answer",
        "_connection",
        "_credential",
        "_done",
        "_identification",
        "_timer",
        "is_over",
    )

    def __init__(self, connection: Any, credential: Credential, done: Done) -> None:
        self._connection = connection
        self._identification: Identification = connection.factory.identification
        self._credential = credential
        self._done = done
        self._answer: Deferred[Any] | None = None
        self._timer: Timer | None = None
        #: True once `done` was called, or never will be.
        self.is_over = False

    def begin(self) -> None:
        """Ask the authenticator. Without a wait, `is_over` is True after this."""
        inquiry = ConnectionInquiry(self._connection)
        try:
            answer = self._identification.check(self._credential, inquiry, self._address)
        except Exception:
            self._failed(Failure())
            return
        if isinstance(answer, Awaitable):
            self._wait(answer)
        else:
            self._answered(answer)

    def give_up(self) -> None:
        """Refuse, since no answer came in time, or nobody needs one any more. Idempotent."""
        if not self.is_over:
            self._end(_TOO_LATE)

    def _address(self) -> str | None:
        """Return the key by which failures of the client's address are counted."""
        address = ConnectionInquiry(self._connection).address
        return None if address is None else address_key(address)

    def _wait(self, answer: Awaitable[Verdict]) -> None:
        self._answer = answer if isinstance(answer, Deferred) else ensureDeferred(_await(answer))
        self._identification.pending += 1
        seconds = self._connection._common.limits.handshake_timeout or CHECK_SECONDS
        self._timer = self._connection.factory._batched_timer.call_later(seconds, self.give_up)
        self._answer.addCallbacks(self._answered, self._failed)

    def _answered(self, verdict: object) -> None:
        if self.is_over:
            return
        try:
            settled = self._identification.settled(verdict, self._credential, self._address)
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


class Identified(Connection):
    """A connection that has a user."""

    #: The user that its credential names: see `--auth`. None without one, and before `onConnect`.
    user: User | None = None

    # On the class, since few connections have any.
    _expiry: Expiry | None = None
    _check: Check | None = None

    factory: Any
    openHandshakeTimeoutCall: Any
    onOpenHandshakeTimeout: Callable[[], None]
    data: bytes
    _request: Any

    def _ask_who(self, request: Request) -> None:
        """Find the user of a request, and admit or refuse it."""
        found = self.factory.identification.credential(request, self._certificate)
        if isinstance(found, Refusal):
            self._refuse(found)
        elif found is None:
            self._go_without(request)
        else:
            self._check_credential(found, partial(self._contain, self._decided_who))
            if self._check is not None:
                # Read nothing until it is decided.
                self._reader.hold(Hold.DECIDING)

    def _check_credential(self, credential: Credential, done: Done) -> None:
        check = Check(self, credential, done)
        check.begin()
        if not check.is_over:
            self._check = check

    def _decided_who(self, verdict: Verdict | None) -> None:
        """Admit or refuse a request, after its credential was checked."""
        self._check = None
        if self.state not in CONNECTING:
            return  # refused meanwhile, since the service stops; or lost
        if isinstance(verdict, Refusal):
            self._refuse(verdict)
            return
        if verdict is None:
            self._go_without(self._request)
            return
        self.user = verdict
        self._let_in(self._request)

    def _go_without(self, request: Request) -> None:
        """Admit a request without a credential, or wait for its token."""
        if self.factory.identification.takes_first_message:
            self._wait_for_token()
        else:
            self._let_in(request)

    def _let_in(self, request: Request) -> None:
        self._request = shown = admitted(request)
        if len(shown.subprotocols) < len(request.subprotocols):
            # A browser gives up if it offered subprotocols and the server speaks none.
            self._shake_hands().subprotocol = next(iter(shown.subprotocols), None)
        self._admit()

    def _wait_for_token(self) -> None:
        """Answer with 101, and take the first message as the token. The connection is not open."""
        handshake = self._shake_hands()
        # `onConnect` is not called yet, and a browser gives up without the subprotocol it offered.
        handshake.subprotocol = next(iter(self._request.subprotocols), None)
        self._switch(None, {})
        extension = self._perMessageCompress
        handshake.first = FirstMessage(
            None if extension is None else partial(inflate, extension, limit=LONGEST)
        )
        if self.openHandshakeTimeoutCall is not None:
            self.openHandshakeTimeoutCall.cancel()
        self.openHandshakeTimeoutCall = self.factory._batched_timer.call_later(
            self._common.limits.handshake_timeout or CHECK_SECONDS, self.onOpenHandshakeTimeout
        )

    def _read_first(self, data: bytes) -> None:
        """Take octets of a client that has to send its token."""
        first = self._shake_hands().first
        if first is None or first.token is not None or self.state not in CONNECTING:
            return
        try:
            token = first.feed(data)
            while first.pongs:
                self._queue.put_other(first.pongs.pop(0), Kind.PONG)
            if token is None:
                return
            credential = token_of(token, _FIRST_MESSAGE)
        except FirstMessageError as error:
            first.code = error.code
            self._refuse(bad_credential(str(error)))
        except RefusedError as error:
            self._refuse(error.refusal)
        else:
            # What comes behind the token waits until it is decided.
            self.data = first.rest
            self._reader.hold(Hold.DECIDING)
            self._check_credential(credential, partial(self._contain, self._decided_who))

    def _refusal_frame(self, first: FirstMessage, status: int, denial: bytes) -> tuple[int, bytes]:
        """Return the close code for a status of HTTP, and the close frame, after the 101."""
        code = first.code
        if code is None:
            overload = self._common.limits.overload_code
            code = {500: CloseCode.INTERNAL_ERROR, 503: overload}.get(
                status, CloseCode.POLICY_VIOLATION
            )
        reason = encode_truncate(denial.decode(errors="replace").strip(), MOST_OF_REASON)
        return code, frames.encode(_CLOSE, code.to_bytes(2, "big") + reason, b"")

    def _switch(self, subprotocol: str | None, headers: Any) -> None:
        """Answer with 101. To be overridden."""
        raise NotImplementedError

    def _shake_hands(self) -> Handshake:
        """Return the opening handshake. To be overridden."""
        raise NotImplementedError

    def _contain(self, step: Callable[[Any], None], given: Any) -> None:
        """Take a step of the opening handshake, and contain its errors. To be overridden."""
        raise NotImplementedError

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse the opening handshake. To be overridden."""
        raise NotImplementedError

    def _admit(self) -> None:
        """Go on with the opening handshake. To be overridden."""
        raise NotImplementedError

    def _certificate(self) -> str | None:
        """Return the client's certificate in PEM, None if it showed none."""
        shown = getattr(self.transport, "getPeerCertificate", lambda: None)()
        if shown is None:
            return None
        # Not by way of `cryptography`, which raises for some certificates that OpenSSL accepts.
        return crypto.dump_certificate(crypto.FILETYPE_PEM, shown).decode("ascii")

    def _onOpen(self) -> None:
        super()._onOpen()
        if self.user is not None and self.state == OPEN:
            self._watch_expiry(self.user)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._check is not None:
            self._check.give_up()
        if self._expiry is not None:
            self._expiry.stop()
            self._expiry = None

    def _watch_expiry(self, user: User) -> None:
        """Close the connection when the credential of its user ends."""
        if self._expiry is not None:
            self._expiry.stop()
        self._expiry = None if user.expires is None else Expiry(self, user.expires)

    def renew(self, token: str) -> Deferred[User]:
        """Check a new token of this connection's user, and put it in the place of the old one.

        The connection is then closed when the new token expires. Call this where a behaviour gets
        one from its client, such as in `onMessage`. The Deferred fires with the new `User`, which
        `user` is from then on. It fails with `wsservice.errors.CredentialError` if the token is
        bad, is another user's, or cannot be checked now, and the connection stays as it is. Left
        to itself, that error closes the connection with 1008. Bad tokens count for
        `--auth-failures`.
        """
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
            self._check_credential(self._renewal(token), done)
        except CredentialError as error:
            renewed.errback(error)
        return renewed

    def _renewal(self, token: str) -> Credential:
        if self._check is not None:
            raise CredentialError("another renewal is under way", 503)
        if self.user is None or self.state != OPEN or self.factory.identification is None:
            raise CredentialError("the connection has no user, or is not open")
        try:
            return token_of(token, _RENEWAL)
        except RefusedError as error:
            raise CredentialError(error.refusal.problem) from None

    def _renewed(self, verdict: Verdict | None) -> User:
        """Put a renewed user in the place of the old one. Raises `CredentialError`."""
        if isinstance(verdict, Refusal):
            raise CredentialError(verdict.problem, verdict.status or 401)
        if verdict is None or self.user is None or self.state != OPEN:
            raise CredentialError("the connection is over")
        if verdict.id != self.user.id:
            raise CredentialError("the token is another user's", 403)
        self.user = verdict
        self._watch_expiry(verdict)
        return verdict

    def callback_failed(self, failure: Failure) -> None:
        """Close with 1008 for a credential that a callback did not expect to be refused."""
        if failure.check(CredentialError) and self.state in (OPEN, CLOSING):
            # No fault of the behaviour, so without a traceback: a peer could fill the log.
            self._reader.callbacks.forget(*self._farewells())
            self.fail_connection(CloseCode.POLICY_VIOLATION, str(failure.value))
        else:
            super().callback_failed(failure)
