from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from wsservice.cluster.figures import ClusterFigures


class Cluster:
    count = 3
    beats = {"said": 7, "failed": 1}
    questions = {"answered": 5, "late": 2}
    answers = {"answered": 4}
    malformed = 6


def test_what_is_shown() -> None:
    registry = CollectorRegistry()
    registry.register(ClusterFigures(Cluster()))
    lines = generate_latest(registry).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "wsservice_cluster_nodes 3.0",
        'wsservice_cluster_beats_total{outcome="failed"} 1.0',
        'wsservice_cluster_beats_total{outcome="said"} 7.0',
        'wsservice_cluster_questions_total{outcome="answered"} 5.0',
        'wsservice_cluster_questions_total{outcome="late"} 2.0',
        'wsservice_cluster_answers_total{outcome="answered"} 4.0',
        "wsservice_cluster_malformed_total 6.0",
    ]
