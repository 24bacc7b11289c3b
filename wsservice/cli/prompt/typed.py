"""Parse a line at the prompt: a message, or a command that begins with a slash. PURE."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from ...config.close_codes import MOST_OF_REASON, SENDABLE, is_sendable
from ...escape import escape_within

_LONGEST_PING = 125
"""The most octets of a ping (RFC 6455, 5.5)."""

_MOST_SHOWN = 40
"""The most octets that an error shows of the typed text."""


@attrs.frozen
class Send:
    """Send a message: text or binary."""

    payload: bytes
    is_binary: bool = False


@attrs.frozen
class SendFile:
    """Send a file as a message.

    It is text if it is UTF-8 and `always_binary` is False, otherwise binary.
    """

    path: str
    always_binary: bool = False


@attrs.frozen
class Ping:
    """Send a ping. Without a payload, it carries a random one."""

    payload: bytes | None = None


@attrs.frozen
class Close:
    """Close with a code and a reason."""

    code: int = 1000
    reason: str = ""


@attrs.frozen
class Json:
    """Show JSON indented, or as it came."""

    on: bool


@attrs.frozen
class Headers:
    """Show both opening handshakes."""


@attrs.frozen
class Statistics:
    """Show the statistics of the connection."""


@attrs.frozen
class Reconnect:
    """Close, and connect again."""


@attrs.frozen
class Help:
    """Show the commands and keys."""


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
    is_number = code.isascii() and code.isdigit() and len(code) == 4
    if not (is_number and is_sendable(int(code))):
        raise ValueError(f"close code {_shown(code)} is not allowed; give {SENDABLE}")
    reason = reason.strip()
    if len(_octets(reason)) > MOST_OF_REASON:
        raise ValueError(f"the reason of a close has {MOST_OF_REASON} bytes at most")
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
    """Return the parser of a command without arguments."""

    def parse_nothing(rest: str) -> Action:
        if rest:
            raise ValueError(f"{_shown(rest)} is not allowed; the command takes no argument")
        return action

    return parse_nothing


@attrs.frozen
class _Command:
    """A command: its arguments, its description, and its parser."""

    takes: str
    does: str
    parse: Callable[[str], Action]


COMMANDS = {
    "/ping": _Command("[TEXT]", "ping the server, and tell how long its answer took", _ping),
    "/close": _Command("[CODE [REASON]]", "close, with 1000 or another code", _close),
    "/binary": _Command("HEX|@FILE", "send a binary message", _binary),
    "/file": _Command("PATH", "send a file: as text if it is UTF-8, else as binary", _file),
    "/json": _Command("on|off", "show JSON indented, or as it came", _json),
    "/headers": _Command("", "show both opening handshakes", _alone(Headers())),
    "/stats": _Command("", "show the statistics of the connection", _alone(Statistics())),
    "/reconnect": _Command(
        "", "close, and connect anew; between two attempts, try again now", _alone(Reconnect())
    ),
    "/help": _Command("", "show this", _alone(Help())),
}

_KEYS = {
    "//TEXT": "send a message that begins with a slash",
    "Alt-Enter": "begin another line of the same message",
    "Tab": "complete a command or the name of a file",
    "Ctrl-R": "search earlier lines; a line that begins with a space is not kept",
    "Ctrl-D": "close",
    "Ctrl-C": "close; the second time, end at once",
}


def help_lines() -> list[str]:
    """Return the commands and keys, one on each line."""
    commands = {f"{name} {each.takes}".strip(): each.does for name, each in COMMANDS.items()}
    return [f"{name:23}{does}" for name, does in (commands | _KEYS).items()]


def parse_typed(text: str) -> Action:
    """Return the action that a line asks for.

    Raises `ValueError`, with one printable line for the person, if the line is invalid.
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
    """Return a part of the typed text, in quotes and printable."""
    shown, cut = escape_within(text, _MOST_SHOWN)
    return f"'{shown}...'" if cut else f"'{shown}'"
