"""Tickets of services that run: in one process, in workers, and on nodes that share a Redis."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wsservice.errors import NotAcceptedError
from wsservice.publisher import Publisher

from .conftest import Connect
from .processes import PATIENCE, Program, Programs, wait_until
from .redis import Redis, Redises
from .test_admin import LOOPBACK, admin_of
from .test_cluster import Node, meet
from .test_users import PEOPLE, received_after
from .test_workers_presence import said
from .wire import Closed, Wire

BEHAVIOUR = """
import json, os
from wsservice import ServerProtocol

class Who(ServerProtocol):
    def onOpen(self):
        user = self.user
        said = {"id": user.id, "claims": dict(user.claims), "pid": os.getpid()}
        self.sendMessage(json.dumps(said).encode())
"""

AUTH = ("--auth", "tickets", "--auth-failures", "0", "--protocol", "who.Who")

AT_ONCE = 12
"""Clients that show one ticket at the same time."""


def make(port: int, said: object) -> tuple[int, Any]:
    """Ask an admin face for a ticket."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/tickets", json.dumps(said))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ticket(port: int, user: str = "tom", **claims: Any) -> str:
    status, said = make(port, {"user": user, "claims": claims})
    assert status == 201, said
    assert said["expires"] == 30
    assert isinstance(said["ticket"], str)
    return said["ticket"]


Show = Callable[..., list[Wire]]


@pytest.fixture
def show() -> Iterator[Show]:
    """Show one ticket on several ports, as nearly at once as one machine can."""
    wires: list[Wire] = []

    def show(text: str, *ports: int) -> list[Wire]:
        new = [Wire(port, path=f"/chat?ticket={text}") for port in ports]
        wires.extend(new)
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        request = (
            f"GET /chat?ticket={text} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        for each in new:
            each.socket.sendall(request)
        for each in new:
            each.head = each._head()
            each.status = int(each.head.split()[1])
        return new

    yield show
    for each in wires:
        each.end()


class Served:
    """A service that asks for tickets."""

    def __init__(self, programs: Programs, workers: int, *options: str | Path) -> None:
        (programs.folder / "who.py").write_text(BEHAVIOUR)
        self.program: Program = programs.twistd(
            *("--port", "0", "--admin", LOOPBACK, "--workers", str(workers), *options)
        )
        if workers > 1:
            for number in range(1, workers + 1):
                self.program.log.wait_for(f"worker {number} ")
        self.program.log.wait_for("up to ")
        place = admin_of(self.program).place
        assert isinstance(place, int)
        self.admin: int = place
        ports = self.program.log.wait_for_ports(2)
        self.port = next(each for each in ports if each != self.admin)


@pytest.mark.parametrize("workers", [1, 2])
class TestOneService:
    def test_a_ticket_lets_one_client_in_as_its_user(
        self, programs: Programs, show: Show, workers: int
    ) -> None:
        served = Served(programs, workers, *AUTH)
        first = ticket(served.admin, "j\u00f6rg", role="editor")
        (wire,) = show(first, served.port)
        told = wire.receive()
        assert isinstance(told, str)
        said = json.loads(told)
        assert (said["id"], said["claims"]) == ("j\u00f6rg", {"role": "editor"})
        assert [each.status for each in show(first, served.port)] == [401]
        # With workers it comes by way of the parent.
        served.program.log.wait_for("the ticket is unknown")
        # On every worker: of those that come at once, some are on each.
        pids = set()
        for _ in range(5):
            text = ticket(served.admin)
            wires = show(text, *[served.port] * AT_ONCE)
            statuses = [each.status for each in wires]
            assert sorted(statuses) == [101] + [401] * (AT_ONCE - 1)
            told = wires[statuses.index(101)].receive()
            assert isinstance(told, str)
            pids.add(json.loads(told)["pid"])
            assert text not in served.program.log.text
        # Nobody shows which worker a refused one was on; other users show that there are several.
        for _ in range(50):
            if len(pids) >= workers:
                break
            (one,) = show(ticket(served.admin), served.port)
            told = one.receive()
            assert isinstance(told, str)
            pids.add(json.loads(told)["pid"])
        assert len(pids) == workers

    def test_the_claim_exp_ends_the_connection(
        self, programs: Programs, show: Show, workers: int
    ) -> None:
        served = Served(programs, workers, *AUTH)
        (wire,) = show(ticket(served.admin, exp=time.time() + 2), served.port)
        assert wire.status == 101
        assert wire.receive_close() == Closed(1008, "expired")

    def test_guesses_are_bounded(self, programs: Programs, show: Show, workers: int) -> None:
        # Workers count for themselves, as for all limits of connections that they hold.
        served = Served(programs, workers, *AUTH[:2], "--auth-failures", "5")
        text = ticket(served.admin)
        statuses: list[int] = []
        while 429 not in statuses:
            statuses += [show(secrets.token_urlsafe(24), served.port)[0].status]
            assert len(statuses) <= 5 * workers + 1
        assert statuses[:5] == [401] * 5
        assert show(text, served.port)[0].status in (101, 429)
        assert show("x" * 10_240, served.port)[0].status == 414
        assert text not in served.program.log.text

    def test_beside_another_kind_they_are_taken_too(
        self, programs: Programs, show: Show, workers: int
    ) -> None:
        users = programs.folder / "users"
        users.write_text("")
        users.chmod(0o600)
        served = Served(programs, workers, "--auth", "tokens:users")
        assert show(ticket(served.admin), served.port)[0].status == 101

    def test_without_auth_there_are_none(
        self, programs: Programs, show: Show, workers: int
    ) -> None:
        served = Served(programs, workers)
        status, said = make(served.admin, {"user": "tom"})
        assert (status, said) == (
            404,
            {"error": "no ticket is taken without --auth; give such as --auth tickets"},
        )

    def test_only_a_token_with_the_right_makes_them(
        self, programs: Programs, show: Show, workers: int
    ) -> None:
        tokens = programs.folder / "tokens"
        login, shop = secrets.token_hex(), secrets.token_hex()
        tokens.write_text(f"login tickets {login}\nshop publish {shop}\n")
        tokens.chmod(0o600)
        served = Served(programs, workers, *AUTH, "--admin-token-file", "tokens")
        url = f"http://127.0.0.1:{served.admin}"
        text = Publisher(url, token=login).ticket("tom")
        assert show(text, served.port)[0].status == 101
        with pytest.raises(NotAcceptedError, match="403: the token shop has no right to tickets"):
            Publisher(url, token=shop).ticket("tom")
        with pytest.raises(NotAcceptedError, match="403: the token login has no right to publish"):
            Publisher(url, token=login).publish("chat", "x")
        assert "admin token login: POST /tickets was answered with 201" in served.program.log.text
        assert "admin token shop: POST /tickets was refused" in served.program.log.text
        for secret in (login, shop, text):
            assert secret not in served.program.log.text


def test_a_worker_that_came_later_knows_them_too(programs: Programs, show: Show) -> None:
    served = Served(programs, 2, *AUTH)
    text = ticket(served.admin)
    before = served.program.log.text.count("started")
    served.program.signal(12)  # SIGUSR2
    wait_until(lambda: served.program.log.text.count("started") >= before + 2, "new workers")
    assert sorted(each.status for each in show(text, *[served.port] * 3)) == [101, 401, 401]


@pytest.fixture
def redis(redises: Redises) -> Redis:
    return redises.start()


def faces(nodes: list[Node]) -> list[int]:
    return [place for place in (each.admin.place for each in nodes) if isinstance(place, int)]


class TestNodes:
    def test_of_all_nodes_and_workers_one_lets_it_in(
        self, programs: Programs, redis: Redis, show: Show
    ) -> None:
        auth = ("--auth", "tickets", "--auth-failures", "0")
        nodes = meet(programs, redis, auth, (*auth, "--workers", "2"))
        ports = [each.port for each in nodes]
        let_in = [0, 0]
        for turn in range(20):
            text = ticket(faces(nodes)[turn % 2])
            keys = [each for each in redis.ask("KEYS", "*") if b":ticket:" in each]
            assert len(keys) == 1
            assert text.encode() not in keys[0]
            assert 0 < redis.ask("PTTL", keys[0]) <= 30_000
            # In another order each time, so that no node is always the first.
            order = [ports[(turn + each) % 2] for each in range(8)]
            wires = show(text, *order)
            statuses = [each.status for each in wires]
            assert sorted(statuses) == [101] + [401] * 7
            let_in[ports.index(order[statuses.index(101)])] += 1
            assert redis.ask("EXISTS", keys[0]) == 0
        assert all(let_in), let_in
        assert all(text not in each.program.log.text for each in nodes)

    def test_tabs_with_tickets_of_another_node_get_all_that_is_sent_to_their_user(
        self, programs: Programs, redis: Redis, connect: Connect
    ) -> None:
        (programs.folder / "people.py").write_text(PEOPLE)
        options = ("--auth", "tickets", "--protocol", "people.People")
        nodes = meet(programs, redis, options, options)

        def tab(made: Node, used: Node, user: str) -> Wire:
            (face,) = faces([made])
            wire = connect(used.port, path=f"/room?ticket={ticket(face, user)}")
            said(wire, "{}")  # it is open on the server's side too
            return wire

        one, other = nodes
        toms = [tab(*each, "tom") for each in ((one, other), (other, one)) * 2]
        anns = [tab(*each, "ann") for each in ((one, other), (other, one))]
        for face in faces(nodes):
            with Publisher(f"http://127.0.0.1:{face}") as publisher:
                assert publisher.send_user("tom", f"from {face}")[:3] == (4, 0, True)
        expected = [f"from {face}" for face in faces(nodes)]
        assert [[each.receive() for _ in nodes] for each in toms] == [expected] * 4

        # Behaviours reach both nodes once these have subscribed.
        probe = json.dumps({"to": "tom", "data": ["probe"]})
        for ann in anns:
            wait_until(lambda ann=ann: said(ann, probe)[1:] == [0, False, 2], "both nodes")  # type: ignore[misc]
        for ann in anns:
            assert said(ann, json.dumps({"to": "tom", "data": ["one", "two"]}))[0] == 2
            received = [[received_after(each, "probe"), each.receive()] for each in toms]
            assert received == [["one", "two"]] * 4
        # The other user heard none of it.
        assert [str(said(each, "{}")).isdigit() for each in anns] == [True, True]

    def test_without_redis_nobody_is_let_in(
        self, programs: Programs, redis: Redis, show: Show
    ) -> None:
        (node,) = meet(programs, redis, ("--auth", "tickets"))
        (face,) = faces([node])
        # A node that is alone knows itself before it has reached Redis.
        wait_until(lambda: node.admin.ask("/readyz").status == 200, "Redis to be reached")
        text, other = ticket(face), ticket(face)
        redis.pause()
        assert show(text, node.port)[0].status == 503
        redis.kill()
        wait_until(lambda: node.admin.ask("/readyz").status == 503, "the end of Redis to be seen")
        status, said = make(face, {"user": "tom"})
        assert status == 503
        assert said["error"].startswith("broker redis://")
        assert show(other, node.port)[0].status == 503
        assert "tickets cannot be checked now" in node.program.log.text
        assert "Traceback" not in node.program.log.text

    def test_the_rights_that_the_docs_give_at_redis_suffice(
        self, programs: Programs, redis: Redis, show: Show
    ) -> None:
        rights = ["resetchannels", "&wsservice:*", "~wsservice:*", "+@all", "-@dangerous"]
        redis.ask("ACL", "SETUSER", "wsservice", "on", ">secret", *rights)
        served = Served(
            programs,
            1,
            *("--auth", "tickets", "--broker", redis.url.replace("://", "://wsservice:secret@")),
        )
        served.program.log.wait_for("connected to")
        wait_until(lambda: make(served.admin, {"user": "tom"})[0] == 201, "a ticket")
        text = ticket(served.admin)
        assert [each.status for each in show(text, served.port, served.port)] == [101, 401]
