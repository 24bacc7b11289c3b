"""Read the header of the PROXY protocol, in which a gateway names the client. PURE.

It knows versions 1 and 2 of the specification (`doc/proxy-protocol.txt` of HAProxy). Octets behind
the header are not read. In version 2 fields may follow the addresses (TLVs, up to 64 KiB). They
are skipped as they arrive, so a peer cannot make this process hold them.
"""

from __future__ import annotations

import ipaddress
import re
import struct

import attrs

IPEnd = tuple[str, int]
"""An IP address in its short form, and a port."""

_V1 = b"PROXY "
_V1_LONGEST = 107
"""Octets of the longest line, with its CR LF (section 2.1)."""

_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21

_ADDRESSES = {
    0x00: None,
    **dict.fromkeys((0x11, 0x12), struct.Struct("!4s4sHH")),
    **dict.fromkeys((0x21, 0x22), struct.Struct("!16s16sHH")),
    **dict.fromkeys((0x31, 0x32), struct.Struct("!108s108s")),
}
"""The layout of addresses, by family and transport: UNSPEC, INET, INET6, UNIX."""

_UNIX = 0x31

_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


@attrs.frozen
class Header:
    """A whole header.

    `source` and `destination` are the ends of the client's connection to the gateway. Both are
    None for a health check of the gateway itself (`LOCAL`), for an unknown connection (`UNKNOWN`,
    `UNSPEC`), and for unix sockets, for which `is_unix` is true. `rest` has the octets that came
    behind the header.
    """

    rest: bytes
    source: IPEnd | None = None
    destination: IPEnd | None = None
    is_unix: bool = False


@attrs.frozen
class Malformed:
    """The reason that octets are not a header. It quotes none of them, since it is logged."""

    why: str


MISSING = Malformed("it has no PROXY header; the gateway must send one, as send-proxy does")


class _Error(ValueError):
    """A malformed header; the argument says why. Without an argument there is no header."""


class HeaderReader:
    """Reads the header at the beginning of a connection, in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = b""
        self._header: Header | None = None
        self._skip = 0

    def feed(self, data: bytes) -> Header | Malformed | None:
        """Take octets, and return the header once it is whole, or None before that.

        Returns `Malformed` if the octets cannot become a header.
        """
        data = self._buffer + data
        if self._header is None:
            try:
                self._header, data = self._read(data)
            except _Error as error:
                return MISSING if not error.args else Malformed(f"its PROXY header {error}")
        if self._header is None:
            self._buffer = data
            return None
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._buffer = b""
        return None if self._skip else attrs.evolve(self._header, rest=data[skipped:])

    def _read(self, data: bytes) -> tuple[Header | None, bytes]:
        """Return a header without its rest, and the octets that were not read."""
        # The signatures differ in their first octet, so one octet tells which it may become.
        for signature, read in ((_V1, self._read_line), (_V2, self._read_binary)):
            if data.startswith(signature):
                return read(data)
            if signature.startswith(data):
                return None, data
        raise _Error

    def _read_line(self, data: bytes) -> tuple[Header | None, bytes]:
        end = data.find(b"\r\n", 0, _V1_LONGEST)
        if end >= 0:
            return _of_line(data[:end]), data[end + 2 :]
        if len(data) >= _V1_LONGEST:
            raise _Error(f"has no end within {_V1_LONGEST} octets")
        return None, data

    def _read_binary(self, data: bytes) -> tuple[Header | None, bytes]:
        if len(data) < _V2_FIXED.size:
            return None, data
        _, command, family, length = _V2_FIXED.unpack_from(data)
        if command not in (_LOCAL, _PROXY):
            raise _Error("has an unknown version or command")
        if family not in _ADDRESSES and command == _PROXY:
            raise _Error("has an unknown address family or transport")
        # With LOCAL the addresses must be ignored (section 2.2): they are the gateway's own.
        form = _ADDRESSES[family] if command == _PROXY else None
        size = 0 if form is None else form.size
        if length < size:
            raise _Error("is too short for its addresses")
        whole = _V2_FIXED.size + size
        if len(data) < whole:
            return None, data
        self._skip = length - size
        if form is None:
            return Header(b""), data[whole:]
        if family >= _UNIX:
            return Header(b"", is_unix=True), data[whole:]
        source, destination, *ports = form.unpack_from(data, _V2_FIXED.size)
        return Header(b"", (_ip(source), ports[0]), (_ip(destination), ports[1])), data[whole:]


def _of_line(line: bytes) -> Header:
    _, protocol, *fields = line.split(b" ")
    if protocol == b"UNKNOWN":
        return Header(b"")
    if protocol not in (b"TCP4", b"TCP6"):
        raise _Error("names an unknown protocol")
    if len(fields) != 4:
        raise _Error("does not have two addresses and two ports")
    source, destination, *ports = fields
    version = 4 if protocol == b"TCP4" else 6
    of, to = map(_port, ports)
    return Header(b"", (_of_text(source, version), of), (_of_text(destination, version), to))


def _of_text(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        raise _Error("has an address that cannot be read") from None
    # Python accepts zones of IPv6 (RFC 4007), which have no meaning on another machine.
    if address.version != version or b"%" in text:
        raise _Error("has an address that cannot be read")
    return _short(address)


def _ip(octets: bytes) -> str:
    return _short(ipaddress.ip_address(octets))


def _short(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    # One client has one address for limits and logs, whichever way the gateway writes it.
    mapped = getattr(address, "ipv4_mapped", None)
    return str(address if mapped is None else mapped)


def _port(text: bytes) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise _Error("has a port that cannot be read")
    return int(text)
