"""permessage-deflate (RFC 7692) as wsservice speaks it, when it is switched on.

A window of 12 bits and a memory level of 4: with zlib's own 15 and 8 every
connection that was ever spoken on holds 105 kB, with these less than 50 kB, what
it holds without compression included.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from autobahn.websocket.compress import (
    PerMessageDeflate,
    PerMessageDeflateOffer,
    PerMessageDeflateOfferAccept,
    PerMessageDeflateResponse,
    PerMessageDeflateResponseAccept,
)

WINDOW_BITS = 12
MEMORY_LEVEL = 4

Extension = tuple[str, dict[str, Any]]
"""A name and its parameters, as Autobahn parses the header."""


def acceptable(extensions: Sequence[Extension]) -> list[Extension]:
    """Those offers that a server may accept.

    An offer with a parameter that is unknown, wrong or given twice must be
    declined (RFC 7692, 7.1); Autobahn would refuse the handshake for it.
    """
    return [
        (name, _within_reach(parameters))
        for name, parameters in extensions
        if _makes_sense(name, parameters)
    ]


def _within_reach(parameters: dict[str, Any]) -> dict[str, Any]:
    """Without a window that the client keeps smaller than ours.

    We may not answer with a larger one (RFC 7692, 7.1.2.2), and Autobahn forgets
    what was offered.
    """
    offered = parameters.get("client_max_window_bits", [True])[0]
    if offered is True or int(offered) >= WINDOW_BITS:
        return parameters
    return {name: value for name, value in parameters.items() if name != "client_max_window_bits"}


def _makes_sense(name: str, parameters: dict[str, Any]) -> bool:
    if name != PerMessageDeflateOffer.EXTENSION_NAME:
        return False
    try:
        PerMessageDeflateOffer.parse(parameters)
    except Exception:
        # Autobahn raises nothing more exact, and whatever a peer's text makes int() raise.
        return False
    return True


def deflate(payload: bytes, window_bits: int) -> bytes:
    """A message compressed by itself: it refers to none before it."""
    compressor = zlib.compressobj(
        zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -window_bits, MEMORY_LEVEL
    )
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data[:-4]  # RFC 7692, 7.2.1


def inflate(extension: PerMessageDeflate, octets: bytes, limit: int) -> bytes:
    """A message of a connection, as it was before it was compressed.

    Of one that is larger than `limit` octets (0: no limit), no more than one octet
    over that. Raises Autobahn's `PayloadExceededError` where it is larger still, and
    `PayloadCorruptError` where it makes no sense.
    """
    extension.start_decompress_message()
    payload: bytes = extension.decompress_message_data(octets, limit + 1 if limit else None)
    if not 0 < limit < len(payload):
        extension.end_decompress_message()
    return payload


def server_accept(
    offers: Sequence[PerMessageDeflateOffer], keeps_context: bool = True
) -> PerMessageDeflateOfferAccept | None:
    """A server's answer: the first offer, by our bounds where the client leaves the choice.

    `keeps_context` says whether messages may refer to those before them, none of
    which may then be left out.
    """
    if not offers:
        return None
    offer = offers[0]
    return PerMessageDeflateOfferAccept(
        offer,
        request_max_window_bits=WINDOW_BITS if offer.accept_max_window_bits else 0,
        no_context_takeover=None if keeps_context else True,
        window_bits=min(WINDOW_BITS, offer.request_max_window_bits or WINDOW_BITS),
        mem_level=MEMORY_LEVEL,
    )


def client_offers() -> list[PerMessageDeflateOffer]:
    """What a client offers: everything, so that the server can choose."""
    return [PerMessageDeflateOffer(accept_no_context_takeover=True, accept_max_window_bits=True)]


def client_accept(
    response: object, keeps_context: bool = True
) -> PerMessageDeflateResponseAccept | None:
    """A client takes what the server chose; its own window is no larger than ours.

    `keeps_context` is as in `server_accept`.
    """
    if not isinstance(response, PerMessageDeflateResponse):
        return None  # another compression than was offered
    return PerMessageDeflateResponseAccept(
        response,
        no_context_takeover=None if keeps_context else True,
        window_bits=min(WINDOW_BITS, response.client_max_window_bits or WINDOW_BITS),
        mem_level=MEMORY_LEVEL,
    )
