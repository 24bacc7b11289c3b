"""Compressed messages of many blocks, some of them final (RFC 7692, 7.2.3)."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable
from typing import Any

import pytest
from autobahn.websocket.compress import PerMessageDeflate
from hypothesis import given
from hypothesis import strategies as st

from wsservice.client.protocol import ClientProtocol
from wsservice.protocol import frames as codec
from wsservice.protocol.compression import Deflate

from ...codecs import BUILT, used
from ...examples import examples
from ...support import CLOSE, ByAutobahn, Client, Connecting, Recorder, Served

TAIL = b"\x00\x00\xff\xff"
HELLO_FINAL = b"\xf3\x48\xcd\xc9\xc9\x07\x00"
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
KEY = b"\x11\x22\x33\x44"

Piece = tuple[bytes, int, int]


class Sender:
    """Compresses messages as a peer may: in blocks of all kinds, in one stream or in many."""

    def __init__(self, keeps_context: bool = True) -> None:
        self._keeps_context = keeps_context
        self._machine: Any = None

    def compressed(self, pieces: Iterable[Piece], ends_bare: bool) -> bytes:
        """The payload of a message; each piece has a flush and, for a new stream, a level."""
        octets = b""
        final = False
        if not self._keeps_context:
            self._machine = None
        for data, flush, level in pieces:
            if self._machine is None:
                self._machine = zlib.compressobj(level, wbits=-12)
            octets += self._machine.compress(data) + self._machine.flush(flush)
            final = flush == zlib.Z_FINISH
            if final:
                self._machine = None
        if final:
            return octets if ends_bare else octets + b"\0"
        return octets[:-4] if octets.endswith(TAIL) else octets + b"\0"


pieces = st.tuples(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"hello " * 9, b"hello", b"x" * 3000])),
    st.sampled_from([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH]),
    st.sampled_from([0, 6]),  # 0: stored blocks
)
messages = st.lists(st.tuples(st.lists(pieces, max_size=5), st.booleans()), min_size=1, max_size=5)
cuts = st.lists(st.integers(0, 10**6), max_size=5)


def cut(octets: bytes, where: list[int]) -> list[bytes]:
    places = [0, *sorted(each % (len(octets) + 1) for each in where), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(places)]


def framed(payload: bytes, where: list[int], key: bytes) -> bytes:
    """A compressed binary message, in fragments."""
    parts = cut(payload, where)
    last = len(parts) - 1
    return b"".join(
        codec.encode((0 if i else 0x42) | (0x80 if i == last else 0), part, key)
        for i, part in enumerate(parts)
    )


def plain(given: Iterable[Piece]) -> bytes:
    return b"".join(data for data, _, _ in given)


class Heard(ClientProtocol):
    def onOpen(self) -> None:
        self.seen: list[Any] = []

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.seen.append((payload, isBinary))


def server(protocol: type[Recorder] = Recorder, **config: Any) -> Client:
    client = Served(protocol, compression=True, ping_interval=0, **config).connect()
    client.ask("/", OFFER)
    return client


def client(*, keeps_context: bool = True, **config: Any) -> Connecting:
    made = Connecting(Heard, compression=True, ping_interval=0, **config)
    taken = "" if keeps_context else "; server_no_context_takeover"
    made.server.accept(f"{OFFER}{taken}")
    return made


@examples(150)
@given(messages, cuts, cuts)
def test_a_server_gets_all_blocks_of_each_message(
    sent: list[tuple[list[Piece], bool]], fragments: list[int], reads: list[int]
) -> None:
    sender = Sender()
    octets = b"".join(framed(sender.compressed(*each), fragments, KEY) for each in sent)
    expected = [(plain(blocks), True) for blocks, _ in sent]
    for name in BUILT:
        for protocol in (Recorder, ByAutobahn):
            with used(name):
                peer = server(protocol)
                for part in cut(octets, reads):
                    peer.send(part)
            assert peer.protocol.seen == expected


@examples(150)
@given(messages, cuts, cuts, st.booleans())
def test_a_client_gets_all_blocks_of_each_message(
    sent: list[tuple[list[Piece], bool]],
    fragments: list[int],
    reads: list[int],
    keeps_context: bool,
) -> None:
    sender = Sender(keeps_context)
    octets = b"".join(framed(sender.compressed(*each), fragments, b"") for each in sent)
    for name in BUILT:
        with used(name):
            peer = client(keeps_context=keeps_context)
            for part in cut(octets, reads):
                peer.server.send(part)
        assert peer.protocol.seen == [(plain(blocks), True) for blocks, _ in sent]


@pytest.fixture(params=["whole", "fragments", "large", "autobahn"])
def way(request: pytest.FixtureRequest) -> str:
    """The way in which a message comes to the inflater."""
    return str(request.param)


def closed_with(peer: Any) -> int:
    ((opcode, payload),) = [each for each in peer.frames() if each[0] == CLOSE]
    assert opcode == CLOSE
    return int.from_bytes(payload[:2], "big")


def say(peer: Any, payload: bytes, way: str, key: bytes = KEY) -> None:
    octets = framed(payload, [1] if way == "fragments" else [], key)
    for part in cut(octets, [9, 10] if way == "large" else []):
        peer.send(part)


def protocol_for(way: str) -> type[Recorder]:
    return ByAutobahn if way == "autobahn" else Recorder


def test_the_example_of_the_rfc_and_what_comes_after_it(way: str) -> None:
    peer = server(protocol_for(way))
    say(peer, HELLO_FINAL + b"\0", way)
    say(peer, Sender().compressed([(b"an ordinary one", zlib.Z_SYNC_FLUSH, 6)], False), way)
    say(peer, HELLO_FINAL + HELLO_FINAL + b"\0", way)
    assert peer.protocol.seen == [
        (b"Hello", True),
        (b"an ordinary one", True),
        (b"HelloHello", True),
    ]


@pytest.mark.parametrize("final", [True, False])
def test_a_window_is_kept_as_long_as_no_block_is_final(way: str, final: bool) -> None:
    machine = zlib.compressobj(wbits=-12)
    first = machine.compress(b"said before, and again") + machine.flush(zlib.Z_SYNC_FLUSH)
    second = machine.compress(b"said before, and again") + machine.flush(zlib.Z_SYNC_FLUSH)
    peer = server(protocol_for(way))
    say(peer, first + HELLO_FINAL + b"\0" if final else first[:-4], way)
    say(peer, second[:-4], way)
    if final:
        assert len(peer.protocol.seen) == 1
        assert closed_with(peer) == 1007
    else:
        assert peer.protocol.seen == [(b"said before, and again", True)] * 2


def test_the_limit_on_size_counts_all_blocks(way: str) -> None:
    peer = server(protocol_for(way), max_message_size=20, greeting="")
    say(peer, HELLO_FINAL * 4 + b"\0", way)
    assert peer.protocol.seen == [(b"Hello" * 4, True)]
    say(peer, HELLO_FINAL * 5 + b"\0", way)
    assert len(peer.protocol.seen) == 1
    assert closed_with(peer) == 1009


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x03", id="a final block that the tail ends, and octets behind it"),
        pytest.param(HELLO_FINAL + b"\xff", id="octets that are no block after a final one"),
        pytest.param(b"\x00\x05\x00\xfa\xffab", id="within a stored block"),
        pytest.param(b"\x00\x00\x00\xff\xff\x00" + TAIL, id="its tail was left on"),
    ],
)
def test_a_message_that_ends_within_a_block_is_invalid(way: str, payload: bytes) -> None:
    peer = server(protocol_for(way))
    say(peer, payload, way)
    assert peer.protocol.seen == []
    assert closed_with(peer) == 1007


@pytest.mark.parametrize("payload", [b"\x01", HELLO_FINAL, b"\x00", HELLO_FINAL + b"\x01"])
def test_a_message_may_end_with_any_whole_block(way: str, payload: bytes) -> None:
    peer = server(protocol_for(way))
    for _ in range(2):
        say(peer, payload, way)
    assert peer.protocol.seen == [(b"Hello" if HELLO_FINAL in payload else b"", True)] * 2


@pytest.mark.parametrize("fragments", [1, 3])
def test_a_compressed_message_without_an_octet_is_invalid(fragments: int) -> None:
    for peer, key in ((server(), KEY), (client().server, b"")):
        peer.send(framed(b"", [0] * (fragments - 1), key))
        assert peer.protocol.seen == []
        assert closed_with(peer) == 1007


@pytest.mark.parametrize("protocol", [Recorder, ByAutobahn])
def test_only_the_last_fragment_may_be_empty(protocol: type[Recorder]) -> None:
    peer = server(protocol)
    peer.send(framed(HELLO_FINAL + b"\0", [-1], KEY))
    assert peer.protocol.seen == [(b"Hello", True)]


def test_final_blocks_without_end_are_refused(way: str) -> None:
    peer = server(protocol_for(way))
    say(peer, b"\x03\x00" * 1024 + b"\0", way)
    assert peer.protocol.seen == [(b"", True)]
    say(peer, b"\x03\x00" * 1025 + b"\0", way)
    assert closed_with(peer) == 1008
    assert len(peer.protocol.seen) == 1


def test_a_large_message_may_have_more_of_them() -> None:
    block = zlib.compressobj(0, wbits=-12)
    octets = block.compress(b"x" * 64) + block.flush(zlib.Z_FINISH)
    peer = server()
    peer.send(framed(octets * 3000 + b"\0", [], KEY))
    assert peer.protocol.seen == [(b"x" * 64 * 3000, True)]


def test_an_inflater_keeps_nothing_of_streams_that_are_over() -> None:
    deflate = Deflate.like(PerMessageDeflate(True, False, False, 12, 12, 4))
    for _ in range(3):
        deflate.start_decompress_message()
        assert deflate.decompress_message_data(HELLO_FINAL * 100) == b"Hello" * 100
        deflate.end_decompress_message()
        assert deflate._decompressor is None


def test_what_follows_final_blocks_is_copied_no_more_often_than_it_is_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_octets = 0

    class Counting:
        def __init__(self, bits: int) -> None:
            self._inflater = inflater_of(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal given_octets
            given_octets += len(data)
            return self._inflater.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inflater, name)

    inflater_of = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    deflate = Deflate.like(PerMessageDeflate(True, False, False, 12, 12, 4))
    deflate.start_decompress_message()
    stored = zlib.compressobj(0, wbits=-12)
    octets = HELLO_FINAL * 1000 + stored.compress(bytes(1_000_000)) + stored.flush()
    assert len(deflate.decompress_message_data(octets)) == 1_005_000
    assert given_octets < 4 * len(octets)


def test_a_client_says_what_it_speaks() -> None:
    (extension,) = client().protocol.websocket_extensions_in_use
    assert isinstance(extension, Deflate)
