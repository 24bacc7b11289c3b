"""`python -m wsservice.client`: the program."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from ..errors import ConnectError, HandshakeError, TLSError, WSServiceError
from ..escape import escape
from ..journal import describe
from ..policy import CloseCode
from .connecting import connect
from .options import Command, parse
from .protocol import ClientProtocol
from .terminal import LineReader, Output

OK, USAGE, NO_CONNECTION, NO_TLS, REFUSED, LOST, OTHER_CODE = 0, 2, 3, 4, 5, 6, 8
"""The exit statuses; besides them 130 after Ctrl-C, 143 after SIGTERM."""

_log = Logger(namespace="wsservice.client")


def say(text: str) -> None:
    """One line to standard error."""
    sys.stderr.write(f"wsservice.client: {text}\n")
    sys.stderr.flush()


class Session:
    """One run of the program: connect, talk, and end with an exit status."""

    def __init__(self, reactor: Any, command: Command) -> None:
        self._reactor = reactor
        self._command = command
        self._ended: Deferred[int] = Deferred()
        self._interrupted = 0
        self._failed = 0
        self._connecting: Deferred[Any] | None = None
        self.connection: ClientProtocol | None = None

    def run(self) -> Deferred[int]:
        """Fires with the exit status."""
        role = _Tutorial if self._command.tutorial else _Conversation
        protocol = type(role.__name__, (role,), {"session": self})
        self._connecting = connect(self._command.config.url, protocol, reactor=self._reactor)
        self._connecting.addErrback(self._not_connected)
        return self._ended

    def _not_connected(self, failure: Any) -> None:
        if failure.check(CancelledError):
            self._end(self._interrupted)
            return
        failure.trap(WSServiceError)
        error = failure.value
        say(str(error))
        statuses = {TLSError: NO_TLS, ConnectError: NO_CONNECTION, HandshakeError: REFUSED}
        self._end(next(statuses[kind] for kind in statuses if isinstance(error, kind)))

    def closed(self, wasClean: bool, code: int | None) -> None:
        """The connection is over."""
        if self._interrupted and wasClean:
            self._end(self._interrupted)
        elif not wasClean:
            say("the connection was lost without a close frame")
            self._end(self._interrupted or LOST)
        elif self._failed:
            self._end(self._failed)
        elif code in (None, CloseCode.NORMAL, CloseCode.GOING_AWAY):
            self._end(OK)
        else:
            self._end(OTHER_CODE)

    def fail(self, status: int, problem: str) -> None:
        """Say what is wrong, and close; the run ends with that status."""
        say(problem)
        self._failed = self._failed or status
        self.close()

    def close(self) -> None:
        """Close normally, and wait for the server to do so too."""
        if self.connection is not None:
            self.connection.sendClose(CloseCode.NORMAL.value)

    def interrupt(self, number: int) -> None:
        """Ctrl-C: close and wait; the second time, do not wait."""
        if self._interrupted:
            self._end(self._interrupted)
            return
        self._interrupted = 128 + number
        if self.connection is not None:
            self.close()
        elif self._connecting is not None:
            self._connecting.cancel()

    def _end(self, status: int) -> None:
        if not self._ended.called:
            self._ended.callback(status)


class _Role(ClientProtocol):
    session: Session

    def onOpen(self) -> None:
        self.session.connection = self

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if wasClean and code not in (None, CloseCode.NORMAL):
            because = f" ({escape(reason)})" if reason else ""
            say(f"the server closed with {code}{because}")
        self.session.closed(wasClean, code)


class _Tutorial(_Role):
    """The tutorial's part: says one thing, logs what it hears, and stays."""

    def onOpen(self) -> None:
        super().onOpen()
        self.sendMessage(b"Msg from client")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        _log.info("Msg received in client: {message}", message=describe(payload, isBinary, 4096))


class _Conversation(_Role):
    """Sends what it is given, prints what comes."""

    def onOpen(self) -> None:
        super().onOpen()
        self._output = Output(1)
        self._line = 0
        for message in self.session._command.messages:
            self.sendMessage(message)
        reader = LineReader(self.factory.reactor, 0, self._send_line, self.session.close)
        self.registerProducer(reader, True)
        reader.start()

    def _send_line(self, line: bytes) -> None:
        self._line += 1
        try:
            line.decode()
        except UnicodeDecodeError:
            self.session.fail(USAGE, f"line {self._line} of standard input is not UTF-8 text")
        else:
            self.sendMessage(line)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        try:
            self._output.write(payload, isBinary)
        except OSError:
            # Whoever read it has enough: `... | head -1`.
            self.session.close()


async def _main(reactor: Any, command: Command) -> None:
    session = Session(reactor, command)

    def interrupted(number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(session.interrupt, number)

    def take_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, interrupted)

    # Once the reactor runs, after it took them itself.
    reactor.callWhenRunning(take_signals)
    raise SystemExit(await session.run())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program, and end the process with its exit status."""
    command = parse(sys.argv[1:] if arguments is None else arguments)
    # Of the log only what went wrong inside is for the user (an error of TLS is said
    # by `say`, and Autobahn's line would be a second one), and in the tutorial's
    # part, what it hears.
    levels = LogLevelFilterPredicate(LogLevel.critical)
    levels.setLogLevelForNamespace("wsservice.client", LogLevel.info)
    output = textFileLogObserver(sys.stdout if command.tutorial else sys.stderr)
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(output, [levels])], redirectStandardIO=False
    )
    react(_main, (command,))


if __name__ == "__main__":
    main()
