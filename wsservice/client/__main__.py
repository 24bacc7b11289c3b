"""`python -m wsservice.client`: the program."""

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

from .command import Command, parse
from .faces import face_for, has_person
from .session import Session
from .terminal import reserve_descriptors


async def _main(reactor: Any, command: Command, person: bool) -> None:
    session = Session(reactor, *face_for(command, person))

    def interrupted(number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(session.interrupt, number)

    def take_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, interrupted)

    # Once the reactor runs, after it took them itself.
    reactor.callWhenRunning(take_signals)
    raise SystemExit(await session.run())


@contextlib.contextmanager
def _asyncio() -> Iterator[None]:
    """Twisted's reactor is asyncio's loop, where the prompt lives."""
    # At its end it cancels what still runs: a prompt that nobody waited for then
    # leaves the terminal as it was.
    with asyncio.Runner() as runner:
        asyncioreactor.install(runner.get_loop())
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program, and end the process with its exit status."""
    reserve_descriptors()
    try:
        _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        # Before the reactor runs, which takes the signal: there is nothing to close.
        raise SystemExit(128 + signal.SIGINT) from None


def _run(arguments: Sequence[str]) -> None:
    command = parse(arguments)
    # Of the log only what went wrong inside is for the user (an error of TLS is said
    # by `say`, and Autobahn's line would be a second one), and in the tutorial's
    # part, what it hears.
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
