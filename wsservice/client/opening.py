"""Open a WebSocket: the client's side of the opening handshake."""

from __future__ import annotations

import base64
import os
import time
from functools import partial
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.python.failure import Failure

from ..errors import CertificateError, ConnectError, HandshakeError, TLSError, WSServiceError
from ..escape import escape, escape_within, masked, shown_url
from ..net.backoff import retry_after
from ..net.timers import Timer
from .security import HostSecurity, is_of_the_certificate
from .web.answer import (
    LONGEST_HEAD,
    MOST_INTERIM,
    AnswerHead,
    FirstLine,
    for_autobahn,
    is_interim,
    parse_head,
)
from .web.cookies import keep_cookies
from .web.handshake import opening_request
from .web.redirects import STATUSES as REDIRECTS
from .web.urls import readable

_BODY_PATIENCE = 3.0
"""Seconds to wait for the body of a refusal, which may explain it."""

_ALERT = b"\x15\x03"
"""The first octets of a TLS alert, which answers a request without TLS."""

_LONGEST_SHOWN = 300
"""The most octets of a refusal that an error shows."""


class RedirectedError(HandshakeError):
    """The server redirects to another URL."""

    def __init__(self, message: str, status: int, location: str) -> None:
        super().__init__(message, status)
        self.location = location


class Opening:
    """Sends the request of the opening handshake, and reads the answer.

    Autobahn only checks an answer that opens the connection. Every method gets the connection, so
    that no reference to it is kept.
    """

    __slots__ = (
        "_body",
        "_body_call",
        "_interim",
        "_location",
        "_problem",
        "_refused",
        "accepted",
        "secured",
    )

    def __init__(self) -> None:
        #: True once the handshake of TLS is done.
        self.secured = False
        #: The head of an answer that opens the connection.
        self.accepted: AnswerHead | None = None
        self._problem: ConnectError | None = None
        self._refused: AnswerHead | None = None
        self._location: str | None = None
        self._interim = 0
        self._body: FirstLine | None = None
        self._body_call: Timer | None = None

    def ask(self, connection: Any) -> None:
        """Send the request."""
        connection.websocket_key = base64.b64encode(os.urandom(16))
        offers = [offer.get_extension_string() for offer in connection.perMessageCompressionOffers]
        request = opening_request(
            connection.factory.config, connection.websocket_key.decode(), offers
        )
        connection.factory.trace.sent(request)
        connection.sendData(request)

    def read(self, connection: Any) -> None:
        """Read the octets of the answer in the connection's `data`."""
        try:
            if self._body is not None:
                self._take_body(connection, self._body)
            while self._refused is None and self._take_head(connection):
                pass
        except ConnectError as error:
            self._problem = error
            connection.failHandshake(str(error))
        except Exception as error:
            connection.failHandshake(f"its answer is malformed, {error}")

    def _take_head(self, connection: Any) -> bool:
        """Read the head of an answer, if it is complete. Return True if another answer follows."""
        end = connection.data.find(b"\r\n\r\n", 0, LONGEST_HEAD)
        if end < 0:
            if len(connection.data) > LONGEST_HEAD:
                connection.failHandshake("the head of its answer is too long")
            return False
        head, config = connection.data[:end], connection.factory.config
        answer = parse_head(head)
        connection.factory.trace.received(head)
        if answer.status != 101:
            connection.data = connection.data[end + len(b"\r\n\r\n") :]
        if is_interim(answer):
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise ValueError(f"more than {MOST_INTERIM} answers 1xx and no final one")
            return True
        if config.cookie_jar is not None:
            keep_cookies(config.target, answer, config.cookie_jar)
        if answer.status == 101:
            self.accepted = answer
            connection.data = for_autobahn(head, answer) + connection.data[end + len(b"\r\n\r\n") :]
            connection.read_answer()
        else:
            self._take_refusal(connection, answer)
        return False

    def _take_refusal(self, connection: Any, answer: AnswerHead) -> None:
        self._refused = answer
        if answer.status in REDIRECTS and connection.factory.config.max_redirects:
            self._location = answer.header("Location")
        self._body = FirstLine(answer)
        if self._location is not None:
            connection.failHandshake("it redirects")
            return
        # The body has this time at most, and no more than the rest of the handshake's time.
        self._body_call = connection.factory._batched_timer.call_later(
            _BODY_PATIENCE, partial(self._body_over, connection)
        )
        self._take_body(connection, self._body)

    def _take_body(self, connection: Any, body: FirstLine) -> None:
        said, connection.data = connection.data, b""
        if body.feed(said):
            self._body_over(connection)

    def _body_over(self, connection: Any) -> None:
        connection.failHandshake("it refused")

    def why_not(self, connection: Any, reason: Failure) -> WSServiceError:
        """Return the error for a connection that ended before it was open."""
        if self._body_call is not None:
            self._body_call.cancel()
        url = escape(connection.factory.config.target.shown)
        if self._problem is not None:
            return self._problem
        if self._refused is not None:
            return self._refusal(connection, url, self._refused)
        security = connection.factory.security
        if reason.check(SSL.Error, VerificationError):
            security = security or HostSecurity()
            why = security.why(reason.value) + security.cure(reason.value)
            kind = CertificateError if is_of_the_certificate(reason.value) else TLSError
            return kind(f"cannot connect to {url}: TLS failed, {why}")
        if security is not None and not self.secured:
            return TLSError(f"cannot connect to {url}: TLS failed, the server broke off")
        why = escape(str(connection.wasNotCleanReason))
        if security is None and connection.data.startswith(_ALERT):
            why = "it answers in TLS; give a wss: URL"
        return HandshakeError(f"{url} did not open a WebSocket: {why}")

    def _refusal(self, connection: Any, url: str, answer: AnswerHead) -> HandshakeError:
        if self._location is not None:
            return RedirectedError(f"{url} redirects", answer.status, self._location)
        said = f"{answer.status} {answer.reason}".rstrip()
        location = answer.header("Location")
        if answer.status in REDIRECTS and location is not None:
            said += f", to {shown_url(readable(location))}"
        first_line = self._body.text if self._body is not None else ""
        config = connection.factory.config
        # A server may repeat the refused value, which may be a secret.
        said = masked(f"{said}: {first_line}" if first_line else said, config.secrets)
        text, cut = escape_within(said, _LONGEST_SHOWN)
        cure = ""
        if answer.status == 401:
            is_told = config.auth is not None or config.bearer is not None
            cure = "; it wants other credentials" if is_told else "; log in by --auth or --bearer"
        return HandshakeError(
            f"{url} refused to open a WebSocket: {text}{'...' if cut else ''}{cure}",
            answer.status,
            retry_after(answer.header("Retry-After") or "", time.time()),
        )
