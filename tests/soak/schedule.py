"""The acts that follow from a seed. PURE."""

from __future__ import annotations

import random

import attrs

ROOM = "room-"
"""Begins the names of channels whose members hear each other."""

FLOOD = "flood"
"""The channel on which a message is answered with many large ones."""

MESSAGES, OCTETS = 10, 900_000
"""How many, and the size of each."""


@attrs.frozen
class Kind:
    """A kind of act: its mean number in a minute, and how long one may last, in seconds."""

    what: str
    rate: float
    seconds: tuple[float, float] = (0.0, 0.0)


HONEST = {
    "visit": Kind(
        "connects, plain or by TLS, compressed or not; says things; checks each echo", 480
    ),
    "stay": Kind("an idle connection, open for up to a minute, that answers pings", 20, (2, 60)),
    "member": Kind(
        "is in a room for up to a minute: speaks, hears itself, is cut off or leaves, comes back;"
        " half of them resume by `wsservice.v1`, and check each offset",
        80,
        (3, 60),
    ),
    "slow": Kind("asks for 400 KB of echoes and reads them slowly, behind a small window", 8),
    "publish": Kind("some `POST /publish/CHANNEL`, on one connection, to rooms", 80),
    "publish-many": Kind("up to 40 messages in one `POST /publish`", 12),
    "publish-once": Kind("publishes to a channel that nobody names again", 60),
    "page": Kind("fetches the page, the health check, and a target that wants a WebSocket", 20),
    "admin": Kind("asks the admin face for its page, health, connections and channels", 20),
    "trace": Kind("reads the trace of a connection", 4, (1, 4)),
    "reload": Kind("SIGHUP, with a changed setting and another certificate", 1.5),
    "reopen": Kind("SIGUSR1, after the message log was renamed", 1.5),
}
"""The well-behaved acts. None may fail."""

_UNTIL_ENDED = (40.0, 45.0)
"""Seconds of an act that the service ends before."""

HOSTILE = {
    "flood": Kind("up to 20 connections send messages of one octet as fast as they can", 1, (1, 2)),
    "pings": Kind("20,000 pings of 125 octets without a pause", 1),
    "fragments": Kind("a message of more fragments than `--max-fragments` allows", 6, _UNTIL_ENDED),
    "unfinished": Kind("up to 10 messages that lack their last octet", 1, _UNTIL_ENDED),
    "crowd": Kind(
        "40 messages of 1 MiB that lack their last octet: more than there is room",
        0.3,
        _UNTIL_ENDED,
    ),
    "bomb": Kind("8 KB that are 8 MiB when they are inflated", 2, _UNTIL_ENDED),
    "noise": Kind("valid frames, mutated", 40),
    "styles": Kind("ends a connection in odd ways: resets, broken frames, wrong close frames", 40),
    "names": Kind("long paths, names of channels, headers and extension offers", 24),
    "trickle": Kind("up to 30 handshakes, an octet at a time", 1, _UNTIL_ENDED),
    "rush": Kind("100 connections at once, then a reset of each", 1),
    "deaf": Kind("asks for 9 MB, and reads nothing", 2, _UNTIL_ENDED),
    "tls": Kind("TLS handshakes that break off, stand still, or are no TLS", 24, _UNTIL_ENDED),
    "admin-silent": Kind(
        "64 connections to the admin face that say nothing, or half of it", 1, (1, 5)
    ),
    "admin-wrong": Kind("wrong requests to the admin face: methods, hosts, bodies, sizes", 8),
}
"""The hostile acts. The service must end each in time."""

KINDS = HONEST | HOSTILE

_ONCE = 0.6
"""The part of the run in which each kind is done once at least."""


@attrs.frozen
class Act:
    """Something that is done at a time, in seconds since the load began, for some seconds.

    `dice` seeds all else that it chooses.
    """

    at: float
    kind: str
    seconds: float
    dice: int


def plan(seed: int, seconds: float) -> tuple[Act, ...]:
    """Return the acts of a run of so many seconds, in the order of their times."""
    dice = random.Random(seed)
    acts = []
    for name, kind in KINDS.items():
        times = [dice.uniform(0, seconds * _ONCE)]
        at = dice.expovariate(kind.rate / 60)
        while at < seconds:
            times.append(at)
            at += dice.expovariate(kind.rate / 60)
        for at in times:
            # None lasts much longer than the run.
            length = min(dice.uniform(*kind.seconds), max(0.0, seconds - at))
            acts.append(Act(round(at, 2), name, round(length, 1), dice.randrange(2**31)))
    return tuple(sorted(acts, key=lambda act: act.at))
