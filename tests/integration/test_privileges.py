"""Started as root, run as somebody else."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import ssl
import stat
from pathlib import Path

import pytest

from ..needs import need
from .conftest import Connect
from .processes import BIN, Daemon, Output, Programs
from .test_listening_places import make_certificate
from .wire import Wire

NOBODY = 65534
DROP = (f"--uid={NOBODY}", f"--gid={NOBODY}")


@pytest.fixture(autouse=True)
def root() -> None:
    need(os.geteuid() == 0, "root")


def privileged_port() -> int:
    """A port that only root may take."""
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port below 1024 is free")


def owner(pid: int) -> int:
    """As whom a process runs: the effective user."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nUid:")[2].split()[1])


def writable_by_others(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if each.stat().st_mode & stat.S_IWOTH]


def test_a_port_below_1024_is_taken_and_keys_are_read_before_root_is_given_up(
    programs: Programs,
) -> None:
    key, certificate = make_certificate(programs.folder)
    key.chmod(0o600)
    port = privileged_port()
    server = programs.start(
        *(BIN / "twistd", "-n", *DROP, "wsdemo", "--message-log", "messages.log"),
        *("--listen", f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"),
    )
    assert server.port == port
    context = ssl.create_default_context(cafile=str(certificate))
    wire = Wire(port)
    try:
        wire.secure(context, "localhost")
        wire.upgrade()
        assert wire.receive() == "Hello from server"
        assert owner(server.process.pid) == NOBODY
        wire.send("logged")
        Output(programs.folder / "messages.log").wait_for("Message received: logged\n")
    finally:
        wire.end()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert writable_by_others(programs.folder) == []


def test_a_daemon_of_another_user_leaves_no_file_that_anybody_may_write(
    programs: Programs, connect: Connect
) -> None:
    # The daemon is given to this process, which then may ask for its status.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    before = os.umask(0)
    try:
        command = programs.daemon_command("--port", "0", "--message-log", "messages.log")
        starter = programs.start(command[0], *DROP, *command[1:])
        assert starter.wait() == 0, starter.stderr.text
        daemon = Daemon(programs.folder / "wsdemo.pid", programs.folder / "wsdemo.log")
    finally:
        os.umask(before)
        ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
    try:
        client = connect(daemon.port)
        client.send("x")
        assert client.receive() == "Hello from server"
        assert owner(daemon.pid) == NOBODY
        written = {"wsdemo.pid", "wsdemo.log", "messages.log"}
        assert written <= {each.name for each in programs.folder.iterdir()}
        assert not written & set(writable_by_others(programs.folder))
        daemon.signal(signal.SIGTERM)
        assert client.answer_close().code == 1001
        assert daemon.wait() == 0
    finally:
        daemon.end()
