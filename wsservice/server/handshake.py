"""Read the request of one opening handshake, and write the answer that refuses it. PURE."""

from __future__ import annotations

from collections.abc import Iterable

from ..channels.envelopes import SUBPROTOCOL
from ..channels.query import (
    LONGEST,
    MOST_NAMED,
    NOTHING_ASKED,
    ChannelError,
    ChannelQuery,
    asked_for,
    channel_of,
    is_too_long,
)
from ..http.head import last_head
from ..http.refusal import Refusal
from ..http.request import PlainRequest, Request, RequestReader
from .first_message import FirstMessage

_LONG_NAME = Refusal(
    414,
    f"the path names a channel of more than {LONGEST} octets",
    "shorten the path",
)


def named_channels(
    request: Request, kept: bool, most: int = MOST_NAMED
) -> tuple[str, ChannelQuery] | Refusal:
    """Return the channel of a request's path, and what its query names, or why it is refused.

    `kept` is true if there is a history. The query may name `most` channels.
    """
    channel = channel_of(request.path)
    if is_too_long(channel):
        return _LONG_NAME
    if not request.query:
        return channel, NOTHING_ASKED
    try:
        resuming = SUBPROTOCOL in request.subprotocols
        return channel, asked_for(request.query, channel, resuming, kept, most)
    except ChannelError as error:
        # The text contains nothing of the query, so the peer may see it.
        return Refusal(400, str(error))


class Handshake:
    """The opening handshake of a connection, which is forgotten once the connection is open.

    `identified` is false if the first octets of the connection name its peer.
    """

    __slots__ = (
        "_answered",
        "_head_only",
        "_reader",
        "accepted",
        "asked",
        "denial",
        "first",
        "identified",
        "scheme",
        "subprotocol",
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
        #: The past messages that the client wants first: after positions, or the last ones.
        self.asked = NOTHING_ASKED
        #: The first message, if that is the token: the 101 was sent then.
        self.first: FirstMessage | None = None
        #: The subprotocol to speak if the behaviour chooses none.
        self.subprotocol: str | None = None

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
