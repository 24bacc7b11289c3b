"""Speak HTTP to an admin face, so that every call ends by its deadline. Standard library only."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..escape import escape, shown_url
from ..http.hostname import ascii_url, certified_name, parse_place

_IDLE = 15.0
"""Seconds that an idle connection is kept. The listener keeps it twice as long."""

_KEPT = 8
"""The most idle connections that are kept, however many threads publish at once."""

_CHUNK = 256 * 1024
"""The most octets for one call of `send`."""

_URL_FORM = "give http://HOST:PORT, https://HOST:PORT or unix:PATH"


class Deadline:
    """The moment by which a call must end: `seconds` from now, by the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left. Raises `TimeoutError` if none are."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _BoundedSocket:
    """A socket whose operations all end by one deadline, which may be changed.

    The timeout of a plain socket is for each operation: a peer that sends an octet now and then
    would keep a reader for ever.
    """

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self.deadline = deadline

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def sendall(self, data: Any) -> None:
        """Send all of `data`; `http.client` calls it. Raises `TimeoutError`."""
        rest = memoryview(data).cast("B")
        while rest:
            self.limit()
            rest = rest[self._socket.send(rest[:_CHUNK]) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file from which to read the answer; `http.client` calls it."""
        return io.BufferedReader(_BoundedFile(self, self._socket.makefile("rb", buffering=0)))

    def limit(self) -> None:
        """Give the next operation the time that is left. Raises `TimeoutError`."""
        self._socket.settimeout(self.deadline.left())


class _BoundedFile(io.RawIOBase):
    """The file of a `_BoundedSocket`, read by the same deadline."""

    def __init__(self, bounded: _BoundedSocket, file: socket.SocketIO) -> None:
        super().__init__()
        self._bounded = bounded
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._bounded.limit()
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class FaceConnection(http.client.HTTPConnection):
    """A connection to an admin face."""

    def __init__(self, place: FacePlace) -> None:
        secure = place.scheme == "https"
        self.default_port = http.client.HTTPS_PORT if secure else http.client.HTTP_PORT
        host = "localhost" if place.scheme == "unix" else place.host
        super().__init__(host, place.port or self.default_port)
        self._place = place

    def open(self, deadline: Deadline) -> None:
        """Connect. Raises `OSError`, and `ValueError` for a name that cannot be looked up."""
        place = self._place
        if place.scheme == "unix":
            connected = _connected(socket.AF_UNIX, place.host, deadline)
        else:
            connected = _connected_to_host(place.host, self.port, deadline)
        if place.context is not None:
            connected = _secured(connected, place.context, place.host, deadline)
        self.sock: Any = _BoundedSocket(connected, deadline)

    def limit(self, deadline: Deadline) -> None:
        """Set the deadline of all further operations."""
        self.sock.deadline = deadline

    def connect(self) -> None:
        """Raise `NotConnected`. Otherwise `http.client` would reconnect, without a deadline."""
        raise http.client.NotConnected


def _connected(family: int, address: Any, deadline: Deadline) -> socket.socket:
    connected = socket.socket(family)
    try:
        connected.settimeout(deadline.left())
        connected.connect(address)
        if family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connected.close()
        raise
    return connected


def _connected_to_host(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Connect to the first address of a host that answers. Raises `OSError`.

    The time is divided among the addresses, so that one without an answer leaves time for the
    others.
    """
    problem: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
    places = _looked_up(host, port, deadline)
    for count, (family, address) in zip(range(len(places), 0, -1), places, strict=True):
        try:
            return _connected(family, address, Deadline(deadline.left() / count))
        except OSError as error:
            problem = error
    raise problem


def _looked_up(host: str, port: int, deadline: Deadline) -> list[tuple[int, Any]]:
    """Return the addresses of a host. Raises `OSError`, or `ValueError` for a malformed name.

    The system's function takes no timeout, so a thread calls it. If the time runs out first, the
    thread is left behind: the resolver's own time limit ends it.
    """
    found: list[tuple[int, Any]] = []
    problem: list[Exception] = []

    def look_up() -> None:
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
                found.append((family, address))
        except Exception as error:
            problem.append(error)

    thread = threading.Thread(target=look_up, name="wsservice.publish lookup", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if thread.is_alive():
        raise TimeoutError
    if problem:
        raise problem[0]
    return found


def _secured(
    connected: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline
) -> socket.socket:
    """Start TLS, and verify the certificate. It names the host without the dot at its end."""
    try:
        # To Python's timeout, OpenSSL's whole handshake is one operation.
        connected.settimeout(deadline.left())
        return context.wrap_socket(connected, server_hostname=certified_name(host))
    except BaseException:
        connected.close()
        raise


class FacePlace(NamedTuple):
    """The address of an admin face. `prefix` comes before every path."""

    name: str
    scheme: str
    host: str
    port: int | None
    prefix: str
    context: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str, context: ssl.SSLContext | None) -> FacePlace:
        """Parse a URL. Raises `ConfigError`, whose text holds no secret of the URL."""
        scheme, _, rest = url.partition(":")
        if scheme == "unix" and rest and "\0" not in rest:
            return cls(escape(url), scheme, rest, None, "", None)
        try:
            parts = urlsplit(ascii_url(url))
            host, port = parse_place(parts.netloc.rpartition("@")[2])
        except ValueError:
            parts, host, port = urlsplit(""), "", None
        plain = url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not host or not plain:
            shown = escape(shown_url(url))
            raise ConfigError(f"url: {shown!r} is not allowed; {_URL_FORM}")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigError(
                f"url: more than a host, a port and a path is not allowed; {_URL_FORM}"
            )
        name = f"{parts.scheme}://{parts.netloc}"
        if parts.scheme == "http":
            context = None
        elif context is None:
            context = ssl.create_default_context()
        return cls(name, parts.scheme, host, port, parts.path.rstrip("/"), context)

    def connection(self) -> FaceConnection:
        """Return a new connection, not yet open."""
        return FaceConnection(self)


class Idle:
    """Connections that are kept for the next message. Safe across threads and forks."""

    def __init__(self) -> None:
        self._process = os.getpid()
        # The newest connection is used first, so that the others grow old and are closed.
        self._kept: deque[tuple[float, FaceConnection]] = deque()

    def __del__(self) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self) -> FaceConnection | None:
        """Return an idle connection that still works; None if none is left.

        The connection is no longer kept here.
        """
        if self._process != os.getpid():
            # The parent process uses its connections too: their answers are not for this process.
            self._kept, self._process = deque(), os.getpid()
        while True:
            try:
                since, connection = self._kept.pop()
            except IndexError:
                return None
            fresh = time.monotonic() - since < _IDLE
            if fresh and connection.sock is not None and not can_be_read(connection.sock):
                return connection
            connection.close()  # too old, or the other end closed it

    def keep(self, connection: FaceConnection) -> None:
        """Keep a connection for the next message."""
        self._kept.append((time.monotonic(), connection))
        if len(self._kept) > _KEPT:
            with contextlib.suppress(IndexError):
                self._kept.popleft()[1].close()

    def close(self) -> None:
        """Close all idle connections."""
        while True:
            try:
                self._kept.pop()[1].close()
            except IndexError:
                return


def can_be_read(connection: Any, timeout: float = 0.0) -> bool:
    """Return True if octets, or the end, arrive within `timeout` seconds."""
    poll = select.poll()  # unlike select(), it takes descriptors above 1023
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
