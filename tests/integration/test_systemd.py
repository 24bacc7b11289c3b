"""Under systemd: what it is told, the sockets that it hands over, and the unit files."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ..needs import need, need_ipv6, need_program
from .conftest import Connect
from .processes import BIN, PATIENCE, Program, Programs, free_port, wait_until
from .wire import Wire

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICE = DEPLOY / "systemd" / "wsservice.service"
SOCKET = DEPLOY / "systemd" / "wsservice.socket"

_BEHAVIOUR = """
import os
import wsservice

class Asked(wsservice.ServerProtocol):
    def onMessage(self, payload, isBinary):
        if payload == b"hang":
            self.sendMessage(b"hanging")
            self.factory.reactor.callLater(0, self.hang)
        elif payload == b"variables":
            told = [each for each in os.environ if each.startswith(("NOTIFY_", "WATCHDOG_"))]
            self.sendMessage(repr(told).encode())
        else:
            reactor = self.transport.reactor
            ports = [each for each in reactor.getReaders() if hasattr(each, "numberAccepts")]
            kinds = [type(each).__name__ for each in (reactor, *(port.socket for port in ports))]
            self.sendMessage(" ".join(kinds).encode())

    def hang(self):
        open("fifo").read()
"""


class Systemd:
    """The socket of a service manager."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind(address.replace("@", "\0", 1))

    def hears(self) -> list[str]:
        """The next that it is told."""
        return self._socket.recv(4096).decode().split("\n")

    def hears_next(self, first: str) -> list[str]:
        """The next that begins so."""
        while (heard := self.hears())[0] != first:
            pass
        return heard

    def silence(self, seconds: float) -> None:
        """Wait until nothing was said for so long."""
        self._socket.settimeout(seconds)
        with pytest.raises(TimeoutError):
            self.hears_next("nothing")
        self._socket.settimeout(PATIENCE)

    def end(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    path = os.path.relpath(tmp_path / "notify")  # the system's limit is 107 octets
    address = path if request.param == "path" else f"@wsservice-{os.getpid()}"
    listening = Systemd(address)
    if request.param == "path":
        listening.address = str(tmp_path / "notify")
    yield listening
    listening.end()


def asked(connect: Connect, port: int | str, what: str) -> object:
    client = connect(port)
    client.send(what)
    return client.receive()


def test_it_is_told_that_the_service_is_ready_lives_and_stops(
    programs: Programs, connect: Connect, systemd: Systemd
) -> None:
    (programs.folder / "asked.py").write_text(_BEHAVIOUR)
    server = programs.twistd(
        *("--port", "0", "--protocol", "asked.Asked"),
        environment={"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"},
    )
    assert systemd.hears() == ["READY=1", "STATUS=connections: 0"]
    # Whoever is told so may send clients at once.
    (port,) = re.findall(r" starting on (\d+)", server.log.text)
    client = connect(int(port))
    while systemd.hears() != ["WATCHDOG=1", "STATUS=connections: 1"]:
        pass
    client.send("variables")
    assert client.receive() == "[]"
    server.signal(signal.SIGTERM)
    heard = systemd.hears_next("STOPPING=1")
    assert heard[1:] == ["EXTEND_TIMEOUT_USEC=15000000", "STATUS=connections: 1"]
    assert client.answer_close().code == 1001
    assert server.wait() == 0


def test_a_stuck_reactor_gives_no_sign_and_python_says_where_it_was(
    programs: Programs, connect: Connect, systemd: Systemd
) -> None:
    (programs.folder / "asked.py").write_text(_BEHAVIOUR)
    os.mkfifo(programs.folder / "fifo")
    name, _, value = setting(SERVICE, "Environment")[0].partition("=")
    server = programs.twistd(
        *("--port", "0", "--protocol", "asked.Asked"),
        environment={
            "NOTIFY_SOCKET": systemd.address,
            "WATCHDOG_USEC": "200000",
            name: value,
        },
    )
    systemd.hears_next("WATCHDOG=1")
    assert asked(connect, server.port, "hang") == "hanging"
    systemd.silence(2)
    server.signal(signal.SIGABRT)
    assert server.wait() == -signal.SIGABRT
    assert 'asked.py", line' in server.stderr.text
    assert " in hang\n" in server.stderr.text


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("/no/such/socket", "No such file or directory"),
        ("vsock:2:1234", "No such file or directory"),
        ("/" + 200 * "x", "AF_UNIX path too long"),
        ("@nobody", "Connection refused"),
    ],
)
def test_a_manager_that_cannot_be_told_is_one_line_and_the_service_serves(
    programs: Programs, connect: Connect, address: str, why: str
) -> None:
    server = programs.twistd(
        "--port", "0", environment={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000"}
    )
    client = connect(server.port)
    assert client.receive() == "Hello from server"
    client.send("served")
    server.log.wait_for("Message received: served")
    server.signal(signal.SIGTERM)
    assert client.answer_close().code == 1001
    assert server.wait() == 0
    (line,) = [each for each in server.log.lines if "service manager" in each]
    assert line.endswith(f"[wsservice#warn] cannot notify the service manager, {why}")
    assert "Traceback" not in server.log.text


# Sockets that it hands over


def activated(programs: Programs, where: str, *command: str | Path, **variables: str) -> Program:
    """A program that is started once somebody connects there."""
    need_program("systemd-socket-activate")
    passed = [f"--setenv={name}={value}" for name, value in variables.items()]
    native = [f"--setenv=WSSERVICE_NATIVE={os.environ.get('WSSERVICE_NATIVE', '')}"]
    program = programs.start(
        *("systemd-socket-activate", f"--listen={where}", *setting_name(), *native, *passed),
        *command,
    )
    program.stderr.wait_for("Listening on ")
    return program


def setting_name() -> list[str]:
    return [f"--fdname={setting(SOCKET, 'FileDescriptorName')[0]}"]


@pytest.mark.parametrize("which", ["index=0", "name=ws"])
@pytest.mark.parametrize("domain", ["INET", "INET6", "UNIX"])
def test_a_socket_that_it_hands_over_is_served_as_others_are(
    programs: Programs, connect: Connect, domain: str, which: str
) -> None:
    (programs.folder / "asked.py").write_text(_BEHAVIOUR)
    port: int | str = free_port()
    host = "127.0.0.1"
    if domain == "INET6":
        need_ipv6()
        host = "::1"
    if domain == "UNIX":
        port = os.path.relpath(programs.folder / "ws.sock")
    where = {
        "INET": f"127.0.0.1:{port}",
        "INET6": f"[::1]:{port}",
        "UNIX": str(programs.folder / "ws.sock"),
    }[domain]
    server = activated(
        programs,
        where,
        *(BIN / "twistd", "-n", "wsdemo", "--protocol", "asked.Asked"),
        *("--listen", f"systemd:domain={domain}:{which}"),
    )
    client = connect(port, host)
    client.send("kinds")
    # Its connections are polled together, and it waits in a shortage of descriptors.
    assert client.receive() == "Poller PausingListener"
    server.signal(signal.SIGTERM)
    assert client.answer_close().code == 1001
    assert server.wait() == 0
    assert "Traceback" not in server.log.text


_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="ws", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def handed(programs: Programs, listener: socket.socket, *options: str) -> Program:
    """The service, with a socket that this process listens on, as systemd does."""
    twistd = [str(BIN / "twistd"), "-n", "--pidfile=", "wsdemo"]
    return programs.start(
        *(sys.executable, "-c", _HAND_OVER, str(listener.fileno()), *twistd, *options),
        pass_fds=[listener.fileno()],
    )


@pytest.mark.parametrize("domain", ["INET", "UNIX"])
def test_the_socket_outlives_the_service_and_who_comes_meanwhile_waits(
    programs: Programs, connect: Connect, domain: str
) -> None:
    path = Path(os.path.relpath(programs.folder / "ws.sock"))
    with socket.socket(getattr(socket, f"AF_{domain}")) as listener:
        listener.bind(str(path) if domain == "UNIX" else ("127.0.0.1", 0))
        listener.listen()
        where = str(path) if domain == "UNIX" else listener.getsockname()[1]
        if domain == "UNIX":
            path.chmod(0o600)
        options = ("--listen", f"systemd:domain={domain}:name=ws")
        server = handed(programs, listener, *options)
        client = connect(where)
        assert client.receive() == "Hello from server"
        server.signal(signal.SIGTERM)
        assert client.answer_close().code == 1001
        assert server.wait() == 0
        if domain == "UNIX":
            assert path.stat().st_mode & 0o777 == 0o600
        waiting = Wire(where)
        handed(programs, listener, *options)
        assert waiting.upgrade().receive() == "Hello from server"
        waiting.end()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("systemd:domain=INET:index=1", "systemd handed no such socket over; give index=0 to 0, "),
        ("systemd:domain=INET6:index=0", "is not an endpoint to listen on, the socket that"),
        ("systemd:domain=UNIX:name=no", "systemd handed no such socket over; give index=0 to 0, "),
    ],
)
def test_one_that_it_did_not_hand_over_is_one_line_and_status_1(
    programs: Programs, option: str, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = handed(programs, listener, "--listen", option)
        assert server.wait() == 1
    assert server.stderr.text.startswith(f"wsdemo: --listen {option}: {said}")
    assert len(server.stderr.lines) == 1


# The unit files


def setting(unit: Path, name: str) -> list[str]:
    """The values that a unit has for a name."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def seconds(unit: Path, name: str) -> float:
    (value,) = setting(unit, name)
    return float(value)


def installed(programs: Programs) -> list[Path]:
    """The units, with the programs of this environment."""
    copies = []
    for unit in (SERVICE, SOCKET):
        copy = programs.folder / unit.name
        copy.write_text(unit.read_text().replace("/opt/wsservice/bin/", f"{BIN}/"))
        copies.append(copy)
    return copies


def analyze(programs: Programs, *arguments: str | Path) -> str:
    need_program("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        cwd=programs.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_the_units_are_in_order(programs: Programs) -> None:
    # What it says of other units of this machine is none of ours.
    said = analyze(programs, "verify", "--man=no", "--recursive-errors=one", *installed(programs))
    assert [line for line in said.splitlines() if "wsservice" in line] == []


def test_the_service_is_exposed_to_little(programs: Programs) -> None:
    service, _ = installed(programs)
    # Of 10, which is a service with no such settings; the rest is to speak on the network at all.
    said = analyze(programs, "security", "--offline=true", "--no-pager", "--threshold=12", service)
    assert "OK" in said.splitlines()[-1]


def test_stopping_takes_no_longer_than_the_unit_grants() -> None:
    settings = tomllib.loads((DEPLOY / "ws.toml").read_text())
    assert seconds(SERVICE, "TimeoutStopSec") >= settings["drain"] + 5


def service_command(programs: Programs, folder: Path) -> list[str]:
    """Return the unit's command, with this environment's programs, writing in a folder."""
    (line,) = setting(SERVICE, "ExecStart")
    (logs,) = setting(SERVICE, "LogsDirectory")
    settings = (DEPLOY / "ws.toml").read_text()
    assert f"/var/log/{logs}/" in settings
    copy = folder / "ws.toml"
    token = folder / "admin.token"
    token.touch(0o600)
    token.write_text("secret")
    for documented, here in (
        (f"/var/log/{logs}/", f"{folder}/"),
        ("tcp:8081:", "tcp:0:"),
        (tomllib.loads(settings)["admin_token_file"], str(token)),
    ):
        assert settings.count(documented) == 1
        settings = settings.replace(documented, here)
    copy.write_text(settings)
    for documented, here in (
        ("/opt/wsservice/bin/", f"{BIN}/"),
        ("/etc/wsservice/ws.toml", str(copy)),
    ):
        assert line.count(documented) == 1
        line = line.replace(documented, here)
    return shlex.split(line)


def test_the_unit_and_its_settings_serve(programs: Programs) -> None:
    (address,) = setting(SOCKET, "ListenStream")
    host, _, documented = address.partition(":")
    assert (host, documented) == ("127.0.0.1", "8080")
    port = free_port()
    systemd = Systemd(f"@wsservice-unit-{os.getpid()}")
    try:
        server = activated(
            programs,
            f"{host}:{port}",
            *service_command(programs, programs.folder),
            NOTIFY_SOCKET=systemd.address,
        )
        client = Wire(port)
        client.upgrade(before=b"PROXY TCP4 192.0.2.7 198.51.100.1 5007 80\r\n")
        assert client.receive() == "Hello from server"
        assert systemd.hears()[0] == "READY=1"
        client.send("from afar")
        log = programs.folder / "messages.log"
        wait_until(log.exists, "the message log")
        wait_until(
            lambda: log.read_text().endswith("192.0.2.7:5007] Message received: from afar\n"),
            "the message",
        )
        server.signal(signal.SIGTERM)
        assert client.answer_close().code == 1001
        assert server.wait() == 0
        assert not (programs.folder / "twistd.pid").exists()
        client.end()
    finally:
        systemd.end()


def calls_of(name: str) -> set[str]:
    """The system calls of a group of systemd's."""
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", name],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = [line.strip() for line in done.stdout.splitlines()[1:]]
    named = {line for line in lines if line and not line.startswith("#")}
    groups = {each for each in named if each.startswith("@")}
    return (named - groups).union(*map(calls_of, groups))


def talk(server: Program, pid: int | None = None) -> None:
    """A client comes, talks, and the service, whose process `pid` may be another, ends."""
    client = Wire(server.port)
    try:
        assert client.upgrade().receive() == "Hello from server"
        client.send("hello")
        server.log.wait_for("Message received: hello\n")
        os.kill(pid or server.process.pid, signal.SIGTERM)
        assert client.answer_close().code == 1001
        assert server.wait() == 0
    finally:
        client.end()
    assert "Traceback" not in server.log.text


def child(server: Program) -> int:
    """The one process that a program started."""
    pid = server.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def test_the_service_makes_no_system_call_that_the_unit_forbids(programs: Programs) -> None:
    need_program("systemd-analyze")
    strace = need_program("strace")
    allowed: set[str] = set()
    for each in setting(SERVICE, "SystemCallFilter"):
        calls = set().union(*map(calls_of, each.removeprefix("~").split()))
        allowed = allowed - calls if each.startswith("~") else allowed | calls
    assert "socket" in allowed
    assert "chown" not in allowed
    made = programs.folder / "calls"
    server = programs.start(
        *(strace, "-f", "-qq", "-o", made, BIN / "twistd", "-n", "--pidfile=", "wsdemo"),
        *("--port", "0"),
    )
    server.log.wait_for("starting on")
    talk(server, child(server))
    calls = set(re.findall(r"^\d+ +(\w+)\(", made.read_text(), re.MULTILINE))
    assert {"execve", "accept4", "sendto"} <= calls
    assert calls <= allowed


_NO_WRITE_AND_EXECUTE = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_without_tls_of_its_own_it_needs_no_memory_to_write_and_execute(programs: Programs) -> None:
    # As MemoryDenyWriteExecute=yes does, which the unit's comment speaks of.
    assert "MemoryDenyWriteExecute=yes" in SERVICE.read_text()
    start: Sequence[str | Path] = (sys.executable, "-c", _NO_WRITE_AND_EXECUTE)
    probe = programs.start(*start, shutil.which("true") or "true")
    need(probe.wait() == 0, "Linux 6.3, which can deny memory to write and execute")
    talk(programs.start(*start, BIN / "twistd", "-n", "wsdemo", "--port", "0"))
