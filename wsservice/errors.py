"""Every exception of wsservice, in one tree.

The text of each is one line for users: the mistake, its place, and the allowed
values. A text about a setting begins with its option, such as `--port`;
`config.sources` replaces that by the key or variable that gave the value.
"""

from __future__ import annotations


class WSServiceError(Exception):
    """The base of all exceptions that wsservice raises on purpose."""


class ConfigError(WSServiceError, ValueError):
    """A setting is unknown, or has a value that is not allowed."""


class ListenError(WSServiceError):
    """The service cannot listen on an endpoint."""


class JournalError(WSServiceError):
    """The message log cannot be opened."""


class CredentialError(WSServiceError):
    """A credential was refused. A function of `--auth` may raise it too, to refuse a client.

    Its text is one clause that says which check failed, such as "the session is over". The client
    and the log get it, so it has nothing of the credential. `status` is 401 for a bad credential,
    403 for a user that may not connect, 503 where nobody can tell now.
    """

    def __init__(self, problem: str, status: int = 401) -> None:
        super().__init__(problem)
        self.status = status


class ConnectError(WSServiceError):
    """The client could not reach the server: name, network, port or proxy."""


class TLSError(ConnectError):
    """The server was reached, but TLS with it failed: certificate, name or protocol."""


class CertificateError(TLSError):
    """The server's certificate is not trusted, or is for another name."""


class HandshakeError(WSServiceError):
    """The server was reached, but did not open a WebSocket connection.

    `status` is the HTTP status of the answer, None without an answer. `retry_after` is the
    number of seconds to wait before the next attempt, None where the server gave none. The
    server chose that number, so bound it.
    """

    def __init__(
        self, message: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ConnectionClosed(WSServiceError):  # noqa: N818 - the field's name for it
    """The connection is closed or closing: it receives and sends no more messages.

    `code` is the close code: the server's, or that of this end if it closed because the server
    broke a rule. It is 1005 if the close frame had no code, 1006 if the connection was lost
    without a close frame. `reason` is the text of the close frame, not escaped: escape it
    before you show it. `in_order` is True for a normal end: 1000, 1001, no code, or a close that
    this end asked for.
    """

    def __init__(self, message: str, code: int, reason: str = "", in_order: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.in_order = in_order


class PublishError(WSServiceError):
    """A message could not be published."""


class NotReachedError(PublishError):
    """The admin face could not be reached, or its certificate is wrong: nothing was sent.

    `tls` is True if the connection was made and TLS on it failed.
    """

    def __init__(self, message: str, tls: bool = False) -> None:
        super().__init__(message)
        self.tls = tls


class NotAcceptedError(PublishError):
    """The admin face refused the message. `status` is the HTTP status of its answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotAnsweredError(PublishError):
    """The admin face gave no answer: the message may have been published."""


class NotPublishedError(PublishError):
    """The service published the message to nobody: a retry cannot publish it twice."""


class UncertainError(PublishError):
    """The service may have published the message: a retry may publish it twice."""


class BrokerError(WSServiceError):
    """A server of Redis or Valkey did not carry out a command."""


class Away(BrokerError):  # noqa: N818 - it names a state
    """The server is away, or the queue to it is full: nothing was sent, so a retry is safe."""


class Unknown(BrokerError):  # noqa: N818 - it names a state
    """The server gave no answer in time: it may have carried out the command."""


class Refused(BrokerError):  # noqa: N818 - it names an outcome
    """The server answered with an error.

    `text` is the text of the error, escaped and cut. `kind` is its first word, or that of the
    error within a script: `OOM`, `WRONGTYPE`, `NOSCRIPT`.
    """

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
