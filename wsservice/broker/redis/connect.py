"""Connect to a server by TCP, TLS or a unix socket, at an address that sentinels may tell."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    TCPTimedOutError,
    TimeoutError,  # noqa: A004 - Twisted's
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ...client.security import HostSecurity, Security
from ...errors import BrokerError, ConfigError, Refused
from ...escape import escape
from ...net.dialing import HostEndpoint
from .address import Address, ServerPlace
from .claims import LITTLE
from .connection import MOST_ANSWERED, PATIENCE, ConnectionOwner, Conversation, Word

CONNECTING = 5.0
"""Seconds that a connection may take, for each address of a name."""

_ASKING = 2
"""Seconds that a sentinel may take to connect, and again to answer.

Less than for a server, since one time limit covers an attempt with all its sentinels.
"""

_SHOWN = 300
"""The most characters shown of an error, since a hostile server decides how long it is."""

_WHYS = {
    DNSLookupError: "its name is not known",
    TCPTimedOutError: "no connection in time",
    TimeoutError: "no connection in time",
    ConnectionDone: "it closed the connection",
    ConnectionLost: "the connection was lost",
}


class _Factory(Factory):
    noisy = False

    def __init__(self, make: Callable[[], Conversation]) -> None:
        self._make = make

    def buildProtocol(self, addr: object) -> Conversation:
        # Several, if a name has several addresses and two of them answer (RFC 8305).
        return self._make()


class Unreachable(BrokerError):  # noqa: N818 - what it is
    """There is no connection to a server; the text says why."""


class Reach:
    """Connects to the server of a place. Raises `ConfigError` for a file that cannot be used.

    `most` is the most octets of an answer. `endpoint` returns the endpoint for an address and a
    timeout in seconds; by default it is Twisted's.
    """

    def __init__(
        self,
        place: ServerPlace,
        reactor: Any,
        most: int = MOST_ANSWERED,
        endpoint: Callable[[Address, float], IStreamClientEndpoint] | None = None,
    ) -> None:
        self._place = place
        #: The password for sentinels that want one. They may have none though the server has one.
        self.password: str | bytes = place.password
        self._reactor = reactor
        self._most = most
        self._endpoint = endpoint or self._usual
        self._sentinels = list(place.addresses)
        self._sentinel: Conversation | None = None
        self._security: Security | None = None
        if place.tls:
            try:
                self._security = Security(place.ca or None)
            except ConfigError as error:
                raise ConfigError(f"--broker: {str(error).removeprefix('--')}") from None

    async def connect_to(
        self, address: Address, owner: ConnectionOwner, patience: int = PATIENCE
    ) -> Conversation:
        """Return a connection to the server at an address. Raises `Unreachable`.

        `patience` is the number of seconds that an answer may take.
        """
        return await self._connect(address, owner, CONNECTING, patience)

    async def address(self) -> Address:
        """Return the server's address, which sentinels tell if there are any.

        Raises `Unreachable` if no sentinel knows it.
        """
        if not self._place.master:
            return self._place.addresses[0]
        problem = ""
        if self._sentinel is not None:
            try:
                return await self._where(self._sentinel)
            except BrokerError:
                self.close()
        for sentinel in tuple(self._sentinels):
            try:
                return await self._ask(sentinel)
            except BrokerError as error:
                problem = f"sentinel {sentinel}: {error}"
                # The other sentinels are asked first from now on, so that a dead one costs its
                # timeout once.
                self._sentinels.remove(sentinel)
                self._sentinels.append(sentinel)
        raise Unreachable(problem)

    def hint(self, conversation: Conversation) -> str:
        """Return a hint for a server that has sent nothing at all, or ""."""
        # A server that expects TLS answers plain text with silence or an end, and the other way
        # round. Neither says why.
        if conversation.octets_received:
            return ""
        return "; does it speak TLS?" if self._place.tls else "; does it want TLS?"

    def close(self) -> None:
        """Close the connection to a sentinel, until one is asked again."""
        if self._sentinel is not None:
            self._sentinel.abort("ended")
            self._sentinel = None

    async def _ask(self, sentinel: Address) -> Address:
        """Return the server's address by one sentinel, and keep the connection to the sentinel."""
        conversation = await self._connect(sentinel, ConnectionOwner(), _ASKING, _ASKING)
        try:
            found = await self._where(conversation)
        except BrokerError as error:
            conversation.abort("ended")
            raise Unreachable(f"{error}{self.hint(conversation)}") from None
        except Exception:
            # Not GeneratorExit: a coroutine that is collected cannot be told that its own wait
            # has failed.
            conversation.abort("ended")
            raise
        self.close()
        self._sentinel = conversation
        return found

    async def _where(self, conversation: Conversation) -> Address:
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._place.master)
        try:
            answer = await asked(conversation, *question)
        except Refused as error:
            # Only if it is wanted: a sentinel without a password refuses AUTH.
            if error.kind != "NOAUTH" or not self.password:
                raise
            user = [self._place.user] if self._place.user else []
            await asked(conversation, "AUTH", *user, self.password)
            answer = await asked(conversation, *question)
        if answer is None:
            raise Unreachable(f"it knows no master {self._place.master}")
        try:
            host, port = answer
            return Address(host.decode("ascii"), int(port))
        except (TypeError, ValueError, AttributeError):
            raise Unreachable("it gave no address") from None

    async def _connect(
        self, address: Address, owner: ConnectionOwner, timeout: float, patience: int
    ) -> Conversation:
        security: HostSecurity | None = None

        def make() -> Conversation:
            return Conversation(
                self._reactor, owner, patience, self._most, lambda failure: why(failure, security)
            )

        try:
            endpoint = self._endpoint(address, timeout)
            if self._security is not None:
                security = self._security.for_host(address.host)
                endpoint = wrapClientTLS(security, endpoint)
            connected: Deferred[Any] = endpoint.connect(_Factory(make))
            conversation: Conversation = await connected
        except Exception:
            # A sentinel may answer any text as a host, and any number as a port. Twisted raises
            # errors of many kinds for those.
            raise Unreachable(f"{escape(str(address))}: {why(Failure(), security)}") from None
        return conversation

    def _usual(self, address: Address, timeout: float) -> IStreamClientEndpoint:
        if not address.host:
            return UNIXClientEndpoint(self._reactor, address.path, timeout)
        return HostEndpoint(self._reactor, address.host, address.port, timeout)


def asked(conversation: Conversation, *words: Word, elements: int = LITTLE) -> Deferred[Any]:
    """Send a command, and return a Deferred of its answer.

    `elements` is the most elements of the answer. Fails with a `BrokerError`.
    """
    answer: Deferred[Any] = Deferred()

    def answered(given: Any) -> None:
        if isinstance(given, BrokerError):
            answer.errback(given)
        else:
            answer.callback(given)

    conversation.ask(words, answered, elements=elements)
    return answer


def why(failure: Failure, security: HostSecurity | None = None) -> str:
    """Return in a few printable words why there is no connection, or why it ended."""
    error: Any = failure.value
    if security is not None and isinstance(error, SSL.Error | VerificationError):
        return f"TLS failed: {security.why(error)}"
    for kind, text in _WHYS.items():
        if isinstance(error, kind):
            return text
    number = getattr(error, "osError", None)
    text = os.strerror(number) if isinstance(number, int) else str(error) or type(error).__name__
    return escape(text[:_SHOWN].rstrip("."))
