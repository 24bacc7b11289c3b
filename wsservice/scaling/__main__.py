"""`python -m wsservice.scaling`: what so many connections need."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..errors import ConfigError
from ..escape import escape
from . import shown
from .figures import FILE, read
from .model import GIB, Load, Machines, TooMuchError, plan

_MOST = 1e12

_SUFFIXES = {"k": 1e3, "M": 1e6, "G": 1e9}

_USAGE = 2


class _EndError(Exception):
    """The program ends with a status, and a line that says why."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _EndError(_USAGE, f"{escape(message)}; see --help")


class _Number:
    """A number from one bound to another, as argparse calls it: 10000, 1e4, 10k."""

    def __init__(self, least: float, most: float = _MOST, *, whole: bool = False) -> None:
        self._least = least
        self._most = most
        self._whole = whole

    def __call__(self, text: str) -> float:
        suffix = text[-1:]
        try:
            digits = text[:-1] if suffix in _SUFFIXES else text
            value = float(digits) * _SUFFIXES.get(suffix, 1.0)
        except ValueError:
            value = math.nan
        allowed = self._least <= value <= self._most
        if not allowed or (self._whole and value != int(value)):
            what = "a whole number" if self._whole else "a number"
            raise argparse.ArgumentTypeError(
                f"{text!r} is not allowed; give {what} from {self._least:g} to {self._most:g},"
                " such as 2000, 2e3 or 2k"
            )
        return value


def _history(text: str) -> tuple[float, float]:
    size, _, lasting = text.partition(",")
    number = _Number(0)
    return number(size), number(lasting) if lasting else 300.0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m wsservice.scaling",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="How many nodes and Redis servers a load needs, by what one process and one"
        "\nRedis needed where they were measured. docs/scaling.md says what it does not know.",
        epilog="Numbers may be written as 2000, 2e3 or 2k (k, M, G).\n\n"
        "exit status:\n  0  said\n  1  no number of such machines carries it\n  2  wrong usage\n",
        allow_abbrev=False,
    )
    positive, some = _Number(1e-6), _Number(0)
    load = parser.add_argument_group("the load, in means of a second")
    load.add_argument(
        "--connections", type=_Number(1), required=True, metavar="N", help="that are open"
    )
    load.add_argument(
        "--publish-rate",
        type=some,
        metavar="N",
        help="messages published [default: one for each 20 connections]",
    )
    load.add_argument(
        "--fan-out",
        type=positive,
        metavar="N",
        help="connections that each of them goes to [default: 10]",
    )
    load.add_argument(
        "--size", type=some, default=100.0, metavar="OCTETS", help="of each [default: 100]"
    )
    load.add_argument(
        "--batch",
        type=_Number(1),
        default=1.0,
        metavar="N",
        help="messages in each POST /publish [default: 1]",
    )
    load.add_argument(
        "--channels",
        type=positive,
        metavar="N",
        help="that somebody is on [default: as many as give each connection one]",
    )
    load.add_argument(
        "--session",
        type=positive,
        default=300.0,
        metavar="SECONDS",
        help="that a connection stays [default: 300]",
    )
    load.add_argument(
        "--message-rate",
        type=some,
        default=0.0,
        metavar="N",
        help="messages that clients send [default: 0]",
    )
    load.add_argument(
        "--history",
        type=_history,
        default=(0.0, 0.0),
        metavar="SIZE[,SECONDS]",
        help="as the service's own option [default: 0]",
    )
    load.add_argument(
        "--ping-interval",
        type=some,
        default=20.0,
        metavar="SECONDS",
        help="as the service's own option [default: 20]",
    )
    machines = parser.add_argument_group("the machines")
    machines.add_argument(
        "--cores",
        type=_Number(1, 4096, whole=True),
        default=4.0,
        metavar="N",
        help="of a node, each with a process: --workers [default: 4]",
    )
    machines.add_argument(
        "--memory", type=positive, default=16.0, metavar="GIB", help="of a node [default: 16]"
    )
    machines.add_argument(
        "--network",
        type=positive,
        default=10.0,
        metavar="GBIT",
        help="a second, of a node and of a Redis, in each direction [default: 10]",
    )
    machines.add_argument(
        "--connections-per-node",
        type=_Number(1),
        default=50_000.0,
        metavar="N",
        help="at most: those that are lost with it [default: 50000]",
    )
    machines.add_argument(
        "--redis-memory", type=positive, default=16.0, metavar="GIB", help="[default: 16]"
    )
    machines.add_argument(
        "--redis-connections",
        type=_Number(1),
        default=10_000.0,
        metavar="N",
        help="its maxclients [default: 10000]",
    )
    machines.add_argument(
        "--busy",
        type=_Number(0.01, 1),
        default=0.5,
        metavar="PART",
        help="of CPU time and network that the mean may take: the rest is for bursts, and for"
        " who comes from a lost node [default: 0.5]",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        default=FILE,
        metavar="PATH",
        help="other figures than those measured here, in a file of the same form",
    )
    parser.add_argument("--json", action="store_true", help="octets, seconds, cores, as JSON")
    parser.add_argument("--version", action="version", version=f"wsservice {__version__}")
    return parser


def _load(given: argparse.Namespace) -> Load:
    fan_out = given.fan_out
    if fan_out is None:
        fan_out = min(10.0, given.connections)
    if fan_out > given.connections:
        raise _EndError(
            _USAGE,
            f"--fan-out: {fan_out:g} is not allowed; give at most the connections,"
            f" {given.connections:g}",
        )
    rate = given.connections / 20 if given.publish_rate is None else given.publish_rate
    channels = given.connections / fan_out if given.channels is None else given.channels
    return Load(
        connections=given.connections,
        publish_rate=rate,
        fan_out=fan_out,
        size=given.size,
        channels=channels,
        session=given.session,
        message_rate=given.message_rate,
        history=given.history[0],
        history_seconds=given.history[1],
        ping_interval=given.ping_interval,
        batch=given.batch,
    )


def _machines(given: argparse.Namespace) -> Machines:
    network = given.network * 1e9 / 8
    return Machines(
        cores=given.cores,
        memory=given.memory * GIB,
        network=network,
        connections=given.connections_per_node,
        redis_memory=given.redis_memory * GIB,
        redis_network=network,
        redis_connections=given.redis_connections,
        busy=given.busy,
    )


def _run(arguments: Sequence[str] | None) -> None:
    given = _parser().parse_args(arguments)
    load, machines = _load(given), _machines(given)
    try:
        figures = read(given.figures)
        found = plan(load, figures, machines)
    except ConfigError as error:
        raise _EndError(_USAGE, str(error)) from error
    except TooMuchError as error:
        raise _EndError(1, f"no number of such machines carries it: {error}") from error
    show = shown.as_json if given.json else shown.text
    sys.stdout.write(show(load, figures, machines, found) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program, and end the process with its exit status."""
    status = 0
    try:
        _run(arguments)
    except _EndError as end:
        status = end.status
        sys.stderr.write(f"wsservice.scaling: {end}\n")
    except BrokenPipeError:
        # Whoever has read enough has gone: Python would try to write once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    raise SystemExit(status)


if __name__ == "__main__":
    main()
