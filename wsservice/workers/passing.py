"""An accepted connection, from one process to another, over a pair of sockets.

Each is one packet: a descriptor, and what is known of the connection. Both ends of
a pair may be read: what a worker did not take, its parent takes back.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
from typing import Any

import attrs

from ..policy import Verdict

_ROOM = 4096
"""Octets that are enough for what is said of a connection."""

_FULL = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ETOOMANYREFS, errno.ENOMEM}


@attrs.frozen
class Handing:
    """What is said of a connection: its number, what becomes of it, its peer's address.

    The address is as `socket.accept` has it.
    """

    number: int
    verdict: Verdict
    address: Any


def possible() -> bool:
    """Whether this system has the sockets for it."""
    try:
        for end in pair():
            end.close()
    except (AttributeError, OSError):
        return False
    return True


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends. Raises `OSError`, or `AttributeError` where the system has none of the kind."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def hand(end: socket.socket, descriptor: int, handing: Handing) -> bool:
    """Hand a connection over; False where there is no room. Raises `OSError` for all else."""
    address = handing.address
    if isinstance(address, bytes):  # a name that is none of the file system's
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
    """The next connection; without its socket where this process has no descriptor for it.

    None at the end, when the other end is closed. Raises `BlockingIOError`
    where there is none now.
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
