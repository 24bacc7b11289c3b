from __future__ import annotations

import errno
import os
import sys
import termios
from typing import Any

import pytest
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.tcp import Connection as TCPConnection
from twisted.internet.testing import MemoryReactor
from twisted.internet.testing import StringTransport as OtherTransport
from twisted.protocols.policies import WrappingFactory

from wsservice.net.transports import (
    SocketWriter,
    Unchanged,
    peer_name,
    plain,
    readable,
    unacknowledged,
    unread,
)


class Socket:
    """Takes so many octets of each write, or fails."""

    def __init__(self, room: int | OSError) -> None:
        self.room = room
        self.sent = b""

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes) -> int:
        if isinstance(self.room, OSError):
            raise self.room
        taken = data[: self.room]
        self.sent += taken
        return len(taken)


def tcp(room: int | OSError = 10**6) -> Any:
    transport: Any = TCPConnection(Socket(room), None, MemoryReactor())  # type: ignore[arg-type]
    transport.connected = True
    return transport


def waiting(transport: Any) -> bytes:
    return b"".join([transport.dataBuffer, *transport._tempDataBuffer])


def test_with_nothing_waiting_the_socket_takes_it_at_once() -> None:
    transport = tcp()
    SocketWriter(transport).write(b"hello")
    assert transport.socket.sent == b"hello"
    assert waiting(transport) == b""
    assert not transport.reactor.getWriters()


@pytest.mark.parametrize("room", [0, 2])
def test_what_the_socket_does_not_take_waits_for_the_reactor(room: int) -> None:
    transport = tcp(room)
    writer = SocketWriter(transport)
    writer.write(b"hello")
    writer.write(b" world")
    assert transport.socket.sent + waiting(transport) == b"hello world"
    assert len(transport.socket.sent) == room
    assert transport.reactor.getWriters() == [transport]


def test_once_the_reactor_has_sent_what_waited_the_socket_is_tried_again() -> None:
    transport = tcp(2)
    writer = SocketWriter(transport)
    writer.write(b"hello")
    transport.socket.room = 100
    transport.doWrite()
    writer.write(b" world")
    assert transport.socket.sent == b"hello world"
    assert waiting(transport) == b""


def test_what_somebody_wrote_before_is_not_overtaken() -> None:
    transport = tcp()
    transport.write(b"first")
    SocketWriter(transport).write(b"second")
    assert waiting(transport) == b"firstsecond"


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ECONNRESET, errno.EPIPE, errno.EBADF])
def test_what_fails_is_left_for_the_reactor_to_find(code: int) -> None:
    transport = tcp(OSError(code, "no"))
    SocketWriter(transport).write(b"hello")
    assert waiting(transport) == b"hello"
    assert transport.reactor.getWriters() == [transport]


def test_plain_are_sockets_also_behind_a_proxy_header_and_not_under_tls() -> None:
    transport = tcp()
    assert plain(transport) is transport
    wrapper = Unchanged(WrappingFactory(None), None)  # type: ignore[arg-type]
    wrapper.transport = transport
    assert plain(wrapper) is transport
    transport.TLS = True  # type: ignore[union-attr]
    assert [plain(each) for each in (transport, wrapper, OtherTransport())] == [None] * 3


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (IPv4Address("TCP", "192.0.2.1", 5000), "192.0.2.1:5000"),
        (IPv6Address("TCP", "2001:db8::1", 5000), "[2001:db8::1]:5000"),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 5000), "192.0.2.1:5000"),
        (IPv4Address("TCP", "a\nb\x1b", 5000), r"a\nb\x1b:5000"),
        (UNIXAddress(b"/run/ws.sock"), "unix"),
        (UNIXAddress(None), "unix"),
        (HostnameAddress(b"host", 1), "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_is_written_as_people_write_it(address: object, name: str) -> None:
    assert peer_name(address) == name


def test_what_is_not_acknowledged_waits_here_or_in_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport = tcp(2)
    assert unacknowledged(transport) == 0
    SocketWriter(transport).write(b"hello")
    assert unacknowledged(transport) == 3
    transport.write(b"more")
    assert unacknowledged(transport) == 7
    count = (10).to_bytes(4, sys.byteorder)
    monkeypatch.setattr("fcntl.ioctl", lambda *given: count)
    assert unacknowledged(transport) == 17
    wrapper = OtherTransport()
    assert unacknowledged(wrapper) == 0
    wrapper.transport = transport  # type: ignore[attr-defined]
    assert unacknowledged(wrapper) == 17


def test_what_can_be_read_of_a_descriptor_is_counted() -> None:
    there, here = os.pipe()
    try:
        assert readable(there) == 0
        os.write(here, b"hello")
        assert readable(there) == 5
    finally:
        os.close(here)
        os.close(there)
    assert readable(there) == readable(-1) == 0


def test_what_the_kernel_has_from_a_peer_is_not_read_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = tcp(2)
    transport.fileno = lambda: 7
    asked = []

    def ioctl(*given: object) -> bytes:
        asked.append(given[:2])
        return (10).to_bytes(4, sys.byteorder)

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    wrapper = OtherTransport()
    assert unread(wrapper) == 0
    wrapper.transport = transport  # type: ignore[attr-defined]
    assert unread(wrapper) == 10
    assert asked == [(7, termios.FIONREAD)]

    def fail(*_: object) -> bytes:
        raise OSError

    monkeypatch.setattr("fcntl.ioctl", fail)
    assert unread(transport) == 0
