"""Read the request of one opening handshake, and write the answer that refuses it. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ..channels.query import Position
from ..http.head import last_head
from ..http.refusal import Refusal
from ..http.request import PlainRequest, Request, RequestReader

NOWHERE: Mapping[str, Position] = MappingProxyType({})


class Handshake:
    """The opening handshake of a connection, which is forgotten once the connection is open.

    `identified` is false if the first octets of the connection name its peer.
    """

    __slots__ = (
        "_answered",
        "_head_only",
        "_reader",
        "accepted",
        "denial",
        "identified",
        "scheme",
        "since",
    )

    def __init__(self, identified: bool) -> None:
        self._reader: RequestReader | None = None
        self._answered = False
        self._head_only = False
        self.identified = identified
        #: The scheme by which the client came, if a trusted proxy has named it, else "".
        self.scheme = ""
        #: True once the answer is that the connection is open.
        self.accepted = False
        #: The body of the answer that refuses.
        self.denial = b""
        #: The positions from which the client wants to go on, by channel.
        self.since = NOWHERE

    def feed(self, data: bytes) -> Request | PlainRequest | Refusal | None:
        """Return the request, or its refusal, once enough of it came. Ignore further octets."""
        if self._answered:
            return None
        if self._reader is None:
            self._reader = RequestReader()
        outcome = self._reader.feed(data)
        if outcome is not None:
            self._head_only = self._reader.is_head
            self._reader = None
            self._answered = True
        return outcome

    def answer(self, code: int, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
        """Return an HTTP response, the last one of the connection."""
        head = last_head(code, headers, body)
        return head if self._head_only else head + body
