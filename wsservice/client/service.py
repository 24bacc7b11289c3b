"""Stay connected to a server, as a Twisted service."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import TracebackType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed

from ..config.close_codes import CloseCode
from ..errors import ConnectionClosed
from ..log.peer import PeerLogger
from .arrivals import Arrivals
from .gate import Gate
from .inbox import Inbox, Message, Messages
from .options import ClientConfig
from .outbox import Outbox, messages
from .protocol import ClientProtocol
from .resuming import NOT_SPOKEN, Resuming
from .staying import Staying
from .stream import encoded

_log = PeerLogger(namespace="wsservice")


class ReconnectingClient(Messages, Service):
    """Stay connected to a WebSocket server.

    ::

        client = ReconnectingClient("wss://feed.example/", Feed, headers={"X-Key": key})
        client.setServiceParent(application)

    or, in a coroutine that Twisted runs::

        async with ReconnectingClient("wss://feed.example/") as client:
            await client.send("subscribe")
            async for message in client:
                ...

    The settings are those of `connect`. With a `protocol`, a subclass of `ClientProtocol`, each
    connection is an instance of it, with its callbacks. Without one, messages (text is `str`,
    binary is `bytes`) are read from the service, over all its connections, as from a
    `ClientConnection`.

    When the connection is lost, or the server closes it with any code, the service connects again:
    after a random time of up to one second, then up to two, and so on up to a minute; and not
    before the time that the server names (Retry-After, up to five minutes). After a connection of
    ten seconds, the times begin anew. The service gives up when another attempt cannot help: after
    a certificate that is not trusted, or an HTTP status from 400 to 499, except 408, 425 and 429.

    With `resume`, the service asks after each loss for the messages missed on the URL's channels.
    They come first, and in order. The server must speak `wsservice.v1` and keep a history. `missed`
    is called if the messages are gone.

    Raises `ConfigError` for a URL or setting that is not allowed.
    """

    def __init__(
        self,
        url: str,
        protocol: type[ClientProtocol] | None = None,
        *,
        reactor: Any = None,
        resume: bool = False,
        **settings: Any,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.config = ClientConfig(url=url, **settings)
        #: The open connection; None while there is none.
        self.connection: ClientProtocol | None = None
        self._reactor = reactor
        self._behaviour = protocol
        kind = _Reading if protocol is None else protocol
        self._staying = Staying(
            self.config,
            type(kind.__name__, (_Sending, kind), {"_client": self, "__doc__": kind.__doc__}),
            reactor,
            connected=self._connected,
            lost=self._lost,
            retrying=lambda error, delay: self.retrying(error, delay),
            failed=self._give_up,
            resuming=self._resuming() if resume else None,
        )
        self._awaiting: list[Deferred[Any]] = []
        self._ends: list[Deferred[None]] = []
        self._begin()

    def _begin(self) -> None:
        self._inbox = Inbox(self._pause, self._resume)
        self._gate = Gate()
        self._arrivals = Arrivals(self._reactor)
        self._outbox = Outbox(
            self.config.send_buffer,
            pause=self._gate.pauseProducing,
            resume=self._gate.resumeProducing,
            sent=self._arrivals.sent,
        )
        self._stops: list[Deferred[None]] = []
        self._emptied: Deferred[None] | None = None
        self._error: Callable[[], Exception] | None = None

    # Called by Twisted

    def startService(self) -> None:
        """Connect, and stay connected."""
        if self._error is not None:
            self._begin()
        super().startService()
        self._staying.start()

    def stopService(self) -> Deferred[None]:
        """Close the connection with 1000, and make no other. Fires when it is over.

        Queued messages are sent before, if there is a connection: the server has
        `ClientConfig.close_timeout` seconds to take them, and as many to answer the close. Without
        a connection they are dropped; wait for `when_sent` to avoid that.
        """
        super().stopService()
        if self._error is not None:
            return succeed(None)
        stopped: Deferred[None] = Deferred(self._stops.remove)
        self._stops.append(stopped)
        if len(self._stops) == 1:
            self._stop()
        return stopped

    # Methods to override

    def retrying(self, error: Exception, delay: float) -> None:
        """Handle a failed or lost connection; the next attempt is in `delay` seconds. Logs it."""
        _log.info(
            "[{who}] {error}; trying again in {delay:.1f} s", who=self, error=error, delay=delay
        )

    def may_be_lost(self, count: int) -> None:
        """Handle a loss: the last `count` sent messages may not have arrived. Logs it.

        They left this process, and the connection was lost before the server answered a ping that
        followed them.
        """
        _log.warn("[{who}] {what} may have been lost", who=self, what=messages(count))

    def missed(self, channel: str) -> None:
        """Handle missed messages of a channel that are gone, with `resume`. Logs it."""
        _log.warn(
            "[{who}] messages of the channel {channel!r} were missed", who=self, channel=channel
        )

    # Methods to call

    def send(self, message: Message) -> Deferred[None]:
        """Send text (`str`) or binary (`bytes`), now or once there is a connection.

        Fires when the message is sent or queued. While `ClientConfig.send_buffer` octets are
        queued, it waits for room; if cancelled by then, the message is not sent. Messages are sent
        in order. Fails with `ConnectionClosed` if the service was stopped, or with the error that
        made it give up. Raises `TypeError` for any other type of message.
        """
        payload = encoded(message)
        return self._gate.enter(lambda: self._outbox.put([payload]))

    def recv(self) -> Deferred[Message]:
        """Fire with the next message: `str` or `bytes`. If cancelled, no message is lost.

        Fails as `send` does. Raises `RuntimeError` while another `recv` waits, and if a protocol's
        `onMessage` gets the messages.
        """
        if self._behaviour is not None:
            name = self._behaviour.__name__
            raise RuntimeError(f"messages go to {name}.onMessage; give no protocol to read them")
        return self._inbox.get()

    def when_sent(self) -> Deferred[None]:
        """Fire when no message is queued. Fails as `send` does."""
        if self._outbox and self._error is not None:
            return fail(self._error())
        return self._outbox.empty()

    def when_connected(self) -> Deferred[ClientProtocol]:
        """Fire with the open connection, or the next one. Fails as `send` does."""
        if self.connection is not None:
            return succeed(self.connection)
        return self._when(self._awaiting)

    def when_ended(self) -> Deferred[None]:
        """Fire when the service was stopped. Fails with the error that made it give up."""
        return self._when(self._ends)

    def _when(self, those: list[Deferred[Any]]) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred(those.remove)
        those.append(waiting)
        if self._error is not None:
            self._tell(self._error)
        return waiting

    async def __aenter__(self) -> ReconnectingClient:
        self.startService()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stopService()

    # Events

    def _connected(self, connection: ClientProtocol) -> None:
        self.connection = connection
        _log.info("[{who}] connected", who=self)
        if self._inbox.full:
            connection.pause_reading()
        awaiting, self._awaiting = self._awaiting, []
        for each in awaiting:
            each.callback(connection)
        self._arrivals.begin(connection)
        self._outbox.begin(connection)

    def _lost(self, connection: ClientProtocol, error: ConnectionClosed) -> None:
        self.connection = None
        self._outbox.lost()
        count = self._arrivals.lost()
        # An answer to our close also confirms all that was sent before.
        if count and not (connection.wasClean and connection.closedByMe):
            self.may_be_lost(count)
        if self._emptied is not None:
            self._emptied.cancel()

    def _pause(self) -> None:
        if self.connection is not None:
            self.connection.pause_reading()

    def _resume(self) -> None:
        if self.connection is not None:
            self.connection.resume_reading()

    def _resuming(self) -> Resuming:
        # `missed` is looked up at each call, so that it may be overridden.
        return Resuming(self.config, lambda channel: self.missed(channel), self._cannot_resume)

    def _cannot_resume(self) -> None:
        _log.warn("[{who}] {why}", who=self, why=NOT_SPOKEN)

    def __str__(self) -> str:
        return repr(self._staying)

    # The end

    def _stop(self) -> None:
        self._gate.shut(_stopped)
        # The server's answer to our close comes after the messages that are not read yet.
        self._inbox.discard_more()
        emptied = self._emptied = succeed(None) if self.connection is None else self._outbox.empty()
        if self.config.close_timeout:
            emptied.addTimeout(self.config.close_timeout, self._reactor)
        emptied.addBoth(self._close).addBoth(lambda _: self._over(_stopped))

    def _close(self, _: object) -> Deferred[None]:
        self._emptied = None
        return self._staying.stop()

    def _give_up(self, error: Exception) -> None:
        _log.error("[{who}] {error}; gave up", who=self, error=error)
        super().stopService()
        self._over(lambda: copy.copy(error))

    def _over(self, error: Callable[[], Exception]) -> None:
        self._error = error
        if self._inbox.discarded:
            _log.info(
                "[{who}] messages dropped because they came after its end: {count}",
                who=self,
                count=self._inbox.discarded,
            )
        if self._outbox:
            _log.warn("[{who}] not sent: {what}", who=self, what=messages(len(self._outbox)))
        self._gate.shut(error)
        self._outbox.end(error)
        self._inbox.end(error)
        stops, self._stops = self._stops, []
        for each in stops:
            each.callback(None)
        self._tell(error)

    def _tell(self, error: Callable[[], Exception]) -> None:
        awaiting, self._awaiting = self._awaiting, []
        for each in awaiting:
            each.errback(error())
        ends, self._ends = self._ends, []
        for each in ends:
            if error is _stopped:
                each.callback(None)
            else:
                each.errback(error())


def _stopped() -> ConnectionClosed:
    return ConnectionClosed("the client was stopped", CloseCode.NORMAL, in_order=True)


class _Sending:
    """Tell the service when a connection has room. Mix in before a behaviour."""

    _client: ReconnectingClient

    def resumeProducing(self) -> None:
        super().resumeProducing()  # type: ignore[misc]
        self._client._outbox.go_on()


class _Reading(ClientProtocol):
    """A connection that puts messages into the inbox of the service."""

    _client: ReconnectingClient

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._client._inbox.put(payload if isBinary else payload.decode())
