from __future__ import annotations

import ipaddress
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.net.proxy_header import MISSING, Header, HeaderReader, Malformed

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TLVS = b"\x03\0\x04\0\0\0\0" + b"\x20\0\x05\x01\0\0\0\0" + b"\xea\0\x02hi"


def binary(command: int, family: int, addresses: bytes = b"", tlvs: bytes = b"") -> bytes:
    """A header of version 2."""
    body = addresses + tlvs
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


def inet(source: str, destination: str, *ports: int) -> bytes:
    packed = (ipaddress.ip_address(each).packed for each in (source, destination))
    return b"".join(packed) + struct.pack("!HH", *ports)


FOUR = (("192.0.2.7", 5007), ("198.51.100.1", 80))
SIX = (("2001:db8::7", 5007), ("2001:db8::1", 443))
UNIX = b"/run/a.sock".ljust(108, b"\0") + b"/run/b.sock".ljust(108, b"\0")
LEGAL: list[tuple[bytes, Header]] = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 5007 80\r\n", Header(b"", *FOUR)),
    (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
     Header(b"", ("0.0.0.0", 0), ("255.255.255.255", 65535))),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 5007 443\r\n", Header(b"", *SIX)),
    (b"PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 2001:DB8::0001 5007 443\r\n",
     Header(b"", *SIX)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6401 5007 80\r\n", Header(b"", *FOUR)),
    (b"PROXY UNKNOWN\r\n", Header(b"")),
    (b"PROXY UNKNOWN ffff::1 whatever \n stands here\xff\r\n", Header(b"")),
    (b"PROXY UNKNOWN " + 91 * b"x" + b"\r\n", Header(b"")),
    (binary(0x20, 0x00), Header(b"")),
    (binary(0x20, 0x11, inet("192.0.2.7", "198.51.100.1", 5007, 80)), Header(b"")),
    (binary(0x20, 0xff, b"x"), Header(b"")),
    (binary(0x21, 0x00), Header(b"")),
    (binary(0x21, 0x00, tlvs=TLVS), Header(b"")),
    (binary(0x21, 0x11, inet("192.0.2.7", "198.51.100.1", 5007, 80)), Header(b"", *FOUR)),
    (binary(0x21, 0x12, inet("192.0.2.7", "198.51.100.1", 5007, 80)), Header(b"", *FOUR)),
    (binary(0x21, 0x11, inet("192.0.2.7", "198.51.100.1", 5007, 80), TLVS), Header(b"", *FOUR)),
    (binary(0x21, 0x21, inet("2001:db8::7", "2001:db8::1", 5007, 443)), Header(b"", *SIX)),
    (binary(0x21, 0x22, inet("2001:db8::7", "2001:db8::1", 5007, 443), TLVS), Header(b"", *SIX)),
    (binary(0x21, 0x21, inet("::ffff:192.0.2.7", "::ffff:198.51.100.1", 5007, 80)),
     Header(b"", *FOUR)),
    (binary(0x21, 0x31, UNIX), Header(b"", is_unix=True)),
    (binary(0x21, 0x32, UNIX, TLVS), Header(b"", is_unix=True)),
]  # fmt: skip
LARGEST = binary(0x21, 0x11, inet("192.0.2.7", "198.51.100.1", 5007, 80), bytes(65535 - 12))
WRONG: list[tuple[bytes, str]] = [
    (b"PROXY\r\n", ""),
    (b"GET / HTTP/1.1\r\n", ""),
    (b"\x16\x03\x01\x02\x00\x01", ""),
    (b"proxy tcp4 192.0.2.7 198.51.100.1 5007 80\r\n", ""),
    (b"\r\n\r\n\0\r\nQUIT\r", ""),
    (b" PROXY UNKNOWN\r\n", ""),
    (b"PROXY  TCP4 192.0.2.7 198.51.100.1 5007 80\r\n", "protocol"),
    (b"PROXY UNIX /a /b\r\n", "protocol"),
    (b"PROXY UDP4 192.0.2.7 198.51.100.1 5007 80\r\n", "protocol"),
    (b"PROXY UNKNOWN\n" + bytes(93), "no end"),
    (b"PROXY UNKNOWN " + 92 * b"x" + b"\r\n", "no end"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 5007\r\n", "two addresses"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 5007 80 \r\n", "two addresses"),
    (b"PROXY TCP4\r\n", "two addresses"),
    (b"PROXY TCP4 192.0.2.07 198.51.100.1 5007 80\r\n", "an address"),
    (b"PROXY TCP4 192.0.2 198.51.100.1 5007 80\r\n", "an address"),
    (b"PROXY TCP4 ::1 ::1 5007 80\r\n", "an address"),
    (b"PROXY TCP6 192.0.2.7 198.51.100.1 5007 80\r\n", "an address"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 5007 80\r\n", "an address"),
    (b"PROXY TCP4 a\x1b[2J\xff 198.51.100.1 5007 80\r\n", "an address"),
    (b"PROXY TCP4 192.0.2.7\n 198.51.100.1 5007 80\r\n", "an address"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 80\r\n", "a port"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 05007 80\r\n", "a port"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 80\r\n", "a port"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 \xd9\xa1 80\r\n", "a port"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1  80\r\n", "a port"),
    (binary(0x11, 0x11, inet("192.0.2.7", "198.51.100.1", 5007, 80)), "version or command"),
    (binary(0x22, 0x11, inet("192.0.2.7", "198.51.100.1", 5007, 80)), "version or command"),
    (binary(0x2f, 0x00), "version or command"),
    (binary(0x21, 0x10, bytes(12)), "address family"),
    (binary(0x21, 0x01, bytes(12)), "address family"),
    (binary(0x21, 0x13, bytes(12)), "address family"),
    (binary(0x21, 0x41, bytes(300)), "address family"),
    (binary(0x21, 0x11, bytes(11)), "too short"),
    (binary(0x21, 0x21, bytes(35)), "too short"),
    (binary(0x21, 0x31, bytes(215)), "too short"),
]  # fmt: skip


def read(*pieces: bytes) -> Header | Malformed | None:
    """The outcome of some octets, after which nothing more is fed."""
    reader = HeaderReader()
    rest = list(pieces)
    while rest:
        outcome = reader.feed(rest.pop(0))
        if isinstance(outcome, Header):
            return Header(
                outcome.rest + b"".join(rest),
                outcome.source,
                outcome.destination,
                outcome.is_unix,
            )
        if outcome is not None:
            return outcome
    return None


def split(octets: bytes, points: list[int]) -> list[bytes]:
    ends = [0, *sorted(each % (len(octets) + 1) for each in points), len(octets)]
    pieces = [octets[start:end] for start, end in itertools.pairwise(ends)]
    return [each for each in pieces if each]


@pytest.mark.parametrize(("octets", "header"), LEGAL)
def test_each_header_of_the_specification(octets: bytes, header: Header) -> None:
    assert read(octets) == header
    assert read(octets + b"GET /") == Header(
        b"GET /", header.source, header.destination, header.is_unix
    )
    assert read(*(bytes([each]) for each in octets)) == header
    assert read(octets[:-1]) is None


@pytest.mark.parametrize(("octets", "why"), WRONG)
def test_what_is_no_header(octets: bytes, why: str) -> None:
    outcome = read(octets)
    assert isinstance(outcome, Malformed)
    assert why in outcome.why
    if not why:
        assert outcome == MISSING
    assert outcome.why.isascii()
    assert outcome.why.isprintable()
    assert isinstance(read(*(bytes([each]) for each in octets)), Malformed)


def test_what_cannot_become_one_is_refused_at_its_first_octet() -> None:
    assert read(b"G") == read(b"PROXT") == read(b"\r\n\r\n\r") == MISSING
    assert read(b"P") is read(b"\r") is None


def test_the_largest_is_read_without_being_kept() -> None:
    reader = HeaderReader()
    for start in range(0, len(LARGEST), 1000):
        outcome = reader.feed(LARGEST[start : start + 1000] + b"x" * (start + 1000 > len(LARGEST)))
        assert len(reader._buffer) <= 232
    assert outcome == Header(b"x", *FOUR)


@given(
    st.sampled_from([octets for octets, _ in LEGAL + WRONG] + [LARGEST]),
    st.binary(max_size=300),
    st.lists(st.integers(0, 70_000), max_size=8),
)
def test_how_it_is_split_makes_no_difference(octets: bytes, rest: bytes, points: list[int]) -> None:
    whole = octets + rest
    assert read(*split(whole, points)) == read(whole)


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
ports = st.integers(0, 65535)


@given(
    st.one_of(
        st.tuples(st.just(4), st.ip_addresses(v=4), st.ip_addresses(v=4)),
        st.tuples(st.just(6), st.ip_addresses(v=6), st.ip_addresses(v=6)),
    ),
    ports,
    ports,
    st.binary(max_size=50),
    st.booleans(),
)
def test_both_versions_tell_the_same(
    ends: tuple[int, ipaddress._BaseAddress, ipaddress._BaseAddress],
    of: int,
    to: int,
    rest: bytes,
    is_long: bool,
) -> None:
    version, source, destination = ends
    written = [each.exploded if is_long else str(each) for each in (source, destination)]
    first = f"PROXY TCP{version} {written[0]} {written[1]} {of} {to}\r\n".encode()
    second = binary(
        0x21, 0x11 if version == 4 else 0x21, inet(str(source), str(destination), of, to)
    )
    assert read(first + rest) == read(second + rest) == read(first[:40], first[40:] + rest)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=120).map(lambda rest: b"PROXY " + rest),
        st.text(alphabet="TCP46UNKOW 0123456789.:af\r\n", max_size=120).map(
            lambda rest: b"PROXY " + rest.encode()
        ),
        st.binary(max_size=300).map(lambda rest: SIGNATURE + rest),
        st.tuples(st.sampled_from([0x20, 0x21]), st.integers(0, 255), st.binary(max_size=300)).map(
            lambda each: SIGNATURE + bytes(each[:2]) + each[2]
        ),
    ),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_nothing_hostile_raises_or_reaches_a_log(octets: bytes, points: list[int]) -> None:
    outcome = read(octets)
    assert read(*split(octets, points)) == outcome
    if isinstance(outcome, Malformed):
        assert outcome.why.isascii()
        assert outcome.why.isprintable()
    if isinstance(outcome, Header) and outcome.source is not None:
        for end in (outcome.source, outcome.destination):
            assert end is not None
            assert str(ipaddress.ip_address(end[0])) == end[0]
            assert 0 <= end[1] <= 65535
