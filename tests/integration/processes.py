"""Programs as subprocesses: started, waited for within bounds, ended by their own pid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..needs import need

BIN = Path(sys.executable).parent
WAYS = ["twistd", "twist", "daemon"]
"""The ways to run the service, methods of `Programs`."""

PATIENCE = 45.0
"""Seconds that anything may take; nothing takes so long, on a busy machine, unless it is broken."""

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def wait_until(holds: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    """Wait until something holds; fail, naming it, when it takes too long."""
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s for: {what}")
        time.sleep(0.01)


def free_port() -> int:
    """A port that is free, and that nobody is given by chance before it is used.

    It is none of those that the system gives to clients and to who asks for any, and
    taken at random, so that tests beside this one do not take the same.
    """
    while True:
        # Not `random`, which tests by hypothesis have begin alike in each process.
        port = 10_000 + secrets.randbelow(20_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def can_connect(port: int) -> bool:
    """Return True if a process listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Output:
    """The output in a file, read while it is still written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def text(self) -> str:
        # It may be moved away, to be begun anew, at any moment.
        with contextlib.suppress(FileNotFoundError):
            return self.path.read_text()
        return ""

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def wait_for(self, part: str, times: int = 1) -> None:
        """Wait until some text is there."""
        try:
            wait_until(lambda: self.text.count(part) >= times, f"{part!r} in {self.path.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it has:\n{self.text}") from None

    def ending(self, end: str) -> list[str]:
        """The lines that end so."""
        return [line for line in self.lines if line.endswith(end)]

    def wait_for_ports(self, count: int = 1) -> list[int]:
        """The ports that Twisted's log says a service listens on."""

        def ports() -> list[int]:
            # With what follows: a number may be there in part.
            return [int(port) for port in re.findall(r" starting on (\d+)\D", self.text)]

        self.wait_for(" starting on ", count)
        wait_until(lambda: len(ports()) >= count, f"{count} ports in {self.path.name}")
        return ports()


class Program:
    """A subprocess. Its output goes into files, so that no pipe can fill and block it."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        folder: Path,
        name: str,
        environment: Mapping[str, str],
        stdin: int | IO[bytes] | None,
        stdout: int | None,
        pass_fds: Sequence[int],
    ) -> None:
        self.stdout = Output(folder / f"{name}.stdout")
        self.stderr = Output(folder / f"{name}.stderr")
        with self.stdout.path.open("wb") as out, self.stderr.path.open("wb") as err:
            self.process = subprocess.Popen(
                [str(each) for each in arguments],
                cwd=folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=out if stdout is None else stdout,
                stderr=err,
                pass_fds=pass_fds,
            )

    @property
    def log(self) -> Output:
        """The output to which `twistd -n` and `twist` log."""
        return self.stdout

    @property
    def port(self) -> int:
        """The first port that it listens on."""
        return self.log.wait_for_ports()[0]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit status."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"did not end within {patience:g} s:\n{self.stdout.text}\n{self.stderr.text}"
            ) from None

    def end(self) -> None:
        """End it, politely first, whatever its state."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(15)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


_UNKNOWN = -256
"""The exit status of a process that somebody else waited for."""


class Daemon:
    """A process that left its parent: known by its pid file, and a child of ours again.

    Its exit status can be asked for, since `Programs` made this process the
    one that orphans are given to.
    """

    def __init__(self, pid_file: Path, log: Path) -> None:
        self.pid_file = pid_file
        self.log = Output(log)
        wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), "the pid file")
        self.pid = int(pid_file.read_text())
        self._status: int | None = None

    @property
    def port(self) -> int:
        """The first port that it listens on."""
        return self.log.wait_for_ports()[0]

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # Not ours: whoever started it has not left it to us yet, or it is gone.
                if not os.path.exists(f"/proc/{self.pid}"):
                    self._status = _UNKNOWN
            else:
                if pid:
                    self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit status, once it ended."""
        wait_until(lambda: self.poll() is not None, "the daemon's end", patience)
        assert self._status is not None
        return self._status

    def end(self) -> None:
        """End it, politely first, whatever its state."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.poll() is None:
                self.signal(number)
                with contextlib.suppress(AssertionError):
                    self.wait(15)


def _chosen(reactor: str) -> list[str]:
    return [f"--reactor={reactor}"] if reactor else []


class Programs:
    """Starts programs in one folder, and ends at the end what still runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: Returns the command that runs a command; None: commands run as they are.
        self.within: Callable[..., Sequence[str | Path]] | None = None
        self._started: list[Program | Daemon] = []

    def start(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] | None = None,
        stdout: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Program:
        """Start a program. Its standard input is empty unless told otherwise."""
        name = f"program-{len(self._started)}"
        if self.within is not None:
            arguments = tuple(self.within(*arguments))
        program = Program(arguments, self.folder, name, environment or {}, stdin, stdout, pass_fds)
        self._started.append(program)
        return program

    def twistd(self, *options: str | Path, reactor: str = "", **how: Any) -> Program:
        """`twistd -n wsdemo`."""
        chosen = _chosen(reactor)
        return self.start(BIN / "twistd", "-n", *chosen, "wsdemo", *options, **how)

    def twist(self, *options: str | Path, reactor: str = "", **how: Any) -> Program:
        """`twist wsdemo`; its log is text, not the JSON that it writes to a file."""
        chosen = ["--log-format=text", *_chosen(reactor)]
        return self.start(BIN / "twist", *chosen, "wsdemo", *options, **how)

    def serve(self, how: str, *options: str | Path, reactor: str = "") -> Program | Daemon:
        """The service in one of the `WAYS` to run it."""
        run: Callable[..., Program | Daemon] = getattr(self, how)
        return run(*options, reactor=reactor)

    def daemon(self, *options: str | Path, reactor: str = "") -> Daemon:
        """`twistd wsdemo` as a daemon."""
        need(sys.platform == "linux", "Linux, to be given orphans")
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        try:
            starter = self.start(*self.daemon_command(*options, reactor=reactor))
            status = starter.wait()
            assert status == 0, starter.stderr.text
            daemon = Daemon(self.folder / "wsdemo.pid", self.folder / "wsdemo.log")
        finally:
            ctypes.CDLL(None).prctl(_SUBREAPER, 0, 0, 0, 0)
        self._started.append(daemon)
        return daemon

    def daemon_command(self, *options: str | Path, reactor: str = "") -> list[str | Path]:
        """The command that starts a daemon."""
        files = ["--pidfile=wsdemo.pid", "--logfile=wsdemo.log"]
        return [BIN / "twistd", *files, *_chosen(reactor), "wsdemo", *options]

    def client(self, *arguments: str | Path, **how: Any) -> Program:
        """`python -m wsservice.client`."""
        return self.start(sys.executable, "-m", "wsservice.client", *arguments, **how)

    def end(self) -> None:
        """End what still runs, the last first."""
        while self._started:
            self._started.pop().end()
