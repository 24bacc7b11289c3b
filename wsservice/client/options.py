"""What a client is told: the settings of a connection, and the program's command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

import attrs

from .. import __version__
from ..config import SECONDS, Limits, setting
from ..errors import ConfigError
from ..escape import escape

TUTORIAL_URL = "ws://localhost:8080/websockets/"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_PORTS = {"ws": 80, "wss": 443}
_URL = "ws://HOST[:PORT][/PATH], or wss:"


def _parsed(url: str) -> SplitResult:
    problem = f"{url!r} is not allowed; give a URL like {_URL}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(problem) from None
    if (
        parts.scheme not in _PORTS
        or not parts.hostname
        or port == 0
        or parts.username is not None
        or not (url.isascii() and url.isprintable())
        or " " in url
    ):
        raise ConfigError(problem)
    if "#" in url:
        raise ConfigError(f"{url!r} is not allowed; a WebSocket URL has no fragment (#...)")
    return parts


def _header(name: str, value: str) -> tuple[str, str]:
    if not _TOKEN.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
        raise ConfigError(f"header {name!r}: {value!r} is not allowed; give printable ASCII")
    return name, value


def _headers(headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    names = [name.lower() for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"header {name!r}: is given more than once; join its values")
    return tuple(_header(name, value) for name, value in pairs)


def _subprotocols(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if not _TOKEN.fullmatch(name):
            raise ConfigError(f"subprotocol {name!r} is not allowed; give a token (RFC 9110)")
    return tuple(names)


@attrs.frozen(kw_only=True)
class ClientConfig(Limits):
    """How to connect. Raises `ConfigError` for a value that is not allowed.

    `url`, `origin`, `headers` (a mapping or pairs), `subprotocols` and
    `user_agent` go into the opening handshake. `connect_timeout`, in seconds,
    is for name and network; 0 switches it off.
    """

    url: str
    origin: str | None = None
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_headers)
    subprotocols: tuple[str, ...] = attrs.field(default=(), converter=_subprotocols)
    user_agent: str = f"wsservice/{__version__}"
    connect_timeout: float = setting(
        30.0, SECONDS, "SECONDS", "how long finding and reaching the server may take; 0: no limit"
    )

    def __attrs_post_init__(self) -> None:
        _parsed(self.url)
        _header("Origin", self.origin or "")
        _header("User-Agent", self.user_agent)

    @property
    def secure(self) -> bool:
        """Whether TLS is to be spoken."""
        return _parsed(self.url).scheme == "wss"

    @property
    def host(self) -> str:
        """The name or address to connect to, without brackets."""
        return _parsed(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port to connect to."""
        parts = _parsed(self.url)
        return parts.port or _PORTS[parts.scheme]

    @property
    def resource(self) -> str:
        """What to ask for: the path and the query."""
        parts = _parsed(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@attrs.frozen
class Command:
    """What `python -m wsservice.client` was asked for.

    `config` is None for the tutorial's part, which has a URL and a message of its own.
    """

    config: ClientConfig
    tutorial: bool
    messages: tuple[bytes, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {escape(message)}; see --help\n")


def parse(arguments: Sequence[str]) -> Command:
    """The command of a command line. Ends the process with status 2 if it is wrong."""
    parser = _Parser(
        prog="wsservice.client",
        usage="python -m wsservice.client [URL [-m TEXT ...]]",
        description=(
            "Talk to a WebSocket server. With a URL: send the messages given, then each line of"
            " standard input, and print what comes; the end of input closes. Without one: say"
            f" 'Msg from client' to {TUTORIAL_URL}, and log what comes."
        ),
        epilog=(
            "exit status: 0 closed normally, 2 wrong usage, 3 could not connect, 4 TLS failed,"
            " 5 handshake refused, 6 lost without a close frame, 8 closed with another code than"
            " 1000 or 1001, 130 on Ctrl-C"
        ),
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", nargs="?", help=f"like {_URL}")
    parser.add_argument(
        "-m",
        "--message",
        metavar="TEXT",
        action="append",
        default=[],
        help="send this once connected; repeatable",
    )
    parser.add_argument("--version", action="version", version=f"wsservice {__version__}")
    given = parser.parse_args(arguments)
    if given.url is None and given.message:
        parser.error("-m needs a URL to send to")
    try:
        messages = tuple(message.encode() for message in given.message)
        config = ClientConfig(url=given.url or TUTORIAL_URL)
    except UnicodeEncodeError:
        parser.error("-m: a message must be text in UTF-8")
    except ConfigError as error:
        parser.error(str(error))
    return Command(config, given.url is None, messages)
