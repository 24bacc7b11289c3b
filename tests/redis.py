"""Redis in memory: the other end of a conversation, in octets, and what leads to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hiredis
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from wsservice.broker.redis.connection import Conversation

from .support import Transport


def bulk(*words: bytes | int) -> bytes:
    """Each as an answer has it."""
    return b"".join(
        b":%d\r\n" % word if isinstance(word, int) else b"$%d\r\n%b\r\n" % (len(word), word)
        for word in words
    )


def push(*words: bytes | int) -> bytes:
    """Return a push, which answers no command."""
    return b">%d\r\n" % len(words) + bulk(*words)


def hello(**said: str) -> bytes:
    """Return a server's answer to HELLO."""
    facts = {"server": "redis", "version": "7.0.15", "role": "master", "mode": "standalone"} | said
    words = [word.encode() for pair in facts.items() for word in pair]
    return b"%%%d\r\n" % len(facts) + bulk(*words)


class Server:
    """The server's end of one conversation."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.transport = Transport()
        # As a real one: it is lost, not only closing.
        self.transport.abortConnection = self.lose  # type: ignore[method-assign]
        self._lost = False
        conversation.makeConnection(self.transport)

    def lose(self, reason: Exception | None = None) -> None:
        """End it, as the network does."""
        if not self._lost:
            self._lost = True
            self.conversation.connectionLost(Failure(reason or ConnectionDone()))

    def is_lost(self) -> bool:
        """True if the connection is over."""
        return self._lost

    def asked(self) -> list[list[Any]]:
        """The commands that came since the last time."""
        reader = hiredis.Reader()
        reader.feed(self.transport.value())
        self.transport.clear()
        commands: list[list[Any]] = []
        while (command := reader.gets()) is not False:
            commands.append(command)
        return commands

    def say(self, *octets: bytes) -> None:
        """Answer."""
        self.conversation.dataReceived(b"".join(octets))

    def welcome(self, **said: str) -> None:
        """Answer all that is asked at the beginning."""
        self.say(hello(**said), b"+PONG\r\n")


class Network:
    """Makes connections to addresses, or does not, when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Callable[[], Conversation], Deferred[Any]]] = []
        self.cancelled = 0

    def endpoint(self, address: Any, _timeout: float) -> Any:
        """Return an endpoint that connects to an address."""
        network = self

        class Endpoint:
            def connect(self, factory: Any) -> Deferred[Any]:
                connected: Deferred[Any] = Deferred(network._cancel)
                network.asked.append((address, lambda: factory.buildProtocol(None), connected))
                return connected

        return Endpoint()

    def _cancel(self, connected: Deferred[Any]) -> None:
        self.cancelled += 1
        connected.errback(CancelledError())

    @property
    def addresses(self) -> list[str]:
        """To where somebody wants to connect."""
        return [str(address) for address, _, _ in self.asked]

    def accept(self) -> Server:
        """Make the first of them."""
        _, build, connected = self.asked.pop(0)
        conversation = build()
        server = Server(conversation)
        connected.callback(conversation)
        return server

    def refuse(self, error: Exception) -> None:
        """Do not make the first of them."""
        self.asked.pop(0)[2].errback(error)
