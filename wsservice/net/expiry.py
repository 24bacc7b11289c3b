"""Tell operators when the certificates of ports end: in the log, and for metrics."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import attrs
from twisted.logger import Logger

from ..escape import escape

SOON_SECONDS = 7 * 86400
"""Seconds before the end of a certificate from which on the log warns. Those who renew by ACME do
so weeks before."""

_log = Logger(namespace="wsservice")


@attrs.frozen
class ValidUntil:
    """The end of a certificate, in seconds since 1970. `port` is the option that names its port."""

    port: str
    certificate: str
    until: float


def warn_of_expiry(expiries: Iterable[ValidUntil], now: float) -> None:
    """Log a line for each certificate that has ended, or ends soon.

    `now` is in seconds since 1970.
    """
    for each in dict.fromkeys(expiries):
        if each.until - now >= SOON_SECONDS:
            continue
        _log.warn(
            "the certificate {name} of {port} {ends} {date}; renew it, and send SIGHUP",
            name=escape(each.certificate),
            port=each.port,
            ends="has ended on" if each.until <= now else "ends on",
            date=f"{datetime.fromtimestamp(each.until, UTC):%Y-%m-%d}",
        )
