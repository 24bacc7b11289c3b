"""Rules of channels: judged by a service with one process and with workers, reloaded, and kept."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .processes import BIN, Program, Programs, wait_until
from .redis import Redises
from .test_reloading import hang_up, write
from .test_resuming import OFFER
from .wire import Closed, Wire

BEHAVIOUR = """
import wsservice

class Room(wsservice.ServerProtocol):
    def onMessage(self, payload, isBinary):
        channel, _, text = payload.decode().partition(" ")
        if self.permissions.may("publish", channel):
            self.factory.hub.publish(channel, text.encode())
        else:
            self.sendMessage(b"no, " + self.permissions.ruling("publish", channel).why.encode())
"""

RULES = """
[[channels]]
match = "room.*"
subscribe = "users"
publish = "subscribers"
history = "users"
keep = 2

[[channels]]
match = "user.{user}"
subscribe = "users"

[[channels]]
match = "public"
subscribe = "anyone"
"""

SETTINGS = """
port = 0
protocol = "room.Room"
auth = ["tokens:tokens.txt"]
auth_optional = true
"""


def token_file(folder: Path, *users: str) -> None:
    lines = [f"{user}:sha256:{hashlib.sha256(secret(user).encode()).hexdigest()}" for user in users]
    path = folder / "tokens.txt"
    path.touch(0o600)
    path.write_text("".join(f"{line}\n" for line in lines))


def secret(user: str) -> str:
    return f"secret-of-{user}-0123456789"


class Service:
    def __init__(self, programs: Programs, rules: str = RULES, settings: str = "") -> None:
        (programs.folder / "room.py").write_text(BEHAVIOUR)
        token_file(programs.folder, "tom", "ann", "*")
        self._programs = programs
        self._wires: list[Wire] = []
        self._settings = SETTINGS + settings
        write(programs, self._settings + rules)
        self.server: Program = programs.twistd("--config", "ws.toml")
        self.port = self.server.port

    def rules(self, rules: str) -> str:
        """Reload with other rules; what is logged of it."""
        write(self._programs, self._settings + rules)
        return hang_up(self.server)

    def wire(self, user: str, target: str, headers: str = "") -> Wire:
        """A client that has asked; "" is the anonymous."""
        bearer = f"Authorization: Bearer {secret(user)}\r\n" if user else ""
        wire = Wire(self.port, path=target)
        self._wires.append(wire)
        return wire.upgrade(headers=bearer + headers)

    def end(self) -> None:
        for wire in self._wires:
            wire.end()

    def status(self, user: str, target: str) -> int:
        wire = self.wire(user, target)
        wire.end()
        return wire.status


@pytest.fixture(params=["1", "2"])
def service(request: pytest.FixtureRequest, programs: Programs) -> Iterator[Service]:
    made = Service(programs, settings=f"workers = {request.param}\n")
    yield made
    made.end()


HOSTILE = [
    "/Room.1",
    "/%52oom.1",
    "/r%D0%BEom.1",
    "/room%EF%BC%8E1",
    "/room",
    "/x/room.1",
    "/room%2F.1",
    "/%E2%80%AEroom.1",
    "/user.ann",
    "/user.%7Buser%7D",
    "/user.*",
    "/user.to%2A",
    "/user.",
    "/user",
    "/public2",
    "/public/x",
    "/?channel=public",
    "/public?channel=user.ann",
    "/room.1?channel=room.2&channel=secret",
    "/public?channel=%75ser.ann",
]


def test_each_channel_is_judged(service: Service) -> None:
    may = ["/room.1", "//room.1/", "/%72oom.1", "/user.tom", "/public?channel=user.tom", "/room./"]
    assert [service.status("tom", each) for each in may] == [101] * len(may)
    assert [service.status("tom", each) for each in HOSTILE] == [403] * len(HOSTILE)
    assert service.status("*", "/user.tom") == 403
    assert service.status("*", "/user.%2A") == 101
    assert service.status("", "/public") == 101
    assert service.status("", "/room.1") == 403
    assert service.status("", "/user.") == 403
    for target in ("/" + "a" * 10_000, "/" + "%61" * 256):
        assert service.status("tom", target) == 414
    log = service.server.log
    log.wait_for('"room.1"; rule 1, subscribe = users')
    assert log.text.count("refused with 403: ") == len(HOSTILE) + 3
    assert "Traceback" not in log.text
    assert "\u202e" not in log.text
    assert secret("tom") not in log.text


def test_a_behaviour_asks(service: Service) -> None:
    wire = service.wire("tom", "/room.1?channel=public")
    wire.send("room.1 hello")
    assert wire.receive() == "hello"
    wire.send("room.2 hello")
    assert wire.receive() == "no, rule 1, publish = subscribers"
    wire.send("public hello")
    assert wire.receive() == "no, rule 3, publish = nobody"


def test_other_rules_reach_new_clients_and_the_questions_of_old_ones(service: Service) -> None:
    wire = service.wire("tom", "/room.1")
    wire.send("room.1 one")
    assert wire.receive() == "one"
    other = '[[channels]]\nmatch = "other"\nsubscribe = "users"\nkeep = 2\n'
    assert service.rules(other).endswith("changed: channels")
    # A worker may hear of it a moment later.
    wait_until(
        lambda: [service.status("tom", "/room.1") for _ in range(8)] == [403] * 8, "new rules"
    )
    assert [service.status("tom", "/other") for _ in range(8)] == [101] * 8
    wire.send("room.1 two")
    assert wire.receive() == "no, no rule matches"
    wrong = '[[channels]]\nmatch = "a"\n[[channels]]\nmatch = "b"\npublish = "all"\n'
    said = service.rules(wrong)
    assert said.endswith(
        "nothing was changed, ws.toml: channels: rule 2: publish: 'all' is not allowed; give"
        " nobody, token, users, subscribers or anyone"
    )
    assert service.rules('[[channels]]\nmatch = "*"\n').endswith(
        "nothing was changed, ws.toml: channels: keep: a history would end, which needs a restart"
    )
    assert service.status("tom", "/other") == 101


def past(service: Service, user: str, target: str, joins: bool) -> list[dict[str, Any]]:
    """The past messages that a client gets first: those before one that it sends itself.

    `joins` is true if it is told the position of the channel, which may come late.
    """
    wire = service.wire(user, target, OFFER)
    channel = target.strip("/").partition("?")[0]
    came: list[dict[str, Any]] = []
    while joins and not any(each.get("joined") for each in came):
        came.append(envelope(wire))
    wire.send(f"{channel} end")
    while (said := envelope(wire)).get("data") != "end":
        came.append(said)
    return came


def envelope(wire: Wire) -> dict[str, Any]:
    said = wire.receive()
    assert isinstance(said, str), said
    members: dict[str, Any] = json.loads(said)
    return members


EACH = """
[[channels]]
match = "few.*"
subscribe = "users"
publish = "users"
history = "users"
keep = 2

[[channels]]
match = "none.*"
subscribe = "users"
publish = "users"
history = "users"
keep = 0

[[channels]]
match = "private.*"
subscribe = "users"
publish = "users"

[[channels]]
match = "*"
subscribe = "users"
publish = "users"
history = "users"
"""


@pytest.fixture(params=["one process", "workers", "redis", "workers and redis"])
def keeping(request: pytest.FixtureRequest, programs: Programs) -> Iterator[Service]:
    settings = "history = 4\n"
    if "redis" in request.param:
        redises: Redises = request.getfixturevalue("redises")
        settings += f'broker = ["{redises.start().url}"]\n'
    if "workers" in request.param:
        settings += "workers = 2\n"
    made = Service(programs, EACH, settings)
    if "redis" in request.param:
        made.server.log.wait_for("connected to Redis", 3 if "workers" in request.param else 1)
    yield made
    made.end()


def test_each_channel_keeps_what_its_rule_says(keeping: Service) -> None:
    names = ("few.1", "none.1", "private.1", "any")
    writer = keeping.wire("ann", "/few.1?channel=none.1&channel=private.1&channel=any")
    for number in range(6):
        for name in names:
            writer.send(f"{name} {number}")
    assert sum(isinstance(writer.receive(), str) for _ in range(24)) == 24
    found = {}
    for name in names:
        came = past(keeping, "tom", f"/{name}?history=20", joins=name != "none.1")
        found[name] = [each["data"] for each in came if "data" in each]
    assert found == {
        "few.1": ["4", "5"],
        "none.1": [],
        "private.1": [],
        "any": ["2", "3", "4", "5"],
    }
    # New messages on a channel of which nothing is kept have no position, the others have.
    reader = keeping.wire("tom", "/none.1?channel=few.1", OFFER)
    joined = envelope(reader)
    assert (joined["channel"], joined["joined"]) == ("few.1", True)
    # Nothing tells whether Redis knows already that its worker listens to that channel.
    writer.send("none.1 x")
    while not select.select([reader.socket], [], [], 0.5)[0]:
        writer.send("none.1 x")
    said = envelope(reader)
    assert (said["data"], "offset" in said) == ("x", False)
    writer.send("few.1 y")
    while (said := envelope(reader))["data"] == "x":
        pass
    assert (said["data"], said["offset"]) == ("y", joined["offset"] + 1)
    assert "Traceback" not in keeping.server.log.text


def test_a_client_that_comes_back_needs_the_right_to_the_history(keeping: Service) -> None:
    for name, missed in (("few.1", ["1"]), ("private.1", [])):
        reader = keeping.wire("tom", f"/{name}", OFFER)
        place = envelope(reader)
        reader.send(f"{name} 0")
        first = envelope(reader)
        assert first["offset"] == place["offset"] + 1
        reader.end()
        writer = keeping.wire("ann", f"/{name}")
        writer.send(f"{name} 1")
        assert writer.receive() == "1"
        query = f"since={first['offset']}&epoch={first['epoch']}"
        came = past(keeping, "tom", f"/{name}?{query}", joins=not missed)
        assert [each["data"] for each in came if "data" in each] == missed
        assert any(each.get("gap") for each in came) is (not missed)


def may(folder: Path, *arguments: str) -> tuple[int, str]:
    run = subprocess.run(
        [BIN / "twistd", "wsdemo", "--config", "ws.toml", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    return run.returncode, run.stdout + run.stderr


def test_may_starts_nothing_and_says_the_rule(programs: Programs) -> None:
    # No file and no class of these is there.
    write(programs, SETTINGS + RULES)
    status, said = may(programs.folder, "--may", "tom", "room.1")
    assert (status, said.splitlines()[1:4]) == (
        0,
        [
            'rule 1: match = "room.*"',
            "subscribe  yes  rule 1, subscribe = users",
            "publish    yes  rule 1, publish = subscribers",
        ],
    )
    status, said = may(programs.folder, "--may", "tom", "user.ann")
    assert status == 1
    assert "subscribe  no   no rule matches\n" in said
    status, said = may(programs.folder, "--may", "tom", "x", "--may-claims", '{"caps": 5}')
    assert (status, said) == (1, "wsdemo: --may-claims: the claim caps is not a list\n")
    assert not list(programs.folder.glob("twistd.*"))


def test_rules_without_auth_are_reported_and_judge_nobody(programs: Programs) -> None:
    write(programs, "port = 0\n" + RULES)
    server = programs.twistd("--config", "ws.toml")
    server.log.wait_for("[[channels]]: without --auth the service judges nobody")
    wire = Wire(server.port, path="/secret").upgrade()
    assert wire.status == 101
    wire.end()
    server.signal(signal.SIGTERM)


def test_a_token_that_comes_as_the_first_message_is_judged_too(programs: Programs) -> None:
    (programs.folder / "room.py").write_text(BEHAVIOUR)
    token_file(programs.folder, "tom")
    settings = SETTINGS.replace("auth_optional", "auth_first_message")
    write(programs, settings + RULES)
    server = programs.twistd("--config", "ws.toml")
    for target, closes in (("/room.1", False), ("/user.ann", True)):
        wire = Wire(server.port, path=target).upgrade()
        assert wire.status == 101
        wire.send(secret("tom"))
        wire.send("room.1 hello")
        said = wire.receive()
        if closes:
            assert isinstance(said, Closed)
            assert said.code == 1008
            assert said.reason == 'this user may not subscribe to the channel: "user.ann"'
        else:
            assert said == "hello"
        wire.end()
    server.log.wait_for('"user.ann"; no rule matches')
