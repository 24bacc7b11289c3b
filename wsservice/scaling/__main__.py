"""`python -m wsservice.scaling`: compute the machines that a load needs."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__
from ..config.units import SIZES, TIMES, parse_seconds, parse_size
from ..errors import ConfigError
from ..escape import escape
from . import shown
from .figures import FILE, read
from .model import GIB, Load, Machines, TooMuchError, plan

_MOST = 1e12

_SUFFIXES = {"k": 1e3, "M": 1e6, "G": 1e9}

_ENDS_OF_UNITS = {name[-1] for name in (*SIZES, *TIMES)}

_USAGE = 2

_FAN_OUT = 10.0
"""Connections that a message reaches, unless the command line names another number."""


class _EndError(Exception):
    """The program ends with a status, and a line that says why."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _EndError(_USAGE, f"{escape(message)}; see --help")


class _Number:
    """The type of a number within bounds, for argparse: 10000, 1e4, 10k.

    `parse` reads a number with a unit, as the service's own options do, and the result is
    divided by `unit`.
    """

    def __init__(
        self,
        least: float,
        most: float = _MOST,
        *,
        whole: bool = False,
        parse: Callable[[str], float] | None = None,
        unit: float = 1.0,
    ) -> None:
        self._least = least
        self._most = most
        self._whole = whole
        self._parse = parse
        self._unit = unit

    def _value(self, text: str) -> float:
        if self._parse is not None and text[-1:] in _ENDS_OF_UNITS:
            return self._parse(text) / self._unit
        suffix = text[-1:]
        digits = text[:-1] if suffix in _SUFFIXES else text
        return float(digits) * _SUFFIXES.get(suffix, 1.0)

    def __call__(self, text: str) -> float:
        try:
            value = self._value(text)
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
    return _Number(0)(size), _Number(0, parse=parse_seconds)(lasting) if lasting else 300.0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m wsservice.scaling",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s --connections COUNT [OPTION ...]",
        description="Print how many nodes and Redis servers a load needs. The model takes the"
        "\nmeasured costs of one process and one Redis; docs/scaling.md names its limits.",
        epilog="COUNT may be 2000, 2e3 or 2k (k, M, G). BYTES may have B, KiB, MiB or GiB"
        "\n(64KiB), SECONDS may have ms, s, m or h (5m).\n\n"
        "exit status:\n  0  printed\n  1  no number of such machines carries the load\n"
        "  2  wrong usage\n\n"
        "examples:\n"
        "  %(prog)s --connections 200k --publish-rate 3k --fan-out 50\n"
        "  %(prog)s --connections 1M --cores 8 --memory 32 --json\n",
        allow_abbrev=False,
        add_help=False,
    )
    _add_load(parser.add_argument_group("load, the means of a second"))
    _add_machines(parser.add_argument_group("machines"))
    _add_output(parser.add_argument_group("figures, output and help"))
    return parser


def _add_load(group: Any) -> None:
    """Add the options for the load."""
    positive, some = _Number(1e-6), _Number(0)
    group.add_argument(
        "--connections", type=_Number(1), required=True, metavar="COUNT", help="open connections"
    )
    group.add_argument(
        "--publish-rate",
        type=some,
        metavar="COUNT",
        help="messages published a second [default: 1 for each 20 connections]",
    )
    group.add_argument(
        "--fan-out",
        type=positive,
        metavar="COUNT",
        help=f"connections that each of these messages reaches [default: {_FAN_OUT:g}]",
    )
    group.add_argument(
        "--size",
        type=_Number(0, parse=parse_size),
        default=100.0,
        metavar="BYTES",
        help="size of a message [default: %(default)g]",
    )
    group.add_argument(
        "--batch",
        type=_Number(1),
        default=1.0,
        metavar="COUNT",
        help="messages in each POST /publish [default: %(default)g]",
    )
    group.add_argument(
        "--channels",
        type=positive,
        metavar="COUNT",
        help="channels with a connection [default: connections divided by --fan-out]",
    )
    group.add_argument(
        "--session",
        type=_Number(1e-6, parse=parse_seconds),
        default=300.0,
        metavar="SECONDS",
        help="time that a connection stays open [default: %(default)g]",
    )
    group.add_argument(
        "--message-rate",
        type=some,
        default=0.0,
        metavar="COUNT",
        help="messages that clients send a second [default: %(default)g]",
    )
    group.add_argument(
        "--history",
        type=_history,
        default=(0.0, 0.0),
        metavar="COUNT[,SECONDS]",
        help="messages kept per channel, as the service's --history [default: 0]",
    )
    group.add_argument(
        "--ping-interval",
        type=_Number(0, parse=parse_seconds),
        default=20.0,
        metavar="SECONDS",
        help="as the service's --ping-interval; 0: no pings [default: %(default)g]",
    )


def _add_machines(group: Any) -> None:
    """Add the options for the machines."""
    memory = _Number(1e-6, parse=parse_size, unit=GIB)
    group.add_argument(
        "--cores",
        type=_Number(1, 4096, whole=True),
        default=4.0,
        metavar="COUNT",
        help="CPU cores of a node, each with a worker process [default: %(default)g]",
    )
    group.add_argument(
        "--memory",
        type=memory,
        default=16.0,
        metavar="GIB",
        help="memory of a node, in GiB [default: %(default)g]",
    )
    group.add_argument(
        "--network",
        type=_Number(1e-6),
        default=10.0,
        metavar="GBIT",
        help="Gbit a second of a node and of a Redis, in each direction [default: %(default)g]",
    )
    group.add_argument(
        "--connections-per-node",
        type=_Number(1),
        default=50_000.0,
        metavar="COUNT",
        help="most connections of a node; a node that fails loses them [default: %(default)g]",
    )
    group.add_argument(
        "--redis-memory",
        type=memory,
        default=16.0,
        metavar="GIB",
        help="memory of a Redis server, in GiB [default: %(default)g]",
    )
    group.add_argument(
        "--redis-connections",
        type=_Number(1),
        default=10_000.0,
        metavar="COUNT",
        help="most connections of a Redis server, its maxclients [default: %(default)g]",
    )
    group.add_argument(
        "--busy",
        type=_Number(0.01, 1),
        default=0.5,
        metavar="FRACTION",
        help="fraction of CPU time and network that the mean load may take; the rest is for"
        " bursts, and for clients of a lost node [default: %(default)g]",
    )


def _add_output(group: Any) -> None:
    """Add the options for figures and output, and those that print something and end."""
    group.add_argument(
        "--figures",
        type=Path,
        default=FILE,
        metavar="FILE",
        help="TOML file of measured costs, in place of the built-in one",
    )
    group.add_argument(
        "--json", action="store_true", help="print JSON, in bytes, seconds and cores"
    )
    group.add_argument("-h", "--help", action="help", help="show this help")
    group.add_argument(
        "--version",
        action="version",
        version=f"wsservice {__version__}",
        help="show the version",
    )


def _load(given: argparse.Namespace) -> Load:
    fan_out = given.fan_out
    if fan_out is None:
        fan_out = min(_FAN_OUT, given.connections)
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
        raise _EndError(1, f"no number of such machines carries the load: {error}") from error
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
        # The reader, such as `head`, is gone. Python would write once more, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    raise SystemExit(status)


if __name__ == "__main__":
    main()
