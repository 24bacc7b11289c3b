from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from autobahn.websocket.types import ConnectionDeny
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred

from wsservice import __version__
from wsservice.admin.figures import Figures
from wsservice.channels.contract import Sizes
from wsservice.directory import traffic
from wsservice.metrics import IDENTITY_REFUSALS, REFUSALS, Counts, Histogram
from wsservice.protocol import frames
from wsservice.server.behaviours import EchoServerProtocol, ServerProtocol

from ...support import BINARY, TEXT, Served, close_payload, frame, opening_request


class Source:
    """A server in memory, in figures."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.lag = Histogram()
        self.sizes: Callable[[], Sizes] = served.hub.sizes

    @property
    def counts(self) -> Counts:
        return self.served.factory.counts

    @property
    def publishing(self) -> Histogram:
        return self.served.hub.publishing

    def connections(self) -> Any:
        return self.served.hub

    def gauges(self) -> Mapping[str, float]:
        gauges = self.served.factory.memory_gauges()
        return {"ready": True, "max_connections": 10, "traces": 2, **gauges}

    def counters(self) -> Mapping[str, float]:
        factory = self.served.factory
        return {
            "slow_closed": factory.slow_closed,
            "slow_dropped": factory.slow_dropped,
            "slow_messages": factory.slow_messages,
            "log_dropped": self.served.log.dropped,
            **factory.memory_counters(),
        }


class Scraped:
    """A server whose figures are read as Prometheus reads them."""

    def __init__(self, protocol: type[ServerProtocol] = EchoServerProtocol, **settings: Any):
        self.served = Served(protocol, **settings)
        self.source = Source(self.served)
        self.figures = Figures(self.source, self.served.clock)

    def text(self) -> str:
        outcome: list[bytes] = []
        Deferred.fromCoroutine(self.figures.text()).addCallback(outcome.append)
        while not outcome:
            self.served.clock.advance(0)
        return outcome[0].decode()

    def values(self, name: str) -> dict[str, float]:
        """A metric's values, by those of its labels."""
        return {
            ",".join(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.name == f"wsservice_{name}"
        }

    def value(self, name: str) -> float:
        (value,) = self.values(name).values()
        return value


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def test_every_metric_is_of_its_kind_and_explained(scraped: Scraped) -> None:
    families = {each.name: each for each in text_string_to_metric_families(scraped.text())}
    assert all(each.documentation for each in families.values())
    kinds = {name: each.type for name, each in families.items() if name.startswith("wsservice_")}
    assert kinds == {
        "wsservice_connections": "gauge",
        "wsservice_connections_not_open": "gauge",
        "wsservice_max_connections": "gauge",
        "wsservice_channels": "gauge",
        "wsservice_channel_connections_max": "gauge",
        "wsservice_connections_accepted": "counter",
        "wsservice_connections_opened": "counter",
        "wsservice_ready": "gauge",
        "wsservice_traces": "gauge",
        "wsservice_messages": "counter",
        "wsservice_octets": "counter",
        "wsservice_send_queue_octets": "gauge",
        "wsservice_message_memory_octets": "gauge",
        "wsservice_message_memory_octets_max": "gauge",
        "wsservice_memory_given_up": "counter",
        "wsservice_message_timeouts": "counter",
        "wsservice_closes": "counter",
        "wsservice_refusals": "counter",
        "wsservice_slow_clients": "counter",
        "wsservice_slow_messages_dropped": "counter",
        "wsservice_log_lines_dropped": "counter",
        "wsservice_handshake_seconds": "histogram",
        "wsservice_publish_seconds": "histogram",
        "wsservice_reactor_lag_seconds": "histogram",
        "wsservice_codec_info": "gauge",
        "wsservice_build_info": "gauge",
    }
    assert "process_resident_memory_bytes" in families


def test_connections(scraped: Scraped) -> None:
    for path in ("/a", "/a", "/b"):
        scraped.served.connect().open(path)
    scraped.served.connect()
    scraped.served.connect().open("/c").lose()
    assert scraped.value("connections") == 3
    assert scraped.value("connections_not_open") == 1
    assert scraped.value("connections_accepted_total") == 5
    assert scraped.value("connections_opened_total") == 4
    assert scraped.value("channels") == 2
    assert scraped.value("channel_connections_max") == 2
    assert scraped.value("max_connections") == 10
    assert scraped.value("traces") == 2
    assert scraped.value("ready") == 1


def test_traffic_of_those_there_are_and_those_that_left(scraped: Scraped) -> None:
    request = opening_request("/")
    first, second = scraped.served.connect(), scraped.served.connect()
    answered = 0
    for client in (first, second):
        client.send(request)
        answered += len(client.taken())
    hello = frame(TEXT, b"hello")
    first.send(hello * 3)
    second.send(hello)
    before = scraped.values("messages_total"), scraped.values("octets_total")
    assert before[0] == {"received": 4, "sent": 4}
    assert before[1]["received"] == 2 * len(request) + 4 * len(hello)
    assert before[1]["sent"] == answered + 4 * (len(hello) - 4)
    first.lose()
    assert (scraped.values("messages_total"), scraped.values("octets_total")) == before


def test_what_a_connection_says_of_itself_is_no_message(scraped: Scraped) -> None:
    client = scraped.served.connect().open()
    client.send(frame(9, b"ping"))
    client.close()
    client.lose()
    assert scraped.values("messages_total") == {"received": 0, "sent": 0}


def test_messages_in_fragments_and_large_ones_and_published_ones(scraped: Scraped) -> None:
    client = scraped.served.connect().open("/x")
    client.send(frame(TEXT, b"frag", fin=False) + frame(0, b"ment"))
    large = frame(TEXT, b"x" * 100_000)
    client.send(large[:50_000])
    client.send(large[50_000:])
    scraped.served.hub.publish("x", b"news")
    assert scraped.values("messages_total") == {"received": 2, "sent": 3}


def test_messages_that_are_held_back_are_counted_once() -> None:
    class Slow(ServerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.pause_reading()

    scraped = Scraped(Slow)
    client = scraped.served.connect().open()
    client.send(frame(TEXT, b"a") * 5)
    assert scraped.values("messages_total")["received"] == 1
    for _ in range(4):
        client.protocol.resume_reading()
    assert scraped.values("messages_total")["received"] == 5


def test_what_waits(scraped: Scraped) -> None:
    client = scraped.served.connect().open("/x")
    client.protocol.pauseProducing()
    before = scraped.values("messages_total")["sent"]
    scraped.served.hub.publish("x", b"y" * 1000)
    assert scraped.value("send_queue_octets") > 1000
    assert scraped.values("messages_total")["sent"] == before
    client.protocol.resumeProducing()
    assert scraped.value("send_queue_octets") == 0
    assert scraped.values("messages_total")["sent"] == before + 1


def test_the_memory_for_messages() -> None:
    scraped = Scraped(memory_for_messages=50_000, message_timeout=1)
    one, other = (scraped.served.connect().open() for _ in range(2))
    one.send(frame(BINARY, bytes(40_000))[:-1])
    assert 39_000 < scraped.value("message_memory_octets") < 45_000
    assert scraped.value("message_memory_octets_max") == 50_000
    other.send(frame(BINARY, bytes(20_000))[:-1])
    assert scraped.values("memory_given_up_total") == {"message": 1, "send queue": 0}
    assert scraped.value("message_memory_octets") < 25_000
    scraped.served.clock.pump([0.1] * 12)
    assert scraped.value("message_timeouts_total") == 1
    assert scraped.value("message_memory_octets") == 0


def test_close_codes(scraped: Scraped) -> None:
    for code in (1000, 4001, 4002):
        client = scraped.served.connect().open()
        client.close(code)
        client.lose()
    scraped.served.connect().open().lose()
    going = scraped.served.connect().open()
    going.protocol.go_away()
    going.close(1001)
    going.lose()
    without = scraped.served.connect().open()
    without.send(frame(8))
    without.lose()
    wrong = scraped.served.connect().open()
    wrong.send(frame(3))
    wrong.lose()
    scraped.served.connect().lose()
    closes = scraped.values("closes_total")
    assert {code: count for code, count in closes.items() if count} == {
        "1000": 1,
        "1001": 1,
        "1002": 1,
        "1005": 1,
        "1006": 1,
        "4xxx": 2,
    }


class Denying(ServerProtocol):
    def onConnect(self, request: Any) -> None:
        if request.path == "/fail":
            raise RuntimeError("on purpose")
        raise ConnectionDeny(403, "on purpose")


def test_refusals() -> None:
    scraped = Scraped(Denying, max_connections=6)
    asked = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n",
        b"\x16\x03\x01",
        opening_request("/", "Origin: http://evil.example"),
        opening_request("/fail"),
        opening_request("/deny"),
    ]
    for octets in asked:
        client = scraped.served.connect()
        client.send(octets)
        client.lose()
    waiting = [scraped.served.connect() for _ in range(6)]
    scraped.served.connect().ask()
    scraped.served.clock.advance(5)
    waiting[0].lose()
    stopping = scraped.served.connect()
    stopping.protocol.go_away()
    scraped.served.connect().protocol.close_for_operator(1000, "")
    scraped.served.factory.count_refusal("no PROXY header")
    refusals = scraped.values("refusals_total")
    assert sorted(refusals) == sorted(REFUSALS)
    assert refusals.pop("timed out") == 6
    # Those of `--auth` have a test of their own.
    identity = {each: refusals.pop(each) for each in IDENTITY_REFUSALS}
    assert set(identity.values()) == {0}
    assert set(refusals.values()) == {1}


@pytest.mark.parametrize(("policy", "other"), [("close", "drop"), ("drop", "close")])
def test_slow_clients(policy: str, other: str) -> None:
    scraped = Scraped(slow_client=policy, send_buffer=1000)
    client = scraped.served.connect().open("/x")
    client.protocol.pauseProducing()
    for _ in range(30):
        scraped.served.hub.publish("x", b"y" * 100)
    slow = scraped.values("slow_clients_total")
    assert slow[policy] >= 1
    assert slow[other] == 0
    assert scraped.value("slow_messages_dropped_total") >= slow[policy]


def test_lines_that_were_lost(scraped: Scraped) -> None:
    scraped.served.log.dropped = 7
    assert scraped.value("log_lines_dropped_total") == 7


def test_latencies(scraped: Scraped) -> None:
    client = scraped.served.connect()
    scraped.served.clock.advance(0.2)
    client.ask()
    scraped.served.hub.publish("", b"news")
    scraped.source.lag.observe(0.003)
    assert scraped.value("handshake_seconds_sum") == pytest.approx(0.2)
    buckets = scraped.values("handshake_seconds_bucket")
    assert (buckets["0.1"], buckets["0.25"], buckets["+Inf"]) == (0, 1, 1)
    assert scraped.value("publish_seconds_count") == 1
    assert scraped.values("reactor_lag_seconds_bucket")["0.005"] == 1


def test_what_runs(scraped: Scraped) -> None:
    assert scraped.values("codec_info") == {frames.CODEC: 1}
    assert __version__ in next(iter(scraped.values("build_info")))


def test_nothing_of_a_peers_becomes_a_label(scraped: Scraped) -> None:
    before = scraped.text().count("\n")
    for number in range(30):
        client = scraped.served.connect().open(f"/channel-{number}")
        client.close(4000 + number)
        client.lose()
    assert scraped.text().count("\n") == before
    assert "channel-" not in scraped.text()


def test_many_connections_are_asked_some_at_a_time(
    scraped: Scraped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "_AT_ONCE", 2)
    clients = [scraped.served.connect().open() for _ in range(5)]
    for client in clients:
        client.text("x")
    outcome: list[bytes] = []
    Deferred.fromCoroutine(scraped.figures.text()).addCallback(outcome.append)
    assert not outcome
    # Who leaves in the middle of it is counted all the same, and once.
    clients[4].lose()
    clients[0].lose()
    scraped.served.clock.advance(0)
    assert b'wsservice_messages_total{direction="received"} 5.0' in outcome[0]
    assert scraped.values("messages_total")["received"] == 5


def test_each_service_has_its_own_registry_to_which_others_may_add(scraped: Scraped) -> None:
    Gauge("chat_rooms", "Rooms.", registry=scraped.figures.registry).set(3)
    assert "chat_rooms 3.0" in scraped.text()
    assert "chat_rooms" not in Scraped().text()


def test_reasons_in_close_frames_are_no_labels(scraped: Scraped) -> None:
    client = scraped.served.connect().open()
    client.send(frame(8, close_payload(1000, b"a reason")))
    client.lose()
    assert "a reason" not in scraped.text()
