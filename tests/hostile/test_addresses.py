"""Peers that claim another address than theirs: by forwarding headers, and by PROXY headers."""

from __future__ import annotations

import struct

from .harness import Attack, row
from .styles import REQUEST, read_all

_NETWORK = "198.51.100.0/24"
"""Addresses of proxies that are trusted, and that no peer here has."""


def _with(*headers: bytes) -> bytes:
    return REQUEST[:-2] + b"".join(each + b"\r\n" for each in headers) + b"\r\n"


def _status(attack: Attack, octets: bytes) -> int:
    peer = attack.socket()
    peer.sendall(octets)
    answer = peer.recv(1000)
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer.split()[1])


@row(
    "another forged address with each of 200 connections, by a stranger",
    "its own address counts: 503 beyond `--max-connections-per-ip` (here 10)",
    options=("--trust-proxy", _NETWORK, "--max-connections-per-ip", "10"),
)
def test_forged_addresses_of_a_stranger_change_nothing(attack: Attack) -> str:
    statuses = []
    for number in range(200):
        address = b"203.0.113.%d" % (number % 250)
        header = (b"X-Forwarded-For: ", b"Forwarded: for=")[number % 2]
        both = (header + address, b"X-Forwarded-Proto: https", b"X-Real-IP: " + address)
        statuses.append(_status(attack, _with(*both)))
    assert set(statuses) == {101, 503}
    assert statuses.count(101) <= 10
    said = attack.server.log.text
    assert "203.0.113." not in said
    return f"101 for {statuses.count(101)}, 503 for the others"


@row(
    "garbage of 15 KiB in `X-Forwarded-For` and `Forwarded`, through a trusted proxy",
    "101; the proxy's address counts, or that which the proxy named; no log line for it",
    options=("--trust-proxy", "127.0.0.1", "--max-connections", "0"),
)
def test_garbage_through_a_trusted_proxy_takes_no_time(attack: Attack) -> str:
    garbage = [
        *(b",", b'"', b'\\"', b";", b":", b"a", b'="', b" ,", b"10.0.0.1,", b"127.0.0.1,", b"\t"),
        *(b"for=127.0.0.1,", b'for="', b"a=b;", b"_", b"[", b"\xff", b"unknown,", b"::ffff:"),
    ]
    count = 0
    for each in garbage:
        for name in (b"X-Forwarded-For: ", b"Forwarded: ", b"X-Forwarded-Proto: "):
            value = each * (15_000 // len(each))
            for end in (b"", b"x", b", 203.0.113.9", b", for=203.0.113.9"):
                assert _status(attack, _with(name + value + end)) == 101
                count += 1
    return f"101 for each of {count}"


@row(
    "PROXY headers, version 1 and 2, on ports that take none",
    "400, or dropped",
    options=("--trust-proxy", "127.0.0.1"),
)
def test_a_proxy_header_of_a_stranger_is_refused(attack: Attack) -> str:
    fixed = struct.pack("!12sBBH", b"\r\n\r\n\0\r\nQUIT\n", 0x21, 0x11, 12)
    ends = bytes([203, 0, 113, 9, 127, 0, 0, 1]) + struct.pack("!HH", 4711, 80)
    heads = [
        b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n",
        b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n",
        b"PROXY UNKNOWN\r\n",
        fixed + ends,
        struct.pack("!12sBBH", b"\r\n\r\n\0\r\nQUIT\n", 0x20, 0, 0),
    ]
    for each in heads:
        for octets in (each, each + REQUEST):
            peer = attack.socket()
            peer.sendall(octets)
            answer = read_all(peer)
            assert answer.startswith(b"HTTP/1.1 400 "), (octets, answer)
            assert b"PROXY" in answer
    assert "203.0.113.9" not in attack.server.log.text
    return "400"
