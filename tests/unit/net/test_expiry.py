"""expiry.py and figures.py: the ends of certificates, in the log and for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from twisted.logger import globalLogPublisher

from wsservice.net.expiry import SOON_SECONDS, ValidUntil, warn_of_expiry
from wsservice.net.figures import CertificateFigures

from ...support import Logged

NOW = 1_700_000_000.0  # 2023-11-14
DAY = 86400


def said(*ends: ValidUntil) -> list[str]:
    log = Logged()
    globalLogPublisher.addObserver(log)
    try:
        warn_of_expiry(ends, NOW)
    finally:
        globalLogPublisher.removeObserver(log)
    return log.text.splitlines()


def test_only_what_ends_soon_is_told_once() -> None:
    soon = ValidUntil("--port 443", "a.example", NOW + 2 * DAY)
    over = ValidUntil("--listen ssl:1", "b\x1b[31m", NOW - DAY)
    later = ValidUntil("--port 443", "c.example", NOW + SOON_SECONDS)
    lines = said(soon, over, later, soon)
    assert len(lines) == 2
    assert lines[0].endswith(
        "the certificate a.example of --port 443 ends on 2023-11-16; renew it, and send SIGHUP"
    )
    assert "of --listen ssl:1 has ended on 2023-11-13;" in lines[1]
    assert "\x1b" not in lines[1]


def test_each_certificate_has_a_series_and_two_alike_have_one() -> None:
    registry = CollectorRegistry(auto_describe=False)
    ends = [
        ValidUntil("--port 443", "a.example", NOW),
        ValidUntil("--port 443", "a.example", NOW - DAY),
        ValidUntil("--port 443", "b.example", NOW),
    ]
    registry.register(CertificateFigures(lambda: ends))
    text = generate_latest(registry).decode()
    name = "wsservice_tls_certificate_not_after_seconds"
    assert f'{name}{{certificate="a.example",port="--port 443"}} 1.6999136e+09\n' in text
    assert f'{name}{{certificate="b.example",port="--port 443"}} 1.7e+09\n' in text
    assert text.count(f"\n{name}{{") == 2
    ends.clear()
    assert f"{name}{{" not in generate_latest(registry).decode()
