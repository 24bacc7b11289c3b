"""How to get to a server: by TCP, TLS or a unix socket, or where sentinels say that it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    TCPTimedOutError,
    TimeoutError,  # noqa: A004 - Twisted's
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ..client.security import HostSecurity, Security
from ..errors import BrokerError, ConfigError, Refused
from ..escape import escape
from .conversation import MOST_ANSWERED, PATIENCE, Conversation, Owner
from .places import Address, Place

CONNECTING = 5.0
"""Seconds that it may take to connect, for each address that a name has."""

_ASKING = 2
"""Seconds that a sentinel may take to connect, and then to answer."""

_SHOWN = 300
"""Characters shown of an error."""

_WHYS = {
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
        # More than one, where a name has several addresses and two of them answer.
        return self._make()


class Unreachable(BrokerError):  # noqa: N818 - what it is
    """There is no way to it, for this reason."""


class Reach:
    """Connects to the server of a place. Raises `ConfigError` for a file that cannot be used.

    `endpoint` makes what connects to an address, by default of the reactor's.
    """

    def __init__(
        self,
        place: Place,
        reactor: Any,
        most: int = MOST_ANSWERED,
        endpoint: Callable[[Address, float], IStreamClientEndpoint] | None = None,
    ) -> None:
        self._place = place
        #: What sentinels are told that want a password.
        self.password = place.password
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
        self, address: Address, owner: Owner, patience: int = PATIENCE
    ) -> Conversation:
        """Begin a conversation with the server that is there. Raises `Unreachable`."""
        return await self._connect(address, owner, CONNECTING, patience)

    async def address(self) -> Address:
        """Where the server is: what sentinels say, where they are asked. Raises `Unreachable`."""
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
                # The others are asked first, from now on.
                self._sentinels.remove(sentinel)
                self._sentinels.append(sentinel)
        raise Unreachable(problem)

    def close(self) -> None:
        """Ask no sentinel any more, until the next time."""
        if self._sentinel is not None:
            self._sentinel.abort("ended")
            self._sentinel = None

    async def _ask(self, sentinel: Address) -> Address:
        """Ask one sentinel where the server is, and keep the connection for the next time."""
        conversation = await self._connect(sentinel, Owner(), _ASKING, _ASKING)
        try:
            found = await self._where(conversation)
        except BaseException:
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
            if error.kind != "NOAUTH" or not self.password:
                raise
            login = (self._place.user, self.password)
            await asked(conversation, "AUTH", *filter(None, login))
            answer = await asked(conversation, *question)
        if answer is None:
            raise Unreachable(f"it knows no master {self._place.master}")
        try:
            host, port = answer
            return Address(host.decode("ascii"), int(port))
        except (TypeError, ValueError, AttributeError):
            raise Unreachable("it gave no address") from None

    async def _connect(
        self, address: Address, owner: Owner, timeout: float, patience: int
    ) -> Conversation:
        security = None if self._security is None else self._security.for_host(address.host)

        def make() -> Conversation:
            return Conversation(
                self._reactor, owner, patience, self._most, lambda failure: why(failure, security)
            )

        endpoint = self._endpoint(address, timeout)
        if security is not None:
            endpoint = wrapClientTLS(security, endpoint)
        connected: Deferred[Any] = endpoint.connect(_Factory(make))
        try:
            conversation: Conversation = await connected
        except Exception:
            # What a sentinel says that it is may be anything.
            raise Unreachable(f"{escape(str(address))}: {why(Failure(), security)}") from None
        return conversation

    def _usual(self, address: Address, timeout: float) -> IStreamClientEndpoint:
        if not address.host:
            return UNIXClientEndpoint(self._reactor, address.path, timeout)
        return HostnameEndpoint(self._reactor, address.host, address.port, timeout)


def asked(conversation: Conversation, *words: str) -> Deferred[Any]:
    """Ask, and have the answer. Fails with a `BrokerError`."""
    answer: Deferred[Any] = Deferred()

    def answered(given: Any) -> None:
        if isinstance(given, BrokerError):
            answer.errback(given)
        else:
            answer.callback(given)

    conversation.ask(words, answered)
    return answer


def why(failure: Failure, security: HostSecurity | None = None) -> str:
    """Why there is no connection, or no more, in a few words, printable."""
    error: Any = failure.value
    if security is not None and isinstance(error, SSL.Error | VerificationError):
        return f"TLS failed: {security.why(error)}"
    for kind, text in _WHYS.items():
        if isinstance(error, kind):
            return text
    number = getattr(error, "osError", None)
    text = os.strerror(number) if isinstance(number, int) else str(error) or type(error).__name__
    return escape(text[:_SHOWN].rstrip("."))
