"""Publish from another process, such as a web application, through the admin listener.

    from wsservice.publisher import publish
    publish("news", "hello")

This package needs only the standard library, neither Twisted nor Autobahn. A call waits for the
answer: in asyncio, and wherever a call must not block, call it in a thread.

The map: this module has the API, `http` the connections to an admin face and their deadlines,
`__main__` the program `python -m wsservice.publish`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote

from ..channels.outcome import Published as Published
from ..errors import (
    ConfigError,
    NotAcceptedError,
    NotAnsweredError,
    NotReachedError,
    PublishError,
)
from ..escape import escape
from .http import Deadline, FaceConnection, FacePlace, Idle, can_be_read

DEFAULT_URL = "http://127.0.0.1:8081"

URL_VARIABLE = "WSSERVICE_ADMIN_URL"
TOKEN_VARIABLE = "WSSERVICE_ADMIN_TOKEN"  # noqa: S105 - a name
TOKEN_FILE_VARIABLE = "WSSERVICE_ADMIN_TOKEN_FILE"  # noqa: S105 - the same
"""The environment variables that stand in for arguments. The last one is also a setting of
the service."""

TIMEOUT = 5.0
"""Seconds that one call may take, as a whole."""

_MOST_OF_ANSWER = 1024 * 1024
"""Most bytes of an answer that are read."""

_MOST_OF_TOKEN = 4096
_SHOWN = 200
"""Most characters of an answer in an error."""

_TOKEN = re.compile(r"[!-~]+")

Message = str | bytes
"""Text, or bytes for a binary message."""


class Publisher:
    """Publish through one admin listener. Safe in any number of threads, and after a fork.

    - `url`: `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`. The certificate of
      `https:` is verified, by `context` if given.
    - `token`: the token of the listener; or `token_file`, the path of a file with it, which
      is read again when the listener refuses the token.
    - `timeout`: seconds for each call as a whole, from the name lookup to the last byte of
      the answer.

    Raises `ConfigError`.
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
        self._place = FacePlace.of(url, context)
        if not 0 < timeout <= 86400:
            raise ConfigError(f"timeout: {timeout!r} is not allowed; give seconds up to 86400")
        if token is not None and not _TOKEN.fullmatch(token):
            raise ConfigError("token: it is not allowed; give printable ASCII without spaces")
        self._timeout = timeout
        self._token_file = token_file
        self._token = token if token_file is None else read_token(token_file)
        self._idle = Idle()

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, *, timeout: float = TIMEOUT
    ) -> Publisher:
        """Make a publisher from environment variables. Raises `ConfigError`.

        It reads `WSSERVICE_ADMIN_URL`, and `WSSERVICE_ADMIN_TOKEN` or `WSSERVICE_ADMIN_TOKEN_FILE`.
        """
        token = environment.get(TOKEN_VARIABLE) or None
        return cls(
            environment.get(URL_VARIABLE) or DEFAULT_URL,
            token=token,
            token_file=None if token else environment.get(TOKEN_FILE_VARIABLE) or None,
            timeout=timeout,
        )

    def publish(self, channel: str, message: Message) -> Published:
        """Send a message to all connections on a channel. Raises `PublishError`.

        A channel without connections is no error: `handed` is then 0.
        """
        return self._post("/publish/" + _quoted(channel.strip("/"), "/"), *_body(message))

    def publish_many(self, messages: Iterable[tuple[str, Message]]) -> Published:
        """Send messages, each to its channel, in order: all or none. Raises `PublishError`."""
        lines = [json.dumps(_line(channel, message)) for channel, message in messages]
        if not lines:
            return Published(0, 0)
        return self._post("/publish", "\n".join(lines).encode(), "application/x-ndjson")

    def send(self, connection: str, message: Message) -> Published:
        """Send a message to one connection, by its id. Raises `PublishError`.

        `NotAcceptedError` is raised if the connection is closed.
        """
        return self._post(f"/connections/{_quoted(connection)}/send", *_body(message))

    def send_user(self, user: str, message: Message) -> Published:
        """Send a message to all connections of a user, by the user's id. Raises `PublishError`.

        `NotAcceptedError` is raised if the user has no connection.
        """
        return self._post(f"/users/{_quoted(user)}/send", *_body(message))

    def ticket(self, user: str, claims: Mapping[str, Any] | None = None) -> str:
        """Return a ticket, by which one client can connect once as a user. Raises `PublishError`.

        The client appends `?ticket=TICKET` to the URL of its WebSocket, within 30 seconds. Until
        then the ticket is a secret: send it over TLS, and do not log it. `claims` are those of
        `self.user` in a behaviour; `exp` among them, in seconds since 1970, ends the connection.
        """
        said: dict[str, Any] = {"user": user}
        if claims is not None:
            said["claims"] = dict(claims)
        try:
            body = json.dumps(said, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            raise PublishError("the claims are not JSON") from None
        status, octets = self._answer("/tickets", body, "application/json")
        return _ticket(self._place.name, status, octets)

    def close(self) -> None:
        """Close the idle connections. Later calls open new ones."""
        self._idle.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _post(self, path: str, body: bytes, content_type: str) -> Published:
        return _published(self._place.name, *self._answer(path, body, content_type))

    def _answer(self, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer. Raises `PublishError` without one."""
        deadline = Deadline(self._timeout)
        status, octets = self._ask(path, body, content_type, deadline)
        if status == HTTPStatus.UNAUTHORIZED and self._token_file is not None:
            before = self._token
            # An unreadable file adds nothing here: the listener's answer already names the token.
            with contextlib.suppress(ConfigError):
                self._token = read_token(self._token_file)
            if self._token != before:
                status, octets = self._ask(path, body, content_type, deadline)
        return status, octets

    def _ask(
        self, path: str, body: bytes, content_type: str, deadline: Deadline
    ) -> tuple[int, bytes]:
        connection = self._idle.take() or self._connected(deadline)
        try:
            connection.limit(deadline)
            answer = self._asked(connection, path, body, content_type, deadline)
            octets = answer.read(_MOST_OF_ANSWER)
        except (OSError, HTTPException, ValueError) as error:
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
            # The file of an unfinished answer holds the socket too.
            answer.close()
            connection.close()
        return answer.status, octets

    def _connected(self, deadline: Deadline) -> FaceConnection:
        connection = self._place.connection()
        try:
            connection.open(deadline)
        except (OSError, ValueError) as error:  # Python's codec for names raises the latter
            connection.close()
            tls = isinstance(error, ssl.SSLError)
            raise NotReachedError(
                f"{self._place.name} cannot be reached, {_why(error)}", tls
            ) from error
        return connection

    def _asked(
        self,
        connection: FaceConnection,
        path: str,
        body: bytes,
        content_type: str,
        deadline: Deadline,
    ) -> HTTPResponse:
        headers = {"Content-Type": content_type}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request("POST", self._place.prefix + path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # The listener stopped reading, and may have answered why.
            if not can_be_read(connection.sock, min(_SOON, deadline.left())):
                raise
        return connection.getresponse()


_SOON = 1.0
"""Seconds to wait for an answer to a request that could not be sent whole."""


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
        raise PublishError(f"{escape(text[:_SHOWN])!r} cannot be encoded in UTF-8") from None


def _quoted(text: str, safe: str = "") -> str:
    return quote(_utf8(text), safe=safe)


def _published(name: str, status: int, octets: bytes) -> Published:
    """Return the result in an answer. Raises `NotAcceptedError` or `NotAnsweredError`."""
    said = _said(octets)
    handed, dropped = said.get("handed"), said.get("dropped")
    accepted = status in (HTTPStatus.OK, HTTPStatus.ACCEPTED)
    if accepted and type(handed) is int and type(dropped) is int:
        nodes = said.get("nodes")
        whole = status == HTTPStatus.OK
        return Published(handed, dropped, whole, nodes if type(nodes) is int else None)
    raise _refusal(name, status, said)


def _ticket(name: str, status: int, octets: bytes) -> str:
    """Return the ticket in an answer. Raises `NotAcceptedError` or `NotAnsweredError`."""
    said = _said(octets)
    ticket = said.get("ticket")
    if status == HTTPStatus.CREATED and isinstance(ticket, str) and _TOKEN.fullmatch(ticket):
        return ticket
    raise _refusal(name, status, said)


def _said(octets: bytes) -> dict[str, Any]:
    try:
        said = json.loads(octets)
    except (ValueError, RecursionError):
        said = None
    return said if isinstance(said, dict) else {}


def _refusal(name: str, status: int, said: Mapping[str, Any]) -> PublishError:
    if status in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
        return NotAcceptedError(
            f"{name} answered {status}, but not as an admin listener does", status
        )
    problem = said.get("error")
    why = f": {escape(problem[:_SHOWN])}" if isinstance(problem, str) else ""
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return NotAnsweredError(f"{name} answered {status}{why}")
    return NotAcceptedError(f"{name} refused with {status}{why}", status)


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


def read_token(path: str) -> str:
    """Return the token in a file. Raises `ConfigError` for a file without a token."""
    wanted = "give a file with one token, of printable ASCII without spaces"
    try:
        with open(path, "rb") as file:
            octets = file.read(_MOST_OF_TOKEN + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a path"
        raise ConfigError(f"token file: {escape(path)} cannot be read, {why}; {wanted}") from None
    text = octets.decode("latin-1").strip()
    if len(octets) > _MOST_OF_TOKEN or not _TOKEN.fullmatch(text):
        raise ConfigError(
            f"token file: {escape(path)} has no token, or more than one; {wanted}; from a file of"
            " tokens with names and rights, copy the one token that this program needs"
        )
    return text


_publishers: dict[tuple[Any, ...], Publisher] = {}
"""Publishers by their arguments. It has no lock, which a fork could leave locked: at worst two
threads make the same publisher twice."""


def publish(
    channel: str,
    message: Message,
    *,
    url: str | None = None,
    token: str | None = None,
    timeout: float = TIMEOUT,
) -> Published:
    """Send a message to all connections on a channel, through the admin listener at `url`.

    `str` is a text message, `bytes` a binary one. The environment stands in for missing
    arguments (`WSSERVICE_ADMIN_URL`, `WSSERVICE_ADMIN_TOKEN`, `WSSERVICE_ADMIN_TOKEN_FILE`),
    then the defaults of `Publisher`. Connections are kept for the next call. Raises
    `ConfigError`, and `PublishError`, whose subclasses tell whether the message may have
    been published.
    """
    return _publisher(url, token, timeout).publish(channel, message)


def send_user(
    user: str,
    message: Message,
    *,
    url: str | None = None,
    token: str | None = None,
    timeout: float = TIMEOUT,
) -> Published:
    """Send a message to all connections of a user, through the admin listener at `url`.

    The arguments are those of `publish`, `user` is the user's id. `NotAcceptedError` is raised if
    the user has no connection.
    """
    return _publisher(url, token, timeout).send_user(user, message)


def ticket(
    user: str,
    claims: Mapping[str, Any] | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    timeout: float = TIMEOUT,
) -> str:
    """Return a ticket for a user: see `Publisher.ticket`. The other arguments are as in `publish`.

    Raises `ConfigError`, and `PublishError`.
    """
    return _publisher(url, token, timeout).ticket(user, claims)


def _publisher(url: str | None, token: str | None, timeout: float) -> Publisher:
    """Return the publisher for these arguments and this environment."""
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
