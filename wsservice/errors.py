"""Every exception of wsservice, in one tree.

The text of each is one line fit to be shown to a user: what was wrong, where,
and what is allowed.
"""

from __future__ import annotations


class WSServiceError(Exception):
    """The root: catch this to catch all that wsservice raises on purpose."""


class ConfigError(WSServiceError, ValueError):
    """A setting has a value that is not allowed, or there is no such setting."""


class ListenError(WSServiceError):
    """An endpoint cannot be listened on."""


class JournalError(WSServiceError):
    """The message log cannot be opened."""


class ConnectError(WSServiceError):
    """The client could not reach the server: name, network, port or proxy."""


class TLSError(ConnectError):
    """The server was reached, but TLS with it failed: certificate, name or protocol."""


class HandshakeError(WSServiceError):
    """The server was reached, but did not open a WebSocket connection.

    `status` is the HTTP status it answered with, None when it gave none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
