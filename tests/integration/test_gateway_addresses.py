"""The client's address behind real gateways, for clients that tell the truth and others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .processes import Programs
from .test_gateways import RECIPES, Running
from .wire import Wire

# Another address of loopback, which no recipe trusts.
CLIENT = "127.0.0.2"

FORGERIES = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-For: 6.6.6.6, 127.0.0.1, 127.0.0.1",
    "x-forwarded-for: 6.6.6.6\r\nX-FORWARDED-FOR: 127.0.0.1",
    "X-Forwarded-For: \x80, unknown",
    "X-Forwarded-For: " + "," * 5000,
    "Forwarded: for=6.6.6.6;proto=http",
    'Forwarded: for="6.6.6.6',
    'Forwarded: for=6.6.6.6;a="\\',
    "X-Forwarded-Proto: http",
    "X-Real-IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\nCF-Connecting-IP: 6.6.6.6",
]

pytestmark = pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(params=RECIPES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def listed(running: Running) -> list[str]:
    """Return the peers in the list of connections."""
    shown: Any = json.loads(running.admin.ask("/connections").body)
    return [each["peer"].rpartition(":")[0] for each in shown["connections"]]


def test_who_forges_headers_is_known_all_the_same(programs: Programs, name: str) -> None:
    running = Running(programs, name, "--max-connections-per-ip", "3")
    running.open().end()
    origin = f"Origin: https://localhost:{running.port}\r\n"
    for number, forged in enumerate(FORGERIES):
        client = running.reach(f"{forged}\r\n{origin}", CLIENT)
        assert client.status == 101, (forged, client.head)
        client.send(f"forged {number}")
        running.server.log.wait_for(f"] Message received: forged {number}\n")
        (line,) = running.server.log.ending(f"received: forged {number}")
        peer = line.rpartition("] Message")[0].rpartition(" ")[2]
        own = client.socket.getsockname()[1] if running.recipe.is_proxied else 0
        assert peer == f"{CLIENT}:{own}", forged
        assert CLIENT in listed(running)
        assert client.close().code == 1000
        client.end()
    assert "6.6.6.6" not in running.server.log.text
    assert "Traceback" not in running.server.log.text


def test_the_limit_by_address_is_the_clients(programs: Programs, name: str) -> None:
    running = Running(programs, name, "--max-connections-per-ip", "2")
    running.open().end()
    clients: list[Wire] = []
    statuses = []
    for source in (CLIENT, CLIENT, CLIENT, "127.0.0.3"):
        forged = f"X-Forwarded-For: 6.6.6.{len(clients)}\r\n"
        clients.append(running.reach(forged, source))
        statuses.append(clients[-1].status)
    for each in clients:
        each.end()
    # A gateway with other servers to ask may answer for them: 502 or 503 by itself.
    assert [*statuses[:2], statuses[3]] == [101] * 3
    assert statuses[2] in (502, 503)
