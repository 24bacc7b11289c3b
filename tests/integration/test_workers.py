"""Several processes that are one service: they share the load, and no harm of one is another's."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ..certificates import Authority
from ..needs import need_ipv6
from .conftest import Connect
from .processes import (
    BIN,
    WAYS,
    Daemon,
    Output,
    Program,
    Programs,
    can_connect,
    free_port,
    wait_until,
)
from .test_listening_places import make_certificate
from .wire import TEXT, Wire, frame

MARK = "Message received: "

BEHAVIOURS = """
import os, sys, time
import wsservice

class Who(wsservice.EchoServerProtocol):
    def onOpen(self):
        self.sendMessage(str(os.getpid()).encode())

class All(Who):
    def onMessage(self, payload, isBinary):
        self.broadcast(payload, isBinary)

class Both(Who):
    def onMessage(self, payload, isBinary):
        wsservice.ServerProtocol.onMessage(self, payload, isBinary)
        self.sendMessage(payload, isBinary)

class Slow(Who):
    async def onConnect(self, request):
        from twisted.internet import reactor
        from twisted.internet.task import deferLater
        await deferLater(reactor, 0.5, lambda: None)

class Hangs(Who):
    def onMessage(self, payload, isBinary):
        while True:
            pass
"""


@pytest.fixture(autouse=True)
def behaviours(programs: Programs) -> None:
    (programs.folder / "who.py").write_text(BEHAVIOURS)


Service = Program | Daemon


def pids(server: Service) -> list[int]:
    """Those of its workers, in the order in which they began to serve."""
    return [int(pid) for pid in re.findall(r"\(pid (\d+)\): started", server.log.text)]


def workers(server: Service, count: int = 2) -> list[int]:
    """The same, once there are so many."""
    server.log.wait_for("): started", count)
    return pids(server)


def alive(pid: int) -> bool:
    """Return True if a process runs. A zombie does not."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def greeted(wire: Wire) -> int:
    """The process id of the worker that serves, by its first message."""
    return int(str(wire.receive()))


class Callers:
    """Clients that come, say something, and go, as fast as they can, until told to stop."""

    def __init__(self, port: int, count: int = 4) -> None:
        self._port = port
        self._over = threading.Event()
        self.served: Counter[int] = Counter()
        self.problems: list[str] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._call()
            except Exception as error:
                self.problems.append(repr(error))

    def _call(self) -> None:
        wire = Wire(self._port)
        try:
            wire.upgrade()
            if wire.status != 101:
                self.problems.append(f"status {wire.status}")
                return
            self.served[greeted(wire)] += 1
            # Whoever is told to go away was served all the same.
            wire.send_close(1000)
            wire.receive_close()
        finally:
            wire.end()

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def serve(programs: Programs, behaviour: str = "Who", *options: str, count: int = 2) -> Program:
    """A service with workers, all of which are ready."""
    server = programs.twistd(
        *("--port", "0", "--workers", str(count), "--protocol", f"who.{behaviour}", *options)
    )
    workers(server, count)
    return server


@pytest.mark.parametrize("how", WAYS)
def test_workers_share_the_load_and_end_with_their_parent(
    programs: Programs, connect: Connect, how: str
) -> None:
    server = programs.serve(how, "--port", "0", "--workers", "2", "--protocol", "who.Both")
    port = server.port
    both = workers(server)
    clients = [connect(port) for _ in range(10)]
    assert Counter(map(greeted, clients)) == dict.fromkeys(both, 5)
    for number, client in enumerate(clients):
        client.send(f"message {number}")
        assert client.receive() == f"message {number}"
    server.log.wait_for(MARK, 10)
    ids = [int(each) for each in re.findall(r"\[(\d+) 127.0.0.1:\d+\] Message", server.log.text)]
    assert sorted(ids) == list(range(1, 11)), "ids are unique in the service"
    server.signal(signal.SIGTERM)
    assert [client.answer_close().code for client in clients] == [1001] * 10
    assert server.wait() == 0
    assert not any(map(alive, both))
    assert "Traceback" not in server.log.text
    assert server.log.text.count("ServerFactory starting on") == 1
    assert server.log.text.count("Main loop terminated") == 1


def test_workers_may_be_as_many_as_there_are_cpus(programs: Programs, connect: Connect) -> None:
    cpus = len(os.sched_getaffinity(0))
    server = programs.twistd("--port", "0", "--workers", "auto", "--protocol", "who.Who")
    if cpus > 1:
        assert greeted(connect(server.port)) in workers(server, cpus)
    assert greeted(connect(server.port)) != server.process.pid or cpus == 1


@pytest.mark.parametrize("reactor", ["asyncio", "poll", "select"])
def test_workers_run_on_the_reactor_of_their_parent(
    programs: Programs, connect: Connect, reactor: str
) -> None:
    server = programs.twistd(
        *("--port", "0", "--workers", "2", "--protocol", "who.Who"), reactor=reactor
    )
    both = workers(server)
    assert {greeted(connect(server.port)) for _ in range(2)} == set(both)
    command = Path(f"/proc/{both[0]}/cmdline").read_text()
    assert f"twisted.internet.{reactor}reactor" in command


# Where they listen


def secured(port: int, certificate: Path) -> Wire:
    """A connection over TLS that verifies the certificate."""
    wire = Wire(port)
    wire.secure(ssl.create_default_context(cafile=str(certificate)), "localhost")
    return wire.upgrade()


def test_every_kind_of_endpoint_is_shared(programs: Programs, connect: Connect) -> None:
    need_ipv6()
    key, certificate = make_certificate(programs.folder)
    server = programs.twistd(
        *("--workers", "2", "--protocol", "who.Both"),
        *("--listen", f"ssl:0:privateKey={key.name}:certKey={certificate.name}"),
        *("--listen", "haproxy:tcp:0:interface=127.0.0.1"),
        *("--listen", r"tcp6:0:interface=\:\:1"),
        *("--listen", "unix:ws.sock"),
    )
    both = set(workers(server))
    tls, balanced, ipv6 = server.log.wait_for_ports(3)
    path = os.path.relpath(programs.folder / "ws.sock")  # the system's limit is 107 octets

    def proxied() -> Wire:
        return Wire(balanced).upgrade(before=b"PROXY TCP4 192.0.2.7 198.51.100.1 5007 80\r\n")

    kinds: dict[str, Callable[[], Wire]] = {
        "TLS": lambda: secured(tls, certificate),
        "PROXY": proxied,
        "IPv6": lambda: connect(ipv6, "::1"),
        "unix": lambda: connect(path),
    }
    for kind, begin in kinds.items():
        wires = [begin() for _ in range(4)]
        assert {greeted(wire) for wire in wires} == both, kind
        for wire in wires:
            wire.send(f"by {kind}")
            assert wire.receive() == f"by {kind}"
            assert wire.close().code == 1000
            wire.end()
    server.log.wait_for(" 192.0.2.7:5007] Message received: by PROXY\n", 4)
    server.log.wait_for(" unix] Message received: by unix\n", 4)
    server.log.wait_for(" [::1]:", 4)
    os.kill(next(iter(both)), signal.SIGKILL)
    third = workers(server, 3)[2]
    wires = [kinds["TLS"]() for _ in range(2)]
    assert third in {greeted(wire) for wire in wires}
    for wire in wires:
        wire.end()
    assert Path(path).is_socket(), "a worker that ends leaves it to the others"
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not Path(path).exists()


def test_a_socket_of_systemds_is_shared(programs: Programs, connect: Connect) -> None:
    run = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='ws', LISTEN_PID=str(os.getpid()))\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = programs.start(
            *(sys.executable, "-c", run, str(listener.fileno()), BIN / "twistd"),
            *("-n", "wsdemo", "--listen", "systemd:domain=INET:name=ws"),
            *("--workers", "2", "--protocol", "who.Who"),
            pass_fds=[listener.fileno()],
        )
    both = set(workers(server))
    assert {greeted(connect(port)) for _ in range(2)} == both


# Publishing


def test_what_one_publishes_reaches_all_in_every_worker_in_order(
    programs: Programs, connect: Connect
) -> None:
    server = serve(programs, "All", count=3)
    clients = [connect(server.port, path="/news") for _ in range(6)]
    other = connect(server.port, path="/other")
    assert len({greeted(client) for client in clients}) == 3
    greeted(other)
    count = 300
    for client in clients:
        name = clients.index(client)
        client.socket.sendall(
            b"".join(frame(TEXT, b"%d %d" % (name, number)) for number in range(count))
        )
    expected = [(name, number) for name in range(6) for number in range(count)]
    for client in clients:
        got = [tuple(map(int, str(client.receive()).split())) for _ in range(6 * count)]
        assert sorted(got, key=lambda each: each[0]) == expected, "stable: the order of each"
    other.send("to this channel only")
    assert other.receive() == "to this channel only"


def test_large_messages_are_passed_on_whole(programs: Programs, connect: Connect) -> None:
    server = serve(programs, "All")
    one, two = (connect(server.port) for _ in range(2))
    assert greeted(one) != greeted(two)
    payload = os.urandom(1024 * 1024 - 100)
    for _ in range(3):
        one.send(payload)
        assert two.receive() == payload
        assert one.receive() == payload


# Death


def test_one_that_is_killed_under_load_harms_nobody_elses_connections(
    programs: Programs, connect: Connect
) -> None:
    server = serve(programs)
    port = server.port
    clients = [connect(port) for _ in range(8)]
    served = [greeted(client) for client in clients]
    victim = served[0]
    mine = [client for client, pid in zip(clients, served, strict=True) if pid == victim]
    others = [client for client in clients if client not in mine]
    assert len(mine) == len(others) == 4
    with Callers(port) as callers:
        wait_until(lambda: len(callers.served) == 2, "both workers to serve callers")
        os.kill(victim, signal.SIGKILL)
        for number in range(200):
            for client in others:
                client.send(f"{number}")
                assert client.receive() == f"{number}"
        third = workers(server, 3)[2]
        wait_until(lambda: callers.served[third] > 5, "the new worker to serve")
    assert all(client.at_end() for client in mine)
    # Who was just then served by it, at most one for each caller, notices.
    assert len(callers.problems) <= 4, callers.problems
    assert f"(pid {victim}): was ended by SIGKILL; " in server.log.text
    assert callers.served[third] > 0


def test_one_that_is_stuck_delays_no_other_and_is_replaced(
    programs: Programs, connect: Connect
) -> None:
    server = serve(programs, "All")
    port = server.port
    one, two = (connect(port) for _ in range(2))
    stuck, sound = greeted(one), greeted(two)
    os.kill(stuck, signal.SIGSTOP)
    try:
        # What waits for it is more than its bus holds, and harms nobody.
        payload = os.urandom(1_000_000)
        for _ in range(40):
            two.send(payload)
            assert two.receive() == payload
        # Whoever it was handed goes to the other.
        for _ in range(6):
            assert greeted(connect(port)) == sound
        third = workers(server, 3)[2]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stuck, signal.SIGCONT)
    assert f"(pid {stuck}): did not answer for 10 s, and was killed" in server.log.text
    assert f"worker {1 if workers(server)[0] == stuck else 2}" in server.log.text
    assert "reads too slowly: publications to it are dropped" in server.log.text
    assert one.rest() is not None
    assert third in {greeted(connect(port)) for _ in range(8)}


def test_one_that_cannot_start_any_more_ends_the_service_with_status_1(
    programs: Programs,
) -> None:
    (programs.folder / "only.py").write_text(
        "import sys, wsservice\n"
        "if 'twistd' not in sys.argv[0]:\n"
        "    raise RuntimeError('not\\x1b here')\n"
        "class Only(wsservice.ServerProtocol): pass\n"
    )
    daemon = programs.daemon("--port", "0", "--workers", "2", "--protocol", "only.Only")
    assert daemon.wait() == 1
    lines = [line for line in daemon.log.lines if "no worker can be started: " in line]
    assert len(lines) == 1
    assert "'only.Only' cannot be imported, RuntimeError: not\\x1b here" in lines[0]
    assert "Traceback" not in daemon.log.text
    assert not daemon.pid_file.exists()
    server = programs.twistd("--port", "0", "--workers", "2", "--protocol", "only.Only")
    assert server.wait() == 1
    assert len(server.stderr.lines) == 1
    assert server.stderr.text.startswith("wsdemo: no worker can be started: ")


def test_one_that_crashes_while_it_starts_ends_it_too(programs: Programs) -> None:
    (programs.folder / "crash.py").write_text(
        "import os, signal, sys, wsservice\n"
        "if 'twistd' not in sys.argv[0]:\n"
        "    os.write(2, b'out of luck\\n'); os.kill(os.getpid(), signal.SIGSEGV)\n"
        "class Crash(wsservice.ServerProtocol): pass\n"
    )
    server = programs.twistd("--port", "0", "--workers", "2", "--protocol", "crash.Crash")
    assert server.wait() == 1
    said = "no worker can be started: was ended by SIGSEGV; its last words: out of luck"
    assert server.stderr.lines == [f"wsdemo: {said}"]


@pytest.mark.parametrize("behaviour", ["Who", "Hangs"])
def test_no_worker_outlives_its_parent(
    programs: Programs, connect: Connect, behaviour: str
) -> None:
    server = serve(programs, behaviour, "--drain", "1")
    client = connect(server.port)
    greeted(client)
    if behaviour == "Hangs":
        client.send("for ever")
    both = pids(server)
    server.signal(signal.SIGKILL)
    if behaviour == "Who":
        assert client.answer_close().code == 1001
    wait_until(lambda: not any(map(alive, both)), "the workers' end")


# Replacing


def test_a_roll_under_load_refuses_nobody(programs: Programs, connect: Connect) -> None:
    server = serve(programs)
    port = server.port
    first = pids(server)
    clients = [connect(port) for _ in range(6)]
    for client in clients:
        greeted(client)
    with Callers(port, 6) as callers:
        wait_until(lambda: len(callers.served) == 2, "both workers to serve")
        server.signal(signal.SIGUSR2)
        server.log.wait_for("workers are replaced, one after another")
        server.signal(signal.SIGUSR2)
        server.log.wait_for("workers are being replaced already")
        assert [client.answer_close().code for client in clients] == [1001] * 6
        server.log.wait_for("all workers are replaced")
        new = workers(server, 4)[2:]
        wait_until(lambda: all(callers.served[pid] > 5 for pid in new), "the new ones to serve")
        wait_until(lambda: not any(map(alive, first)), "the end of the old ones")
    assert callers.problems == []
    assert sum(callers.served.values()) > 20
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_who_is_shaking_hands_in_a_roll_is_served_by_the_old_one(
    programs: Programs, connect: Connect
) -> None:
    server = serve(programs, "Slow")
    port = server.port
    wires = [Wire(port) for _ in range(4)]
    done: list[int] = []

    def open_(wire: Wire) -> None:
        wire.upgrade()
        done.append(wire.status)

    threads = [threading.Thread(target=open_, args=[wire]) for wire in wires]
    for thread in threads:
        thread.start()
    server.signal(signal.SIGUSR2)
    server.log.wait_for("all workers are replaced")
    for thread in threads:
        thread.join()
    assert done == [101] * 4
    for wire in wires:
        greeted(wire)
        assert wire.answer_close().code == 1001
        wire.end()


def test_a_worker_that_is_told_to_end_is_replaced_first(
    programs: Programs, connect: Connect
) -> None:
    server = serve(programs)
    client = connect(server.port)
    pid = greeted(client)
    os.kill(pid, signal.SIGTERM)
    assert client.answer_close().code == 1001
    new = workers(server, 3)[2]
    wait_until(lambda: not alive(pid), "its end")
    assert f"(pid {pid}): was told to end, and is replaced" in server.log.text
    assert new in {greeted(connect(server.port)) for _ in range(2)}


# Settings read anew


def test_sighup_has_every_worker_take_the_new_settings_and_certificate(
    programs: Programs,
) -> None:
    folder = programs.folder
    old, new = (Authority(folder, name) for name in ("Old CA", "New CA"))
    settings = folder / "ws.toml"

    def write(authority: Authority, payload: int) -> None:
        key, certificate = authority.certificate("localhost")
        settings.write_text(
            f'port = 0\nworkers = 2\nprotocol = "who.Both"\nlog_payload = {payload}\n'
            f'tls_cert = "{certificate.name}"\ntls_key = "{key.name}"\n'
        )

    write(old, 4096)
    server = programs.twistd("--config", settings.name)
    both = workers(server)
    port = server.port
    first = [secured(port, old.file) for _ in range(2)]
    assert {greeted(client) for client in first} == set(both)
    settings.write_text(settings.read_text().replace("log_payload = 4096", "log_payload = -1"))
    server.signal(signal.SIGHUP)
    server.log.wait_for("SIGHUP: nothing was changed, ws.toml: log_payload: -1 is not allowed")
    write(new, 0)
    server.signal(signal.SIGHUP)
    server.log.wait_for("SIGHUP: the settings were read anew; changed: log_payload, certificate")
    later = [secured(port, new.file) for _ in range(2)]
    assert {greeted(client) for client in later} == set(both)
    for client in [*first, *later]:
        client.send("not shown")
        assert client.receive() == "not shown"
        client.end()
    server.log.wait_for(f"{MARK}(9 bytes)\n", 4)
    os.kill(both[0], signal.SIGKILL)
    third = workers(server, 3)[2]
    replaced = [secured(port, new.file) for _ in range(2)]
    assert third in {greeted(client) for client in replaced}
    for client in replaced:
        client.end()


def test_a_log_level_holds_in_workers_too(programs: Programs, connect: Connect) -> None:
    (programs.folder / "warns.py").write_text(
        "import twisted.logger, wsservice\n"
        "class Warns(wsservice.ServerProtocol):\n"
        "    def onMessage(self, payload, isBinary):\n"
        "        super().onMessage(payload, isBinary)\n"
        "        twisted.logger.Logger().warn('a warning')\n"
        "        self.sendMessage(payload)\n"
    )
    port = free_port()
    server = programs.twistd(
        *("--port", str(port), "--workers", "2", "--protocol", "warns.Warns"),
        *("--log-level", "warn"),
    )
    wait_until(lambda: can_connect(port), "the port")
    client = connect(port)
    client.send("not logged")
    assert client.receive() == "not logged"
    server.log.wait_for("[warns#warn] a warning\n")
    assert MARK not in server.log.text
    assert "started" not in server.log.text


# The end


def test_an_interrupt_that_the_terminal_sends_to_all_is_the_parents(
    programs: Programs, connect: Connect
) -> None:
    server = serve(programs)
    both = pids(server)
    clients = [connect(server.port) for _ in range(2)]
    for client in clients:
        greeted(client)
    for pid in [*both, server.process.pid]:
        os.kill(pid, signal.SIGINT)
    assert [client.answer_close().code for client in clients] == [1001] * 2
    assert server.wait() == 0
    assert not any(map(alive, both))


def test_a_second_signal_ends_workers_too_and_loses_no_line(
    programs: Programs, connect: Connect
) -> None:
    server = serve(programs, "Both", "--drain", "60")
    both = pids(server)
    mute = [connect(server.port) for _ in range(2)]
    for client in mute:
        greeted(client)
        client.send("last words")
    server.log.wait_for(f"{MARK}last words", 2)
    server.signal(signal.SIGTERM)
    server.log.wait_for("stopping")
    server.signal(signal.SIGTERM)
    assert server.wait() == 143
    assert not any(map(alive, both))


def test_a_mute_client_holds_it_no_longer_than_drain(programs: Programs, connect: Connect) -> None:
    server = serve(programs, "Who", "--drain", "1", "--close-timeout", "60")
    mute = connect(server.port)
    greeted(mute)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "1 connections did not close within --drain 1 s" in server.log.text


# Logs


def write(clients: list[Wire], count: int) -> None:
    """Each says numbers, a piece of a hundred after another, at full speed."""

    def say(name: int, client: Wire) -> None:
        for start in range(0, count, 100):
            numbers = range(start, start + 100)
            client.socket.sendall(b"".join(frame(TEXT, b"c%d n%d zz" % (name, n)) for n in numbers))
        client.close()

    threads = [
        threading.Thread(target=say, args=[name, client]) for name, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def numbers(lines: list[str], clients: int, shape: str) -> dict[int, list[int]]:
    """Return each client's numbers, from lines that must all match `shape`."""
    said: dict[int, list[int]] = {name: [] for name in range(clients)}
    for line in lines:
        if "zz" in line:
            match = re.fullmatch(shape, line)
            assert match, f"torn: {line!r}"
            said[int(match[1])].append(int(match[2]))
    return said


TEXT_LINE = r"\S+ (?:\[wsservice#info\] )?\[\d+ [\d.]+:\d+\] Message received: c(\d+) n(\d+) zz"
JSON_LINE = r'{"time":"[^"]+",(?:"level":"info","namespace":"wsservice",)?"connection":"\d+",.*"payload":"c(\d+) n(\d+) zz","cut":false}'  # noqa: E501


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("place", ["log", "file", "-", "pipe"])
def test_the_message_log_is_one_of_whole_lines(
    programs: Programs, connect: Connect, place: str, form: str
) -> None:
    formats = ["--message-log-format", form]
    options = {
        "log": ["--log-format", form],
        "file": ["--message-log", "messages.log"],
        "-": ["--message-log", "-"],
        "pipe": ["--message-log", "pipe"],
    }[place]
    reading: list[bytes] = []
    if place == "pipe":
        os.mkfifo(programs.folder / "pipe")
        reader = os.open(programs.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(reader, True)
        pipe = os.fdopen(reader, "rb")
        thread = threading.Thread(target=lambda: reading.append(pipe.read()))
    arguments = ["--port", "0", "--workers", "2", *formats, *options, "--greeting", ""]
    log = "twistd.log"
    logs = [] if place == "log" else ["--logfile", log]
    server = programs.start(BIN / "twistd", "-n", *logs, "wsdemo", *arguments)
    output = Output(programs.folder / log) if place != "log" else server.log
    output.wait_for("): started", 2)
    if place == "pipe":
        thread.start()
    if form == "json" and place == "log":
        port = int(re.findall(r"starting on (\d+)", output.text)[0])
    else:
        port = output.wait_for_ports()[0]
    # All of it fits into what each worker keeps for a reader that is slow.
    count, many = 3000, 6
    write([connect(port) for _ in range(many)], count)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    if place == "pipe":
        thread.join()
        pipe.close()
        lines = reading[0].decode().splitlines()
    else:
        path = {"file": programs.folder / "messages.log"}.get(place, server.stdout.path)
        lines = path.read_text().splitlines()
    said = numbers(lines, many, TEXT_LINE if form == "text" else JSON_LINE)
    assert said == {name: list(range(count)) for name in range(many)}, "whole, and each in order"


def test_sigusr1_reopens_the_message_log_in_every_worker_and_rotates_twistds(
    programs: Programs, connect: Connect
) -> None:
    daemon = programs.daemon(
        *("--port", "0", "--message-log", "messages.log", "--workers", "2"),
        *("--protocol", "who.Both"),
    )
    port = daemon.port
    workers(daemon)
    clients = [connect(port) for _ in range(2)]
    assert len({greeted(client) for client in clients}) == 2
    messages = programs.folder / "messages.log"
    for client in clients:
        client.send("before")
    wait_until(lambda: messages.read_text().count("before") == 2, "the first messages")
    moved = messages.rename(programs.folder / "messages.1")
    daemon.signal(signal.SIGUSR1)
    wait_until((programs.folder / "wsdemo.log.1").exists, "twistd's rotated log")
    wait_until(messages.exists, "the new message log")

    def both_there() -> bool:
        for client in clients:
            client.send("after")
            client.receive()
        return len(set(re.findall(r"\[(\d+) ", messages.read_text()))) == 2

    wait_until(both_there, "the messages of both in the new one")
    assert "before" not in messages.read_text()
    assert moved.read_text().count("before") == 2
    os.kill(pids_of(daemon)[0], signal.SIGKILL)
    daemon.log.wait_for("was ended by SIGKILL")


def pids_of(daemon: Daemon) -> list[int]:
    """The processes that a daemon has started."""
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")
    return [int(each) for each in children.read_text().split()]


def test_what_a_behaviour_logs_and_prints_is_in_the_log(
    programs: Programs, connect: Connect
) -> None:
    (programs.folder / "says.py").write_text(
        "import os, wsservice\n"
        "class Says(wsservice.ServerProtocol):\n"
        "    def onMessage(self, payload, isBinary):\n"
        "        print('printed')\n"
        "        os.write(2, b'raw\\x1b\\n')\n"
        "        raise RuntimeError('fails')\n"
    )
    server = programs.twistd("--port", "0", "--workers", "2", "--protocol", "says.Says")
    client = connect(server.port)
    client.send("go")
    assert client.receive_close().code == 1011
    server.log.wait_for("printed")
    server.log.wait_for("): raw\\x1b\n")
    server.log.wait_for("builtins.RuntimeError: fails")
    assert re.search(r"worker \d \(pid \d+\): raw", server.log.text)


def test_where_somebody_else_takes_the_log_lines_are_events(
    programs: Programs, connect: Connect
) -> None:
    server = programs.start(
        *(BIN / "twist", "--log-format=json", "wsdemo", "--port", "0", "--workers", "2")
    )
    wait_until(lambda: "starting on" in server.log.text, "the port")
    port = int(re.findall(r"starting on (\d+)", server.log.text)[0])
    connect(port).send("as an event")
    server.log.wait_for("as an event")
    line = next(each for each in server.log.lines if "as an event" in each)
    assert '"log_namespace": "wsservice"' in line
    assert '"log_level"' in line


# Limits


def test_limits_hold_over_the_whole_service(programs: Programs, connect: Connect) -> None:
    server = serve(programs, "Who", "--max-connections", "4", count=2)
    port = server.port
    clients = [connect(port) for _ in range(4)]
    assert len({greeted(client) for client in clients}) == 2
    assert connect(port).status == 503
    clients.pop().close()

    def there_is_room() -> bool:
        return connect(port).status == 101

    wait_until(there_is_room, "room again")
    # One that dies takes its connections with it.
    os.kill(pids(server)[0], signal.SIGKILL)
    workers(server, 3)
    wait_until(there_is_room, "room again")


def test_limits_by_address_hold_over_the_whole_service(
    programs: Programs, connect: Connect
) -> None:
    server = serve(programs, "Who", "--max-connections-per-ip", "3")
    port = server.port
    clients = [connect(port) for _ in range(3)]
    assert len({greeted(client) for client in clients}) == 2
    assert connect(port).status == 503


# Refusals


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--protocol", "absent.Behaviour"], "--protocol"),
        (["--listen", "ssl:0:privateKey=absent.pem"], "absent.pem"),
        (["--message-log", "absent/messages.log"], "--message-log"),
        (["--workers", "0"], "--workers: '0' is not allowed; give auto, or a whole number"),
        (["--workers", "many"], "--workers: 'many' is not allowed"),
        (["--workers", "257"], "--workers: '257' is not allowed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_line_and_status_1(
    programs: Programs, options: list[str], word: str
) -> None:
    server = programs.twistd("--port", "0", "--workers", "2", *options)
    assert server.wait() == 1
    assert len(server.stderr.lines) == 1
    assert server.stderr.text.startswith("wsdemo: ")
    assert word in server.stderr.text


def test_a_port_in_use_is_one_line_and_status_1(programs: Programs) -> None:
    port = serve(programs).port
    second = programs.start(
        *(BIN / "twistd", "-n", "--pidfile=", "wsdemo", "--port", str(port), "--workers", "2")
    )
    assert second.wait() == 1
    assert second.stderr.lines == [
        f"wsdemo: --port {port}: cannot be listened on, Address already in use"
    ]
