"""The admin face over TCP and unix sockets, of a service that runs."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ..needs import need_program
from .conftest import Connect
from .processes import BIN, PATIENCE, WAYS, Daemon, Program, Programs, can_connect, wait_until
from .test_listening_places import HANDED_OVER
from .test_refusals import refused

LOOPBACK = "tcp:0:interface=127.0.0.1"
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


class Answered:
    """An answer."""

    def __init__(self, octets: bytes) -> None:
        head, _, self.body = octets.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines[1:])

    @property
    def said(self) -> Any:
        return json.loads(self.body)


class Asking:
    """Asks a face, on raw sockets."""

    def __init__(self, place: int | str, token: str = "") -> None:
        self.place = place
        self._token = token

    def connect(self) -> socket.socket:
        if isinstance(self.place, str):
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(PATIENCE)
            made.connect(self.place)
            return made
        return socket.create_connection(("127.0.0.1", self.place), PATIENCE)

    def request(self, target: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
        lines = [f"{method} {target} HTTP/1.1", *headers]
        if not any(each.lower().startswith("host:") for each in headers):
            lines.append("Host: localhost")
        if self._token:
            lines.append(f"Authorization: Bearer {self._token}")
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        return "\r\n".join(lines).encode() + body

    def raw(self, octets: bytes) -> bytes:
        """All that is answered to some octets."""
        with self.connect() as sock:
            sock.sendall(octets)
            return read_all(sock)

    def ask(self, target: str, *headers: str, **more: Any) -> Answered:
        return Answered(self.raw(self.request(target, *headers, **more)))

    def connections(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.ask("/connections").said["connections"]
        return listed

    def value(self, name: str, **labels: str) -> float:
        """A metric's value, as Prometheus reads it."""
        text = self.ask("/metrics").body.decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        raise AssertionError(f"no {name} in:\n{text}")


def read_all(sock: socket.socket) -> bytes:
    octets = b""
    try:
        while chunk := sock.recv(65536):
            octets += chunk
    except ConnectionResetError:
        pass  # it did not read all that was said
    return octets


def admin_of(program: Program | Daemon) -> Asking:
    program.log.wait_for("AdminFactory starting on ")
    match = re.search(r"AdminFactory starting on (\d+)", program.log.text)
    assert match is not None
    return Asking(int(match.group(1)))


Start = Callable[..., tuple[int, Asking]]


@pytest.fixture
def start(programs: Programs) -> Start:
    """A service with its port, and its face."""

    def start(*options: str | Path) -> tuple[int, Asking]:
        program = programs.twistd("--port", "0", "--admin", LOOPBACK, *options)
        return program.port, admin_of(program)

    return start


class Tracing:
    """A trace that is read."""

    def __init__(self, admin: Asking, id_: str) -> None:
        self.socket = admin.connect()
        self.socket.sendall(admin.request(f"/connections/{id_}/trace"))
        self.octets = b""
        self.wait_for(b": connection ")

    def wait_for(self, part: bytes) -> None:
        while part not in self.octets:
            chunk = self.socket.recv(65536)
            assert chunk, f"it ended without {part!r}: {self.octets!r}"
            self.octets += chunk

    @property
    def events(self) -> list[tuple[str, Any]]:
        found = re.findall(rb"event: (\w+)\ndata: (.*)\n\n", self.octets)
        return [(name.decode(), json.loads(data)) for name, data in found]


Trace = Callable[[Asking, str], Tracing]


@pytest.fixture
def tracing() -> Iterator[Trace]:
    """A trace that is read; ended with the test."""
    traces: list[Tracing] = []

    def begin(admin: Asking, id_: str) -> Tracing:
        traces.append(Tracing(admin, id_))
        return traces[-1]

    yield begin
    for each in traces:
        each.socket.close()


@pytest.mark.parametrize("how", WAYS)
def test_it_is_there_in_every_way_to_run_it(programs: Programs, connect: Connect, how: str) -> None:
    program = programs.serve(how, "--port", "0", "--admin", LOOPBACK)
    admin = admin_of(program)
    connect(program.port).receive()
    assert admin.ask("/healthz").said == {"alive": True}
    assert admin.ask("/readyz").said == {"ready": True, "reasons": []}
    assert admin.value("wsservice_connections") == 1
    assert len(admin.connections()) == 1
    assert "Traceback" not in program.log.text


def test_figures_of_a_conversation(start: Start, connect: Connect) -> None:
    port, admin = start("--protocol", "echo")
    client = connect(port, path="/chat/room")
    for number in range(100):
        client.send(f"message {number}")
        client.receive()
    assert admin.value("wsservice_messages_total", direction="received") == 100
    assert admin.value("wsservice_messages_total", direction="sent") == 100
    (listed,) = admin.connections()
    assert listed["channel"] == "chat/room"
    assert listed["messages"] == {"received": 100, "sent": 100}
    assert listed["peer"].startswith("127.0.0.1:")
    assert client.close().code == 1000
    wait_until(lambda: admin.value("wsservice_connections") == 0, "its end")
    assert admin.value("wsservice_closes_total", code="1000") == 1
    assert admin.value("wsservice_messages_total", direction="received") == 100
    assert admin.value("wsservice_handshake_seconds_count") == 1
    wait_until(lambda: admin.value("wsservice_reactor_lag_seconds_count") > 0, "a look at the lag")


def test_a_trace_of_a_live_conversation(start: Start, connect: Connect, tracing: Trace) -> None:
    port, admin = start("--protocol", "echo")
    client = connect(port)
    trace = tracing(admin, "1")
    client.send("hello")
    client.receive()
    client.send_frame(9, b"p")
    client.send(bytes(300_000))
    client.receive()
    client.close(4000)
    trace.wait_for(b"event: closed")
    trace.octets += read_all(trace.socket)
    assert trace.octets.endswith(b"0\r\n\r\n")
    seen = [
        (data["direction"], data["opcode"], data["size"])
        for name, data in trace.events
        if name == "frame"
    ]
    for direction in ("received", "sent"):
        assert [(opcode, size) for way, opcode, size in seen if way == direction] == [
            (1, 5),
            (10 if direction == "sent" else 9, 1),
            (2, 300_000),
            (8, 2),
        ]
    assert trace.events[-1][0] == "closed"
    assert trace.events[-1][1]["code"] == 4000


def test_a_reader_of_a_trace_that_does_not_read_harms_nobody(
    start: Start, connect: Connect, tracing: Trace
) -> None:
    port, admin = start("--protocol", "echo", "--ping-interval", "0")
    client = connect(port)
    trace = tracing(admin, "1")
    for _ in range(30):
        client.send("x" * 1000)
        for _ in range(300):
            client.send("\x01" * 900)
        for _ in range(301):
            client.receive()
    trace.wait_for(b"event: dropped")
    dropped = [data["count"] for name, data in trace.events if name == "dropped"]
    assert dropped[0] > 0
    assert admin.value("wsservice_traces") == 1
    trace.socket.close()
    wait_until(lambda: admin.value("wsservice_traces") == 0, "the trace's end")


def test_one_is_closed_from_there(start: Start, connect: Connect) -> None:
    port, admin = start()
    client, other = connect(port), connect(port)
    other.receive()
    body = json.dumps({"code": 4001, "reason": "enough"}).encode()
    answer = admin.ask("/connections/1/close", method="POST", body=body)
    assert (answer.status, answer.said) == (202, {"closing": "1"})
    said = client.answer_close()
    assert (said.code, said.reason) == (4001, "enough")
    wait_until(lambda: len(admin.connections()) == 1, "one less")
    assert admin.ask("/connections/1/close", method="POST").status == 404
    other.send("still here")


def test_who_does_not_answer_a_close_is_ended(start: Start, connect: Connect) -> None:
    port, admin = start("--close-timeout", "1")
    mute = connect(port)
    mute.receive()
    assert admin.ask("/connections/1/close", method="POST").status == 202
    assert mute.receive_close().code == 1000
    wait_until(lambda: not admin.connections(), "its end")


def test_on_a_unix_socket(programs: Programs, connect: Connect) -> None:
    program = programs.twistd("--port", "0", "--admin", "unix:admin.sock")
    path = str(programs.folder / "admin.sock")
    port = program.port
    wait_until(lambda: Path(path).exists(), "the socket")
    assert Path(path).stat().st_mode & 0o777 == 0o660
    admin = Asking(path)
    connect(port).receive()
    assert admin.ask("/connections", "Host: anything.example").said["total"] == 1
    assert admin.ask("/connections", "Origin: http://evil.example").status == 403
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert not Path(path).exists()


class TestAccess:
    @pytest.fixture
    def token(self, programs: Programs) -> Path:
        path = programs.folder / "token"
        path.write_text("correct-horse-battery\n")
        path.chmod(0o600)
        return path

    def test_a_token(self, start: Start, token: Path) -> None:
        _, admin = start("--admin-token-file", token)
        answer = admin.ask("/metrics")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert admin.ask("/connections/1/close", method="POST").status == 401
        for target in ("/", "/healthz", "/readyz"):
            assert admin.ask(target).status == 200
        assert Asking(admin.place, "correct-horse-battery").ask("/metrics").status == 200
        assert Asking(admin.place, "correct-horse-batter").ask("/metrics").status == 401

    def test_it_is_in_no_log(self, programs: Programs, token: Path) -> None:
        program = programs.twistd("--port", "0", "--admin", LOOPBACK, "--admin-token-file", token)
        admin = admin_of(program)
        admin.ask("/metrics", "Authorization: Bearer correct-horse-battery")
        admin.ask("/metrics", "Authorization: Bearer a-wrong-guess")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        assert "horse" not in program.log.text
        assert "guess" not in program.log.text
        assert "metrics" not in program.log.text

    def test_a_name_that_was_rebound_and_a_foreign_page(self, start: Start) -> None:
        _, admin = start()
        assert admin.ask("/connections", "Host: evil.example").status == 421
        assert admin.ask("/", f"Host: evil.example:{admin.place}").status == 421
        assert admin.ask("/connections", "Origin: http://evil.example").status == 403
        own = f"Host: 127.0.0.1:{admin.place}", f"Origin: http://127.0.0.1:{admin.place}"
        assert admin.ask("/connections", *own).status == 200

    @pytest.mark.parametrize("endpoint", ["tcp:0", "tcp:0:interface=0.0.0.0", "tcp6:0"])
    def test_where_others_reach_it_a_token_is_needed(
        self, programs: Programs, endpoint: str, token: Path
    ) -> None:
        program = programs.twistd("--port", "0", "--admin", endpoint)
        refused(program, f"--admin {endpoint}: ", "without --admin-token-file")
        checked = programs.twistd("--admin", endpoint, "--check-config")
        assert checked.wait() == 1
        started = programs.twistd(
            *("--port", "0", "--admin", endpoint, "--admin-token-file", token)
        )
        if endpoint != "tcp6:0":
            assert admin_of(started).ask("/healthz").status == 200

    def test_a_socket_that_was_handed_over_is_looked_at(self, programs: Programs) -> None:
        with socket.create_server(("0.0.0.0", 0)) as listening:
            number = listening.fileno()
            program = programs.start(
                *(sys.executable, "-c", HANDED_OVER, str(number), BIN / "twistd"),
                *("-n", "wsdemo", "--port", "0", "--admin", "systemd:domain=INET:index=0"),
                pass_fds=(number,),
            )
            assert program.wait() == 1
            assert "without --admin-token-file" in program.stderr.text

    def test_a_token_file_that_is_none(self, programs: Programs) -> None:
        (programs.folder / "empty").write_text("\n")
        refused(
            programs.twistd("--admin", LOOPBACK, "--admin-token-file", "empty"),
            "--admin-token-file: empty is empty",
        )

    def test_it_is_never_on_the_public_port(self, start: Start, token: Path) -> None:
        port, _ = start("--admin-token-file", token)
        public = Asking(port)
        for target in ("/healthz", "/readyz", "/metrics", "/connections"):
            assert public.ask(target).status == 426


def test_it_says_that_it_drains_and_goes_last(
    programs: Programs, connect: Connect, tracing: Trace
) -> None:
    program = programs.twistd("--port", "0", "--admin", LOOPBACK, "--drain", "60")
    port, admin = program.port, admin_of(program)
    client = connect(port)
    client.receive()
    trace = tracing(admin, "1")
    program.signal(signal.SIGTERM)
    assert client.receive_close().code == 1001
    answer = admin.ask("/readyz")
    assert (answer.status, answer.said) == (503, {"ready": False, "reasons": ["draining"]})
    assert not can_connect(port)
    assert admin.value("wsservice_ready") == 0
    client.send_close(1001)
    assert program.wait() == 0
    trace.octets += read_all(trace.socket)
    assert trace.events[-1][0] == "closed"
    assert trace.octets.endswith(b"0\r\n\r\n")


def test_a_trace_and_an_idle_reader_do_not_hold_the_stop(
    programs: Programs, connect: Connect, tracing: Trace
) -> None:
    program = programs.twistd("--port", "0", "--admin", LOOPBACK, "--drain", "1")
    port, admin = program.port, admin_of(program)
    mute = connect(port)
    mute.receive()
    trace = tracing(admin, "1")
    with admin.connect():
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert read_all(trace.socket)
    assert "Traceback" not in program.log.text


def test_no_room_is_not_ready(start: Start, connect: Connect) -> None:
    port, admin = start("--max-connections", "1")
    client = connect(port)
    client.receive()
    assert admin.ask("/readyz").said["reasons"] == ["no room for more connections"]
    client.close()
    wait_until(lambda: admin.ask("/readyz").status == 200, "room")


HOSTILE = [
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%2e%2e/%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: local\xffhost\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /x HTTP/1.1\r\n" + b"A: b\r\n" * 10_000,
    b"GET /x HTTP/1.1\r\nA: " + b"b" * 1_000_000,
    b"GET /" + b"x" * 1_000_000,
    b"\x16\x03\x01\x02\x00" + bytes(20_000),
    b"POST /connections/1/close HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\nx",
    b"POST /connections/1/close HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
    b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n",
    b"POST /connections/1/close HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n{\xff}",
    (
        b"POST /connections/1/close HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 5\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n--x--"
    ),
]


def test_hostile_requests(programs: Programs, connect: Connect) -> None:
    program = programs.twistd("--port", "0", "--admin", LOOPBACK)
    client, admin = connect(program.port), admin_of(program)
    client.receive()
    for octets in HOSTILE:
        with admin.connect() as sock:
            try:
                sock.sendall(octets)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it had read enough
            answer = read_all(sock)
        # A reset may take the answer with it, where more came than was read.
        assert not answer or re.match(rb"HTTP/1\.1 4\d\d ", answer), (octets[:60], answer)
        assert b"Traceback" not in answer
        assert b"root:" not in answer
    assert admin.ask("/healthz").status == 200
    assert len(admin.connections()) == 1
    assert "Traceback" not in program.log.text
    assert "Unhandled" not in program.log.text


def test_many_who_ask_and_say_nothing_keep_nobody_out_of_the_service(
    start: Start, connect: Connect
) -> None:
    port, admin = start()
    idle = [admin.connect() for _ in range(100)]
    try:
        assert connect(port).receive() == "Hello from server"
    finally:
        for each in idle:
            each.close()
    wait_until(lambda: can_ask(admin), "the face again")


def can_ask(admin: Asking) -> bool:
    try:
        return admin.ask("/healthz").status == 200
    except (IndexError, OSError):
        return False


def documented() -> list[tuple[str, str]]:
    """Commands of the manual's part on the face, each with the first line that it prints."""
    text = OPERATIONS.read_text().partition("## The admin face")[2].partition("\n## ")[0]
    return re.findall(r"^\$ (curl .*)\n(.*)$", text, re.MULTILINE)


def test_the_manuals_commands_work_as_printed(start: Start, connect: Connect) -> None:
    need_program("curl")
    port, admin = start("--health-path", "/health")
    client = connect(port, path="/chat")
    client.receive()
    client.send("hello")
    wait_until(lambda: admin.connections()[0]["messages"]["received"] == 1, "the message")
    commands = documented()
    assert len(commands) >= 6
    for command, output in commands:
        command = command.replace("localhost:8081", f"localhost:{admin.place}")
        command = command.replace("localhost:8080", f"localhost:{port}")
        if "/trace" in command:  # which has no end
            command = command.replace("curl", "curl --max-time 1")
        ran = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert ran.returncode in (0, 28), (command, ran.stderr)
        # Numbers, times and addresses are others each time.
        expected = re.sub(r"\d+", r"\\d+", re.escape(output))
        assert re.match(expected, ran.stdout), (command, ran.stdout)
