"""Tickets and operators' tokens: used twice, guessed, malformed, without measure."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
from collections import Counter
from pathlib import Path

from ..integration.processes import Programs, free_port
from ..integration.redis import Redises
from .harness import MIB, Attack, alone, row
from .styles import read_all

TICKETS = ("--auth", "tickets", "--auth-optional", "--admin", "tcp:0:interface=127.0.0.1")
"""Guests are let in, such as the neighbour; a bad ticket is refused all the same."""

TOKENS = Path(__file__).with_name("admin.token")

_ASK = (
    "GET /attack?ticket={} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def made(port: int) -> str:
    """Return a new ticket, of the admin face at a port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/tickets", json.dumps({"user": "tom"}))
        answer = connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == 201, said
    finally:
        connection.close()
    ticket: str = said["ticket"]
    return ticket


def shown(peers: list[socket.socket], ticket: str) -> Counter[int]:
    """Show a ticket on all of these connections at once; return the statuses of the answers."""
    request = _ASK.format(ticket).encode()
    for each in peers:
        each.sendall(request)
    return Counter(int(each.recv(4096).split()[1]) for each in peers)


def face_of(attack: Attack) -> int:
    """Return the port of the admin face."""
    return attack.server.log.wait_for_ports(2)[1]


@row(
    "a ticket shown by 100 connections at once, ten times, on two workers",
    "one of them is let in each time",
    options=(*TICKETS, "--auth-failures", "0"),
    workers=2,
    memory=8 * MIB,
)
def test_a_ticket_that_many_show_lets_one_in(attack: Attack) -> str:
    face = face_of(attack)
    for _ in range(10):
        ticket = made(face)
        assert shown([attack.socket() for _ in range(100)], ticket) == {101: 1, 401: 99}
        assert ticket not in attack.server.log.text
    return "101 once, 401 to all others"


@row(
    "tickets guessed by one address, 5,000",
    "401 to the first 20, then 429, a good one too, until 5 s later",
    options=TICKETS,
    memory=4 * MIB,
)
def test_guessed_tickets_are_bounded(attack: Attack) -> str:
    statuses: Counter[int] = Counter()
    for _ in range(5000 if attack.full else 300):
        with attack.socket() as peer:
            statuses += shown([peer], secrets.token_urlsafe(24))
    # Each 5 s that the attack takes allow one more.
    assert statuses.keys() == {401, 429}
    assert statuses[401] < 20 + statuses[429]
    attack.notes["401"] = str(statuses[401])
    return "401, then 429"


@row(
    "tickets of 8 kB, of 10 kB, empty, twice, of other characters",
    "400, 401 or 414, and no store is asked",
    options=(*TICKETS, "--auth-failures", "0"),
    memory=2 * MIB,
)
def test_what_is_no_ticket_is_refused(attack: Attack) -> str:
    cases = {
        "x" * 8000: 401,
        "x" * 10_240: 414,
        "": 401,
        "a&ticket=b": 400,
        "%00" * 32: 401,
        "%ff" * 32: 401,
        "x" * 31: 401,
        "../" * 10: 401,
        "*" * 32: 401,
    }
    for ticket, status in cases.items():
        for _ in range(20):
            assert shown([attack.socket()], ticket) == {status: 1}, ticket[:50]
    return "400, 401, 414"


@row(
    "an operator's token guessed by one address, 5,000 times",
    "401 to the first 20, then 429, until 3 s later",
    options=(*TICKETS, "--admin-token-file", str(TOKENS)),
    memory=4 * MIB,
)
def test_guessed_tokens_of_operators_are_bounded(attack: Attack) -> str:
    face = face_of(attack)
    statuses: Counter[int] = Counter()
    for _ in range(5000 if attack.full else 300):
        with socket.create_connection(("127.0.0.1", face), 20) as peer:
            guess = secrets.token_urlsafe(24)
            peer.sendall(
                f"POST /tickets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {guess}\r\n"
                "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            statuses[int(read_all(peer).split()[1])] += 1
        attack.connections += 1
    assert statuses.keys() == {401, 429}
    assert statuses[401] < 20 + statuses[429]
    attack.notes["401"] = str(statuses[401])
    return "401, then 429"


@alone("a ticket shown to two nodes at once, 40 connections, ten times", "one is let in each time")
def test_a_ticket_at_two_nodes_lets_one_in(programs: Programs, full: bool) -> str:
    redises = Redises(Path(programs.folder))
    try:
        redis = redises.start()
        nodes = []
        for workers in ("1", "2"):
            face = free_port()
            # twist, since two of twistd in one folder want the same pid file.
            node = programs.twist(
                *("--port", "0", "--broker", redis.url, "--workers", workers),
                *("--auth", "tickets", "--auth-failures", "0"),
                *("--admin", f"tcp:{face}:interface=127.0.0.1"),
            )
            node.log.wait_for("up to ")
            node.log.wait_for("connected to")
            (port,) = [each for each in node.log.wait_for_ports(2) if each != face]
            nodes.append((node, port, face))
        for turn in range(10 if full else 3):
            ticket = made(nodes[turn % 2][2])
            ports = [nodes[(turn + each) % 2][1] for each in range(40)]
            peers = [socket.create_connection(("127.0.0.1", each), 20) for each in ports]
            try:
                assert shown(peers, ticket) == {101: 1, 401: 39}
            finally:
                for each in peers:
                    each.close()
            assert all(ticket not in node.log.text for node, _, _ in nodes)
        return "101 once, 401 to all others"
    finally:
        redises.end()
