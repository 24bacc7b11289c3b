"""Speak permessage-deflate (RFC 7692), if it is switched on.

The window has 12 bits, and the memory level is 4. With zlib's defaults of 15 and 8, each connection
on which a message was sent holds 105 kB. With these it holds less than 50 kB, including its memory
without compression.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from autobahn.exception import PayloadCorruptError, PayloadExceededError
from autobahn.websocket.compress import (
    PerMessageDeflate,
    PerMessageDeflateOffer,
    PerMessageDeflateOfferAccept,
    PerMessageDeflateResponse,
    PerMessageDeflateResponseAccept,
)

from ..http.grammar import TOKEN
from ..private.of_autobahn import is_of_server

WINDOW_BITS = 12
MEMORY_LEVEL = 4

_TAIL = b"\x00\x00\xff\xff"
"""The last octets of each message, which are not sent: the end of an empty stored block
(RFC 7692, 7.2.1)."""

_EMPTY_BLOCK = b"\x00" + _TAIL

_PIECE_OCTETS = 1024
"""Octets that an inflater gets at one go after a final block.

It copies the octets behind the end of its stream. With the whole rest each time, many final blocks
would take time by the square of their number.
"""

_MOST_FINAL_BLOCKS = 1024
_OCTETS_FOR_ANOTHER = 64
"""Final blocks that a message may have, and the inflated octets that allow one more.

Each costs an inflater. Without a bound, one message of empty blocks would make them without end.
"""

_SLACK_OCTETS = 16 * 1024
"""Octets of headers and empty blocks that a compressed message may have besides its data."""

Extension = tuple[str, dict[str, Any]]
"""A name and its parameters, as Autobahn parses the header."""


# RFC 6455, 9.1: a list of extensions, each with parameters, whose values may be quoted.
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PARAMETER = rf"[ \t]*;[ \t]*({TOKEN})(?:[ \t]*=[ \t]*({TOKEN}|{_QUOTED}))?"
_EXTENSION = re.compile(rf"[ \t]*({TOKEN})((?:{_PARAMETER})*)[ \t]*(?:,|$)")
_NO_EXTENSION = re.compile(r"[ \t]*(?:,|$)")
_WINDOW_BITS = re.compile("[89]|1[0-5]")
_WINDOWS = ("server_max_window_bits", "client_max_window_bits")


def chosen(header: str) -> list[Extension]:
    """Return what a server has chosen, in the form of Autobahn's parser of this header.

    Autobahn knows no window of 8 bits, which RFC 7692, 7.1.2, allows, so 8 becomes 9. A window of 9
    can read data that was made with 8, and zlib with a window of 9 never refers further back than
    250 octets, which a window of 8 holds. Raises `ValueError` for a malformed header.
    """
    extensions: list[Extension] = []
    at = 0
    while at < len(header):
        if empty := _NO_EXTENSION.match(header, at):
            at = empty.end()
            continue
        match = _EXTENSION.match(header, at)
        if match is None:
            raise ValueError("its list of extensions is malformed")
        extensions.append((match[1].lower(), _parameters(match[2])))
        at = match.end()
    return extensions


def _parameters(text: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for given, value in re.findall(_PARAMETER, text):
        name = given.lower()
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        if name in _WINDOWS and not _WINDOW_BITS.fullmatch(value):
            raise ValueError(f"its {name} is not a number from 8 to 15")
        value = "9" if name in _WINDOWS and value == "8" else value
        parameters.setdefault(name, []).append(value or True)
    return parameters


def acceptable(extensions: Sequence[Extension]) -> list[Extension]:
    """Return the offers that a server may accept.

    A server must decline an offer with a parameter that is unknown, wrong or given twice
    (RFC 7692, 7.1). Autobahn would refuse the handshake instead.
    """
    return [
        (name, _within_reach(parameters))
        for name, parameters in extensions
        if _makes_sense(name, parameters)
    ]


def _within_reach(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters without the client's window, if it is smaller than ours.

    A server may not answer with a larger window (RFC 7692, 7.1.2.2), and Autobahn forgets the
    offered one.
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
        # Autobahn raises `Exception` itself, and whatever int() raises for a peer's text.
        return False
    return True


def deflate(payload: bytes, window_bits: int) -> bytes:
    """Return a message compressed on its own, without references to earlier messages.

    `window_bits` is the base-two logarithm of the window, 9 to 15.
    """
    # Negative bits make zlib write raw deflate data, without its header and checksum.
    compressor = zlib.compressobj(
        zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -window_bits, MEMORY_LEVEL
    )
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data[:-4]  # RFC 7692, 7.2.1


class TooManyBlocksError(Exception):
    """A message has more final blocks than its size accounts for."""


class Deflate(PerMessageDeflate):
    """Autobahn's permessage-deflate, for peers that send final blocks too.

    After a block with BFINAL = 1 a new stream begins, with an empty window (RFC 7692, 7.2.3.4).
    Autobahn's own class would go on with the finished inflater, which returns nothing any more and
    keeps all octets that it gets.
    """

    _deflated_size = 0
    _inflated_size = 0
    _final_blocks = 0

    def __init__(self, is_server: bool, *args: Any, **kwargs: Any) -> None:
        super().__init__(is_server, *args, **kwargs)
        server = self.server_no_context_takeover, self.server_max_window_bits
        client = self.client_no_context_takeover, self.client_max_window_bits
        peer_forgets, bits = client if is_server else server
        self._peer_keeps_context = not peer_forgets
        self._window_bits = -bits
        # A further empty block changes nothing for a message that ended at a block's end. If it
        # ended within a block, the inflater would take the next message for the rest of it.
        self._probe = b"" if peer_forgets else _EMPTY_BLOCK
        self._ending = _TAIL + self._probe

    @classmethod
    def like(cls, other: PerMessageDeflate) -> Deflate:
        """Return an object with the parameters of Autobahn's one, which has seen no message yet."""
        return cls(
            is_of_server(other),
            other.server_no_context_takeover,
            other.client_no_context_takeover,
            other.server_max_window_bits,
            other.client_max_window_bits,
            other.mem_level,
        )

    def start_decompress_message(self) -> None:
        """Begin a message. Autobahn calls this."""
        if not self._peer_keeps_context:
            self._decompressor = None
        self._deflated_size = self._inflated_size = self._final_blocks = 0

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> bytes:
        """Inflate a part of a message, up to `max_output_len` octets (None: any number).

        Raises Autobahn's `PayloadExceededError` if there are more, its `PayloadCorruptError` for
        invalid data, and `TooManyBlocksError`.
        """
        self._deflated_size += len(data)
        parts: list[bytes] = []
        piece = data
        position = 0
        while piece:
            if max_output_len is not None and max_output_len <= 0:
                raise PayloadExceededError("more than the limit")
            inflater = self._decompressor
            if inflater is None:
                inflater = self._decompressor = zlib.decompressobj(self._window_bits)
            try:
                part = inflater.decompress(piece, max_output_len or 0)
            except zlib.error as error:
                raise PayloadCorruptError(f"invalid permessage-deflate data: {error}") from error
            if inflater.unconsumed_tail:
                raise PayloadExceededError("more than the limit")
            self._inflated_size += len(part)
            position += len(piece) - len(inflater.unused_data)
            if inflater.eof:
                self._end_stream()
            elif not parts and position == len(data):
                return part  # nearly always
            parts.append(part)
            if max_output_len is not None:
                max_output_len -= len(part)
            piece = data[position : position + _PIECE_OCTETS]
        return b"".join(parts)

    def _end_stream(self) -> None:
        """Count a final block. The next block has a window of its own."""
        self._decompressor = None
        self._final_blocks += 1
        most = _MOST_FINAL_BLOCKS + self._inflated_size // _OCTETS_FOR_ANOTHER
        if self._final_blocks > most:
            raise TooManyBlocksError("too many final blocks in a compressed message")

    def end_decompress_message(self) -> None:
        """End a message. Raises `PayloadCorruptError` if it ends within a block."""
        # Even an empty message has the first octet of an empty block (RFC 7692, 7.2.3.6).
        if not self._deflated_size:
            raise PayloadCorruptError("a compressed message has at least one octet")
        inflater = self._decompressor
        if inflater is None:
            return  # the last block was final, and the message ends with it
        try:
            output = inflater.decompress(self._ending, 1)
        except zlib.error as error:
            raise PayloadCorruptError(f"invalid permessage-deflate data: {error}") from error
        if output or (inflater.eof and inflater.unused_data != self._probe):
            raise PayloadCorruptError("a message ends within a block")
        if inflater.eof:
            self._decompressor = None


def most_compressed(limit: int) -> int:
    """Return how many octets a message within `limit` may have before inflation, 0 for any number.

    An honest peer sends at worst nine bits for each octet, and some octets for each fragment. A
    dishonest one could send empty blocks for ever.
    """
    return limit and limit + limit // 8 + _SLACK_OCTETS


def inflate(extension: Deflate, octets: bytes, limit: int) -> bytes:
    """Return a message of a connection as it was before compression.

    If it is larger than `limit` octets (0: no limit), returns at most one octet more than that.
    Raises Autobahn's `PayloadExceededError` if it is larger still, `PayloadCorruptError` for
    invalid data, and `TooManyBlocksError`.
    """
    extension.start_decompress_message()
    payload = extension.decompress_message_data(octets, limit + 1 if limit else None)
    if not 0 < limit < len(payload):
        extension.end_decompress_message()
    return payload


def server_accept(
    offers: Sequence[PerMessageDeflateOffer], keeps_context: bool = True
) -> PerMessageDeflateOfferAccept | None:
    """Return a server's answer to offers: the first, with our bounds if the client allows them.

    With `keeps_context`, messages may refer to earlier ones, none of which may then be left out.
    Returns None without offers.
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


def agreed(
    extensions: Sequence[Extension],
    accept: Callable[[list[PerMessageDeflateOffer]], PerMessageDeflateOfferAccept | None],
) -> tuple[Deflate | None, str]:
    """Return what a server and a client agree on: the extension, and the header of the answer.

    `extensions` are those that the client offered. `accept` chooses, as `server_accept` does.
    Returns None and "" if they agree on none.
    """
    offers = [PerMessageDeflateOffer.parse(each) for _, each in acceptable(extensions)]
    chosen = accept(offers)
    if chosen is None:
        return None, ""
    return Deflate.create_from_offer_accept(True, chosen), chosen.get_extension_string()


def client_offers() -> list[PerMessageDeflateOffer]:
    """Return a client's offers: one with every parameter, so that the server can choose."""
    return [PerMessageDeflateOffer(accept_no_context_takeover=True, accept_max_window_bits=True)]


def client_accept(
    response: object, keeps_context: bool = True
) -> PerMessageDeflateResponseAccept | None:
    """Return a client's acceptance of a server's choice, with a window of 12 bits at most.

    `keeps_context` is as in `server_accept`. Returns None for another extension than was offered.
    """
    if not isinstance(response, PerMessageDeflateResponse):
        return None  # another compression than was offered
    return PerMessageDeflateResponseAccept(
        response,
        no_context_takeover=None if keeps_context else True,
        window_bits=min(WINDOW_BITS, response.client_max_window_bits or WINDOW_BITS),
        mem_level=MEMORY_LEVEL,
    )
