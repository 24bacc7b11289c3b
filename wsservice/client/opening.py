"""The opening handshake, the client's side."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from typing import Any

from autobahn.websocket.compress import PerMessageDeflateOffer
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.interfaces import IHandshakeListener
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import CertificateError, ConnectError, HandshakeError, TLSError, WSServiceError
from ..escape import escape, escape_within
from ..timers import Timer
from .answer import LONGEST_HEAD, Answer, FirstLine, check_one_reading, parse_head
from .backoff import retry_after
from .cookies import keep_cookies
from .handshake import opening_request
from .redirects import STATUSES as REDIRECTS
from .security import HostSecurity, is_of_the_certificate

_BODY_PATIENCE = 3.0
"""Seconds to wait for what a refusal says besides its status."""

_LONGEST_SHOWN = 300
"""Octets of a refusal that are shown."""


class RedirectedError(HandshakeError):
    """The server said where else to ask."""

    def __init__(self, message: str, status: int, location: str) -> None:
        super().__init__(message, status)
        self.location = location


@implementer(IHandshakeListener)
class Opening:
    """Asks a server to open a connection, and hears what it says. To be mixed in before Autobahn's.

    What Autobahn is left to do is to check the answer that opens it.
    """

    # Autobahn's
    data: bytes
    perMessageCompressionOffers: list[PerMessageDeflateOffer]
    wasNotCleanReason: Any
    sendData: Callable[[bytes], None]
    dropConnection: Callable[..., None]

    factory: Any

    _secured = False
    _problem: ConnectError | None = None
    _refused: Answer | None = None
    _location: str | None = None
    _body: FirstLine | None = None
    _body_call: Timer | None = None

    def startHandshake(self) -> None:
        """Autobahn's. Over TLS, nothing is said before that is agreed upon."""
        if self.factory.security is None:
            self._ask()

    def handshakeCompleted(self) -> None:
        """Twisted's: TLS is agreed upon."""
        self._secured = True
        if self.factory.security is not None:
            for line in self.factory.security.described():
                self.factory.trace.note(f"TLS: {line}")
            self._ask()

    def _ask(self) -> None:
        self.websocket_key = base64.b64encode(os.urandom(16))
        offers = [offer.get_extension_string() for offer in self.perMessageCompressionOffers]
        request = opening_request(self.factory.config, self.websocket_key.decode(), offers)
        self.factory.trace.sent(request)
        self.sendData(request)

    def processHandshake(self) -> None:
        """Autobahn's: octets of the answer came, and are in `data`."""
        try:
            if self._body is not None:
                self._take_body(self._body)
            while self._refused is None and self._take_head():
                pass
        except ConnectError as error:
            self._problem = error
            self.failHandshake(str(error))
        except Exception as error:
            self.failHandshake(f"its answer makes no sense, {error}")

    def _take_head(self) -> bool:
        """Take the head of an answer, if it is there; true if another one is to follow."""
        end = self.data.find(b"\r\n\r\n", 0, LONGEST_HEAD)
        if end < 0:
            if len(self.data) > LONGEST_HEAD:
                self.failHandshake("its answer has too long a head")
            return False
        head, config = self.data[:end], self.factory.config
        answer = parse_head(head)
        self.factory.trace.received(head)
        if answer.status != 101:
            self.data = self.data[end + len(b"\r\n\r\n") :]
            if answer.status < 200:  # more is to come (RFC 9110, 15.2)
                return True
        if config.cookie_jar is not None:
            keep_cookies(config.target, answer, config.cookie_jar)
        if answer.status == 101:
            check_one_reading(head)
            super().processHandshake()  # type: ignore[misc]
        else:
            self._take_refusal(answer)
        return False

    def _take_refusal(self, answer: Answer) -> None:
        self._refused = answer
        if answer.status in REDIRECTS and self.factory.config.max_redirects:
            self._location = answer.header("Location")
        self._body = FirstLine(answer)
        if self._location is not None:
            self.failHandshake("it leads elsewhere")
            return
        # For as long as that, and no longer than the whole handshake may take.
        self._body_call = self.factory._batched_timer.call_later(_BODY_PATIENCE, self._body_over)
        self._take_body(self._body)

    def _take_body(self, body: FirstLine) -> None:
        said, self.data = self.data, b""
        if body.feed(said):
            self._body_over()

    def _body_over(self) -> None:
        self.failHandshake("it refused")

    def failHandshake(self, reason: str) -> None:
        self.failedByMe = True  # `connect` reports it
        self.wasNotCleanReason = reason
        self.dropConnection(abort=True)

    def _why_not(self, reason: Failure) -> WSServiceError:
        """Why the connection is over before it was open."""
        if self._body_call is not None:
            self._body_call.cancel()
        url = escape(self.factory.url)
        if self._problem is not None:
            return self._problem
        if self._refused is not None:
            return self._refusal(url, self._refused)
        security = self.factory.security
        if reason.check(SSL.Error, VerificationError):
            why = (security or HostSecurity()).why(reason.value)
            kind = CertificateError if is_of_the_certificate(reason.value) else TLSError
            return kind(f"cannot connect to {url}: TLS failed, {why}")
        if security is not None and not self._secured:
            return TLSError(f"cannot connect to {url}: TLS failed, the server broke off")
        why = escape(str(self.wasNotCleanReason))
        return HandshakeError(f"{url} did not open a WebSocket: {why}")

    def _refusal(self, url: str, answer: Answer) -> HandshakeError:
        if self._location is not None:
            return RedirectedError(f"{url} leads elsewhere", answer.status, self._location)
        said = f"{answer.status} {answer.reason}".rstrip()
        location = answer.header("Location")
        if answer.status in REDIRECTS and location is not None:
            said += f", to {location}"
        first_line = self._body.text if self._body is not None else ""
        text, cut = escape_within(f"{said}: {first_line}" if first_line else said, _LONGEST_SHOWN)
        return HandshakeError(
            f"{url} refused to open a WebSocket: {text}{'...' if cut else ''}",
            answer.status,
            retry_after(answer.header("Retry-After") or "", time.time()),
        )
