"""Settings read anew on SIGHUP, while clients are connected."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import pty
import re
import signal
import ssl
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..certificates import Authority
from ..needs import need
from .conftest import Connect
from .processes import BIN, PATIENCE, WAYS, Daemon, Output, Program, Programs, wait_until
from .wire import TEXT, Closed, Wire, frame

ANEW = "SIGHUP: the settings were read anew; "
NOT = "SIGHUP: nothing was changed, "
NOBODY = 65534
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def write(programs: Programs, text: str) -> None:
    """The file of the settings, put in its place at once, as an editor does."""
    fresh = programs.folder / "fresh"
    fresh.write_text(text)
    fresh.replace(programs.folder / "ws.toml")


def hang_up(server: Program | Daemon) -> str:
    """Send SIGHUP: what is logged of it."""
    before = server.log.text.count("SIGHUP: ")
    server.signal(signal.SIGHUP)
    server.log.wait_for("SIGHUP: ", before + 1)
    wait_until(lambda: server.log.text.endswith("\n"), "the whole line")
    line = [line for line in server.log.lines if "SIGHUP: " in line][-1]
    if line.startswith("{"):
        event = json.loads(line)
        return f"{event['level']} SIGHUP: {event['text'].partition('SIGHUP: ')[2]}"
    level = line.partition("#")[2].partition("]")[0]
    return f"{level} SIGHUP: {line.partition('SIGHUP: ')[2]}"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("how", WAYS)
def test_new_settings_are_those_of_new_clients_and_open_connections_stay(
    programs: Programs, connect: Connect, how: str, form: str
) -> None:
    write(programs, "port = 0\n")
    server = programs.serve(how, "--config", "ws.toml", "--log-format", form)
    client = connect(server.port)
    assert client.receive() == "Hello from server"
    write(programs, 'port = 0\ngreeting = "anew"\nmax_message_size = 9\nlog_payload = 2\n')
    assert hang_up(server) == f"info {ANEW}changed: max_message_size, greeting, log_payload"
    assert connect(server.port).receive() == "anew"
    client.send("123456789")
    server.log.wait_for("Message received: 12... (9 bytes)")
    client.send("1234567890")
    assert client.receive() == Closed(1009, "message too big")
    assert hang_up(server) == f"info {ANEW}no setting is other than it was"


def test_the_command_line_overrules_the_file_then_too(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--config", "ws.toml", "--port", "0", "--greeting", "given")
    assert server.wait() == 1
    write(programs, "")
    server = programs.twistd("--config", "ws.toml", "--port", "0", "--greeting", "given")
    port = server.port
    write(programs, 'greeting = "other"\ndrain = 3\n')
    assert hang_up(server) == f"info {ANEW}changed: drain"
    assert connect(port).receive() == "given"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("port = 0\ngreeting = 1\n", "ws.toml: greeting: 1 is not allowed; give a string"),
        ("port = 0\ngreting = ''\n", "ws.toml: greting: unknown setting; did you mean"),
        ("port 0\n", "ws.toml: is not TOML, "),
        (None, "--config: ws.toml cannot be read, No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line_and_changes_nothing(
    programs: Programs, connect: Connect, text: str | None, why: str
) -> None:
    write(programs, "port = 0\n")
    server = programs.twistd("--config", "ws.toml")
    port = server.port
    if text is None:
        (programs.folder / "ws.toml").unlink()
    else:
        write(programs, text)
    assert hang_up(server).startswith(f"error {NOT}{why}")
    assert connect(port).receive() == "Hello from server"
    write(programs, 'port = 0\ngreeting = "mended"\n')
    assert hang_up(server) == f"info {ANEW}changed: greeting"
    assert connect(port).receive() == "mended"
    assert "Traceback" not in server.log.text


def test_the_manual_shows_what_is_logged(programs: Programs) -> None:
    secure = Secure(programs)
    write(programs, "")
    server = programs.twistd(*secure.options, "--config", "ws.toml")
    assert server.port
    manual = OPERATIONS.read_text()
    write(programs, 'drain = "soon"')
    assert hang_up(server).partition(" ")[2] in manual
    write(programs, "drain = 3")
    assert hang_up(server) == f"info {ANEW}changed: drain"
    secure.renew()
    write(programs, 'drain = 3\ngreeting = ""')
    renewed = hang_up(server).partition(" ")[2]
    for varies in ("--port 0", "--port 8443"), (r"until \S+", "until 2027-02-22)"):
        renewed = re.sub(*varies, renewed)
    assert renewed in manual


def test_what_needs_a_restart_is_said_by_name(programs: Programs, connect: Connect) -> None:
    write(programs, "port = 0\n")
    server = programs.twistd("--config", "ws.toml")
    port = server.port
    write(programs, 'port = 1\nprotocol = "echo"\ngreeting = "anew"\n')
    assert hang_up(server) == (
        f"info {ANEW}changed: greeting; not taken, which needs a restart: port, protocol"
    )
    assert connect(port).receive() == "anew"


def test_origins_and_the_number_of_connections(programs: Programs, connect: Connect) -> None:
    write(programs, "port = 0\n")
    server = programs.twistd("--config", "ws.toml")
    port = server.port
    client = connect(port)
    page = "Origin: https://app.example\r\n"

    def status() -> int:
        wire = Wire(port)
        try:
            return wire.upgrade(headers=page).status
        finally:
            wire.end()

    assert status() == 403
    write(programs, 'port = 0\nallow_origin = ["https://app.example"]\n')
    hang_up(server)
    assert status() == 101
    write(programs, 'port = 0\nallow_origin = ["https://app.example"]\nmax_connections = 1\n')
    assert hang_up(server) == f"info {ANEW}changed: max_connections"
    wait_until(lambda: status() == 503, "the limit")
    client.send("still here")
    server.log.wait_for("Message received: still here")


def test_a_reload_under_load_loses_nothing(programs: Programs, connect: Connect) -> None:
    write(programs, "port = 0\n")
    server = programs.twistd("--config", "ws.toml", "--protocol", "echo")
    port = server.port
    clients = [connect(port) for _ in range(4)]
    for number in range(25):
        limit, buffer = (65536, 4096) if number % 2 else (1048576, 1048576)
        for client in clients:
            client.socket.sendall(
                b"".join(frame(TEXT, b"%d" % each) for each in range(number * 20, number * 20 + 20))
            )
        write(programs, f"port = 0\nmax_message_size = {limit}\nsend_buffer = {buffer}\n")
        server.signal(signal.SIGHUP)
        assert connect(port).status == 101
        for client in clients:
            got = [client.receive() for _ in range(20)]
            assert got == [str(each) for each in range(number * 20, number * 20 + 20)]
    assert "Traceback" not in server.log.text
    assert NOT not in server.log.text


class Secure:
    """A service behind TLS, whose certificate can be replaced."""

    def __init__(self, programs: Programs, endpoint: bool = False) -> None:
        self.folder = programs.folder
        self.root = Authority(programs.folder, "Root")
        self._between = Authority(programs.folder, "Between", self.root)
        self.renew()
        where: tuple[str, ...] = ("--port", "0", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
        if endpoint:
            paths = "privateKey=key.pem:certKey=leaf.pem:extraCertChain=between.pem"
            where = ("--listen", f"ssl:0:interface=127.0.0.1:{paths}", "--port", "0", *where[2:])
        self.options: tuple[str, ...] = ("--protocol", "echo", *where)

    def renew(self) -> None:
        """Another key and certificate for the same host, by the same authority."""
        key, certificate = self._between.certificate()
        key.rename(self.folder / "key.pem")
        (self.folder / "leaf.pem").write_bytes(certificate.read_bytes())
        (self.folder / "between.pem").write_bytes(self._between.file.read_bytes())
        both = certificate.read_bytes() + self._between.file.read_bytes()
        (self.folder / "cert.pem").write_bytes(both)

    def context(self) -> ssl.SSLContext:
        # Only the root is known: whoever verifies it got the whole chain.
        return ssl.create_default_context(cafile=str(self.root.file))

    def connect(self, port: int) -> Wire:
        wire = Wire(port)
        wire.secure(self.context(), "localhost")
        return wire.upgrade()

    def serial(self, port: int) -> str:
        """The number of the certificate that a new client gets."""
        wire = self.connect(port)
        try:
            return serial(wire)
        finally:
            wire.end()


def serial(wire: Wire) -> str:
    assert isinstance(wire.socket, ssl.SSLSocket)
    certificate = wire.socket.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


@pytest.mark.parametrize("how", WAYS)
def test_new_clients_get_the_new_certificate_and_open_connections_go_on(
    programs: Programs, how: str
) -> None:
    secure = Secure(programs)
    server = programs.serve(how, *secure.options)
    client = secure.connect(server.port)
    try:
        assert secure.serial(server.port) == serial(client)
        assert hang_up(server) == f"info {ANEW}no setting is other than it was"
        secure.renew()
        said = hang_up(server)
        assert said.startswith(f"info {ANEW}changed: certificate of --port 0 (valid until 20")
        assert secure.serial(server.port) != serial(client)
        client.send("the old one goes on")
        assert client.receive() == "the old one goes on"
    finally:
        client.end()


def test_so_it_is_with_endpoint_strings(programs: Programs) -> None:
    secure = Secure(programs, endpoint=True)
    server = programs.twistd(*secure.options)
    ports = server.log.wait_for_ports(2)
    before = {secure.serial(port) for port in ports}
    assert len(before) == 1
    secure.renew()
    said = hang_up(server)
    assert "changed: certificate of --port 0 (valid until 20" in said
    assert ", certificate of --listen ssl:0:interface=127.0.0.1:" in said
    after = {secure.serial(port) for port in ports}
    assert len(after) == 1
    assert before != after


@pytest.mark.parametrize("broken", ["key", "gone", "garbage"])
@pytest.mark.parametrize("endpoint", [False, True])
def test_a_certificate_that_cannot_be_used_leaves_all_as_it_was(
    programs: Programs, connect: Connect, broken: str, endpoint: bool
) -> None:
    secure = Secure(programs, endpoint)
    write(programs, "")
    server = programs.twistd(*secure.options, "--config", "ws.toml")
    port = server.log.wait_for_ports(1 + endpoint)[-1]
    before = secure.serial(port)
    old = (programs.folder / "key.pem").read_bytes()
    if broken == "key":
        secure.renew()
        (programs.folder / "key.pem").write_bytes(old)
    elif broken == "gone":
        (programs.folder / "cert.pem").unlink()
        (programs.folder / "leaf.pem").unlink()
    else:
        (programs.folder / "key.pem").write_text("nothing of the kind")
    write(programs, "max_message_size = 20")
    said = hang_up(server)
    assert said.startswith(f"error {NOT}--tls-")
    client = secure.connect(port)
    try:
        assert serial(client) == before
        client.send("longer than one octet")
        assert client.receive() == "longer than one octet"
    finally:
        client.end()
    assert "Traceback" not in server.log.text


def test_relative_paths_are_those_of_the_folder_in_which_it_was_started(
    programs: Programs,
) -> None:
    secure = Secure(programs, endpoint=True)
    write(programs, "")
    elsewhere = programs.folder / "elsewhere"
    elsewhere.mkdir()
    server = programs.start(
        *(BIN / "twistd", "-n", f"--rundir={elsewhere}", "wsdemo"),
        *secure.options,
        *("--config", "ws.toml"),
    )
    ports = server.log.wait_for_ports(2)
    before = secure.serial(ports[0])
    secure.renew()
    write(programs, "drain = 1")
    assert hang_up(server).startswith(f"info {ANEW}changed: drain, certificate of")
    assert secure.serial(ports[0]) != before
    assert os.readlink(f"/proc/{server.process.pid}/cwd") == str(elsewhere)


def test_a_key_that_only_root_may_read_is_refused_once_root_is_given_up(
    programs: Programs,
) -> None:
    need(os.geteuid() == 0, "root")
    secure = Secure(programs)
    (programs.folder / "key.pem").chmod(0o600)
    server = programs.start(
        *(BIN / "twistd", "-n", f"--uid={NOBODY}", f"--gid={NOBODY}", "wsdemo"),
        *secure.options,
    )
    before = secure.serial(server.port)
    secure.renew()
    (programs.folder / "key.pem").chmod(0o600)
    said = hang_up(server)
    assert said.startswith(f"error {NOT}--tls-")
    assert " cannot be read, Permission denied; give a file in PEM" in said
    assert secure.serial(server.port) == before


class TestLogLevel:
    @pytest.mark.parametrize("form", ["text", "json"])
    @pytest.mark.parametrize("how", WAYS)
    def test_it_changes_what_is_logged_and_messages_are_info(
        self, programs: Programs, connect: Connect, how: str, form: str
    ) -> None:
        (programs.folder / "bad.py").write_text(
            "import wsservice\n"
            "class Bad(wsservice.ServerProtocol):\n"
            "    def onMessage(self, payload, isBinary):\n"
            "        super().onMessage(payload, isBinary)\n"
            "        if payload == b'fail': raise ValueError('on purpose')\n"
        )
        write(programs, "port = 0\n")
        server = programs.serve(
            how, "--config", "ws.toml", "--log-format", form, "--protocol", "bad.Bad"
        )
        port = server.port
        client = connect(port)
        client.send("seen")
        server.log.wait_for("Message received: seen")
        write(programs, 'port = 0\nlog_level = "warn"\n')
        assert hang_up(server) == f"info {ANEW}changed: log_level"
        client.send("unseen")
        failing = connect(port)
        failing.send("fail")
        server.log.wait_for("on purpose")
        write(programs, 'port = 0\nlog_level = "debug"\n')
        assert hang_up(server) == f"info {ANEW}changed: log_level"
        client.send("seen again")
        server.log.wait_for("Message received: seen again")
        connect(port, path="/chat/?token=secret").close()
        server.log.wait_for("open, at /chat")
        server.log.wait_for("over, 1000")
        assert "unseen" not in server.log.text
        assert "Message received: fail" not in server.log.text

    def test_a_message_log_of_its_own_has_all(self, programs: Programs, connect: Connect) -> None:
        server = programs.start(
            *(BIN / "twistd", "-n", "--logfile=own.log", "wsdemo", "--listen", "unix:ws.sock"),
            *("--message-log", "messages.log", "--log-level", "error"),
        )
        wait_until(lambda: (programs.folder / "ws.sock").exists(), "the socket")
        client = connect(os.path.relpath(programs.folder / "ws.sock"))
        client.send("a")
        Output(programs.folder / "messages.log").wait_for("Message received: a")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert (programs.folder / "own.log").read_text() == ""

    def test_that_of_twist_holds_where_there_is_no_other(
        self, programs: Programs, connect: Connect
    ) -> None:
        write(programs, "port = 0\n")
        server = programs.start(
            *(BIN / "twist", "--log-format=text", "--log-level=debug", "wsdemo"),
            *("--config", "ws.toml"),
        )
        connect(server.port).close()
        server.log.wait_for("over, 1000")
        write(programs, 'port = 0\nlog_level = "info"\n')
        hang_up(server)
        connect(server.port).close()
        write(programs, "port = 0\n")
        assert hang_up(server) == f"info {ANEW}changed: log_level"
        assert server.log.text.count("over, ") == 1


@contextlib.contextmanager
def at_a_terminal(
    programs: Programs, *arguments: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A program at a terminal of its own, and our end of that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=programs.folder,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(OSError):
            os.close(ours)


def test_a_terminal_that_is_closed_ends_the_service_in_order(
    programs: Programs, connect: Connect
) -> None:
    command = [str(BIN / "twistd"), "-n", "--logfile=own.log", "wsdemo", "--port", "0"]
    with at_a_terminal(programs, *command) as (process, terminal):
        log = Output(programs.folder / "own.log")
        client = connect(log.wait_for_ports()[0])
        process.send_signal(signal.SIGHUP)
        log.wait_for(ANEW)
        os.close(terminal)
        assert client.answer_close().code == 1001
        assert process.wait(PATIENCE) == 0


def test_nohup_has_it_ignored(programs: Programs, connect: Connect) -> None:
    server = programs.start("nohup", BIN / "twistd", "-n", "wsdemo", "--port", "0")
    client = connect(server.port)
    server.signal(signal.SIGHUP)
    client.send("still here")
    server.log.wait_for("Message received: still here")
    assert "SIGHUP" not in server.log.text


@pytest.mark.parametrize("count", ["1", "2"])
class TestAdmin:
    def started(self, programs: Programs, count: str, *options: str) -> tuple[Program, int]:
        """A service in so many processes, and its face's port."""
        server = programs.twistd("--port", "0", "--workers", count, *options)
        server.log.wait_for("up to ")
        found = re.search(r"AdminFactory.* starting on (\d+)", server.log.text)
        assert found is not None
        return server, int(found[1])

    def asked(self, port: int, token: str) -> int:
        """The status of /metrics."""
        connection = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status
        finally:
            connection.close()

    def test_its_token_is_read_again_and_an_empty_one_changes_nothing(
        self, programs: Programs, count: str
    ) -> None:
        token = programs.folder / "token"
        token.write_text("before\n")
        token.chmod(0o600)
        options = ("--admin", "tcp:0:interface=127.0.0.1", "--admin-token-file", "token")
        server, port = self.started(programs, count, *options)
        assert self.asked(port, "before") == 200
        token.write_text("after\n")
        assert hang_up(server) == f"info {ANEW}changed: the token of --admin"
        assert [self.asked(port, each) for each in ("before", "after")] == [401, 200]
        token.write_text("\n")
        assert hang_up(server).startswith(f"error {NOT}--admin-token-file: token is empty")
        assert self.asked(port, "after") == 200

    def test_its_certificate_is_read_again(self, programs: Programs, count: str) -> None:
        secure = Secure(programs)
        paths = "privateKey=key.pem:certKey=leaf.pem:extraCertChain=between.pem"
        endpoint = f"ssl:0:interface=127.0.0.1:{paths}"
        server, port = self.started(programs, count, "--admin", endpoint)

        def shown() -> str:
            wire = Wire(port)
            try:
                wire.secure(secure.context(), "localhost")
                return serial(wire)
            finally:
                wire.end()

        before = shown()
        secure.renew()
        named = f"certificate of --admin {endpoint} (valid until 20"
        assert hang_up(server).startswith(f"info {ANEW}changed: {named}")
        assert shown() != before
