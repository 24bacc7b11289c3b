"""The benchmarks with many nodes: what they measure is what they say. None of this is timed."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import broker, delivering, listener, publishing, recovering
from benchmarks.asking import Line, publish, stamped
from benchmarks.errors import BenchmarkError, MeasurementError
from benchmarks.listener import Wanderer
from benchmarks.nodes import Node, listening, node

from ..needs import need_program
from .processes import PATIENCE, wait_until


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[broker.Server]:
    need_program("redis-server")
    with broker.server(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node without Redis that keeps a history."""
    with node(tmp_path_factory.mktemp("node"), "--history", "1000") as made:
        yield made


def test_all_that_is_published_is_heard_by_each_and_timed(
    tmp_path: Path, load: Path, serving: Node
) -> None:
    with listening(load, tmp_path, [serving, serving], 7, 30) as heard:
        first = serving.publish(10, 200, stamps=False)
        second = serving.publish(20, 5000, in_flight=3)
        result = heard.result()
    assert (first.accepted, second.accepted) == (10, 20)
    assert result["count"] == 30 * 14
    assert result["octets"] == 14 * (10 * 200 + 20 * 5000)
    assert 0 < result["p50_us"] <= result["p99_us"] < PATIENCE * 1e6


def test_lines_are_many_in_each_request(tmp_path: Path, load: Path, serving: Node) -> None:
    with listening(load, tmp_path, [serving], 2, 60) as heard:
        asked = serving.publish(60, 100, lines=20)
        assert heard.result()["count"] == 120
    assert asked.statuses == Counter({200: 3})


def test_a_pace_is_kept(serving: Node) -> None:
    asked = serving.publish(5, 100, rate=50)
    assert asked.accepted == 5
    assert asked.seconds >= 4 / 50


def test_a_message_too_many_is_no_success(tmp_path: Path, load: Path, serving: Node) -> None:
    def one_is_told_more() -> None:
        with listening(load, tmp_path, [serving], 5, 2) as heard:
            where = f"http://127.0.0.1:{serving.admin}/connections"
            with urllib.request.urlopen(where) as answer:
                one = json.load(answer)["connections"][-1]["id"]
            line = Line(serving.admin)
            for _ in range(3):
                line.ask(f"/connections/{one}/send", b"you", "text/plain")
                assert line.wait()[0] == 200
            line.close()
            heard.result()

    with pytest.raises(MeasurementError, match="more messages than 2"):
        one_is_told_more()


def test_stamps_are_digits_that_the_load_generator_reads() -> None:
    assert stamped(24, 17) == b"00000000000000000017...."


def test_a_face_that_ends_amid_an_answer_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        child = os.fork()
        if not child:
            made, _ = listener.accept()
            made.recv(1000)
            made.close()
            os._exit(0)
        with pytest.raises(MeasurementError, match="closed a connection"):
            publish(port, "a", 1, 20, in_flight=1)
        os.waitpid(child, 0)


def test_a_wanderer_hears_everything_once_wherever_it_is(
    serving: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_STAYS", (20, 60))
    wanderer = Wanderer([serving.port, serving.port], "wandered", 1)
    wanderer.start()
    assert wanderer.joined.wait(PATIENCE)
    count = 900
    publish(serving.admin, "wandered", count, 40, stamps=False)
    wait_until(lambda: len(wanderer.heard) >= count, "what was published")
    wanderer.end()
    assert len(wanderer.heard) == count
    assert wanderer.gaps == 0
    assert wanderer.moves > 3


def test_who_never_reads_is_slow_and_the_others_are_timed(load: Path) -> None:
    some = publishing.measured(load, 40, 2, messages=4)
    assert some.dropped > 0
    assert 0 < some.p50 <= some.p99
    assert publishing.measured(load, 40, 0, messages=4).dropped == 0


def test_more_connections_than_descriptors_are_refused_in_a_line() -> None:
    with pytest.raises(BenchmarkError, match="raise it"):
        publishing.descriptors(10**9)


def test_redis_is_asked_killed_and_started_again(redis: broker.Server) -> None:
    with broker.Redis(redis.port) as asked, broker.Redis(redis.port) as subscriber:
        asked.ask("CONFIG", "RESETSTAT")
        assert asked.ask("SET", "a", b"\x00\r\n") == b"OK"
        assert asked.ask("GET", "a") == b"\x00\r\n"
        assert asked.ask("GET", "none") is None
        assert asked.ask("LRANGE", "none", 0, -1) == []
        assert asked.calls()["get"] == 2
        assert asked.memory() > 0
        with pytest.raises(MeasurementError, match="WRONGTYPE"):
            asked.ask("LPUSH", "a", 1)
        subscriber.ask("SUBSCRIBE", "x:bench")
        assert asked.wait_for_subscribers("bench", 1) == [b"x:bench"]
        assert asked.subscribers("other") == {}
        redis.kill()
        with pytest.raises((MeasurementError, OSError)):
            asked.ask("PING")
    redis.start()
    with broker.Redis(redis.port) as asked:
        assert asked.ask("GET", "a") is None
    pid = redis.pid
    redis.end()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("setup", delivering.SETUPS, ids=lambda each: each.title)
def test_each_setup_delivers(
    tmp_path: Path, load: Path, setup: delivering.Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    if setup.redis:
        need_program("redis-server")
    for name, count in {"CONNECTIONS": 10, "_ALONE": 20, "_FLAT_OUT": 20, "_TIMED": 4}.items():
        monkeypatch.setattr(delivering, name, count)
    found = delivering.measured(tmp_path, load, setup)
    assert min(found.alone, found.accepted, found.delivered, found.p50, found.p99) > 0
    assert bool(found.operations) == setup.redis
    # One round trip for each publish, whatever it does besides.
    assert 1 <= sum(found.operations.values()) <= 20 if setup.redis else True


def test_what_was_accepted_is_neither_missing_nor_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_program("redis-server")
    for name, value in {"MESSAGES": 300, "CLIENTS": 2, "AWAY": 0.5}.items():
        monkeypatch.setattr(recovering, name, value)
    found = recovering.kept(tmp_path)
    assert found.accepted + found.unknown == 300
    assert (found.missing, found.twice, found.disordered, found.gaps) == (0, 0, 0, 0)


def test_it_is_found_out_when_all_is_as_before(
    tmp_path: Path, load: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_program("redis-server")
    monkeypatch.setattr(recovering, "AWAY", 0.1)
    assert 0 < recovering.recovered(tmp_path, load, 20) < PATIENCE
