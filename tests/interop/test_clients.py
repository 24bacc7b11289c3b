"""The lines of docs/clients.md for npm's clients, each run against our server."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from ..integration.processes import Program, Programs, wait_until
from ..integration.test_admin import LOOPBACK, Asking, admin_of
from ..needs import need, need_program

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "clients.md").read_text()
VERSIONS: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
GROUPS = {2: (1000, 1001, 1008, 1011, 3000, 4999), 3: (1012, 1013), 4: (1014,)}
"""The codes of a column of the table."""


def row(name: str) -> list[str]:
    """The line of the table for a client, as its cells."""
    named = rf"{re.escape(name)} {re.escape(VERSIONS[name])}"
    (line,) = re.findall(rf"^\|[^|\n]*\b{named}[ ,|].*$", PAGE, re.MULTILINE)
    return ["", *(each.strip(" *") for each in line.strip("|").split("|"))]


@pytest.fixture(params=VERSIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Clients:
    """A service, and clients of one kind."""

    def __init__(self, programs: Programs, name: str) -> None:
        self.programs = programs
        self.name = name
        self.node = need_program("node")
        there = (HERE / "node_modules" / name / "package.json").exists()
        need(there, f"{name} from npm: make tests/interop/node_modules/.installed")
        self.server = programs.twistd("--port", "0", "--admin", LOOPBACK)
        self.admin: Asking = admin_of(self.server)

    def connect(self) -> tuple[Program, str]:
        """An open client, and the id of its connection."""
        before = {each["id"] for each in self.admin.connections()}
        url = f"ws://127.0.0.1:{self.server.port}/"
        client = self.programs.start(self.node, HERE / "clients.js", self.name, url)
        client.stdout.wait_for("open\n")
        ids = {each["id"] for each in self.admin.connections()} - before
        assert len(ids) == 1
        return client, ids.pop()


def told(client: Program) -> str:
    """The code that the client's program is told."""
    assert client.wait() == 0
    return client.stdout.lines[-1].removeprefix("closed: ")


def test_the_codes_that_its_program_is_told(programs: Programs, name: str) -> None:
    clients = Clients(programs, name)
    cells = row(name)
    for column, codes in GROUPS.items():
        for code in codes:
            client, id_ = clients.connect()
            asked = clients.admin.ask(
                f"/connections/{id_}/close", method="POST", body=b'{"code": %d}' % code
            )
            assert asked.status == 202
            expected = str(code) if cells[column] == "as sent" else cells[column]
            assert told(client) == expected, code


def test_the_code_where_there_is_no_frame(programs: Programs, name: str) -> None:
    clients = Clients(programs, name)
    client, _ = clients.connect()
    clients.server.signal(signal.SIGKILL)
    wait_until(lambda: clients.server.process.poll() is not None, "its end")
    assert told(client) == row(name)[6]
