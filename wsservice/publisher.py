"""Publishing from another process, such as a web application's, by the admin face.

    from wsservice.publisher import publish

    publish("news", "hello")

It takes the standard library only, and none of Twisted or Autobahn. It waits for
the answer: where that must not be, as within asyncio, call it in a thread.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from .errors import (
    ConfigError,
    NotAcceptedError,
    NotAnsweredError,
    NotReachedError,
    PublishError,
)
from .escape import escape

DEFAULT_URL = "http://127.0.0.1:8081"

URL_VARIABLE = "WSSERVICE_ADMIN_URL"
TOKEN_VARIABLE = "WSSERVICE_ADMIN_TOKEN"  # noqa: S105 - a name
TOKEN_FILE_VARIABLE = "WSSERVICE_ADMIN_TOKEN_FILE"  # noqa: S105 - the same
"""What stands in the environment where an argument is not given. The last one is the
service's own setting too."""

TIMEOUT = 5.0
"""Seconds that publishing may take."""

_IDLE = 15.0
"""Seconds that a connection is kept for the next message: half of what the face keeps it."""

_KEPT = 8
"""Connections that are kept at most; more are made where so many threads publish at once."""

_MOST_OF_ANSWER = 1024 * 1024
"""Octets of an answer that are read."""

_MOST_OF_TOKEN = 4096
_SHOWN = 200
"""Characters of an answer in an error."""

_TOKEN = re.compile(r"[!-~]+")
_URL_FORM = "give http://HOST:PORT, https:, or unix:PATH"

Message = str | bytes
"""Text, or octets for a binary message."""


class Published(NamedTuple):
    """What became of what was published."""

    handed: int
    """To how many connections it was handed, the sum of all messages."""
    dropped: int
    """At how many of them the slow-client policy had to do something: those that were closed for
    reading too slowly, or lost older messages."""
    complete: bool = True
    """False where it is still on its way to other processes, whose connections are not counted."""
    nodes: int | None = None
    """How many nodes have connections that it is for, where nodes meet by --broker."""


class Publisher:
    """Publishes by one admin face. May be used by any number of threads, and after a fork.

    `url` is that of the face: `http://HOST:PORT`, `https:`, whose certificate is
    verified, by `context` if one is given, or `unix:PATH`. `token` is what it asks
    for, or `token_file` names a file that has it, which is read anew when the face
    refuses the one that was read. `timeout` is in seconds, for each call. Raises
    `ConfigError`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        token_file: str | None = None,
        timeout: float = TIMEOUT,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._place = _Place.of(url, context)
        if not 0 < timeout <= 86400:
            raise ConfigError(f"timeout: {timeout!r} is not allowed; give seconds up to 86400")
        if token is not None and not _TOKEN.fullmatch(token):
            raise ConfigError("token: that is none; give printable ASCII without spaces")
        self._timeout = timeout
        self._token_file = token_file
        self._token = token if token_file is None else read_token(token_file)
        self._idle = _Idle()

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, *, timeout: float = TIMEOUT
    ) -> Publisher:
        """As `WSSERVICE_ADMIN_URL` and `WSSERVICE_ADMIN_TOKEN` or `_TOKEN_FILE` say."""
        token = environment.get(TOKEN_VARIABLE) or None
        return cls(
            environment.get(URL_VARIABLE) or DEFAULT_URL,
            token=token,
            token_file=None if token else environment.get(TOKEN_FILE_VARIABLE) or None,
            timeout=timeout,
        )

    def publish(self, channel: str, message: Message) -> Published:
        """Send a message to all connections on a channel. Raises `PublishError`.

        That nobody is there is no error: `handed` is 0 then.
        """
        return self._post("/publish/" + _quoted(channel.strip("/"), "/"), *_body(message))

    def publish_many(self, messages: Iterable[tuple[str, Message]]) -> Published:
        """Send messages, each to a channel, in their order: all of them, or none."""
        lines = [json.dumps(_line(channel, message)) for channel, message in messages]
        if not lines:
            return Published(0, 0)
        return self._post("/publish", "\n".join(lines).encode(), "application/x-ndjson")

    def send(self, connection: str, message: Message) -> Published:
        """Send a message to one connection, by its id. `NotAcceptedError` where it is gone."""
        return self._post(f"/connections/{_quoted(connection)}/send", *_body(message))

    def close(self) -> None:
        """End the connections that are kept. It can be used again."""
        self._idle.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _post(self, path: str, body: bytes, content_type: str) -> Published:
        status, octets = self._ask(path, body, content_type)
        if status == http.HTTPStatus.UNAUTHORIZED and self._token_file is not None:
            before = self._token
            with contextlib.suppress(ConfigError):  # the face's own answer says enough
                self._token = read_token(self._token_file)
            if self._token != before:  # it was changed meanwhile
                status, octets = self._ask(path, body, content_type)
        return _published(self._place.name, status, octets)

    def _ask(self, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._timeout
        connection = self._idle.take() or self._connected(deadline)
        try:
            answer = self._asked(connection, path, body, content_type, deadline)
            octets = answer.read(_MOST_OF_ANSWER)
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise NotAnsweredError(
                f"{self._place.name} gave no answer, {_why(error)};"
                " the message may have been published, or not"
            ) from error
        except BaseException:
            connection.close()
            raise
        if answer.isclosed() and not answer.will_close:
            self._idle.keep(connection)
        else:
            connection.close()
        return answer.status, octets

    def _connected(self, deadline: float) -> http.client.HTTPConnection:
        connection = self._place.connection(max(0.001, deadline - time.monotonic()))
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            tls = isinstance(error, ssl.SSLError)
            raise NotReachedError(
                f"{self._place.name} cannot be reached, {_why(error)}", tls
            ) from error
        return connection

    def _asked(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        body: bytes,
        content_type: str,
        deadline: float,
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": content_type}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        _limit(connection, deadline)
        try:
            connection.request("POST", self._place.prefix + path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # It did not read to the end. Why, it may have said.
            if not _can_be_read(connection.sock, _SOON):
                raise
        _limit(connection, deadline)
        return connection.getresponse()


_SOON = 1.0
"""Seconds to wait for an answer to what could not be sent whole."""


def _limit(connection: http.client.HTTPConnection, deadline: float) -> None:
    connection.sock.settimeout(max(0.001, deadline - time.monotonic()))


def _body(message: Message) -> tuple[bytes, str]:
    if isinstance(message, bytes):
        return message, "application/octet-stream"
    return _utf8(message), "text/plain; charset=utf-8"


def _line(channel: str, message: Message) -> dict[str, str]:
    if isinstance(message, bytes):
        return {"channel": channel, "data64": base64.b64encode(message).decode()}
    return {"channel": channel, "data": _utf8(message).decode()}


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise PublishError(f"{escape(text[:_SHOWN])!r} is no text that UTF-8 can have") from None


def _quoted(text: str, safe: str = "") -> str:
    return quote(_utf8(text), safe=safe)


def _published(name: str, status: int, octets: bytes) -> Published:
    """What an answer says. Raises `NotAcceptedError`."""
    try:
        said = json.loads(octets)
    except (ValueError, RecursionError):
        said = None
    said = said if isinstance(said, dict) else {}
    handed, dropped = said.get("handed"), said.get("dropped")
    accepted = status in (http.HTTPStatus.OK, http.HTTPStatus.ACCEPTED)
    if accepted and type(handed) is int and type(dropped) is int:
        nodes = said.get("nodes")
        whole = status == http.HTTPStatus.OK
        return Published(handed, dropped, whole, nodes if type(nodes) is int else None)
    if accepted:
        raise NotAcceptedError(f"{name} answered {status}, and not as an admin face does", status)
    problem = said.get("error")
    why = f": {escape(problem[:_SHOWN])}" if isinstance(problem, str) else ""
    if status == http.HTTPStatus.GATEWAY_TIMEOUT:
        raise NotAnsweredError(f"{name} answered {status}{why}")
    raise NotAcceptedError(f"{name} refused with {status}{why}", status)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({escape(error.verify_message)})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({escape(getattr(error, 'reason', None) or str(error))})"
    if isinstance(error, OSError) and error.strerror:
        return escape(error.strerror)
    return escape(str(error))[:_SHOWN] or type(error).__name__


class _Place(NamedTuple):
    """Where an admin face is. `prefix` stands before every path."""

    name: str
    scheme: str
    host: str
    port: int | None
    prefix: str
    context: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str, context: ssl.SSLContext | None) -> _Place:
        """Raises `ConfigError`."""
        scheme, _, rest = url.partition(":")
        if scheme == "unix" and rest and "\0" not in rest:
            return cls(escape(url), scheme, rest, None, "", None)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            parts, host, port = urlsplit(""), "", None
        plain = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not host or not plain:
            raise ConfigError(f"url: {escape(url)!r} is not allowed; {_URL_FORM}")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigError(
                f"url: more than a host, a port and a path is not allowed; {_URL_FORM}"
            )
        name = f"{parts.scheme}://{parts.netloc}"
        if parts.scheme == "https" and context is None:
            context = ssl.create_default_context()
        return cls(name, parts.scheme, host, port, parts.path.rstrip("/"), context)

    def connection(self, timeout: float) -> http.client.HTTPConnection:
        """One to it, not connected yet."""
        if self.scheme == "unix":
            return _UnixConnection(self.host, timeout)
        if self.scheme == "https":
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=timeout, context=self.context
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP on a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


class _Idle:
    """Connections that wait for the next message. Safe across threads and forks."""

    def __init__(self) -> None:
        self._process = os.getpid()
        # The one that was used last is used first, so that the others grow old and go.
        self._kept: deque[tuple[float, http.client.HTTPConnection]] = deque()

    def __del__(self) -> None:
        self.close()

    def take(self) -> http.client.HTTPConnection | None:
        """One that nobody else has, and that still works; None where there is none."""
        if self._process != os.getpid():
            # The parent's, who uses them too: what it is answered is not for us.
            self._kept, self._process = deque(), os.getpid()
        while True:
            try:
                since, connection = self._kept.pop()
            except IndexError:
                return None
            fresh = time.monotonic() - since < _IDLE
            if fresh and connection.sock is not None and not _can_be_read(connection.sock):
                return connection
            connection.close()  # too old, or the other end closed it

    def keep(self, connection: http.client.HTTPConnection) -> None:
        """Have one back."""
        self._kept.append((time.monotonic(), connection))
        if len(self._kept) > _KEPT:
            with contextlib.suppress(IndexError):
                self._kept.popleft()[1].close()

    def close(self) -> None:
        """End all of them."""
        while True:
            try:
                self._kept.pop()[1].close()
            except IndexError:
                return


def _can_be_read(connection: socket.socket, timeout: float = 0.0) -> bool:
    """Whether something came, or the end."""
    poll = select.poll()  # which, unlike select(), takes any descriptor
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def read_token(path: str) -> str:
    """The token in a file. Raises `ConfigError` where there is none."""
    wanted = "give a file that has one token, of printable ASCII without spaces"
    try:
        with open(path, "rb") as file:
            octets = file.read(_MOST_OF_TOKEN + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no path"
        raise ConfigError(f"token file: {escape(path)} cannot be read, {why}; {wanted}") from None
    text = octets.decode("latin-1").strip()
    if len(octets) > _MOST_OF_TOKEN or not _TOKEN.fullmatch(text):
        raise ConfigError(f"token file: {escape(path)} has something else than one; {wanted}")
    return text


_publishers: dict[tuple[Any, ...], Publisher] = {}
"""By what they were made of. Without a lock, which a fork could leave locked: that two threads
make the same one costs nothing but that."""


def publish(
    channel: str,
    message: Message,
    *,
    url: str | None = None,
    token: str | None = None,
    timeout: float = TIMEOUT,
) -> Published:
    """Send a message to all connections on a channel, by the admin face at `url`.

    `str` is text, `bytes` a binary message. What is not given is as the environment
    has it (`WSSERVICE_ADMIN_URL`, `WSSERVICE_ADMIN_TOKEN`, `WSSERVICE_ADMIN_TOKEN_FILE`),
    or as `Publisher` has it. Connections are kept for the next time. Raises
    `PublishError`, whose kinds tell whether it may have been published all the same,
    and `ConfigError`.
    """
    return _publisher(url, token, timeout).publish(channel, message)


def _publisher(url: str | None, token: str | None, timeout: float) -> Publisher:
    """The one for these arguments, and this environment."""
    names = (URL_VARIABLE, TOKEN_VARIABLE, TOKEN_FILE_VARIABLE)
    environment = {name: os.environ.get(name, "") for name in names}
    if url is not None:
        environment[URL_VARIABLE] = url
    if token is not None:
        environment[TOKEN_VARIABLE] = token
    key = (*environment.values(), timeout)
    found = _publishers.get(key)
    if found is None:
        made = Publisher.from_environment(environment, timeout=timeout)
        found = _publishers.setdefault(key, made)
    return found
