"""Every exception of wsservice, in one tree.

The text of each is one line fit to be shown to a user: what was wrong, where,
and what is allowed. One that speaks of a setting begins with its option, such
as `--port`; where it was given elsewhere, `settings` says so instead.
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


class CertificateError(TLSError):
    """The server's certificate is not trusted, or is for another name."""


class HandshakeError(WSServiceError):
    """The server was reached, but did not open a WebSocket connection.

    `status` is the HTTP status it answered with, None when it gave none.
    `retry_after` is how many seconds it wants to be left alone for, None
    where it did not say: as the server has it, so bound it.
    """

    def __init__(
        self, message: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ConnectionClosed(WSServiceError):  # noqa: N818 - the field's name for it
    """The connection is closed, or closing: nothing can be had of it or sent on it.

    `code` is the close code: the server's, or that of this end where it closed
    because the server broke a rule; 1005 where the close frame had none, 1006
    where the connection was lost without one. `reason` is the text beside it,
    as it came: escape it before it is shown. `in_order` tells a normal end (1000,
    1001, no code, or asked for by this end) from all others.
    """

    def __init__(self, message: str, code: int, reason: str = "", in_order: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.in_order = in_order


class PublishError(WSServiceError):
    """A message could not be published."""


class NotReachedError(PublishError):
    """The admin face could not be reached, or is not whom its certificate says: nothing was sent.

    `tls` tells whether it was reached, and TLS with it failed.
    """

    def __init__(self, message: str, tls: bool = False) -> None:
        super().__init__(message)
        self.tls = tls


class NotAcceptedError(PublishError):
    """The admin face refused, and published nothing; `status` is the HTTP status it gave."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotAnsweredError(PublishError):
    """It was asked, and gave no answer: the message may have been published, or not."""


class NotPublishedError(PublishError):
    """The service published it to nobody, for now: whoever tries again does not do it twice."""


class UncertainError(PublishError):
    """The service does not know whether it published it: whoever tries again may do it twice."""


class BrokerError(WSServiceError):
    """A server of Redis or Valkey did not do what it was asked."""


class Away(BrokerError):  # noqa: N818 - what it is
    """It is not there, or has no room: nothing was sent, so it may be asked again."""


class Unknown(BrokerError):  # noqa: N818 - what it is
    """It was asked, and there was no answer in time: it may have done it, or not."""


class Refused(BrokerError):  # noqa: N818 - what it did
    """It answered with an error.

    `text` is the error as it said, escaped and cut; `kind` its first word, or that of the error
    within a script: `OOM`, `WRONGTYPE`, `NOSCRIPT`.
    """

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
