"""The program of a worker's process, which its parent starts: `python -m wsservice.workers.child`.

Its arguments are its number, its number of ports and the module of the reactor. The first message
on the bus has all other facts.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import socket
import sys
from types import FrameType
from typing import Any

from twisted.logger import globalLogBeginner, globalLogPublisher, textFileLogObserver

from ...clock import use_monotonic
from ...config.config import Config
from ...errors import WSServiceError
from ...log.jsonlog import json_file_observer
from ...log.threshold import Threshold
from ...net.memory import collect_seldom, keep_freed
from ..wire.framing import LENGTH, MessageError, framed
from ..wire.messages import FIRST, PARENTS_SIGNALS
from ..wire.orders import Start, from_parent
from ..wire.reports import StartFailed

_PR_SET_PDEATHSIG = 1


def _adopted(descriptor: int) -> socket.socket:
    """Return the socket of a descriptor from the parent. No program started here inherits it."""
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def _first_message(end: socket.socket) -> Start:
    """Return the parent's first message.

    Raises `EOFError` if the parent is gone, and `MessageError`.
    """
    # Read exactly this message: the octets behind it belong to the bus.
    size = int.from_bytes(_read(end, LENGTH), "big")
    message = from_parent(_read(end, size))
    if not isinstance(message, Start):
        raise MessageError(f"{message.kind!r} is not the first message")
    return message


def _read(end: socket.socket, size: int) -> bytes:
    octets = end.recv(size, socket.MSG_WAITALL)
    if len(octets) < size:
        raise EOFError
    return octets


def _end_with_parent() -> None:
    """Have the kernel send a signal when the parent ends, since this process may be stuck."""
    with contextlib.suppress(AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _end_after(seconds: float) -> None:
    """Have the kernel end this process after some seconds, unless it ended before."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1))


def _install_reactor(module: str) -> Any:
    """Install and return a reactor of the parent's kind."""
    install = getattr(importlib.import_module(module), "install", None)
    if install is not None:
        install()
    from twisted.internet import reactor

    use_monotonic(reactor)
    return reactor


def _serve(ports: int, module: str) -> int:
    bus, log, messages, *pairs = (_adopted(FIRST + place) for place in range(3 + ports))
    try:
        told = _first_message(bus)
    except EOFError:
        return 1
    # The parent's search path and folder, so that the same modules and files are found.
    sys.path[:] = told.path
    os.chdir(told.folder)
    reactor = _install_reactor(module)
    # Imported only now, since these modules may import the reactor.
    from ..wire.bus import connect
    from ..wire.records import JSON, text_file
    from .ports import PortPlace
    from .service import Ends, Serving

    file = text_file(log)
    config = Config(**told.config)
    threshold = Threshold(config.log_level)
    observer = threshold.before(
        json_file_observer(file) if told.log == JSON else textFileLogObserver(file)
    )
    globalLogBeginner.beginLoggingTo([observer])
    places = [PortPlace(*each) for each in told.places]
    serving = Serving(reactor, _end_after, threshold, told.folder)
    try:
        ends = Ends(messages, list(zip(pairs, places, strict=True)))
        serving.serve(config, ends, told.messages, told.service, bytes.fromhex(told.key))
    except WSServiceError as error:
        bus.sendall(framed(StartFailed(str(error)).body()))
        return 1
    os.chdir(told.folder_now)
    connect(serving.bus, bus, reactor)
    reactor.callWhenRunning(serving.install_signals)
    keep_freed()
    reactor.callWhenRunning(collect_seldom)
    # Events after shutdown matter in the parent's log only.
    reactor.addSystemEventTrigger("after", "shutdown", globalLogPublisher.removeObserver, observer)
    reactor.run()
    return 0


def _leave_to_parent(_number: int, _frame: FrameType | None) -> None:
    """Do nothing on a signal from a terminal or to the whole process group: the parent acts."""


def main() -> int:
    """Serve until the parent ends it or is gone. Return the exit status, 1 if it cannot serve."""
    for number in PARENTS_SIGNALS:
        # Handled and not ignored, since programs that a behaviour starts would inherit that.
        signal.signal(number, _leave_to_parent)
    # The handler drops the signals that came since this process began.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENTS_SIGNALS)
    _end_with_parent()
    _, ports, module = sys.argv[1:]
    return _serve(int(ports), module)


if __name__ == "__main__":
    sys.exit(main())
