"""Workers with few files that may be open: they serve, or one line tells how many they need."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence

import pytest

from .conftest import Connect
from .processes import BIN, Program, Programs
from .test_workers import pids, workers

PROBLEM = re.compile(
    r"wsdemo: --workers: (\d+) need (\d+) open files in their parent, and the limit is (\d+);"
    r" raise it \(ulimit -n, LimitNOFILE=\), or give fewer workers\n"
)


def limited(programs: Programs, limit: int, *options: str, pass_fds: Sequence[int] = ()) -> Program:
    """`twistd -n wsdemo` where `ulimit` has limited the files that may be open."""
    command = f'ulimit -n {limit} && exec "$@"'
    twistd = [str(BIN / "twistd"), "-n", "wsdemo", "--port", "0", *options]
    return programs.start("sh", "-c", command, "sh", *twistd, pass_fds=pass_fds)


def needed(programs: Programs, *options: str) -> int:
    """Return the number of files that it says it needs, with the limit that it was given."""
    server = limited(programs, 20, *options)
    assert server.wait() == 1
    found = PROBLEM.fullmatch(server.stderr.text)
    assert found is not None, server.stderr.text
    assert (found[1], found[3]) == (options[1], "20")
    assert "starting on" not in server.log.text or "Closed" in server.log.text
    return int(found[2])


@pytest.mark.parametrize(
    "options", [("--workers", "2"), ("--workers", "4", "--listen", "tcp:0", "--listen", "tcp:0")]
)
def test_with_as_many_as_it_says_it_serves_and_with_one_less_it_says_so(
    programs: Programs, connect: Connect, options: tuple[str, ...]
) -> None:
    need = needed(programs, *options)
    server = limited(programs, need - 1, *options)
    assert server.wait() == 1
    assert PROBLEM.fullmatch(server.stderr.text)

    count = int(options[1])
    server = limited(programs, need, *options)
    started = workers(server, count)
    # The most that it has open is while workers are replaced.
    server.signal(signal.SIGUSR2)
    server.log.wait_for("all workers are replaced")
    os.kill(pids(server)[-1], signal.SIGKILL)
    workers(server, 2 * count + 1)
    assert not set(started) & set(pids(server)[count:])
    for _ in range(2 * count):
        assert connect(server.port).receive() == "Hello from server"
    assert "cannot be started" not in server.log.text
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.parametrize("limit", [64, 128, 256])
def test_a_file_with_a_higher_number_than_the_limit_is_no_obstacle(
    programs: Programs, connect: Connect, limit: int
) -> None:
    # As a shell has it, or whatever else opened one before the limit was lowered.
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        high = 300
        os.dup2(nothing, high)
        server = limited(programs, limit, "--workers", "2", pass_fds=[high])
        workers(server)
        assert os.path.exists(f"/proc/{server.process.pid}/fd/{high}")
        assert connect(server.port).receive() == "Hello from server"
    finally:
        os.close(nothing)
        os.close(high)
