"""Nodes that meet at a real redis-server, one of them with workers: they know of each other."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

import pytest

from wsservice.cluster.registry import BEAT, EXPIRES

from .conftest import Connect
from .processes import Program, Programs, wait_until
from .redis import Redis, Redises
from .test_admin import LOOPBACK, Asking, admin_of
from .wire import Wire

INDEX = "wsservice:nodes:{cluster}"


class Node:
    """A service that is one of several."""

    def __init__(self, programs: Programs, redis: Redis, *options: str) -> None:
        self.program: Program = programs.twist(
            *("--port", "0", "--protocol", "echo", "--admin", LOOPBACK),
            *("--broker", redis.url, *options),
        )

    def wait(self) -> Node:
        """Wait until it serves, and knows its own name."""
        self.program.log.wait_for("up to ")
        self.program.log.wait_for("this is node ")
        found = re.search(r"this is node (\w+)", self.program.log.text)
        assert found is not None
        self.name = found[1]
        self.admin: Asking = admin_of(self.program)
        ports = self.program.log.wait_for_ports(2)
        self.port = next(each for each in ports if each != self.admin.place)
        return self

    def ask(self, target: str) -> Any:
        answer = self.admin.ask(target)
        assert answer.status == 200, answer.body
        return answer.said

    def post(self, target: str, body: str = "") -> tuple[int, Any]:
        answer = self.admin.ask(target, method="POST", body=body.encode())
        return answer.status, answer.said

    def up(self) -> list[str]:
        """The nodes that answer, as it sees them."""
        return [each["node"] for each in self.ask("/cluster")["nodes"] if each["up"]]

    def known(self) -> list[str]:
        return [each["node"] for each in self.ask("/cluster")["nodes"]]

    def ids(self, query: str = "") -> list[str]:
        return [each["id"] for each in self.ask(f"/connections{query}")["connections"]]


@pytest.fixture
def redis(redises: Redises) -> Redis:
    return redises.start()


def meet(programs: Programs, redis: Redis, *options: tuple[str, ...]) -> list[Node]:
    """Nodes that see each other, in the order of their names' coming."""
    nodes = [Node(programs, redis, *each) for each in options]
    for node in nodes:
        node.wait()
    names = sorted(node.name for node in nodes)
    for node in nodes:
        wait_until(lambda node=node: node.up() == names, "the nodes to see each other")  # type: ignore[misc]
    return nodes


def connected(connect: Connect, node: Node, count: int, path: str = "/x") -> list[Wire]:
    wires = [connect(node.port, path=path) for _ in range(count)]
    for wire in wires:  # the handshake may be done here before it is there
        wire.send("there?")
        assert wire.receive() == "there?"
    return wires


def test_what_is_anywhere_is_seen_and_reached_from_everywhere(
    programs: Programs, redis: Redis, connect: Connect
) -> None:
    nodes = meet(programs, redis, (), ("--workers", "2"), ())
    one, workers, _ = nodes
    wires = {node.name: connected(connect, node, 3) for node in nodes}
    wires[workers.name] += connected(connect, workers, 1, "/y")

    counts = {each["node"]: each["connections"] for each in one.ask("/cluster")["nodes"]}
    assert counts == {node.name: 4 if node is workers else 3 for node in nodes}
    shown = {each["node"]: each for each in one.ask("/cluster")["nodes"]}
    assert shown[workers.name]["workers"] == 2
    assert re.fullmatch(r"Redis [0-9.]+", shown[workers.name]["brokers"][0]["version"])
    wait_until(lambda: one.admin.value("wsservice_cluster_nodes") == 3, "the next beat")

    every = sorted(
        f"{node.name}.{number}"
        for node in nodes
        for number in range(1, 5 if node is workers else 4)
    )
    for node in nodes:
        assert node.ids() == every
        paged: list[str] = []
        after = ""
        while True:
            said = node.ask(f"/connections?limit=4{after}")
            assert said["total"] == 10
            paged += [each["id"] for each in said["connections"]]
            if said["next"] is None:
                break
            after = f"&after={said['next']}"
        assert paged == every
        assert node.ask("/channels") == {
            "total": 2,
            "at_most": 2,
            "channels": [{"channel": "x", "connections": 9}, {"channel": "y", "connections": 1}],
            "next": None,
            "missing": [],
            "problem": None,
        }
        members = node.ask("/channels/y")
        assert [each["id"] for each in members["connections"]] == [f"{workers.name}.4"]

    for asked in nodes:
        for node in nodes:
            status, said = asked.post(f"/connections/{node.name}.1/send", f"from {asked.name}")
            assert (status, said) == (200, {"handed": 1, "dropped": 0})
            assert wires[node.name][0].receive() == f"from {asked.name}"
    for asked, node in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        target = f"/connections/{node.name}.2/close"
        assert asked.post(target, '{"code": 4001}') == (202, {"closing": f"{node.name}.2"})
        assert wires[node.name][1].answer_close().code == 4001
        wait_until(lambda a=asked, t=target: a.post(t)[0] == 404, "it to be gone")  # type: ignore[misc]
    answer = one.admin.ask(f"/connections/{workers.name}.1/trace")
    assert answer.status == 421
    assert f"ask {workers.name}, on " in answer.said["error"]
    assert one.post("/connections/nobody.1/close")[0] == 404

    # Who stops says so: it is not waited for.
    workers.program.signal(signal.SIGTERM)
    for wire in wires[workers.name][:1] + wires[workers.name][2:]:
        wire.answer_close()
    workers.program.log.wait_for("Main loop terminated.")
    assert workers.name not in one.known()
    assert one.ask("/connections")["missing"] == []


def test_one_that_dies_is_missing_until_it_is_forgotten(
    programs: Programs, redis: Redis, connect: Connect
) -> None:
    one, other = meet(programs, redis, (), ())
    connected(connect, one, 1)
    connected(connect, other, 2)
    assert one.ask("/connections")["total"] == 3

    # One that is only frozen may have done what it was asked.
    other.program.signal(signal.SIGSTOP)
    assert one.ask("/channels")["missing"] == [other.name]
    status, said = one.post(f"/connections/{other.name}.1/close")
    assert status == 504
    assert "is not known" in said["error"]
    other.program.signal(signal.SIGCONT)
    wait_until(lambda: one.ask("/connections")["missing"] == [], "it to go on")

    other.program.signal(signal.SIGKILL)
    other.program.wait()
    said = one.ask("/connections")
    assert (said["total"], said["missing"]) == (1, [other.name])
    (shown,) = (each for each in one.ask("/cluster")["nodes"] if each["node"] == other.name)
    assert not shown["up"]
    assert shown["pid"] == other.program.process.pid
    status, said = one.post(f"/connections/{other.name}.1/send", "hello")
    assert status == 503
    assert "was not reached" in said["error"]
    wait_until(lambda: one.known() == [one.name], "it to be forgotten", 3 * EXPIRES)
    said = one.ask("/connections")
    assert (said["total"], said["missing"]) == (1, [])
    assert one.post(f"/connections/{other.name}.1/send", "hello")[0] == 404


def test_without_the_broker_what_is_here_goes_on(
    programs: Programs, redis: Redis, connect: Connect
) -> None:
    one, other = meet(programs, redis, (), ("--workers", "2"))
    (wire,) = connected(connect, one, 1)
    connected(connect, other, 2)
    assert one.ask("/connections")["total"] == 3

    def is_alone() -> bool:
        said = one.ask("/connections")
        alone: bool = said["missing"] == [other.name] and said["total"] == 1
        return alone and "the broker" in (said["problem"] or "")

    redis.kill()
    wait_until(is_alone, "the others to be missing")
    assert one.ask("/channels")["missing"] == [other.name]
    said = one.ask("/cluster")
    assert said["missing"] == [other.name]
    assert "the broker failed" in said["problem"]
    status, said = one.post(f"/connections/{other.name}.1/close")
    assert status == 503
    assert one.post(f"/connections/{one.name}.1/send", "still here")[0] == 200
    assert wire.receive() == "still here"
    wait_until(lambda: one.admin.value("wsservice_cluster_nodes") == 0, "the next beat")

    # It comes back with nothing of what it had.
    redis.start()
    both = sorted((one.name, other.name))
    wait_until(lambda: one.up() == both and other.up() == both, "both to be there again")
    assert one.ask("/connections")["total"] == 3
    assert one.ask("/connections")["problem"] is None

    redis.pause()
    said = one.ask("/connections")
    assert (said["total"], said["missing"]) == (1, [other.name])
    # Where it knew of them a moment ago, it has asked them, and heard nothing.
    said = one.ask("/connections")
    assert (said["total"], said["missing"]) == (1, [other.name])
    assert "the broker" in said["problem"]
    redis.resume()
    wait_until(lambda: one.ask("/connections")["total"] == 3, "all of them again")


def test_what_others_leave_at_the_broker_does_no_harm(
    programs: Programs, redis: Redis, connect: Connect
) -> None:
    one, other = meet(programs, redis, (), ())
    both = sorted((one.name, other.name))
    connected(connect, other, 1)
    channel = f"wsservice:node:{{{one.name}}}"
    hostile = [b"", b"\xff\x1b[2J", b"[" * 100_000, b'{"v": 1}', b'{"v":1,"from":"a.b"}']
    # As the node hears it, which depends on the version.
    publish = "SPUBLISH" if redis.ask("PUBLISH", channel, b"") == 0 else "PUBLISH"
    for octets in hostile:
        assert redis.ask(publish, channel, octets) == 1
    forged = {"v": 1, "from": other.name, "id": "0" * 32, "ask": "close", "connection": -1}
    redis.ask(publish, channel, json.dumps(forged))
    for name in ("\x1b]0;owned\x07", "a.b", "x" * 1000):
        redis.ask("ZADD", INDEX, 0, name)
        redis.ask("SET", f"{INDEX}:{name}", "{}", "PX", 60_000)
    redis.ask("ZADD", INDEX, 0, "zombie")
    redis.ask("SET", f"{INDEX}:zombie", "\x00not JSON", "PX", 60_000)
    redis.ask("ZADD", INDEX, 0, "list")
    redis.ask("RPUSH", f"{INDEX}:list", "an element")
    redis.ask("PEXPIRE", f"{INDEX}:list", 60_000)
    wait_until(lambda: "zombie" in one.known(), "the node that is none")
    assert one.known() == sorted([*both, "zombie", "list"])
    assert one.up() == both
    said = one.ask("/connections")
    assert (said["total"], said["missing"]) == (1, ["list", "zombie"])
    assert one.admin.value("wsservice_cluster_malformed_total") >= len(hostile)
    log = one.program.log.text
    assert log.count("of another node is malformed") == 1
    assert "\x1b" not in log
    assert "Traceback" not in log

    # A key of the index that is none of its kind is said to be so, and gone once it is deleted.
    redis.ask("DEL", INDEX)
    redis.ask("SET", INDEX, "poison")
    wait_until(lambda: one.ask("/cluster")["problem"], "the broker to fail")
    assert "WRONGTYPE" in one.ask("/cluster")["problem"]
    one.program.log.wait_for("others cannot see this node: ")
    redis.ask("DEL", INDEX)
    wait_until(lambda: one.up() == both, "both to be there again")
    one.program.log.wait_for("others see this node again")


def test_in_a_broker_that_is_full_who_is_there_stays(programs: Programs, redis: Redis) -> None:
    (one,) = meet(programs, redis, ())
    key = f"{INDEX}:{one.name}"
    wait_until(lambda: redis.ask("EXISTS", key), "the first beat")
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    midway = 1000 * (EXPIRES - BEAT / 2)
    wait_until(lambda: redis.ask("PTTL", key) < midway, "half a beat")
    wait_until(lambda: redis.ask("PTTL", key) > midway, "the next beat")
    assert one.known() == [one.name]
    late = Node(programs, redis).wait()
    late.program.log.wait_for("others cannot see this node: ")
    assert "OOM" in late.program.log.text
    redis.ask("CONFIG", "SET", "maxmemory", "0")
    both = sorted((one.name, late.name))
    wait_until(lambda: one.up() == both, "the one that came late")


def test_a_node_needs_no_face_to_be_one(programs: Programs, redis: Redis, connect: Connect) -> None:
    (one,) = meet(programs, redis, ())
    for workers in ("1", "2"):
        options = ("--port", "0", "--protocol", "echo", "--broker", redis.url)
        faceless = programs.twist(*options, "--workers", workers)
        faceless.log.wait_for("up to ")
        wire = connect(faceless.port, path="/x")
        wait_until(lambda: len(one.up()) == 2, "the other")
        (name,) = set(one.up()) - {one.name}
        wait_until(lambda: one.ids() == [f"{name}.1"], "its connection")  # noqa: B023
        assert one.post(f"/connections/{name}.1/send", "hello")[0] == 200
        assert wire.receive() == "hello"
        os.kill(faceless.process.pid, signal.SIGTERM)
        wire.answer_close()
        faceless.log.wait_for("Main loop terminated.")
        assert one.known() == [one.name]
