"""What may be done, and what is said when it may not. PURE."""

from __future__ import annotations

import enum
import ipaddress
import re
import sys
from collections.abc import Iterable

import attrs

from .request import Host, Refusal, Request, parse_host, without_secrets

RETRY_AFTER = 10
"""Seconds after which one that was refused for want of room may ask again."""


class CloseCode(enum.IntEnum):
    """The close codes that wsservice sends or speaks of (RFC 6455, 7.4.1; the IANA registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """The service stops."""
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    """Never on the wire: the peer's close frame had no code."""
    ABNORMAL = 1006
    """Never on the wire: the connection ended without a close frame."""
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    """A behaviour failed."""
    TRY_AGAIN_LATER = 1013


# Origins (RFC 6454; RFC 6455, 10.2)

_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.+)")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_OPAQUE = ("null", "file://")
"""What browsers send for a page that comes from nowhere, or from a file."""


@attrs.frozen
class Origin:
    """A scheme in lower case and a host, whose port is None where it is the scheme's default."""

    scheme: str
    host: Host


def parse_origin(text: str) -> Origin:
    """An `Origin` from `scheme://host[:port]`. Raises `ValueError` for anything else."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError(text)
    scheme = match.group(1).lower()
    return Origin(scheme, _without_default(scheme, parse_host(match.group(2))))


def _without_default(scheme: str, host: Host) -> Host:
    return Host(host.name) if host.port == _DEFAULT_PORTS.get(scheme, 0) else host


@attrs.frozen
class AllowedOrigins:
    """Which web pages may connect."""

    _exact: frozenset[Origin] = frozenset()
    _any: bool = False

    @classmethod
    def of(cls, patterns: Iterable[str]) -> AllowedOrigins:
        """From exact origins and `*`, which allows any. Raises `ValueError` for another text."""
        patterns = list(patterns)
        exact = frozenset(parse_origin(each) for each in patterns if each != "*")
        return cls(exact, "*" in patterns)

    def allows(self, origin: str | None, host: Host) -> bool:
        """May a page of this origin connect to `host`, as the Host header names it?

        Yes where there is no origin, since no browser asks then; where the
        origin was allowed; where a page of http or https came from that very
        host and port. The scheme does not matter there, so that a proxy in
        front may speak TLS.
        """
        if origin is None:
            return True
        if origin in _OPAQUE:
            return self._any
        try:
            parsed = parse_origin(origin)
        except ValueError:
            return False
        if self._any or parsed in self._exact:
            return True
        if parsed.scheme not in ("http", "https"):
            return False
        return parsed.host == _without_default(parsed.scheme, host)


def check_origin(request: Request, allowed: AllowedOrigins) -> Refusal | None:
    """The refusal of a request whose origin is not allowed: 403."""
    if allowed.allows(request.origin, request.host):
        return None
    origin = without_secrets(request.origin or "")
    reason = f'the origin "{origin}" is not allowed at {request.host.name}'
    return Refusal(403, reason, kind="origin")


# How many

_LATER = (("Retry-After", str(RETRY_AFTER)),)
NO_ROOM = Refusal(503, "too many connections", _LATER, "no room")
STOPPING = Refusal(503, "the service stops", _LATER, "stopping")
CLOSED_BY_OPERATOR = Refusal(503, "closed by the operator", _LATER, "operator")


class Verdict(enum.Enum):
    """What becomes of a connection."""

    ADMITTED = enum.auto()
    REFUSED = enum.auto()
    """It is told so, with 503, once it has asked."""
    DROPPED = enum.auto()
    """It is dropped without a word: too many others are being refused."""
    GONE = enum.auto()


@attrs.define(eq=False)
class Admission:
    """What `ConnectionLimits` remembers of one connection."""

    verdict: Verdict
    address: str | None = None


class ConnectionLimits:
    """Counts connections, in all and by address, and says which there is room for.

    `most` in all, `most_per_address` of one IPv4 address or one IPv6 network of
    64 bits; 0 is no limit. Of those refused `most_refused` may wait for their
    answer; they do not count as connections.
    """

    _first_reserved = sys.maxsize

    def __init__(self, most: int, most_per_address: int = 0, most_refused: int = 256) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._most_refused = most_refused
        self._admitted = 0
        self._refused = 0
        self._by_address: dict[str, int] = {}

    def change(self, most: int, most_per_address: int) -> None:
        """Set how many there may be from now on. Those that there are stay."""
        self._most = most
        self._most_per_address = most_per_address

    def reserve(self, first: int, most_refused: int) -> None:
        """Refuse connections whose descriptor is `first` or higher; fewer may wait for that."""
        self._first_reserved = first
        self._most_refused = min(self._most_refused, most_refused)

    @property
    def full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return 0 < self._most <= self._admitted

    @property
    def first_reserved(self) -> int:
        """The number of the first descriptor that no connection may have."""
        return self._first_reserved

    def arrive(self, address: str | None = None, descriptor: int = 0) -> Admission:
        """A connection was accepted; `address` is its IP address, None where not known yet."""
        if self.full or descriptor >= self._first_reserved:
            return Admission(self._turn_away())
        self._admitted += 1
        admission = Admission(Verdict.ADMITTED)
        self.identify(admission, address)
        return admission

    def identify(self, admission: Admission, address: str | None) -> None:
        """The IP address of a connection is known, None if it has none. The first one counts."""
        if not self._most_per_address or admission.address is not None or address is None:
            return
        if admission.verdict is not Verdict.ADMITTED:
            return
        key = address_key(address)
        count = self._by_address.get(key, 0)
        if count >= self._most_per_address:
            self._admitted -= 1
            admission.verdict = self._turn_away()
            return
        self._by_address[key] = count + 1
        admission.address = key

    def leave(self, admission: Admission) -> None:
        """A connection is over. Once is enough, more does no harm."""
        if admission.verdict is Verdict.ADMITTED:
            self._admitted -= 1
        elif admission.verdict is Verdict.REFUSED:
            self._refused -= 1
        admission.verdict = Verdict.GONE
        if admission.address is not None:
            self._by_address[admission.address] -= 1
            if not self._by_address[admission.address]:
                del self._by_address[admission.address]
            admission.address = None

    def _turn_away(self) -> Verdict:
        if self._refused >= self._most_refused:
            return Verdict.DROPPED
        self._refused += 1
        return Verdict.REFUSED


def address_key(address: str) -> str:
    """What counts as one address: IPv4 itself, also when mapped into IPv6; of IPv6 the /64.

    A text that is no IP address, which a balancer may pass on, stands for itself.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
