"""Nodes that meet at a real redis-server: publishing, history, and all that can happen to it."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .processes import BIN, Program, Programs, wait_until
from .redis import SERVERS, Redis, Redises
from .wire import Wire

BEHAVIOUR = """
from wsservice import ServerProtocol


class Feed(ServerProtocol):
    def onOpen(self):
        self.sendMessage(b"hello")

    def onMessage(self, payload, isBinary):
        self.broadcast(payload, isBinary)
"""
MANUAL = (Path(__file__).parents[2] / "docs" / "broker.md").read_text()
OFFER = "Sec-WebSocket-Protocol: wsservice.v1\r\n"

Answer = tuple[int, dict[str, Any], Any]


class Node:
    """A service, and its admin face."""

    def __init__(
        self,
        programs: Programs,
        url: str,
        wires: list[Wire],
        *options: str,
        ready: bool = True,
    ) -> None:
        self._wires = wires
        # Without a pid file, of which there is one in a folder.
        self.program: Program = programs.start(
            *(BIN / "twistd", "-n", "--pidfile=", "wsdemo"),
            *("--port", "0", "--protocol", "feed.Feed", "--broker", url),
            # Nobody answers pings here.
            *("--admin", "tcp:0:interface=127.0.0.1", "--ping-interval", "0"),
            *options,
        )
        self.port, self.admin = self.program.log.wait_for_ports(2)
        if ready:
            wait_until(self.is_ready, "the node to be ready")

    def ask(self, path: str, body: bytes | None = None) -> Answer:
        """Return the answer of the admin face: status, body, headers."""
        method = "GET" if body is None else "POST"
        url = f"http://127.0.0.1:{self.admin}{path}"
        request = urllib.request.Request(url, body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read()), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), error.headers

    def is_ready(self) -> bool:
        return self.ask("/readyz")[0] == 200

    def publish(self, channel: str, message: str) -> Answer:
        return self.ask(f"/publish/{channel}", message.encode())

    def metric(self, name: str) -> float:
        """The value of a line of the metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        (value,) = (line.rpartition(" ")[2] for line in lines if line.startswith(name + " "))
        return float(value)

    def messages(self, outcome: str) -> float:
        """How many messages between nodes came to this."""
        return self.metric(f'wsservice_broker_messages_total{{outcome="{outcome}"}}')

    def plain(self, path: str = "/news") -> Wire:
        """A connection that gets messages as they are, after its greeting."""
        wire = self.connect(path)
        assert wire.receive() == "hello"
        return wire

    def speak(self, path: str = "/news") -> Wire:
        """One that speaks the subprotocol."""
        return self.connect(path, OFFER)

    def connect(self, path: str, headers: str = "") -> Wire:
        """An open connection."""
        wire = Wire(self.port, path=path)
        self._wires.append(wire)
        return wire.upgrade(headers=headers)


def envelope(wire: Wire) -> dict[str, Any]:
    """The next one that has a place."""
    while True:
        said = wire.receive()
        assert isinstance(said, str), said
        members: dict[str, Any] = json.loads(said)
        if "offset" in members:
            return members


def place(members: dict[str, Any]) -> str:
    """The query that goes on after an envelope."""
    return f"?since={members['offset']}&epoch={members['epoch']}"


def heard(*nodes: Node) -> bool:
    """Return True if these nodes subscribe to all channels with connections."""
    return all(not node.metric("wsservice_broker_channels_unheard") for node in nodes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "feed.py").write_text(BEHAVIOUR)
    return tmp_path


@pytest.fixture
def redis(redises: Redises) -> Redis:
    # Always: else Redis may answer before it writes, where the disk is slow.
    return redises.start("--appendonly", "yes", "--appendfsync", "always")


MakeNode = Callable[..., Node]


@pytest.fixture
def make(programs: Programs, folder: Path, redis: Redis) -> Iterator[MakeNode]:
    """Makes nodes. Their connections are ended after the test."""
    wires: list[Wire] = []

    def make(*options: str, redis: Redis = redis, url: str = "", ready: bool = True) -> Node:
        return Node(programs, url or redis.url, wires, *options, ready=ready)

    yield make
    for wire in wires:
        wire.end()


Pair = tuple[Node, Node]


@pytest.fixture
def nodes(make: MakeNode) -> Pair:
    return make(), make()


@pytest.fixture
def keeping(make: MakeNode) -> Pair:
    return make("--history", "10000,300"), make("--history", "10000,300")


class TestWithoutHistory:
    def test_what_one_node_publishes_reaches_all_in_one_order(self, nodes: Pair) -> None:
        wires = [node.plain() for node in nodes for _ in range(2)]
        other = nodes[1].plain("/other")
        wait_until(lambda: heard(*nodes), "the channels to be heard")
        for number in range(300):
            wires[number % 4].send(str(number))
        seen = [[wire.receive() for _ in range(300)] for wire in wires]
        assert seen[0] == seen[1] == seen[2] == seen[3]
        for each in range(4):
            # In the order in which each of them was published.
            own = [str(number) for number in range(300) if number % 4 == each]
            assert [said for said in seen[0] if int(str(said)) % 4 == each] == own
        status, said, _ = nodes[0].publish("other", "to the other")
        assert (status, said) == (202, {"handed": 0, "dropped": 0, "nodes": 1})
        assert other.receive() == "to the other"

    def test_who_publishes_is_told_who_has_it(self, nodes: Pair) -> None:
        assert nodes[0].publish("news", "x")[:2] == (200, {"handed": 0, "dropped": 0, "nodes": 0})
        nodes[0].plain()
        wait_until(lambda: heard(*nodes), "the channel to be heard")
        assert nodes[0].publish("news", "x")[:2] == (200, {"handed": 1, "dropped": 0, "nodes": 1})
        assert nodes[1].publish("news", "x")[:2] == (202, {"handed": 0, "dropped": 0, "nodes": 1})
        nodes[1].plain()
        wait_until(lambda: heard(*nodes), "the channel to be heard")
        assert nodes[0].publish("news", "x")[:2] == (202, {"handed": 1, "dropped": 0, "nodes": 2})

    def test_whoever_comes_first_hears_itself(self, nodes: Pair) -> None:
        for number in range(50):
            wire = nodes[0].connect(f"/own{number}")
            wire.send("me")
            assert (wire.receive(), wire.receive()) == ("hello", "me")
            wire.end()

    def test_while_it_is_away_nothing_is_published_and_all_else_goes_on(
        self, nodes: Pair, redis: Redis
    ) -> None:
        wires = [node.plain() for node in nodes]
        speaker = nodes[0].speak()
        wait_until(lambda: heard(*nodes), "the channel to be heard")
        redis.stop()
        wait_until(lambda: not nodes[0].is_ready(), "the node to say that it is not ready")
        status, said, headers = nodes[0].publish("news", "lost")
        assert status == 503
        assert "published to nobody" in said["error"]
        assert int(headers["Retry-After"]) > 0
        assert str(redis.port) in nodes[0].ask("/readyz")[1]["reasons"][0]
        late = nodes[0].plain()
        assert nodes[0].messages("refused") == 1
        assert json.loads(str(speaker.receive()))["data"] == "hello"
        redis.start()
        for node in nodes:
            wait_until(node.is_ready, "the node to be ready again")
        assert nodes[0].publish("news", "back")[0] == 202
        assert [wire.receive() for wire in (*wires, late)] == ["back"] * 3
        # Something may have been missed, and nobody knows.
        assert json.loads(str(speaker.receive())) == {"channel": "news", "gap": True}
        assert json.loads(str(speaker.receive()))["data"] == "back"

    def test_what_was_under_way_when_it_was_paused_is_published_once(
        self, nodes: Pair, redis: Redis
    ) -> None:
        wires = [node.plain() for node in nodes]
        wait_until(lambda: heard(*nodes), "the channel to be heard")
        redis.pause()
        wires[0].send("under way")
        answers: list[Answer] = []
        asking = threading.Thread(target=lambda: answers.append(nodes[0].publish("news", "asked")))
        asking.start()
        asking.join(20)
        ((status, said, _),) = answers
        assert status == 504
        assert "not known" in said["error"]
        wait_until(lambda: not nodes[0].is_ready(), "the node to find out")
        redis.resume()
        for node in nodes:
            wait_until(node.is_ready, "the node to be ready again")
        assert nodes[0].publish("news", "after")[0] == 202
        for wire in wires:
            came = [wire.receive()]
            while came[-1] != "after":
                came.append(wire.receive())
            # The other may have come, or not: that was the answer.
            assert [each for each in came if each != "asked"] == ["under way", "after"]
            assert came.count("asked") <= 1

    def test_messages_wait_where_there_is_a_buffer(self, make: MakeNode, redis: Redis) -> None:
        node = make("--broker-buffer", "3")
        wire = node.plain()
        wait_until(lambda: heard(node), "the channel to be heard")
        redis.stop()
        wait_until(lambda: not node.is_ready(), "the node to find out")
        for number in range(5):
            wire.send(str(number))
        wait_until(lambda: node.metric("wsservice_broker_messages_waiting") == 3, "the buffer")
        assert node.publish("news", "too many")[0] == 503
        redis.start()
        assert [wire.receive() for _ in range(3)] == ["0", "1", "2"]
        assert node.publish("news", "after")[0] == 200
        assert wire.receive() == "after"

    def test_what_is_no_message_of_a_node_is_passed_over(self, nodes: Pair, redis: Redis) -> None:
        wire = nodes[0].plain()
        wait_until(lambda: heard(*nodes), "the channel to be heard")
        name = b"wsservice:said:{news}"
        good = b"1 0 - 1000 t somebody %d\n%s"
        for payload in (
            *(b"", b"garbage", b"2" + good[1:] % (1, b"x"), b"\xff" * 1000),
            good % (1, b"no UTF-8 \xff"),
            good % (1, b"x" * (2 * 1024 * 1024)),
        ):
            redis.ask("SPUBLISH", name, payload)
        redis.ask("SPUBLISH", name, good % (1, b"good"))
        redis.ask("SPUBLISH", name, good % (1, b"twice"))
        redis.ask("SPUBLISH", name, good % (2, b"better"))
        assert [wire.receive() for _ in range(2)] == ["good", "better"]
        assert nodes[0].messages("poisoned") == 6
        assert nodes[0].messages("repeated") == 1
        nodes[0].program.log.wait_for("is passed over: it has no head of version 1")
        assert "\xff" not in nodes[0].program.log.text

    def test_a_full_one_passes_on_what_is_not_kept(self, nodes: Pair, redis: Redis) -> None:
        wire = nodes[1].plain()
        wait_until(lambda: heard(*nodes), "the channel to be heard")
        redis.ask("CONFIG", "SET", "maxmemory", "1")
        assert nodes[0].publish("news", "x")[0] == 202
        assert wire.receive() == "x"


class TestHistory:
    def test_live_and_resumed_messages_are_one_sequence_also_on_another_node(
        self, keeping: Pair
    ) -> None:
        publisher = keeping[0].plain()
        first = keeping[0].speak()
        last = envelope(first)
        seen: list[dict[str, Any]] = []
        for number in range(2000):
            publisher.send(str(number))
            if number % 200 == 100:
                # It goes away somewhere, and comes back on the other node.
                for _ in range(50):
                    seen.append(envelope(first))
                first.end()
                first = keeping[number // 200 % 2].speak("/news" + place(seen[-1] or last))
        seen += [envelope(first) for _ in range(2000 - len(seen))]
        assert [each["data"] for each in seen] == [str(number) for number in range(2000)]
        assert [each["offset"] for each in seen] == list(range(1, 2001))
        assert len({each["epoch"] for each in seen}) == 1

    def test_across_a_kill_of_redis_none_is_missing_and_none_comes_twice(
        self, keeping: Pair, redis: Redis
    ) -> None:
        count = 1500
        wires = [node.plain() for node in keeping]
        speaker = keeping[1].speak()
        last = envelope(speaker)
        wait_until(lambda: heard(*keeping), "the channel to be heard")
        published: list[str] = []
        killed = threading.Event()

        def publish() -> None:
            for number in range(count):
                if number == 500:
                    killed.set()
                while True:
                    status, _, _ = keeping[0].publish("news", str(number))
                    if status in (200, 202):
                        break
                    # Only who knows that it reached nobody may do it again.
                    assert status == 503
                    killed.wait(0.05)
                published.append(str(number))

        publishing = threading.Thread(target=publish)
        publishing.start()
        assert killed.wait(20)
        redis.kill()
        speaker.end()
        redis.start()
        publishing.join(60)
        assert published == [str(number) for number in range(count)]
        for wire in wires:
            assert [wire.receive() for _ in range(count)] == published
        # Who was on one node goes on at the other, from before all of it.
        resumed = keeping[0].speak("/news" + place(last))
        said = [envelope(resumed) for _ in range(count)]
        assert [each["data"] for each in said] == published
        assert [each["offset"] for each in said] == list(range(1, count + 1))
        assert keeping[0].publish("news", "end")[0] == 202
        assert envelope(resumed)["data"] == "end"
        assert [wire.receive() for wire in wires] == ["end", "end"]

    def test_what_was_missed_while_it_was_away_is_fetched_when_it_is_back(
        self, keeping: Pair, redis: Redis
    ) -> None:
        here, there = keeping
        plain, speaker = there.plain(), there.speak()
        envelope(speaker)
        assert here.publish("news", "before")[0] == 202
        assert (plain.receive(), envelope(speaker)["data"]) == ("before", "before")
        # The server throws its clients out, and one comes back late, and misses some.
        there.program.signal(signal.SIGSTOP)
        redis.ask("CLIENT", "KILL", "TYPE", "PUBSUB")
        for number in range(200):
            while (status := here.publish("news", str(number))[0]) == 503:
                time.sleep(0.01)
            assert status == 200
        there.program.signal(signal.SIGCONT)
        assert [plain.receive() for _ in range(200)] == [str(number) for number in range(200)]
        assert [envelope(speaker)["offset"] for _ in range(200)] == list(range(2, 202))
        assert there.messages("fetched") == 1
        assert here.publish("news", "after")[0] == 202
        assert (plain.receive(), envelope(speaker)["data"]) == ("after", "after")

    def test_where_the_history_is_gone_there_is_a_gap(
        self, redises: Redises, make: MakeNode
    ) -> None:
        redis = redises.start()
        node = make("--history", "100", redis=redis)
        plain, speaker = node.plain(), node.speak()
        first = envelope(speaker)
        assert node.publish("news", "before")[0] == 200
        assert (plain.receive(), envelope(speaker)["data"]) == ("before", "before")
        redis.kill()
        redis.start()
        assert envelope(speaker)["gap"] is True
        wait_until(node.is_ready, "the node to be ready again")
        assert node.publish("news", "after")[0] == 200
        after = envelope(speaker)
        assert (plain.receive(), after["data"], after["offset"]) == ("after", "after", 1)
        assert after["epoch"] != first["epoch"]

    def test_a_server_that_lost_its_end_is_found_out(self, keeping: Pair, redis: Redis) -> None:
        node, other = keeping
        speaker = node.speak()
        envelope(speaker)
        for number in range(5):
            if number == 3:
                behind = redis.dump()
            assert node.publish("news", str(number))[0] == 200
        last = [envelope(speaker) for _ in range(5)][-1]
        redis.restore(behind)
        redis.ask("CLIENT", "KILL", "TYPE", "PUBSUB")
        assert envelope(speaker)["gap"] is True
        late = other.speak("/news" + place(last))
        assert envelope(late)["gap"] is True
        wait_until(node.is_ready, "the node to be ready again")
        assert node.publish("news", "anew")[0] == 202
        assert [envelope(wire)["offset"] for wire in (speaker, late)] == [1, 1]
        node.program.log.wait_for("Redis has lost messages of the channel news")

    def test_what_is_kept_is_bounded(self, make: MakeNode, redis: Redis) -> None:
        node = make("--history", "10,1", "--history-bytes", "65536")
        wire = node.speak()
        start = envelope(wire)
        for number in range(30):
            assert node.publish("news", str(number))[0] == 200
        assert redis.ask("XLEN", "wsservice:stream:{news}") == 10
        for number in range(10):
            assert node.publish(f"large{number}", "x" * 20_000)[0] == 200
        octets = int(redis.ask("HGET", "wsservice:places", "octets"))
        assert octets <= 65536
        assert redis.ask("MEMORY", "USAGE", "wsservice:stream:{large9}") > 20_000
        late = node.speak("/news" + place(start))
        assert envelope(late)["gap"] is True
        wait_until(
            lambda: not redis.ask("EXISTS", "wsservice:stream:{large9}"), "the age that was set"
        )
        assert all(redis.ask("PTTL", key) > 0 for key in redis.ask("KEYS", "wsservice:*")), (
            "every key expires"
        )

    def test_a_full_one_refuses_and_delivers_nothing(self, keeping: Pair, redis: Redis) -> None:
        wire = keeping[1].plain()
        wait_until(lambda: heard(*keeping), "the channel to be heard")
        redis.ask("CONFIG", "SET", "maxmemory", "1")
        status, said, headers = keeping[0].publish("news", "lost")
        assert (status, "Retry-After" in headers) == (503, True)
        assert "OOM" in said["error"]
        assert "OOM" in keeping[0].ask("/readyz")[1]["reasons"][0]
        redis.ask("CONFIG", "SET", "maxmemory", "0")
        assert keeping[0].publish("news", "back")[0] == 202
        assert wire.receive() == "back"
        assert keeping[0].is_ready()

    def test_poisoned_keys_do_no_more_harm_than_a_gap(self, keeping: Pair, redis: Redis) -> None:
        node = keeping[0]
        wire = node.speak()
        start = envelope(wire)
        stream = "wsservice:stream:{news}"
        # Somebody else's stands there: it is left alone, and messages pass by.
        redis.ask("SET", stream, "mine")
        assert node.publish("news", "1")[0] == 200
        assert envelope(wire)["data"] == "1"
        late = node.speak("/news" + place(start))
        assert envelope(late)["gap"] is True
        assert redis.ask("GET", stream) == b"mine"
        redis.ask("DEL", stream)
        # Somebody has added to ours.
        assert node.publish("news", "2")[0] == 200
        last = envelope(wire)
        redis.ask("XADD", stream, "9999-1", "garbage", "\x1b[31m")
        assert node.publish("news", "3")[0] == 200
        assert node.publish("news", "4")[0] == 200
        assert [envelope(wire)["data"] for _ in range(2)] == ["3", "4"]
        resumed = node.speak("/news" + place(last))
        assert [envelope(resumed)["data"] for _ in range(2)] == ["3", "4"]
        assert node.messages("poisoned") == 2
        # What all channels have in common is no hash any more.
        redis.ask("DEL", "wsservice:places")
        redis.ask("SET", "wsservice:places", "mine")
        status, answer, _ = node.publish("news", "5")
        assert (status, "WRONGTYPE" in answer["error"]) == (503, True)
        redis.ask("DEL", "wsservice:places")
        assert node.publish("news", "6")[0] == 200
        assert "\x1b" not in node.program.log.text

    def test_an_entry_that_is_none_is_a_gap_of_one(self, keeping: Pair, redis: Redis) -> None:
        node = keeping[0]
        wire = node.speak()
        start = envelope(wire)
        for number in range(5):
            assert node.publish("news", str(number))[0] == 200
        stream = "wsservice:stream:{news}"
        entries = redis.ask("XRANGE", stream, "-", "+")
        redis.ask("DEL", stream)
        for number, (name, fields) in enumerate(entries):
            redis.ask("XADD", stream, name, *(("1", "garbage") if number == 2 else fields))
        resumed = node.speak("/news" + place(start))
        said = [envelope(resumed) for _ in range(5)]
        assert [each.get("data", "gap") for each in said] == ["0", "1", "gap", "3", "4"]
        assert [each["offset"] for each in said] == [1, 2, 3, 4, 5]

    def test_who_comes_while_it_is_away_waits_for_what_it_missed(
        self, keeping: Pair, redis: Redis
    ) -> None:
        node = keeping[0]
        wire = node.speak()
        start = envelope(wire)
        for number in range(3):
            assert node.publish("news", str(number))[0] == 200
        redis.kill()
        wait_until(lambda: not node.is_ready(), "the node to find out")
        late, new = node.speak("/news" + place(start)), node.speak("/other")
        gone = node.speak("/news" + place(start))
        gone.end()
        late.send_frame(9, b"still there")
        redis.start()
        assert [envelope(late)["data"] for _ in range(3)] == ["0", "1", "2"]
        assert envelope(new)["joined"] is True


@pytest.mark.parametrize("which", SERVERS)
def test_nodes_meet_at_servers_of_every_kind(redises: Redises, make: MakeNode, which: str) -> None:
    server = redises.start(which=which)
    nodes = [make("--history", "100", redis=server) for _ in range(2)]
    plain, speaker = nodes[0].plain(), nodes[1].speak()
    start = envelope(speaker)
    wait_until(lambda: heard(*nodes), "the channel to be heard")
    for number in range(10):
        assert nodes[number % 2].publish("news", str(number))[:2] == (
            202,
            {"handed": 1, "dropped": 0, "nodes": 2},
        )
    assert [plain.receive() for _ in range(10)] == [str(number) for number in range(10)]
    resumed = nodes[0].speak("/news" + place(start))
    assert [envelope(wire)["offset"] for wire in (speaker, resumed) for _ in range(10)] == [
        *range(1, 11),
        *range(1, 11),
    ]


class TestWorkers:
    def test_workers_and_another_node_are_nodes_alike(self, make: MakeNode, redis: Redis) -> None:
        both, one = make("--workers", "2", "--history", "1000"), make("--history", "1000")
        # They go to the two workers in turn.
        wires = [both.plain() for _ in range(4)] + [one.plain()]
        speaker = both.speak()
        last = envelope(speaker)
        wait_until(
            lambda: both.metric("wsservice_broker_channels_heard") == 2 and heard(both, one),
            "the channel to be heard",
        )
        for wire in wires:
            wire.send("from a worker")
        status, said, _ = both.publish("news", "from the parent")
        assert (status, said) == (202, {"handed": 0, "dropped": 0, "nodes": 3})
        assert one.publish("news", "from another")[1] == {"handed": 1, "dropped": 0, "nodes": 3}
        seen = [[wire.receive() for _ in range(7)] for wire in wires]
        assert seen == [seen[0]] * 5
        assert sorted(map(str, seen[0])) == [
            "from a worker",
            "from a worker",
            "from a worker",
            "from a worker",
            "from a worker",
            "from another",
            "from the parent",
        ]
        assert [envelope(speaker)["offset"] for _ in range(7)] == list(range(1, 8))
        resumed = one.speak("/news" + place(last))
        assert [envelope(resumed)["offset"] for _ in range(7)] == list(range(1, 8))
        assert both.messages("published") == 5
        redis.kill()
        wait_until(lambda: not both.is_ready(), "the service to find out")
        assert both.publish("news", "lost")[0] == 503
        redis.start()
        wait_until(lambda: both.is_ready() and one.is_ready(), "both to be ready again")
        assert both.publish("news", "back")[0] == 202
        assert [wire.receive() for wire in wires] == ["back"] * 5

    def test_a_roll_loses_nothing_for_those_who_come_back(self, make: MakeNode) -> None:
        node = make("--workers", "2", "--history", "1000")
        speaker = node.speak()
        last = envelope(speaker)
        node.program.signal(signal.SIGUSR2)
        for number in range(50):
            assert node.publish("news", str(number))[0] in (200, 202)
        assert speaker.receive_close().code == 1001
        wait_until(node.is_ready, "the node to be ready again")
        again = node.speak("/news" + place(last))
        assert [envelope(again)["data"] for _ in range(50)] == [str(each) for each in range(50)]


class TestFaults:
    def test_wrong_credentials_are_said_and_mended_by_a_reload(
        self, programs: Programs, redises: Redises, make: MakeNode, folder: Path
    ) -> None:
        redis = redises.start("--requirepass", "s3cret", "--appendonly", "no")
        secret = folder / "password"
        secret.write_text("wr0ng")
        secret.chmod(0o600)
        node = make("--broker-password-file", str(secret), redis=redis, ready=False)
        wait_until(lambda: "WRONGPASS" in str(node.ask("/readyz")[1]), "it to be said")
        status, said, headers = node.publish("news", "x")
        assert (status, "WRONGPASS" in said["error"]) == (503, True)
        assert "Retry-After" in headers
        wire = node.plain()
        secret.write_text("s3cret")
        node.program.signal(signal.SIGHUP)
        wait_until(node.is_ready, "the node to be ready")
        assert node.publish("news", "x")[0] == 200
        assert wire.receive() == "x"
        for word in ("s3cret", "wr0ng"):
            assert word not in node.program.log.text

    def test_a_user_who_may_do_only_what_is_needed(self, redises: Redises, make: MakeNode) -> None:
        redis = redises.start()
        rights = re.findall("^ACL (SETUSER wsservice .*)$", MANUAL, re.MULTILINE)
        (words,) = (each.replace("PASSWORD", "s3cret").split() for each in rights)
        assert redis.ask("ACL", *words) == b"OK"
        url = redis.url.replace("://", "://wsservice:s3cret@")
        for options in ((), ("--history", "10")):
            node = make(*options, url=url)
            wire = node.plain()
            wait_until(partial(heard, node), "the channel to be heard")
            # The other may hear it a while longer.
            assert node.publish("news", "x")[0] in (200, 202)
            assert wire.receive() == "x"
            wire.close()

    def test_a_slow_one_delays_what_is_published_and_nothing_else(
        self, keeping: Pair, redis: Redis
    ) -> None:
        wires = [node.plain() for node in keeping]
        wait_until(lambda: heard(*keeping), "the channel to be heard")
        sleeping = threading.Thread(target=lambda: redis.ask("DEBUG", "SLEEP", "2"))
        sleeping.start()
        answers: list[Answer] = []
        asking = threading.Thread(target=lambda: answers.append(keeping[0].publish("news", "x")))
        asking.start()
        # Others come, and are answered, meanwhile.
        keeping[0].plain("/other")
        asking.join(20)
        sleeping.join(20)
        assert answers[0][0] == 202
        assert [wire.receive() for wire in wires] == ["x", "x"]
        assert keeping[0].is_ready()

    def test_one_that_is_paused_is_published_to_once(self, keeping: Pair, redis: Redis) -> None:
        wires = [node.plain() for node in keeping]
        wait_until(lambda: heard(*keeping), "the channel to be heard")
        redis.pause()
        for number in range(20):
            wires[number % 2].send(str(number))
        wait_until(lambda: not any(map(Node.is_ready, keeping)), "the nodes to find out")
        redis.resume()
        came = [[wire.receive() for _ in range(20)] for wire in wires]
        assert came[0] == came[1]
        assert sorted(came[0], key=lambda each: int(str(each))) == [str(n) for n in range(20)]
        for node in keeping:
            wait_until(node.is_ready, "the nodes to be ready again")
        assert keeping[0].publish("news", "after")[0] == 202
        assert [wire.receive() for wire in wires] == ["after", "after"]
        assert sum(node.messages("resent") for node in keeping) > 0

    def test_another_takes_over(self, redises: Redises, make: MakeNode) -> None:
        master = redises.start()
        replica = redises.start("--replicaof", "127.0.0.1", str(master.port))
        sentinel = redises.sentinel(master)
        wait_until(sentinel.knows_replica, "the sentinel to know the replica")
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        nodes = [make("--history", "1000", redis=master, url=url) for _ in range(2)]
        plain, speaker = nodes[0].plain(), nodes[1].speak()
        start = envelope(speaker)
        for number in range(10):
            assert nodes[0].publish("news", str(number))[0] == 202
        wait_until(lambda: replica.ask("XLEN", "wsservice:stream:{news}") == 10, "the replica")
        master.kill()
        wait_until(lambda: not any(map(Node.is_ready, nodes)), "the nodes to find out")
        assert nodes[0].publish("news", "lost")[0] == 503
        wait_until(lambda: all(map(Node.is_ready, nodes)), "another to take over", 60)
        assert nodes[1].publish("news", "10")[0] == 202
        assert [plain.receive() for _ in range(11)] == [str(number) for number in range(11)]
        assert [envelope(speaker)["offset"] for _ in range(11)] == list(range(1, 12))
        resumed = nodes[0].speak("/news" + place(start))
        assert [envelope(resumed)["offset"] for _ in range(11)] == list(range(1, 12))

    def test_one_that_was_behind_takes_over_and_nobody_is_deceived(
        self, redises: Redises, make: MakeNode
    ) -> None:
        master = redises.start()
        replica = redises.start("--replicaof", "127.0.0.1", str(master.port))
        sentinel = redises.sentinel(master)
        wait_until(sentinel.knows_replica, "the sentinel to know the replica")
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        nodes = [make("--history", "1000", redis=master, url=url) for _ in range(2)]
        plain, speaker = nodes[0].plain(), nodes[1].speak()
        envelope(speaker)
        for number in range(5):
            assert nodes[0].publish("news", str(number))[0] == 202
        wait_until(lambda: replica.ask("XLEN", "wsservice:stream:{news}") == 5, "the replica")
        replica.pause()
        master.ask("CLIENT", "KILL", "TYPE", "REPLICA")
        for number in range(5, 10):
            assert nodes[0].publish("news", str(number))[0] == 202
        said = [envelope(speaker) for _ in range(10)]
        assert [plain.receive() for _ in range(10)] == [str(number) for number in range(10)]
        master.kill()
        replica.resume()
        wait_until(lambda: not any(map(Node.is_ready, nodes)), "the nodes to find out")
        wait_until(lambda: all(map(Node.is_ready, nodes)), "the other to take over", 60)
        assert envelope(speaker)["gap"] is True
        assert nodes[0].publish("news", "anew")[0] == 202
        new = envelope(speaker)
        assert (new["data"], new["offset"], plain.receive()) == ("anew", 1, "anew")
        assert new["epoch"] != said[-1]["epoch"]
        # Whoever has what is lost, and comes back with it, is told so.
        late = nodes[0].speak("/news" + place(said[-1]))
        assert envelope(late)["gap"] is True
        assert any("Redis has lost messages" in node.program.log.text for node in nodes)

    def test_channels_are_shared_by_several_and_one_that_is_away_takes_only_its_own(
        self, redises: Redises, redis: Redis, make: MakeNode
    ) -> None:
        other = redises.start()
        nodes = [make("--broker", other.url) for _ in range(2)]
        names = [f"channel{number}" for number in range(12)]
        wires = {name: nodes[1].plain(f"/{name}") for name in names}
        wait_until(lambda: heard(*nodes), "the channels to be heard")
        assert {nodes[0].publish(name, name)[0] for name in names} == {202}
        assert [wires[name].receive() for name in names] == names
        other.kill()
        wait_until(lambda: not nodes[0].is_ready(), "the node to find out")
        answers = {name: nodes[0].publish(name, "again")[0] for name in names}
        assert set(answers.values()) == {202, 503}
        for name, status in answers.items():
            if status == 202:
                assert wires[name].receive() == "again"
