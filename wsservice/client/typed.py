"""What is typed at the prompt: a message, or a command that begins with a slash. PURE."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from ..escape import escape_within

_LONGEST_PING = 125
_LONGEST_REASON = 123
"""Octets that a ping, and the reason of a close, may have (RFC 6455, 5.5)."""

_MOST_SHOWN = 40
"""Octets that are shown of what was typed and makes no sense."""


@attrs.frozen
class Send:
    """A message: text or binary."""

    payload: bytes
    is_binary: bool = False


@attrs.frozen
class SendFile:
    """What is in a file, as a message: binary, or text where it is UTF-8."""

    path: str
    always_binary: bool = False


@attrs.frozen
class Ping:
    """A ping. Without a payload, one that nobody guesses."""

    payload: bytes | None = None


@attrs.frozen
class Close:
    """A close, with a code and a reason."""

    code: int = 1000
    reason: str = ""


@attrs.frozen
class Json:
    """JSON is to be shown indented, or as it came."""

    on: bool


@attrs.frozen
class Headers:
    """Show both handshakes."""


@attrs.frozen
class Statistics:
    """Show what went over the connection."""


@attrs.frozen
class Reconnect:
    """Close, and connect anew."""


@attrs.frozen
class Help:
    """Show what can be typed."""


Action: TypeAlias = Send | SendFile | Ping | Close | Json | Headers | Statistics | Reconnect | Help


def _octets(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("what was typed is not UTF-8 text, nothing was sent") from None


def _ping(rest: str) -> Action:
    payload = _octets(rest)
    if len(payload) > _LONGEST_PING:
        raise ValueError(f"a ping has {_LONGEST_PING} bytes at most, not {len(payload)}")
    return Ping(payload or None)


def _close(rest: str) -> Action:
    code, _, reason = rest.partition(" ")
    if not code:
        return Close()
    allowed = code.isascii() and code.isdigit() and len(code) == 4
    if not (allowed and (code == "1000" or "3000" <= code <= "4999")):
        raise ValueError(f"close code {_shown(code)} is not allowed; give 1000, or 3000 to 4999")
    reason = reason.strip()
    if len(_octets(reason)) > _LONGEST_REASON:
        raise ValueError(f"the reason of a close has {_LONGEST_REASON} bytes at most")
    return Close(int(code), reason)


def _binary(rest: str) -> Action:
    if rest.startswith("@"):
        return _file(rest[1:], always_binary=True)
    try:
        payload = bytes.fromhex(rest)
    except ValueError:
        raise ValueError(f"{_shown(rest)} is not hex; give pairs of digits, or @FILE") from None
    if not payload:
        raise ValueError("nothing to send; give pairs of hex digits, or @FILE")
    return Send(payload, is_binary=True)


def _file(rest: str, always_binary: bool = False) -> Action:
    if not rest:
        raise ValueError("no file; give its path")
    return SendFile(rest, always_binary)


def _json(rest: str) -> Action:
    if rest not in ("on", "off"):
        raise ValueError(f"/json {_shown(rest)} is not allowed; give on or off")
    return Json(rest == "on")


def _alone(action: Action) -> Callable[[str], Action]:
    """The parser of a command that takes nothing."""

    def parse_nothing(rest: str) -> Action:
        if rest:
            raise ValueError(f"{_shown(rest)} is too much; the command takes nothing")
        return action

    return parse_nothing


@attrs.frozen
class _Command:
    """One that begins with a slash: what it takes, what it does, and how it is read."""

    takes: str
    does: str
    parse: Callable[[str], Action]


COMMANDS = {
    "/ping": _Command("[TEXT]", "ping the server, and tell how long its answer took", _ping),
    "/close": _Command("[CODE [REASON]]", "close, with 1000 or another code", _close),
    "/binary": _Command("HEX|@FILE", "send a binary message", _binary),
    "/file": _Command("PATH", "send what is in a file: as text if it is UTF-8", _file),
    "/json": _Command("on|off", "show JSON indented, or as it came", _json),
    "/headers": _Command("", "show both opening handshakes", _alone(Headers())),
    "/stats": _Command(
        "", "show what went over the connection, and how fast", _alone(Statistics())
    ),
    "/reconnect": _Command(
        "", "close, and connect anew; between two attempts, try again now", _alone(Reconnect())
    ),
    "/help": _Command("", "show this", _alone(Help())),
}

_KEYS = {
    "//TEXT": "send a message that begins with a slash",
    "Alt-Enter": "begin another line of the same message",
    "Tab": "complete a command or the name of a file",
    "Ctrl-R": "search what was typed; what begins with a space is not kept",
    "Ctrl-D": "close",
    "Ctrl-C": "close; the second time, end at once",
}


def help_lines() -> list[str]:
    """What can be typed, a line each."""
    commands = {f"{name} {each.takes}".strip(): each.does for name, each in COMMANDS.items()}
    return [f"{name:23}{does}" for name, does in (commands | _KEYS).items()]


def parse_typed(text: str) -> Action:
    """What a person wants with what was typed.

    Raises `ValueError`, with one printable line for that person, where it makes
    no sense.
    """
    if not text.startswith("/"):
        return Send(_octets(text))
    if text.startswith("//"):
        return Send(_octets(text[1:]))
    name, *rest = text.split(maxsplit=1)
    if name not in COMMANDS:
        hint = f"/help lists them, /{name} sends it" if _is_short(name) else "// sends a slash"
        raise ValueError(f"there is no command {_shown(name)}; {hint}")
    return COMMANDS[name].parse(rest[0].strip() if rest else "")


def _is_short(text: str) -> bool:
    return text.isprintable() and not escape_within(text, _MOST_SHOWN)[1]


def _shown(text: str) -> str:
    """A piece of what was typed, in quotes."""
    shown, cut = escape_within(text, _MOST_SHOWN)
    return f"'{shown}...'" if cut else f"'{shown}'"
