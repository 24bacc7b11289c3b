"""Accepted connections, sent from one process to another over a pair of sockets.

Each is one packet: a descriptor, and the facts about the connection. Both processes may read a
pair: the parent takes back the connections that a worker did not take.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
from typing import Any

import attrs

from ...server.admission import Verdict

_ROOM = 4096
"""Octets that suffice for the facts about a connection."""

_FULL = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ETOOMANYREFS, errno.ENOMEM}


@attrs.frozen
class Handing:
    """The facts about a connection: its number, the decision on it, its peer's address.

    The address has the form that `socket.accept` returns.
    """

    number: int
    verdict: Verdict
    address: Any


def possible() -> bool:
    """Return True if this system can pass connections between processes."""
    try:
        for end in pair():
            end.close()
    except (AttributeError, OSError):
        return False
    return True


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends. Raises `OSError`, or `AttributeError` if the system lacks such sockets."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def hand(end: socket.socket, descriptor: int, handing: Handing) -> bool:
    """Hand a connection over. Return False if the pair is full. Raises `OSError`."""
    address = handing.address
    if isinstance(address, bytes):  # an abstract name, outside the file system
        address = os.fsdecode(address)
    said = json.dumps([handing.number, handing.verdict.name, address]).encode()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
    try:
        end.sendmsg([said], [rights])
    except OSError as error:
        if error.errno in _FULL:
            return False
        raise
    return True


def take(end: socket.socket) -> tuple[socket.socket | None, Handing] | None:
    """Return the next connection. Its socket is None if this process has no free descriptor.

    Return None if the other end is closed. Raises `BlockingIOError` if no connection waits.
    """
    said, rights, _, _ = end.recvmsg(
        _ROOM, socket.CMSG_SPACE(array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
    )
    if not said:
        return None
    number, verdict, address = json.loads(said)
    if isinstance(address, list):
        address = tuple(address)
    handing = Handing(number, Verdict[verdict], address)
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and data:
            (descriptor,) = array.array("i", data[: array.array("i").itemsize])
            return socket.socket(fileno=descriptor), handing
    return None, handing
