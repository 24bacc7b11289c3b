"""Read a connection with `async for`, and write to it with `await`."""

from __future__ import annotations

from types import TracebackType

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ..config.close_codes import CloseCode, checked_close
from ..errors import ConnectionClosed
from .ended import why_ended
from .gate import Gate
from .inbox import Inbox, Message, Messages
from .protocol import ClientProtocol


def encoded(message: Message) -> tuple[bytes, bool]:
    """Return the payload of a message, and True if it is binary.

    Raises `TypeError` if it is neither `str` nor `bytes`, and `ValueError` for text that UTF-8
    cannot encode.
    """
    if isinstance(message, str):
        return message.encode(), False
    if not isinstance(message, bytes):
        raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
    return message, True


class ClientConnection(Messages, ClientProtocol):  # type: ignore[misc]
    """An open connection as a stream of messages: text is `str`, binary is `bytes`.

    ::

        async with await connect("wss://chat.example/") as connection:
            await connection.send("hello")
            async for message in connection:
                ...

    The loop ends when the connection is closed in order (1000, 1001, no code, or by this end).
    After any other end it raises `ConnectionClosed`. Messages that came before the end are
    delivered first. While 64 KiB are queued here, the server is not read: nothing is lost, and
    memory is bounded.

    Each method returns a Deferred, to be awaited in a coroutine that Twisted runs
    (`Deferred.fromCoroutine`, `task.react`); a task of asyncio awaits
    `connection.recv().asFuture(loop)`. The class uses its callbacks itself: for callbacks, subclass
    `ClientProtocol`.
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
        try:
            super().connectionLost(reason)
        finally:
            if self._inbox.discarded:
                self.log.info(
                    "[{who}] messages dropped because they came after close(): {count}",
                    who=self.who,
                    count=self._inbox.discarded,
                )
            self._inbox.end(self._why_ended)
            self._gate.shut(self._why_ended)
            ends, self._ends = self._ends, []
            for each in ends:
                each.callback(None)

    def _why_ended(self) -> ConnectionClosed:
        return why_ended(self)

    def recv(self) -> Deferred[Message]:
        """Fire with the next message: `str` or `bytes`. If cancelled, no message is lost.

        Fails with `ConnectionClosed` when there are no more. Raises `RuntimeError` while another
        `recv` waits: a connection has one reader.
        """
        return self._inbox.get()

    def send(self, message: Message) -> Deferred[None]:
        """Send text (`str`) or binary (`bytes`). Fires when it is on its way.

        While more than half of the send buffer (`ClientConfig.send_buffer`) waits for the server to
        read, the message waits for its turn; if cancelled by then, it is not sent. Fails with
        `ConnectionClosed` if the connection is closing or closed. Raises `TypeError` for any other
        type of message.
        """
        payload, is_binary = encoded(message)
        return self._gate.enter(lambda: self._send_now(payload, is_binary))

    def _send_now(self, payload: bytes, is_binary: bool) -> None:
        if not self.sendMessage(payload, is_binary):
            raise why_ended(self)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> Deferred[None]:
        """Close, and fire when the connection is over, however it ended. Idempotent.

        `code` is 1000 to 1003, 1007 to 1009, 1011 to 1014, or 3000 to 4999, and `reason` has at
        most 123 octets of UTF-8; otherwise `ValueError` is raised. The server has
        `ClientConfig.close_timeout` seconds to answer. Messages that it still sends can be read up
        to the bound. Senders that still wait get `ConnectionClosed`.
        """
        checked_close(code, reason)
        if self.state == self.STATE_OPEN:
            self.sendClose(int(code), reason or None)
            self._gate.shut(self._why_ended)
        # The server's answer comes after all that it sent before.
        self._inbox.discard_more()
        if self._inbox.ended:
            return succeed(None)
        over: Deferred[None] = Deferred(self._ends.remove)
        self._ends.append(over)
        return over

    async def __aenter__(self) -> ClientConnection:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
