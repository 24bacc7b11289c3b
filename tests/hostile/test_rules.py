"""Channels that a user may not be on, asked for in every disguise."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from .harness import LINE, MIB, Attack, row
from .test_identity import AUTH, bearer, status_of

RULES = str(Path(__file__).with_name("rules.toml"))
OPTIONS = (*AUTH, "--config", RULES, "--auth-failures", "0")


def ask(attack: Attack, user: str, *channels: str) -> int:
    """The status for a user who asks for channels, each percent-encoded already."""
    query = "&".join(f"channel={each}" for each in channels).encode()
    token = f"is-{quote(user, safe='')}"
    octets = bearer(token).replace(b"GET /attack ", b"GET /attack?" + query + b" ")
    return status_of(attack, octets)


@row(
    "names that look like an allowed one: case, percent-encoding, slashes, dots, other letters",
    "403, unless it is the same name once decoded; one line each, printable",
    options=OPTIONS,
    log=LINE,
)
def test_a_look_alike_is_another_channel(attack: Attack) -> str:
    same = ["room.1", "%72oom.1", "/room.1/", "%2Froom.1%2F", "room%2e1", "user.tom", "user.to%6D"]
    other = [
        *("Room.1", "ROOM.1", "room", "room%2F.1", "..%2Froom.1", "xroom.1", "room%EF%BC%8E1"),
        *("r%D0%BEom.1", "%E2%80%AEroom.1", "room%E2%80%8B.1", "%25726oom.1", "%2572oom.1"),
        *("user.Tom", "user.t%D0%BEm", "user.tom.", "user.", "user", "user.tom%2Fx", "user.ann"),
        *("user.*", "user.%7Buser%7D", "user.to%3F", "*", "%3F", "user.tom%20"),
    ]
    for each in same:
        assert ask(attack, "tom", each) == 101, each
    for each in other:
        assert ask(attack, "tom", each) == 403, each
        assert ask(attack, "tom", "room.1", each) == 403, each
    for line in attack.server.log.lines:
        assert line.isprintable(), line
    assert "\u202e" not in attack.server.log.text
    return "403"


@row(
    "users whose ids are globs: `*`, `?`, `{user}`, `[a-z]`, `to*`",
    "403 for any channel but the user's own",
    options=OPTIONS,
)
def test_an_id_is_no_glob(attack: Attack) -> str:
    for user in ("*", "?", "???", "{user}", "to*", "[a-z]om", ".*", "tom|x", "\\*"):
        assert ask(attack, user, "user.tom") == 403, user
        assert ask(attack, user, f"user.{quote(user)}") == 101, user
    return "403"


@row(
    "names made to be slow to match, 16 in each of 500 requests, and names of 10,000 octets",
    "403, or 414; memory + 4 MiB",
    options=OPTIONS,
    memory=4 * MIB,
    log=LINE,
)
def test_no_name_is_slow(attack: Attack) -> str:
    for number in range(500 if attack.full else 50):
        names = [f"{'a' * (230 - each)}x{number}" for each in range(16)]
        assert ask(attack, "tom", *names) == 403
    assert ask(attack, "tom", "a" * 10_000) == 414
    assert ask(attack, "tom", "a" * 256) == 400
    return "403, 414"
