"""Run the program `wsclient`: `python -m wsservice.client`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from twisted.internet import asyncioreactor
from twisted.internet.task import react
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from ..clock import use_monotonic
from .command import Command, parse
from .faces import face_for, has_person
from .lookups import Lookups
from .session import Session
from .terminal import reserve_descriptors


async def _main(reactor: Any, command: Command, person: bool) -> None:
    use_monotonic(reactor)
    reactor.installNameResolver(Lookups(reactor))
    session = Session(reactor, *face_for(command, person))

    def interrupted(number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(session.interrupt, number)

    def take_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, interrupted)

    # The reactor takes the signals itself when it starts, so these handlers are set after that.
    reactor.callWhenRunning(take_signals)
    raise SystemExit(await session.run())


@contextlib.contextmanager
def _asyncio() -> Iterator[None]:
    """Run Twisted's reactor on an asyncio loop, which the prompt needs."""
    # At its end, the runner cancels tasks that still run. A prompt that nobody waited for then
    # restores the terminal.
    with asyncio.Runner() as runner:
        asyncioreactor.install(runner.get_loop())
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program, and end the process with its exit status."""
    reserve_descriptors()
    try:
        _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        # The signal came before the reactor took it over: no connection is open yet.
        raise SystemExit(128 + signal.SIGINT) from None


def _run(arguments: Sequence[str]) -> None:
    command = parse(arguments)
    # The user needs only failures of the program itself from the log: `say` reports an error of
    # TLS, and Autobahn's line would repeat it. In the tutorial, the log also shows the messages
    # that come.
    levels = LogLevelFilterPredicate(LogLevel.critical)
    levels.setLogLevelForNamespace("wsservice.client", LogLevel.info)
    output = textFileLogObserver(sys.stdout if command.tutorial else sys.stderr)
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(output, [levels])], redirectStandardIO=False
    )
    person = has_person(command)
    with _asyncio() if person else contextlib.nullcontext():
        react(_main, (command, person))


if __name__ == "__main__":
    main()
