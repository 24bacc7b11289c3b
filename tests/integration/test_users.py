"""The users of a service that runs: in one process, in workers, on nodes that meet at a Redis."""

from __future__ import annotations

import json
import os
import signal
from typing import Any
from urllib.parse import quote

import pytest

from wsservice.errors import NotAcceptedError
from wsservice.publisher import Publisher

from .conftest import Connect
from .processes import Programs, wait_until
from .redis import Redis, Redises
from .test_admin import LOOPBACK, Asking, admin_of
from .test_cluster import Node, meet
from .test_inbox import STREAM, entries
from .test_workers import workers
from .test_workers_presence import said, stopped
from .wire import Closed, Wire

PEOPLE = """
import json, os
from wsservice import ServerProtocol
from wsservice.auth import User

class People(ServerProtocol):
    def onConnect(self, request):
        if "user" in request.params:
            self.user = User(request.params["user"][0])

    async def onMessage(self, payload, isBinary):
        super().onMessage(payload, isBinary)
        asked = json.loads(payload)
        hub = self.factory.hub
        if "to" in asked:
            for each in asked["data"]:
                outcome = await hub.send_user(asked["to"], each.encode())
            self.sendMessage(json.dumps(outcome).encode())
        elif "presence" in asked:
            presence = await hub.presence(asked["presence"])
            said = [presence.count, presence.users, sorted(each.user for each in presence.people)]
            self.sendMessage(json.dumps(said).encode())
        else:
            self.sendMessage(str(os.getpid()).encode())
"""
ODD = "a/b*c é\u202e<b>\"'"


@pytest.fixture
def redis(redises: Redises) -> Redis:
    return redises.start()


@pytest.fixture
def people(programs: Programs) -> tuple[str, str]:
    """The option for a behaviour whose users say who they are in the query."""
    (programs.folder / "people.py").write_text(PEOPLE)
    return ("--protocol", "people.People")


class Service:
    """A service with an admin face."""

    def __init__(self, programs: Programs, *options: Any, count: int = 1) -> None:
        self.program = programs.twistd(
            *("--port", "0", "--admin", LOOPBACK, "--workers", str(count)), *options
        )
        if count > 1:
            workers(self.program, count)
        self.admin: Asking = admin_of(self.program)
        self.port = next(
            each for each in self.program.log.wait_for_ports(2) if each != self.admin.place
        )

    def get(self, target: str) -> tuple[int, Any]:
        answer = self.admin.ask(target)
        return answer.status, answer.said

    def post(self, target: str, body: str = "") -> tuple[int, Any]:
        answer = self.admin.ask(target, method="POST", body=body.encode())
        return answer.status, answer.said


def tab(connect: Connect, port: int, user: str = "", path: str = "/room") -> Wire:
    """A connection of a user, that is open on the server's side too."""
    query = f"?user={quote(user, safe='')}" if user else ""
    wire = connect(port, path=path + query)
    wire.send("{}")
    assert str(wire.receive()).isdigit()
    return wire


def pid(wire: Wire) -> int:
    """The process that serves a connection."""
    return int(said(wire, "{}"))


def received_after(wire: Wire, probe: str) -> object:
    """The next message that is no probe."""
    message = wire.receive()
    while message == probe:
        message = wire.receive()
    return message


SERVICES = [(1, ()), (2, ()), (2, ("--history", "10"))]


@pytest.mark.parametrize(("count", "options"), SERVICES)
def test_users_are_listed_reached_and_closed_wherever_they_are(
    programs: Programs, connect: Connect, people: Any, count: int, options: tuple[str, ...]
) -> None:
    service = Service(programs, *people, *options, count=count)
    tabs = [tab(connect, service.port, "tom", f"/{number}") for number in range(4)]
    assert len({pid(each) for each in tabs}) == count
    odd, nobody = tab(connect, service.port, ODD), tab(connect, service.port)

    listed = service.get("/users")[1]
    assert listed["users"] == [{"id": ODD, "connections": 1}, {"id": "tom", "connections": 4}]
    assert (listed["total"], listed["next"]) == (2, None)
    assert service.get("/users?limit=1")[1]["users"] == [{"id": ODD, "connections": 1}]
    shown = service.get("/users/tom?limit=3")[1]
    assert [each["user"] for each in shown["connections"]] == ["tom"] * 3
    assert (shown["total"], shown["next"]) == (4, shown["connections"][-1]["id"])
    assert service.get("/connections?user=tom")[1]["total"] == 4
    everybody = service.get("/connections")[1]["connections"]
    assert [each.get("user") for each in everybody] == ["tom"] * 4 + [ODD, None]

    assert service.post("/users/tom/send", "hello") == (200, {"handed": 4, "dropped": 0})
    assert [each.receive() for each in tabs] == ["hello"] * 4
    path = f"/users/{quote(ODD, safe='')}"
    assert service.post(f"{path}/send", "you") == (200, {"handed": 1, "dropped": 0})
    assert odd.receive() == "you"
    assert service.post("/users/eve/send", "you")[0] == 404

    outcome = said(nobody, json.dumps({"to": "tom", "data": ["one", "two"]}))
    assert outcome[1] == 0
    assert outcome[2] is (count == 1)
    assert outcome[0] == (4 if count == 1 else 2)
    assert [[each.receive() for _ in "12"] for each in tabs] == [["one", "two"]] * 4

    assert service.post("/users/tom/close", '{"code": 4001, "reason": "out"}') == (
        202,
        {"closing": 4},
    )
    assert [each.answer_close() for each in tabs] == [Closed(4001, "out")] * 4
    wait_until(lambda: service.get("/users/tom")[0] == 404, "the user to be gone")
    assert service.get("/users")[1]["users"] == [{"id": ODD, "connections": 1}]
    assert said(odd, "{}")


@pytest.mark.parametrize(("count", "options"), SERVICES)
def test_messages_to_a_user_keep_their_order(
    programs: Programs, connect: Connect, people: Any, count: int, options: tuple[str, ...]
) -> None:
    service = Service(programs, *people, *options, count=count)
    tabs = [tab(connect, service.port, "tom") for _ in range(3)]
    sender = tab(connect, service.port)
    data = [f"message {number}" for number in range(500)]
    sender.send(json.dumps({"to": "tom", "data": data}))
    for each in tabs:
        assert [each.receive() for _ in data] == data


def test_the_logs_name_the_user(programs: Programs, connect: Connect, people: Any) -> None:
    messages = programs.folder / "messages.log"
    service = Service(
        programs,
        *people,
        *("--log-format", "json", "--log-level", "debug"),
        *("--message-log", messages, "--message-log-format", "json"),
    )
    tab(connect, service.port, ODD).send_close(1000)
    tab(connect, service.port)
    wait_until(lambda: messages.read_text().count("\n") == 2, "both messages")
    one, other = (json.loads(line) for line in messages.read_text().splitlines())
    assert (one["user"], one["payload"]) == (ODD, "{}")
    assert "user" not in other
    service.program.log.wait_for("over, 1000")
    lines = [json.loads(line) for line in service.program.log.text.splitlines()]
    named = [each for each in lines if each.get("user") == ODD]
    assert [each["text"].partition("] ")[2] for each in named] == ["open, at /room", "over, 1000"]
    assert all("\\u202e" in each["text"] for each in named)


def refused(port: int, user: str) -> int:
    wire = Wire(port, path=f"/room?user={user}")
    try:
        wire.upgrade()
        return wire.status
    finally:
        wire.end()


@pytest.mark.parametrize("count", [1, 2])
def test_a_user_has_so_many_connections(
    programs: Programs, connect: Connect, people: Any, count: int
) -> None:
    service = Service(programs, *people, "--max-connections-per-user", "3", count=count)
    tabs = [tab(connect, service.port, "tom") for _ in range(3)]
    assert len({pid(each) for each in tabs}) == count
    for _ in range(4):
        assert refused(service.port, "tom") == 403
    tab(connect, service.port, "ann")
    for _ in range(4):
        tab(connect, service.port)
    tabs[0].send_close(1000)
    tabs[0].end()
    wait_until(lambda: service.get("/users/tom")[1]["total"] == 2, "one to be gone")
    wait_until(lambda: refused(service.port, "tom") == 101, "the seat to be free")


@pytest.mark.parametrize("count", [1, 2])
def test_the_oldest_connection_of_a_user_makes_way(
    programs: Programs, connect: Connect, people: Any, count: int
) -> None:
    options = ("--max-connections-per-user", "2", "--user-limit-closes", "oldest")
    service = Service(programs, *people, *options, count=count)
    tabs = [tab(connect, service.port, "tom") for _ in range(5)]
    gone = Closed(1008, "a newer connection of this user took its place")
    assert [each.answer_close() for each in tabs[:3]] == [gone] * 3
    assert {pid(each) for each in tabs[3:]}
    wait_until(lambda: service.get("/users/tom")[1]["total"] == 2, "the others to be gone")


def test_seats_are_free_again_once_a_worker_has_died(
    programs: Programs, connect: Connect, people: Any
) -> None:
    service = Service(programs, *people, "--max-connections-per-user", "2", count=2)
    tabs = [tab(connect, service.port, "tom") for _ in range(2)]
    assert refused(service.port, "tom") == 403
    os.kill(pid(tabs[0]), signal.SIGKILL)
    workers(service.program, 3)
    wait_until(lambda: refused(service.port, "tom") == 101, "the seat to be free")


def test_a_worker_that_does_not_answer_is_named(
    programs: Programs, connect: Connect, people: Any
) -> None:
    service = Service(programs, *people, count=2)
    one, other = (tab(connect, service.port, user) for user in ("tom", "ann"))
    stuck = pid(other)
    assert stuck != pid(one)
    with stopped(stuck):
        status, answer = service.post("/users/tom/send", "hi")
        assert (status, answer["handed"]) == (202, 1)
        assert [each[:7] for each in answer["missing"]] == ["worker "]
        status, answer = service.post("/users/ann/send", "hi")
        assert status == 504
        assert answer["error"].startswith("whether the user was reached is not known")
        status, answer = service.get("/users/ann")
        assert (status, answer["total"], len(answer["missing"])) == (200, 0, 1)
        assert len(service.get("/users")[1]["missing"]) == 1
    assert one.receive() == other.receive() == "hi"


def test_another_program_sends_to_a_user(programs: Programs, connect: Connect, people: Any) -> None:
    service = Service(programs, *people)
    tabs = [tab(connect, service.port, ODD) for _ in range(2)]
    with Publisher(f"http://127.0.0.1:{service.admin.place}") as publisher:
        assert publisher.send_user(ODD, "hello")[:3] == (2, 0, True)
        assert publisher.send_user(ODD, b"\x00")[:3] == (2, 0, True)
        with pytest.raises(NotAcceptedError, match="404: the user has no connection"):
            publisher.send_user("eve", "hello")
    assert [[each.receive() for _ in "12"] for each in tabs] == [["hello", b"\x00"]] * 2


def test_the_token_of_a_client_names_its_user(programs: Programs, connect: Connect) -> None:
    from wsservice.auth.tokens import line_of

    token, line = line_of("tom")
    file = programs.folder / "users"
    file.write_text(f"{line}\n")
    file.chmod(0o600)
    service = Service(programs, "--protocol", "echo", "--auth", f"tokens:{file}")
    wire = connect(service.port, path=f"/x?access_token={token}")
    wire.send("hello")
    assert wire.receive() == "hello"
    assert service.get("/users/tom")[1]["total"] == 1
    assert service.post("/users/tom/send", "hi")[1]["handed"] == 1
    assert wire.receive() == "hi"


@pytest.mark.parametrize("count", [1, 2])
def test_a_token_that_comes_as_the_first_message_needs_a_seat_too(
    programs: Programs, connect: Connect, count: int
) -> None:
    from wsservice.auth.tokens import line_of

    token, line = line_of("tom")
    file = programs.folder / "users"
    file.write_text(f"{line}\n")
    file.chmod(0o600)
    service = Service(
        programs,
        *("--protocol", "echo", "--auth", f"tokens:{file}", "--auth-first-message"),
        *("--max-connections-per-user", "1"),
        count=count,
    )
    one, two = connect(service.port), connect(service.port)
    one.send(token)
    one.send("hello")
    assert one.receive() == "hello"
    two.send(token)
    assert two.answer_close() == Closed(
        1008, "this user has too many connections; close one of them first"
    )
    assert service.post("/users/tom/send", "hi") == (200, {"handed": 1, "dropped": 0})
    assert one.receive() == "hi"


FORGED = '] [wsservice#info] forged [1 192.0.2.1:5 "'
HOSTILE = [
    "/" * 127 + "*" * 128,
    "../../connections/1/close",
    "*",
    f"tom{FORGED}",
    '"},{"id":"9',
    "\u202e\u2066</td><script>1</script>",
    "%2F%00",
    "\\\\",
]


@pytest.mark.parametrize("count", [1, 2])
def test_an_odd_id_forges_nothing_and_reaches_its_user_alone(
    programs: Programs, connect: Connect, people: Any, count: int
) -> None:
    service = Service(programs, *people, "--log-level", "debug", count=count)
    bystander = tab(connect, service.port, "tom")
    for id_ in HOSTILE:
        wire = tab(connect, service.port, id_)
        path = f"/users/{quote(id_, safe='')}"
        assert service.get(path)[1]["user"] == id_
        assert service.post(f"{path}/send", "hi") == (200, {"handed": 1, "dropped": 0})
        assert wire.receive() == "hi"
        assert service.post(f"{path}/close")[0] == 202
        wire.answer_close()
    service.program.log.wait_for("over, 1000", len(HOSTILE))
    assert said(bystander, "{}")
    text = service.program.log.text
    assert all(line.isprintable() for line in text.splitlines())
    assert all('"tom] [wsservice' in line for line in text.splitlines() if "forged" in line)


def test_a_wrong_id_gets_one_line(programs: Programs, connect: Connect, people: Any) -> None:
    service = Service(programs, *people)
    tab(connect, service.port, "tom")
    service.program.log.wait_for("Message received: {}")
    before = service.program.log.text
    for wrong in ("%00", "a%0D%0AX-Y: z", "%1B%5B2J", "%FF", "%", "", "a" * 256, "a" * 10_000):
        for target in (f"/users/{wrong}", f"/connections?user={wrong}"):
            answer = service.admin.ask(target.replace(" ", "%20"))
            if answer.status == 200:
                assert (wrong, answer.said["total"]) == ("%", 0)  # a query may have a bare %
                continue
            assert answer.status == 400, target
            assert answer.said["error"].startswith("the user's id ")
            assert "aaa" not in answer.said["error"]
        assert service.admin.ask(f"/users/{wrong}/send", method="POST").status in (400, 404)
    assert service.program.log.text == before


class TestNodes:
    def test_users_are_reached_on_all_nodes(
        self, programs: Programs, redis: Redis, connect: Connect, people: Any
    ) -> None:
        nodes = meet(programs, redis, (*people, "--workers", "2"), people)
        tabs = [tab(connect, node.port, "tom") for node in nodes for _ in range(2)]
        nobody = [tab(connect, node.port) for node in nodes]
        for node in nodes:
            assert node.ask("/users")["users"] == [{"id": "tom", "connections": 4}]
            shown = node.ask("/users/tom")
            assert [each["user"] for each in shown["connections"]] == ["tom"] * 4
            assert (shown["total"], shown["missing"]) == (4, [])
            assert node.ask("/connections?user=tom&limit=1")["total"] == 4
            assert node.post("/users/tom/send", "hi") == (200, {"handed": 4, "dropped": 0})
            assert node.post("/users/eve/send", "hi")[0] == 404
        assert [[each.receive() for _ in nodes] for each in tabs] == [["hi"] * 2] * 4

        # Two workers and one node have connections of the user, once all have subscribed.
        probe = json.dumps({"to": "tom", "data": ["probe"]})
        for wire in nobody:
            wait_until(lambda wire=wire: said(wire, probe)[1:] == [0, False, 3], "all three")  # type: ignore[misc]
        data = [f"message {number}" for number in range(200)]
        for wire in nobody:
            wire.send(json.dumps({"to": "tom", "data": data}))
            for each in tabs:
                received = [received_after(each, "probe"), *(each.receive() for _ in data[1:])]
                assert received == data
            assert json.loads(str(wire.receive()))[1:] == [0, False, 3]

        for wire in nobody:
            assert said(wire, '{"presence": "room"}') == [6, 1, ["", "", *["tom"] * 4]]

        assert nodes[1].post("/users/tom/close", '{"code": 4001}') == (202, {"closing": 4})
        assert [each.answer_close().code for each in tabs] == [4001] * 4
        for node in nodes:
            wait_until(
                lambda node=node: node.admin.ask("/users/tom").status == 404,  # type: ignore[misc]
                "the user to be gone",
            )

    def test_a_node_that_does_not_answer_is_named(
        self, programs: Programs, redis: Redis, connect: Connect, people: Any
    ) -> None:
        one, other = meet(programs, redis, people, people)
        tabs = [tab(connect, node.port, "tom") for node in (one, other)]
        with stopped(other.program.process.pid):
            status, answer = one.post("/users/tom/send", "hi")
            assert (status, answer) == (202, {"handed": 1, "dropped": 0, "missing": [other.name]})
            assert one.ask("/users")["missing"] == [other.name]
        assert [each.receive() for each in tabs] == ["hi", "hi"]

    def test_the_history_of_channels_has_no_message_to_a_user(
        self, programs: Programs, redis: Redis, connect: Connect, people: Any
    ) -> None:
        (node,) = meet(programs, redis, (*people, "--history", "10"))
        wire, nobody = tab(connect, node.port, "tom"), tab(connect, node.port)
        nobody.send(json.dumps({"to": "tom", "data": ["hi"]}))
        assert wire.receive() == "hi"
        assert list(redis.ask("KEYS", "*tom*")) == []

    def test_the_inbox_names_the_user(
        self, programs: Programs, redis: Redis, connect: Connect, people: Any
    ) -> None:
        node = Node(programs, redis, *people, "--inbox", STREAM).wait()
        tab(connect, node.port, ODD)
        tab(connect, node.port)
        wait_until(lambda: len(entries(redis)) == 2, "both messages")
        assert [each["user"].decode() for each in entries(redis)] == [ODD, ""]
