"""The limits on how fast peers may connect and send, as people write them. PURE.

A limit is `PARTY=RATE:BURST`: `address=10/m:20`, `connection=100`, `64KiB:1MiB`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from .fields import NEW, OPEN, TO_SWITCH, converter, parse_texts, setting, to_choice, to_whole
from .limits import LIMITS, Limits
from .units import SIZES

ADDRESS, USER, CONNECTION = "address", "user", "connection"
"""The parties that a rate may hold for."""

PARTIES = (CONNECTION, ADDRESS, USER)
CONNECTING_PARTIES = (ADDRESS, USER)

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_MOST = 10**12
_UNIT = f"(?:({'|'.join(SIZES)}))?"
_RATE = re.compile(rf"([0-9]{{1,15}}){_UNIT}(?:/(s|m|h))?(?::([0-9]{{1,15}}){_UNIT})?")


@attrs.frozen
class Rate:
    """An amount in a length of time, and the amount that may come at once.

    `amount` and `burst` count messages, octets or connections; `burst` is 1 at least. `seconds` is
    the length of time.
    """

    amount: int
    seconds: float
    burst: int

    @property
    def per_second(self) -> float:
        """Return the amount in a second."""
        return self.amount / self.seconds

    @property
    def seconds_for_one(self) -> float:
        """Return the seconds until one more may come."""
        return self.seconds / self.amount

    def __str__(self) -> str:
        units = {1.0: "s", 60.0: "m", 3600.0: "h"}
        return f"{self.amount}/{units[self.seconds]}:{self.burst}"


def parse_rate(text: str, sizes: bool = False) -> Rate | None:
    """Return the rate of `RATE` or `RATE:BURST`; None for a rate of 0, which is no limit.

    With `sizes` the amounts are octets, and may have a unit such as KiB. Raises `ValueError`.
    """
    match = _RATE.fullmatch(text)
    if match is None or (not sizes and (match[2] or match[5])):
        raise ValueError(text)
    amount = int(match[1]) * SIZES[match[2] or "B"]
    burst = amount if match[4] is None else int(match[4]) * SIZES[match[5] or "B"]
    if amount > _MOST or burst > _MOST or (amount and not burst):
        raise ValueError(text)
    return Rate(amount, _SECONDS[match[3] or ""], burst) if amount else None


def rates_of(given: Sequence[str], parties: Sequence[str], sizes: bool = False) -> dict[str, Rate]:
    """Return the rates of limits, by party. Raises `ValueError`.

    The first of `parties` is that of a limit without one. A party may be named once.
    """
    rates: dict[str, Rate | None] = {}
    for each in given:
        party, named, text = each.rpartition("=")
        party = party if named else parties[0]
        if party not in parties or party in rates:
            raise ValueError(each)
        rates[party] = parse_rate(text, sizes)
    return {party: rate for party, rate in rates.items() if rate is not None}


def _parser(parties: Sequence[str], sizes: bool) -> Callable[[Any], tuple[str, ...]]:
    def parse(value: Any) -> tuple[str, ...]:
        texts = parse_texts(value)
        rates_of(texts, parties, sizes)
        return texts

    return parse


def _allowed(parties: Sequence[str], example: str) -> str:
    *others, last = parties
    return (
        f"[PARTY=]RATE[:BURST], such as {example}, and each PARTY once:"
        f" {', '.join(others)} or {last}"
    )


_RATES = "RATE[:BURST]"


@attrs.frozen(kw_only=True)
class RateLimits(Limits):
    """The settings of a service that limit how fast clients may connect and send."""

    limit_connects: tuple[str, ...] = setting(
        (),
        converter(
            _allowed(CONNECTING_PARTIES, "10:20, 30/m or user=5"),
            _parser(CONNECTING_PARTIES, sizes=False),
        ),
        _RATES,
        "new connections a second; repeatable",
        group=LIMITS,
        more="RATE counts connections a second, or a minute or an hour: 30/m. BURST may come at"
        " once; it is the number in RATE unless given. PARTY=, such as user=30/m, may stand before"
        " it: PARTY is address, the default, or user. An address is one IPv4 address or one IPv6"
        " /64 network. Further connections are refused with 429.",
        common=False,
        repeatable=True,
        reloads=OPEN,
    )
    limit_messages: tuple[str, ...] = setting(
        (),
        converter(
            _allowed(PARTIES, "100:200, 10/m or user=50"),
            _parser(PARTIES, sizes=False),
        ),
        _RATES,
        "messages of a client a second; repeatable",
        group=LIMITS,
        more="RATE and BURST are as for --limit-connects. PARTY is connection, the default,"
        " address or user: the messages of all connections of one address or user count together."
        " Pings, pongs and short fragments count as messages.",
        repeatable=True,
        reloads=OPEN,
    )
    limit_octets: tuple[str, ...] = setting(
        (),
        converter(
            _allowed(PARTIES, "64KiB:1MiB or address=1MiB"),
            _parser(PARTIES, sizes=True),
        ),
        _RATES,
        "bytes of a client a second; repeatable",
        group=LIMITS,
        more="RATE and BURST are bytes of frames as they are sent, so a compressed message counts"
        " with its size before decompression. They take the units B, KiB, MiB and GiB. PARTY is as"
        " for --limit-messages.",
        common=False,
        repeatable=True,
        reloads=OPEN,
    )
    limit_action: str = setting(
        "wait",
        to_choice("wait", "close"),
        "wait|close",
        "action when a client sends too fast",
        group=LIMITS,
        more="wait reads the client no faster than --limit-messages and --limit-octets allow, and"
        " no message is lost. close closes the connection with 1008.",
        common=False,
        reloads=OPEN,
    )
    limits_dry_run: bool = setting(
        False,
        TO_SWITCH,
        "",
        "only count and log what the limits would do",
        group=LIMITS,
        more="It concerns --limit-connects, --limit-messages and --limit-octets.",
        common=False,
        reloads=OPEN,
    )
    max_subscriptions: int = setting(
        0,
        to_whole(0, 17),
        "COUNT",
        "channels of one connection; 0: up to 17",
        group=LIMITS,
        more="The path names one, and the query up to 16 others. A client that names more is"
        " refused with 400.",
        unit="channels",
        common=False,
        reloads=NEW,
    )

    @property
    def connect_rates(self) -> Mapping[str, Rate]:
        """Return the rates of `limit_connects`, by party."""
        return rates_of(self.limit_connects, CONNECTING_PARTIES)

    @property
    def message_rates(self) -> Mapping[str, Rate]:
        """Return the rates of `limit_messages`, by party."""
        return rates_of(self.limit_messages, PARTIES)

    @property
    def octet_rates(self) -> Mapping[str, Rate]:
        """Return the rates of `limit_octets`, by party."""
        return rates_of(self.limit_octets, PARTIES, sizes=True)
