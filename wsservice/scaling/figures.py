"""Hold the measured costs of one process and one Redis: all constants of the model. PURE.

`make bench-redis` measures them and writes `figures.toml` beside this module. Another file of the
same form, measured on another machine, may take its place.
"""

from __future__ import annotations

import datetime
import math
import tomllib
from pathlib import Path
from typing import Any

import attrs

from ..errors import ConfigError

FILE = Path(__file__).with_name("figures.toml")

_MOST_OF_FILE = 65536


def _figure(what: str, least: float = 0.0) -> Any:
    return attrs.field(metadata={"what": what, "least": least})


@attrs.frozen
class MeasuredCosts:
    """The measured costs. `_us` are microseconds of CPU time, `_ns` nanoseconds of it per octet."""

    measured: datetime.date = attrs.field(metadata={"what": "when"})
    machine: str = attrs.field(metadata={"what": "on what"})

    process_octets: float = _figure("resident memory of a process without connections")
    connection_octets: float = _figure("additional memory for each connection")
    channel_octets: float = _figure(
        "additional memory for each channel of one connection, with Redis"
    )
    socket_octets: float = _figure("memory of the kernel for each connection")
    connect_us: float = _figure("to open a connection, send the greeting, and close")
    join_us: float = _figure("additional time to subscribe to the channel of a connection")
    ping_us: float = _figure("a ping and its pong")
    message_us: float = _figure("a single message of a client, and its answer")
    publish_us: float = _figure("a POST /publish/CHANNEL that goes to Redis")
    line_us: float = _figure("one of the many lines of a POST /publish that go to Redis")
    arrive_us: float = _figure("a message that comes from Redis")
    arrive_ns: float = _figure("additional time for each octet of the message")
    deliver_us: float = _figure("its delivery to each connection")
    deliver_ns: float = _figure("additional time for each octet of the delivery")

    redis_publish_us: float = _figure("Redis: a message published")
    redis_history_us: float = _figure("Redis: a message published, and kept in a history")
    redis_pass_us: float = _figure("Redis: passing a message on to each process that subscribes")
    redis_octet_ns: float = _figure("Redis: additional time for each octet that it passes on")
    redis_join_us: float = _figure("Redis: a subscription that comes and goes")
    redis_client_octets: float = _figure("Redis: memory for each process's connections")
    redis_subscription_octets: float = _figure("Redis: memory for each subscription")
    redis_channel_octets: float = _figure("Redis: memory for each channel's history")
    redis_message_octets: float = _figure(
        "Redis: memory for each message of a history, plus payload"
    )
    links: float = _figure("connections of a process to each Redis", 1.0)


NUMBERS = tuple(each for each in attrs.fields(MeasuredCosts) if "least" in each.metadata)


def read(path: Path = FILE) -> MeasuredCosts:
    """Return the figures in a file. Raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            octets = file.read(_MOST_OF_FILE + 1)
        if len(octets) > _MOST_OF_FILE:
            raise ValueError(f"it has more than {_MOST_OF_FILE} octets")
        return parsed(tomllib.loads(octets.decode()))
    except OSError as error:
        raise ConfigError(f"--figures: cannot read {str(path)!r}: {error.strerror}") from error
    except ValueError as error:
        # The parser's own words may quote the file.
        raise ConfigError(f"--figures: {str(path)!r}: {error}") from error


def parsed(found: dict[str, Any]) -> MeasuredCosts:
    """Validate the figures that a file holds. Raises `ValueError`."""
    names = [each.name for each in attrs.fields(MeasuredCosts)]
    for name in sorted({*names} ^ found.keys()):
        raise ValueError(f"{name!r} is {'missing' if name in names else 'no figure'}")
    if type(found["measured"]) is not datetime.date:
        raise ValueError("measured: give a date, such as 2026-11-25")
    if not isinstance(found["machine"], str):
        raise ValueError("machine: give text")
    for each in NUMBERS:
        value, least = found[each.name], each.metadata["least"]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{each.name}: give a number")
        if not least <= value < math.inf:
            raise ValueError(f"{each.name}: {value} is not allowed; give {least:g} or more")
    return MeasuredCosts(**found)


def written(figures: MeasuredCosts, by: str) -> str:
    """Return the text of a file of figures. `by` is the command that measured them."""
    lines = [
        f"# What one process and one Redis needed, measured by `{by}`, which writes this file.",
        "# _us: microseconds of CPU time; _ns: nanoseconds of it.",
        f"measured = {figures.measured.isoformat()}",
        f"machine = {_quoted(figures.machine)}",
        "",
    ]
    width = max(len(each.name) for each in NUMBERS) + 12
    for each in NUMBERS:
        value = float(f"{getattr(figures, each.name):.3g}")
        setting = f"{each.name} = {value:g}" if value < 100_000 else f"{each.name} = {value:.0f}"
        lines.append(f"{setting:{width}} # {each.metadata['what']}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'
