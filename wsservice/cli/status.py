"""Name the program's exit statuses."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The exit statuses. Besides these, 130 after Ctrl-C and 143 after SIGTERM."""

    OK = 0
    NO_OUTPUT = 1
    USAGE = 2
    NO_CONNECTION = 3
    NO_TLS = 4
    REFUSED = 5
    LOST = 6
    NOT_IN_TIME = 7
    OTHER_CODE = 8


MEANINGS = {
    Status.OK: "closed normally, or got what was asked",
    Status.NO_OUTPUT: "standard output could not be written",
    Status.USAGE: "wrong usage",
    Status.NO_CONNECTION: "could not connect",
    Status.NO_TLS: "TLS failed",
    Status.REFUSED: "handshake refused",
    Status.LOST: "lost without a close frame",
    Status.NOT_IN_TIME: "timed out, or closed before the awaited event",
    Status.OTHER_CODE: "closed with another code than 1000 or 1001",
}
"""The text of each status in the help."""
