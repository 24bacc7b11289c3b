"""`--auth`, in every way to run the service: who gets in, and what the log says of it."""

from __future__ import annotations

import base64
import contextlib
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsservice.auth.tokens import line_of

from .processes import Daemon, Program, Programs, wait_until
from .test_reloading import ANEW, NOT, hang_up
from .wire import TEXT, Closed, Wire, frame

SECRET = "s3cr3t"
"""A part of every bad credential below, which nothing else has."""

PEOPLE = """
import time
from twisted.internet import reactor
from twisted.internet.task import deferLater
from wsservice.auth.contract import User
from wsservice.errors import CredentialError


def who(request):
    _, _, token = request.headers.get("authorization", "").partition(" ")
    if token.startswith("locked"):
        raise CredentialError("the user is locked", 403)
    if token.startswith("fault"):
        raise RuntimeError(f"no idea of {token}, {request.headers}, {request.params}")
    if token.startswith("slowly"):
        return deferLater(reactor, 0.05, lambda: "tom")
    if token.startswith("never"):
        return deferLater(reactor, 600, lambda: "tom")
    if token.startswith("until"):
        return User("tom", expires=time.time() + float(token.partition("-")[2]))
    return token.partition("-")[2] if token.startswith("is") else None
"""

BEHAVIOUR = '''
from wsservice import ServerProtocol
from wsservice.errors import CredentialError


class Told(ServerProtocol):
    """Tells its user, and renews."""

    def onOpen(self):
        self.tell("open")

    def tell(self, what):
        self.sendMessage(f"{what} {self.user and self.user.id} {self.channels}".encode())

    async def onMessage(self, payload, isBinary):
        try:
            await self.renew(payload.decode())
        except CredentialError as error:
            self.sendMessage(f"no: {error}".encode())
        else:
            self.tell("renewed")
'''


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    """The tokens of users, whose hashes are in `tokens.txt`."""
    made = {user: line_of(user) for user in ("tom", "ann")}
    path = tmp_path / "tokens.txt"
    path.touch(0o600)
    path.write_text("".join(f"{line}\n" for _, line in made.values()))
    return {user: token for user, (token, _) in made.items()}


Ask = Callable[..., Wire]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """A handshake with headers, whatever the answer."""
    wires: list[Wire] = []

    def ask(server: Program | Daemon, headers: str = "", path: str = "/room") -> Wire:
        wires.append(Wire(server.port, path=path))
        return wires[-1].upgrade(headers=headers)

    yield ask
    for each in wires:
        each.end()


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n"


def people(programs: Programs) -> tuple[str, ...]:
    (programs.folder / "people.py").write_text(PEOPLE)
    (programs.folder / "told.py").write_text(BEHAVIOUR)
    return ("--port", "0", "--protocol", "told.Told", "--auth", "people:who")


@pytest.mark.parametrize(
    ("how", "workers"), [("twistd", ()), ("twist", ()), ("daemon", ("--workers", "2"))]
)
def test_who_has_a_token_gets_in_and_each_other_is_told_why(
    programs: Programs, tokens: dict[str, str], ask: Ask, how: str, workers: tuple[str, ...]
) -> None:
    options = ("--port", "0", "--auth", "tokens:tokens.txt", "--auth-cookie", "sid")
    server = programs.serve(how, *options, "--allow-origin", "*", *workers)
    good = tokens["tom"]
    basic = base64.b64encode(f"tom:{SECRET}".encode()).decode()
    ways = [
        (bearer(good), "/", 101),
        (f"Sec-WebSocket-Protocol: chat, bearer.{good}\r\n", "/", 101),
        ("", f"/?access_token={good}&channel=x", 101),
        (f"Cookie: a=b; sid={good}\r\n", "/", 101),
        ("", "/", 401),
        (bearer(SECRET), "/", 401),
        (bearer(SECRET * 1500), "/", 401),
        (f"Authorization: Basic {basic}\r\n", "/", 401),
        (f"Sec-WebSocket-Protocol: chat, bearer.{SECRET}\r\n", "/", 401),
        ("", f"/?access_token={SECRET}", 401),
        ("", f"/?ticket={SECRET}", 401),
        (bearer(good), f"/?access_token={SECRET}", 400),
        (f"Cookie: sid={good}\r\nOrigin: https://evil.example\r\n", "/", 403),
    ]
    for headers, path, status in ways:
        assert ask(server, headers, path).status == status, (headers, path)
    server.log.wait_for("refused with 403: the page's origin is not allowed")
    server.log.wait_for("refused with 400: the request has more than one credential")
    server.log.wait_for("refused with 401: the token is unknown; found in", 3)
    assert server.log.text.count(" refused with ") == 9
    server.signal(signal.SIGTERM)
    server.wait()
    said = server.log.text
    assert SECRET not in said
    assert good not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "workers"])
def test_the_file_is_read_again_or_nothing_is_changed(
    programs: Programs, tokens: dict[str, str], ask: Ask, workers: tuple[str, ...]
) -> None:
    server = programs.twistd("--port", "0", "--auth", "tokens:tokens.txt", *workers)
    stays = ask(server, bearer(tokens["tom"]))
    assert stays.receive() == "Hello from server"
    path = programs.folder / "tokens.txt"
    lines = path.read_text().splitlines()
    path.write_text("nonsense")
    assert hang_up(server).startswith(
        f"error {NOT}--auth: tokens.txt, line 1: it is malformed; give a file"
    )
    assert ask(server, bearer(tokens["tom"])).status == 101
    path.write_text(lines[1])
    said = hang_up(server)
    assert said.startswith(f"info {ANEW}")
    for _ in range(4):  # every worker
        wait_until(lambda: ask(server, bearer(tokens["tom"])).status == 401, "the new users")
    assert ask(server, bearer(tokens["ann"])).status == 101
    stays.send("still here")
    server.log.wait_for("Message received: still here")


def test_it_may_be_switched_on_and_off(
    programs: Programs, tokens: dict[str, str], ask: Ask
) -> None:
    file = programs.folder / "ws.toml"
    file.write_text("port = 0\n")
    server = programs.twistd("--config", "ws.toml")
    assert ask(server).status == 101
    file.write_text('port = 0\nauth = ["tokens:tokens.txt"]\n')
    assert hang_up(server) == f"info {ANEW}changed: auth"
    assert ask(server).status == 401
    assert ask(server, bearer(tokens["tom"])).status == 101
    file.write_text("port = 0\n")
    hang_up(server)
    assert ask(server).status == 101


@pytest.mark.parametrize("workers", [(), ("--workers", "2"), ("--check-config",)])
@pytest.mark.parametrize(
    ("auth", "why"),
    [
        ("tokens:none.txt", "tokens.txt cannot be read"),
        ("tokens:open.txt", "open.txt may be read by every user of this machine; chmod 600 it"),
        ("tokens:wrong.txt", "wrong.txt, line 1: it is malformed; give a file"),
        ("tokens", "'tokens' is not allowed without a file"),
        ("nothing:x.y", "kind 'nothing' is unknown; give htpasswd, jwt,"),
        ("nosuch:who", "'nosuch:who' cannot be imported, ModuleNotFoundError"),
        ("people:none", "module 'people' has no function 'none'"),
    ],
)
def test_what_cannot_be_served_ends_the_start(
    programs: Programs, auth: str, why: str, workers: tuple[str, ...]
) -> None:
    (programs.folder / "people.py").write_text(PEOPLE)
    for name, mode in (("open.txt", 0o644), ("wrong.txt", 0o600)):
        (programs.folder / name).touch(mode)
        (programs.folder / name).chmod(mode)
    (programs.folder / "wrong.txt").write_text("tom")
    server = programs.twistd("--port", "0", "--auth", auth, *workers)
    assert server.wait() == 1
    (line,) = server.stderr.lines
    assert line.startswith("wsdemo: --auth: ")
    assert why.replace("tokens.txt", "none.txt") in line


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "workers"])
def test_a_function_decides(programs: Programs, ask: Ask, workers: tuple[str, ...]) -> None:
    server = programs.twistd(*people(programs), "--handshake-timeout", "2", *workers)
    assert ask(server, bearer("is-tom")).receive() == "open tom ('room',)"
    assert ask(server, bearer("slowly")).receive() == "open tom ('room',)"
    assert ask(server, bearer("locked")).status == 403
    assert ask(server, bearer("is-")).status == 403
    assert ask(server, bearer("else")).status == 401
    assert ask(server).status == 401
    assert ask(server, bearer("never")).status == 503
    server.log.wait_for("refused with 503: the credential could not be checked in time")
    query = f"/?access_token=fault-{SECRET}"
    assert ask(server, f"X-Token: {SECRET}\r\n", query).status == 503
    server.log.wait_for("builtins.RuntimeError: no idea of ********")
    assert SECRET not in server.log.text
    assert server.log.text.count("Traceback") == 1


def test_a_user_expires_unless_renewed(programs: Programs, ask: Ask) -> None:
    server = programs.twistd(*people(programs))
    brief, renewed = ask(server, bearer("until-2")), ask(server, bearer("until-2"))
    assert renewed.receive() == "open tom ('room',)"
    for token, answer in [
        ("else", "no: the application refused the client"),
        ("is-ann", "no: the token is another user's"),
        ("until-600", "renewed tom ('room',)"),
    ]:
        renewed.send(token)
        assert renewed.receive() == answer
    assert brief.receive_close() == Closed(1008, "expired")
    server.log.wait_for(" closed with 1008: expired")
    renewed.send("else")
    assert renewed.receive() == "no: the application refused the client"
    assert server.log.text.count("expired") == 1


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "workers"])
def test_the_token_as_the_first_message(
    programs: Programs, ask: Ask, workers: tuple[str, ...]
) -> None:
    server = programs.twistd(
        *people(programs), "--auth-first-message", "--handshake-timeout", "2", *workers
    )
    client, silent = ask(server), ask(server)
    assert client.status == silent.status == 101
    client.socket.sendall(frame(TEXT, b"slowly") + frame(TEXT, b"until-600"))
    assert client.receive() == "open tom ('room',)"
    assert client.receive() == "renewed tom ('room',)"
    assert silent.receive_close() == Closed(1008, "no token came in time")
    for payload, why in ((b"a", "the first message is binary"), (f"x-{SECRET}", "the application")):
        wrong = ask(server)
        wrong.send(payload)
        closed = wrong.receive_close()
        assert closed.code == 1008
        assert (closed.reason or "").startswith(why)
    assert ask(server, bearer("is-ann")).receive() == "open ann ('room',)"
    assert ask(server, bearer(f"x-{SECRET}")).status == 401
    assert SECRET not in server.log.text


def test_guests(programs: Programs, tokens: dict[str, str], ask: Ask) -> None:
    (programs.folder / "told.py").write_text(BEHAVIOUR)
    server = programs.twistd(
        *("--port", "0", "--protocol", "told.Told"),
        *("--auth", "tokens:tokens.txt", "--auth-optional"),
    )
    assert ask(server).receive() == "open None ('room',)"
    assert ask(server, bearer(tokens["ann"])).receive() == "open ann ('room',)"
    assert ask(server, bearer(SECRET)).status == 401


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "workers"])
def test_it_stops_while_a_credential_is_checked(
    programs: Programs, ask: Ask, workers: tuple[str, ...]
) -> None:
    server = programs.twistd(
        *people(programs), "--handshake-timeout", "30", "--drain", "1", *workers
    )
    waiting = Wire(server.port)
    waiting.socket.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Authorization: Bearer never\r\n\r\n"
    )
    assert ask(server, bearer("is-tom")).receive() == "open tom ('room',)"
    server.signal(signal.SIGTERM)
    assert waiting.rest().startswith(b"HTTP/1.1 503 ")
    waiting.end()
    assert server.wait() == 0
    assert "Traceback" not in server.log.text


def test_bad_credentials_are_slowed_down(
    programs: Programs, tokens: dict[str, str], ask: Ask
) -> None:
    server = programs.twistd("--port", "0", "--auth", "tokens:tokens.txt", "--auth-failures", "3")
    answers = [ask(server, bearer(SECRET)).status for _ in range(5)]
    assert answers[:3] == [401, 401, 401]
    assert 429 in answers[3:]
    assert ask(server).status == 401
    wait_until(lambda: ask(server, bearer(tokens["tom"])).status == 101, "an attempt later")


def test_the_library_logs_in(programs: Programs, tokens: dict[str, str]) -> None:
    server = programs.twistd("--port", "0", "--auth", "tokens:tokens.txt")
    url = f"ws://localhost:{server.port}/"
    given = programs.folder / "token"
    given.touch(0o600)
    given.write_text(tokens["tom"])
    client = programs.client(url, "--bearer", "@token", "--count", "1")
    assert client.wait() == 0, client.stderr.text
    assert client.stdout.text == "Hello from server\n"
    client = programs.client(url)
    assert client.wait() == 5
    assert "401 Unauthorized: the request has no credential" in client.stderr.text


def test_the_command_makes_a_file_that_is_served(programs: Programs, ask: Ask) -> None:
    made = programs.start(sys.executable, "-m", "wsservice.auth", "tom")
    assert made.wait() == 0
    path = programs.folder / "tokens.txt"
    path.touch(0o600)
    path.write_text(made.stdout.text)
    (token,) = re.findall(r"^the token of tom, shown once: (\S+)$", made.stderr.text)
    server = programs.twistd("--port", "0", "--auth", "tokens:tokens.txt")
    assert ask(server, bearer(token)).receive() == "Hello from server"
    assert ask(server, bearer(token[:-1])).status == 401


def test_a_peer_that_goes_while_it_waits_leaves_nothing(programs: Programs, ask: Ask) -> None:
    server = programs.twistd(
        *people(programs), "--max-connections", "2", "--handshake-timeout", "1"
    )
    for _ in range(3):
        peer = socket.create_connection(("127.0.0.1", server.port))
        peer.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Authorization: Bearer never\r\n\r\n"
        )
        peer.close()

    def has_room() -> bool:
        with contextlib.suppress(ConnectionError):
            return ask(server, bearer("is-tom")).status == 101
        return False

    # A peer that has ended its side is not read while it waits, so its time has to end first.
    wait_until(has_room, "room again")
    assert "Traceback" not in server.log.text
