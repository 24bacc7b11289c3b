"""What a worker's process runs: `python -m wsservice.worker`. Its parent starts it.

It is told by its arguments which worker it is, how many ports it has, and the module of
the reactor; all else by the first message of the bus.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import socket
import sys
from typing import Any

from twisted.logger import globalLogBeginner, globalLogPublisher, textFileLogObserver

from .config import Config
from .errors import WSServiceError
from .jsonlog import json_file_observer
from .memory import collect_seldom, keep_freed
from .threshold import Threshold
from .workers.copying import JSON
from .workers.messages import FIRST, LENGTH, framed, parsed, said

_PR_SET_PDEATHSIG = 1


def _adopted(descriptor: int) -> socket.socket:
    """A socket that the parent gave; no program that is started from here gets it."""
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def _first_message(end: socket.socket) -> dict[str, Any]:
    """What the parent says first. Raises `EOFError` where it is gone."""
    # No more than that: what follows belongs to the bus.
    size = int.from_bytes(_read(end, LENGTH), "big")
    return parsed(_read(end, size))


def _read(end: socket.socket, size: int) -> bytes:
    octets = end.recv(size, socket.MSG_WAITALL)
    if len(octets) < size:
        raise EOFError
    return octets


def _end_with_parent() -> None:
    """Have the kernel tell that the parent ended, also where this process hears nothing else."""
    with contextlib.suppress(AttributeError):  # another system
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _end_after(seconds: float) -> None:
    """Have the kernel end this process, if it is still there then."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1))


def _install_reactor(module: str) -> Any:
    """The reactor, of the parent's kind."""
    install = getattr(importlib.import_module(module), "install", None)
    if install is not None:
        install()
    from twisted.internet import reactor

    return reactor


def _serve(ports: int, module: str) -> int:
    bus, log, messages, *pairs = (_adopted(FIRST + place) for place in range(3 + ports))
    try:
        told = _first_message(bus)
    except EOFError:
        return 1
    # As it is in the parent: modules are found where it finds them, and paths begin there.
    sys.path[:] = told["path"]
    os.chdir(told["folder"])
    reactor = _install_reactor(module)
    # Not before: what they import may look at the reactor.
    from .serving import Ends, Serving
    from .workers.bus import connect
    from .workers.handed import Place
    from .workers.records import text_file

    file = text_file(log)
    config = Config(**told["config"])
    threshold = Threshold(config.log_level)
    observer = threshold.before(
        json_file_observer(file) if told["log"] == JSON else textFileLogObserver(file)
    )
    globalLogBeginner.beginLoggingTo([observer])
    places = [Place(*each) for each in told["places"]]
    serving = Serving(reactor, _end_after, threshold, told["folder"])
    try:
        ends = Ends(messages, list(zip(pairs, places, strict=True)))
        serving.serve(config, ends, told["messages"], told["service"])
    except WSServiceError as error:
        bus.sendall(framed(said("failed", problem=str(error))))
        return 1
    os.chdir(told["folder_now"])
    connect(serving.bus, bus, reactor)
    reactor.callWhenRunning(serving.install_signals)
    keep_freed()
    reactor.callWhenRunning(collect_seldom)
    # What follows is of interest in the parent only.
    reactor.addSystemEventTrigger("after", "shutdown", globalLogPublisher.removeObserver, observer)
    reactor.run()
    return 0


def main() -> int:
    """Serve until the parent says otherwise, or is gone. The exit status: 1 where it cannot."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # a terminal's, or for all: the parent acts on it
    _end_with_parent()
    _, ports, module = sys.argv[1:]
    return _serve(int(ports), module)


if __name__ == "__main__":
    sys.exit(main())
