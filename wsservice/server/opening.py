"""The opening handshake on the server's side: which clients may connect, and the answers.

`request` reads the request strictly; `origins` and `admission` judge it. Then Autobahn gets it, in
a form that has one meaning only. The answer to a refused request contains no text from the peer.
"""

from __future__ import annotations

import contextlib
import http
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ..auth.permissions import Permissions
from ..channels.envelopes import SUBPROTOCOL
from ..channels.query import ChannelQuery
from ..channels.resuming import CatchUp, Enveloping, Subscriber
from ..config.origins import check_origin
from ..escape import ANY_TEXT, masked
from ..http.refusal import Refusal
from ..http.request import PlainRequest, Request
from ..log.peer import discreet
from ..metrics import PING_TIMEOUT, close_label
from ..net.transports import peer_name
from ..protocol.compression import agreed
from ..protocol.connection import Connection
from ..protocol.events import NOT_COUNTED, NOT_QUEUED
from ..protocol.lingering import OCTETS_AFTER_REFUSAL
from ..protocol.owner import Hold, names_of
from ..protocol.watching import Watched
from .admission import NO_ROOM, STOPPING, Verdict
from .attributes import Beginning, connection_request
from .handshake import Handshake, named_channels
from .identity import OTHER_SUBPROTOCOL, Identified, follow, refused_after_101
from .peers import descriptor, identify
from .permitted import is_forbidden, permissions_of
from .plain import TEXT, PlainAnswer, health_answer, plain_answer
from .remembered import Remembered
from .seats import seat
from .secrets import secrets_of
from .switching import checked_decision, switching
from .user import NAMES, ConnectionUser

_NO_HEADERS: Mapping[str, str | Iterable[str]] = {}

_LOGGED_REASON = 400
"""The largest length, in characters, of a refusal's reason in the log. It may quote the peer."""


class OpeningProtocol(  # type: ignore[misc]
    Beginning, Connection, WebSocketServerProtocol
):
    """A connection of a server, as far as its opening handshake goes."""

    factory: Any
    openHandshakeTimeout: float
    openHandshakeTimeoutCall: Any
    perMessageCompressionAccept: Any

    #: The connection's number in this process, a decimal string.
    id = ""

    #: The URL's path without slashes at its ends. `broadcast` reaches the connections on it.
    channel = ""

    # On the class, since few connections have any. The others save the memory.
    _more_channels: tuple[str, ...] = ()
    #: Fetches the messages that the client missed, while there are any.
    _catch_up: CatchUp | None = None

    #: Shows its octets to operators, while any want to see them.
    _watched: Watched | None = None

    _names_of_parts: ClassVar = Connection._names_of_parts | names_of(Subscriber) | NAMES

    #: The user that its credential names: see `--auth`. None without one. `onConnect` may set it.
    user = ConnectionUser()
    _identified: Identified | None = None

    #: Its name in the message log.
    _logged_as = "?"

    trafficStats = NOT_COUNTED
    send_queue = NOT_QUEUED

    #: The time at which it was accepted, in seconds since 1970.
    since = 0.0
    _accepted_at = 0.0

    #: Its opening handshake, from the first octets until it is open.
    _handshake: Handshake | None = None

    def connectionMade(self) -> None:
        self.since = self._common.wall()
        self._accepted_at = self._common.seconds()
        self.factory.counts.accepted += 1
        address = self.transport.getPeer()
        self._admission = self.factory.admit(address, descriptor(self.transport))
        self.id = next(self.factory.ids)
        self._introduce(address)
        self.factory.hub.arrive(self)
        if self.factory.is_stopping:
            self.factory.hub.settle(self)  # so that it does not delay the end of the service
        super().connectionMade()
        self._drop_if_crowded()

    def _begin(self) -> None:
        self.factory.countConnections += 1
        with contextlib.suppress(AttributeError, OSError):  # only TCP has this option
            self.transport.setTcpNoDelay(True)
        if self.openHandshakeTimeout > 0:
            self.openHandshakeTimeoutCall = self.factory._batched_timer.call_later(
                self.openHandshakeTimeout, self.onOpenHandshakeTimeout
            )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # First, since the hub may end the service once its last connection is gone.
        self._hear_the_rest()
        if self._watched is not None:
            self._watched.end()
            self._watched = None
        self.factory.hub.leave(self)
        self.factory.limits.leave(self._admission)
        self.factory.countConnections -= 1
        if self._catch_up is not None:
            self._catch_up.stop()
        super().connectionLost(reason)
        if self._identified is not None:
            self._identified.stop()
            self._identified = None
        self.factory.counts.left(self.traffic())
        if self._has_opened:
            ping_timeout = self.keepalive_timed_out
            label = PING_TIMEOUT if ping_timeout else close_label(self.close_code)
            self.factory.counts.closes[label] += 1

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of this connection: the path's, and those that the query names."""
        return (self.channel, *self._more_channels)

    @property
    def permissions(self) -> Permissions:
        """The permissions of the connection: `self.permissions.may("publish", channel)`.

        Rules and the claims of `self.user` decide, as they are now: see docs/rules.md. `onConnect`
        may ask already. A behaviour may allow less, and must not do for a client what this denies.
        """
        return permissions_of(self)

    @property
    def speaks_envelopes(self) -> bool:
        """True if its client speaks the subprotocol `wsservice.v1`."""
        return self.websocket_protocol_in_use == SUBPROTOCOL

    @property
    def seconds_connected(self) -> float:
        """Return the seconds since it was accepted."""
        return self._common.seconds() - self._accepted_at

    def onOpenHandshakeTimeout(self) -> None:
        self.openHandshakeTimeoutCall = None
        if self.state != self.STATE_CONNECTING:
            return
        if self._identified is None or not self._identified.timed_out():
            self.factory.counts.refusals["timed out"] += 1
            self.wasOpenHandshakeTimeout = True
            self._drop_refused(
                "the opening handshake took longer than --handshake-timeout", abort=True
            )

    def writeConnectionLost(self) -> None:
        super().writeConnectionLost()
        self.factory.hub.settle(self)

    def opening_received(self, data: bytes) -> None:
        if self._identified is not None and self._shake_hands().first is not None:
            self._contain(self._identified.read_first, data)
        else:
            self._contain(self._read_request, data)

    def _contain(self, step: Callable[[Any], None], given: Any) -> None:
        try:
            step(given)
        except Exception:
            failure = discreet(Failure(), self._secrets())
            self.factory.counts.refusals["failed"] += 1
            self.log.failure("[{who}] the handshake failed", failure, who=self.who)
            self.failHandshake("an internal error", http.HTTPStatus.INTERNAL_SERVER_ERROR)

    def _read_request(self, data: bytes) -> None:
        handshake = self._shake_hands()
        if not handshake.identified:
            handshake.identified = True
            identify(self)
        outcome = None if self.state == self.STATE_CLOSED else handshake.feed(data)
        proxies = self.factory.proxies
        if proxies is not None and isinstance(outcome, Request | PlainRequest):
            proxies.learn(self, outcome)
        if outcome is None or self.state == self.STATE_CLOSED:
            return
        refusal = outcome if isinstance(outcome, Refusal) else self._objection(outcome)
        if refusal is not None:
            self._refuse(refusal)
        elif isinstance(outcome, PlainRequest):
            self._answer_plain(outcome)
        elif isinstance(outcome, Request):
            self._ask(outcome)

    @property
    def _has_opened(self) -> bool:
        handshake = self._handshake
        return self._introduced and (handshake is None or handshake.accepted)

    def _shake_hands(self) -> Handshake:
        if self._handshake is None:
            known = self._reader.tcp is self.transport and not self.factory.peers_come_later
            self._handshake = Handshake(identified=known)
        return self._handshake

    def _introduce(self, address: object) -> None:
        self.who = f"{self.id} {peer_name(address)}"
        # Made again when it is asked for: few behaviours do.
        self.__dict__.pop("peer", None)

    def _objection(self, request: Request | PlainRequest) -> Refusal | None:
        """Return the refusal of a well-formed request; None if it is accepted."""
        refused = self.factory.limits.refusal(self._admission)
        if refused is not None:
            return refused  # type: ignore[no-any-return]
        if isinstance(request, PlainRequest):
            return None
        if self.factory.is_stopping:
            return STOPPING
        scheme = self._shake_hands().scheme
        return check_origin(request, self.factory.allowed_origins, scheme)

    def _answer_plain(self, request: PlainRequest) -> None:
        if request.path == self.factory.health_path:
            answer: PlainAnswer | Refusal = health_answer(self.factory.is_ready())
            # At debug only: checks come every few seconds.
            said = self.log.detail if self.factory.says_more else None
        else:
            answer = plain_answer(request, self.factory.page)
            said = self.log.info
        if isinstance(answer, Refusal):
            self._refuse(answer)
            return
        if said is not None:
            said("[{who}] {what}", who=self.who, what=answer.what)
        handshake = self._shake_hands()
        self.sendData(handshake.answer(answer.status, answer.headers, answer.body))
        self._end_refused(answer.what)

    def _refuse(self, refusal: Refusal) -> None:
        self.factory.counts.refusals[refusal.kind] += 1
        if refusal.status is not None:
            self._shake_hands().denial = refusal.body
            self.failHandshake(refusal.reason, refusal.status, list(refusal.headers))
        else:
            self._drop_refused(refusal.reason)

    def _drop_if_crowded(self) -> None:
        if self._admission.verdict is Verdict.DROPPED:
            self.factory.counts.refusals[NO_ROOM.kind] += 1
            self._drop_refused(
                "there are too many connections, and too many that wait to be refused", abort=True
            )

    def _drop_refused(self, reason: str, abort: bool = False) -> None:
        self.log.info("[{who}] dropped: {reason}", who=self.who, reason=reason[:_LOGGED_REASON])
        self._end_refused(reason, abort)

    def _end_refused(self, reason: str, abort: bool = False) -> None:
        self.failedByMe = True
        self.wasNotCleanReason = reason
        self._closer().lingering.most_thrown_away = OCTETS_AFTER_REFUSAL
        self.dropConnection(abort)

    def _ask(self, request: Request) -> None:
        """Find the channels of a request, and its user, and answer as the behaviour decides."""
        named = named_channels(request, self.factory.hub.has_history, self.factory.most_named)
        if isinstance(named, Refusal):
            self._refuse(named)
            return
        self.channel, asked = named
        if asked.channels:
            self._more_channels = asked.channels
        if asked.since or asked.history:
            self._shake_hands().asked = asked
        self._request = request
        if self.factory.identification is None:
            self._admit()
        else:
            self._identified = Identified(self)
            self._identified.ask(request)

    def _admit(self) -> None:
        """Have `onConnect` decide on a client whose user is known, or that needs none."""
        if is_forbidden(self):
            return
        self._logged_as = self.factory.journal.name(self.who, self.channel)
        self._introduced = True
        if self._accepts_all():
            seat(self, None)
            return
        try:
            decision = self.onConnect(connection_request(self))
        except BaseException:
            self._denied(Failure())
            return
        if decision is None:
            seat(self, None)
            return
        # Read nothing until the behaviour has decided.
        self._reader.hold(Hold.DECIDING)
        decided = maybeDeferred(lambda: decision).addCallback(lambda made: seat(self, made))
        decided.addErrback(self._denied)

    def _accepts_all(self) -> bool:
        """Return True if `onConnect` accepts every client, so that the call can be left out."""
        return False

    def _denied(self, failure: Failure) -> None:
        error = failure.value
        # A status that refuses nothing, such as 101, would leave the client waiting.
        if isinstance(error, ConnectionDeny) and 300 <= error.code <= 599:
            self.factory.counts.refusals["denied"] += 1
            self._shake_hands().denial = str(error.reason or "").encode(errors="replace")
            self.failHandshake(error.reason or "", error.code)
            return
        failure = discreet(failure, self._secrets())
        self.factory.counts.refusals["failed"] += 1
        self.log.failure("[{who}] onConnect failed", failure, who=self.who)
        self.failHandshake("", http.HTTPStatus.INTERNAL_SERVER_ERROR)

    def succeedHandshake(self, res: Any) -> None:
        """Answer with 101 and the result of `onConnect`. Raises `ValueError` if that is wrong."""
        subprotocol, headers = None, _NO_HEADERS
        if res is not None:
            subprotocol, headers = checked_decision(res, self.websocket_protocols)
        if self.state != self.STATE_CONNECTING or is_forbidden(self):
            return  # lost while onConnect decided, which may have given it another channel too
        if self._shake_hands().first is None:
            self._switch(subprotocol, headers)
        elif subprotocol not in (None, self.websocket_protocol_in_use):
            self._refuse(OTHER_SUBPROTOCOL)
            return
        self._shake_hands().accepted = True
        self.state = self.STATE_OPEN
        counts = self.factory.counts
        counts.opened += 1
        counts.handshakes.observe(self.seconds_connected)
        if self.openHandshakeTimeoutCall is not None:
            self.openHandshakeTimeoutCall.cancel()
            self.openHandshakeTimeoutCall = None
        self._onOpen()
        if "is_open" in self.__dict__:
            self.is_open.callback(None)

    def _switch(self, subprotocol: str | None, headers: Mapping[str, str | Iterable[str]]) -> None:
        """Answer with 101."""
        if subprotocol is None:
            offered = SUBPROTOCOL in self._request.subprotocols
            subprotocol = SUBPROTOCOL if offered else self._shake_hands().subprotocol
        if subprotocol is not None:
            self.websocket_protocol_in_use = subprotocol
        extension = ""
        if self._common.limits.compression:
            self._perMessageCompress, extension = agreed(
                self.websocket_extensions, self.perMessageCompressionAccept
            )
        if subprotocol == SUBPROTOCOL:
            self._framing = Enveloping(self, self._perMessageCompress, self._common.wall)
        self.sendData(switching(self._request.headers, headers, subprotocol, extension))

    def failHandshake(
        self, reason: str, code: int = 400, responseHeaders: list[tuple[str, str]] | None = None
    ) -> None:
        """Refuse, in words of our own, since Autobahn's reason may contain text from the peer."""
        if self.state != self.STATE_CONNECTING:
            return
        handshake = self._shake_hands()
        code, frame = int(code), b""
        if handshake.first is not None:
            overload = self._common.limits.overload_code
            code, frame = refused_after_101(handshake.first, code, handshake.denial, overload)
        self.log.info(
            "[{who}] refused with {code:d}: {reason}",
            who=self.who,
            code=code,
            reason=masked(str(reason or ""), self._secrets())[:_LOGGED_REASON],
        )
        headers = [*(TEXT if handshake.denial else []), *(responseHeaders or [])]
        self.sendData(frame or handshake.answer(code, headers, handshake.denial))
        self._end_refused(reason)

    def _forget_heads(self) -> None:
        """Do nothing: Autobahn got no head of a request that it could forget."""

    def _onOpen(self) -> None:
        self._request = Remembered(self._request)
        self._join(self._shake_hands().asked)
        self._handshake = None
        if self.factory.says_more:
            self.log.detail("[{who}] open, at /{channel}", who=self.who, channel=self.channel)
        super()._onOpen()
        follow(self)

    def _join(self, asked: ChannelQuery) -> None:
        """Join the channels of an open connection. To be overridden."""

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.factory.says_more:
            self.log.detail("[{who}] over, {code}", who=self.who, code=self.close_code)
        super()._onClose(wasClean, code, reason)

    def _secrets(self) -> Sequence[str]:
        request = self.__dict__.get("_request")
        if request is None:
            return ()
        return [ANY_TEXT] if request.lost_secrets else secrets_of(request)
