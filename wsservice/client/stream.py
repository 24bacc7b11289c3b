"""A connection to be read with `async for`, and written to with `await`."""

from __future__ import annotations

from types import TracebackType

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ..errors import ConnectionClosed
from ..policy import CloseCode
from .ended import why_ended
from .gate import Gate
from .inbox import Inbox, Message
from .protocol import ClientProtocol


def encoded(message: Message) -> tuple[bytes, bool]:
    """The payload of a message, and whether it is binary.

    Raises `TypeError` for what is neither text nor bytes, `ValueError` for text
    that UTF-8 has no octets for.
    """
    if isinstance(message, str):
        return message.encode(), False
    if not isinstance(message, bytes):
        raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
    return message, True


def check_close_code(code: int) -> None:
    """Raise `ValueError` for a close code that an application may not send."""
    if code != CloseCode.NORMAL and not 3000 <= code <= 4999:
        raise ValueError(f"close code {code} is not allowed; give 1000, or 3000 to 4999")


class ClientConnection(ClientProtocol):
    """An open connection as a stream of messages: text is `str`, binary is `bytes`.

    ::

        async with await connect("wss://chat.example/") as connection:
            await connection.send("hello")
            async for message in connection:
                ...

    The loop ends when the connection was closed in order (1000, 1001, no code,
    or by this end), and raises `ConnectionClosed` when it ended otherwise. What
    came before the end is delivered first. While 64 KiB wait to be read here,
    the server is not read: nothing is lost, and memory is bounded.

    Each method returns a Deferred, to be awaited in a coroutine that Twisted
    runs (`Deferred.fromCoroutine`, `task.react`); a task of asyncio awaits
    `connection.recv().asFuture(loop)`. Its callbacks are this class's own: who
    wants to be called back subclasses `ClientProtocol`.
    """

    def connectionMade(self) -> None:
        self._inbox = Inbox(self.pause_reading, self.resume_reading)
        self._gate = Gate()
        self._ends: list[Deferred[None]] = []
        super().connectionMade()
        self.registerProducer(self._gate, True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._inbox.put(payload if isBinary else payload.decode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._inbox.end(self._why_ended)
        self._gate.shut(self._why_ended)
        ends, self._ends = self._ends, []
        for each in ends:
            each.callback(None)

    def _why_ended(self) -> ConnectionClosed:
        return why_ended(self)

    def recv(self) -> Deferred[Message]:
        """Fires with the next message: `str` or `bytes`. Cancelled, it takes none.

        Fails with `ConnectionClosed` when there are no more. Raises
        `RuntimeError` while another `recv` waits: a connection has one reader.
        """
        return self._inbox.get()

    def send(self, message: Message) -> Deferred[None]:
        """Send text (`str`) or binary (`bytes`): fires when it is on its way.

        While more than half of the send buffer (`ClientConfig.send_buffer`)
        waits for the server to read, it waits for its turn; cancelled by then,
        it is not sent. Fails with `ConnectionClosed` when the connection is
        closing or closed. Raises `TypeError` for what is no message.
        """
        payload, is_binary = encoded(message)
        return self._gate.enter(lambda: self._send_now(payload, is_binary))

    def _send_now(self, payload: bytes, is_binary: bool) -> None:
        if not self.sendMessage(payload, is_binary):
            raise why_ended(self)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> Deferred[None]:
        """Close, and fire when the connection is over, however it ended.

        `code` is 1000, or 3000 to 4999, else `ValueError` is raised; a `reason`
        is cut to 123 octets. The server has `ClientConfig.close_timeout` seconds
        to answer. What it still sends can be read up to the bound; who still
        waits to send gets `ConnectionClosed`. More than once does no harm.
        """
        check_close_code(code)
        if self.state == self.STATE_OPEN:
            self.sendClose(int(code), reason or None)
            self._gate.shut(self._why_ended)
        # The server's answer is behind all that it sent before.
        self._inbox.discard_more()
        if self._inbox.ended:
            return succeed(None)
        over: Deferred[None] = Deferred(self._ends.remove)
        self._ends.append(over)
        return over

    def __aiter__(self) -> ClientConnection:
        return self

    async def __anext__(self) -> Message:
        if self._inbox.ready:
            return self._inbox.take()
        try:
            return await self.recv()
        except ConnectionClosed as closed:
            if closed.in_order:
                raise StopAsyncIteration from None
            raise

    async def __aenter__(self) -> ClientConnection:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
