from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from wsservice.webhook.figures import WebhookFigures


class Sender:
    delivered = 7
    dropped = 2
    waiting = 3
    attempts = {"taken": 4, "failed": 5}


def test_what_is_shown() -> None:
    registry = CollectorRegistry()
    registry.register(WebhookFigures(Sender()))
    lines = generate_latest(registry).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'wsservice_webhook_events_total{outcome="delivered"} 7.0',
        'wsservice_webhook_events_total{outcome="dropped"} 2.0',
        'wsservice_webhook_attempts_total{outcome="failed"} 5.0',
        'wsservice_webhook_attempts_total{outcome="taken"} 4.0',
        "wsservice_webhook_waiting 3.0",
    ]
