"""The program's command line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from .. import __version__
from ..envelopes import SUBPROTOCOL
from ..errors import ConfigError
from ..escape import escape
from .backoff import FIRST, LONGEST
from .completion import SHELLS, completion
from .options import ClientConfig
from .reaching import add_options as add_connecting
from .reaching import add_setting, config_of
from .status import MEANINGS, Status
from .talking import add_options as add_talking
from .urls import URL_FORM

TUTORIAL_URL = "ws://localhost:8080/websockets/"

SHORT_HELP = """\
usage: wsclient URL [OPTION ...]

Sends what -m and -f give, then each line of standard input, to the WebSocket
server at URL, and prints what comes. The end of input closes. At a terminal: a
prompt. Without a URL: the client's part in the tutorial.

  -m, --message TEXT       send this; repeatable
  -f, --file PATH          send a file as one binary message; repeatable
  --count N                end after N messages; --until REGEX: after a match
  --expect-close CODE      wait for the server to close with CODE
  --timeout SECONDS        end with status 7 after so long
  --linger SECONDS         wait so long before the end of input closes
  --null                   messages end in NUL, not in LF
  --binary FORM            print binary messages raw, as hex or as base64
  -H, --header 'NAME: V'   send a header in the handshake; repeatable
  --auth USER[:PASS]       log in; or --bearer TOKEN|@FILE|env:NAME
  --proxy URL              connect through a proxy of HTTP or SOCKS
  --reconnect              connect again when the connection is lost
  -k, --insecure           verify no certificate
  -v, --verbose            show the handshakes
  --help-all               every option, and every exit status in full

exit status: 0 fine, 2 usage, 3 no connection, 4 TLS, 5 refused, 6 lost,
7 not in time, 8 another close code, 130 Ctrl-C
"""
"""What `--help` says: it fits one screen, of 24 lines and 80 columns."""


@attrs.frozen(kw_only=True)
class Command:
    """What the program was asked for.

    `tutorial` is its part in the tutorial, which has a URL and a message of
    its own. `messages`, payloads and whether each is binary, are sent once
    connected. `count`, `until` and `expect_close` are what is waited for, None
    where it is not; `timeout` is how long at most, in seconds, 0 for any time;
    `linger` how long after the end of input. `binary` is how binary messages
    are printed, `end` what ends each message, printed or read. `reconnect` is
    whether a connection that is lost is followed by another one, `resume` whether
    that one begins with what was missed.

    `color` (auto, always, never), `json` (to be indented) and `history` (to be
    kept) are for a person at a terminal.
    """

    config: ClientConfig
    tutorial: bool = False
    messages: tuple[tuple[bytes, bool], ...] = ()
    count: int | None = None
    until: re.Pattern[str] | None = None
    expect_close: int | None = None
    timeout: float = 0.0
    linger: float = 0.0
    binary: str = "raw"
    end: bytes = b"\n"
    reconnect: bool = False
    resume: bool = False
    color: str = "auto"
    json: bool = False
    history: bool = True


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        # What is quoted in it is escaped by that already.
        shown = message if message.isprintable() else escape(message)
        self.exit(Status.USAGE, f"{self.prog}: {shown}; see --help\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(message, file)
        try:
            (file or sys.stderr).flush()
        except (AttributeError, OSError):
            # `--help | head -1`: Python would say so, once more, at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class _Say(argparse.Action):
    """An option that prints what its function makes of the parser and its value, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        parser._print_message(self.const(parser, values), sys.stdout)
        parser.exit()


def _parser() -> _Parser:
    parser = _Parser(
        prog="wsservice.client",
        usage="wsclient URL [OPTION ...], or python -m wsservice.client URL [OPTION ...]",
        description=(
            "Talk to a WebSocket server. With a URL: send the messages given, then each line of"
            " standard input, and print what comes; the end of input closes. Without one: say"
            f" 'Msg from client' to {TUTORIAL_URL}, and log what comes."
        ),
        epilog="exit status: "
        + ", ".join(f"{status:d} {meaning}" for status, meaning in MEANINGS.items())
        + ", 130 on Ctrl-C, 143 on SIGTERM",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("url", metavar="URL", nargs="?", help=f"like {URL_FORM}")
    add_talking(parser.add_argument_group("talking"))
    add_connecting(parser.add_argument_group("connecting"))
    _add_staying(parser)
    _add_people(parser)
    _add_help(parser)
    return parser


def _add_staying(parser: argparse.ArgumentParser) -> None:
    """What is done to stay connected."""
    group = parser.add_argument_group("staying")
    group.add_argument(
        "--reconnect",
        action="store_true",
        help="connect again when that fails, or the connection is lost, or closed by the server:"
        f" after a random time of up to {FIRST:g} s, then {2 * FIRST:g}, and so on up to"
        f" {LONGEST:g}; what was not sent is kept, and sent in order. A refusal that will not"
        " change (an HTTP status such as 401, a wrong certificate) ends it",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="the same, and begin with what was missed meanwhile, where the server keeps it"
        f" (--history) and speaks {SUBPROTOCOL}; what is gone is said",
    )
    for name in ("ping_interval", "ping_timeout"):
        add_setting(group, name)


def _add_people(parser: argparse.ArgumentParser) -> None:
    """What a person at a terminal sees."""
    group = parser.add_argument_group("at a terminal")
    group.add_argument(
        "--json",
        action="store_true",
        help="show JSON indented; /json off ends it",
    )
    group.add_argument(
        "--color",
        metavar="WHEN",
        choices=["auto", "always", "never"],
        default="auto",
        help="whether there are colours: auto, always or never; auto is not where NO_COLOR is set"
        " [default: auto]",
    )
    group.add_argument(
        "--no-history",
        action="store_true",
        help="neither read nor write the file in which is kept what was typed",
    )


def _add_help(parser: argparse.ArgumentParser) -> None:
    """What the program says of itself."""
    group = parser.add_argument_group("help")

    def says(option: str, text: Callable[[argparse.ArgumentParser, Any], str], **how: Any) -> None:
        group.add_argument(*option.split(), action=_Say, const=text, default=None, **how)

    says("-h --help", lambda *_: SHORT_HELP, nargs=0, help="the common options")
    says("--help-all", lambda parser, _: parser.format_help(), nargs=0, help="this")
    says("--version", lambda *_: f"wsservice {__version__}\n", nargs=0, help="the version")
    says(
        "--completion",
        lambda parser, shell: completion(parser, shell),
        metavar="SHELL",
        choices=SHELLS,
        help=f"print a script that completes the options of wsclient in a shell:"
        f" {', '.join(SHELLS)}; needs shtab",
    )


def _config(given: argparse.Namespace) -> ClientConfig:
    """The settings of the connection."""
    return config_of(given.url or TUTORIAL_URL, given)


def _needs_a_url(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    for action in parser._actions:
        if action.option_strings and getattr(given, action.dest, None) != action.default:
            parser.error(f"{'/'.join(action.option_strings)} needs a URL to talk to")


def parse(arguments: Sequence[str]) -> Command:
    """The command of a command line. Ends the process with status 2 if it is wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.url is None:
        _needs_a_url(parser, given)
    try:
        config = _config(given)
    except ConfigError as error:
        parser.error(str(error))
    return Command(
        config=config,
        tutorial=given.url is None,
        messages=tuple(given.messages),
        count=given.count,
        until=given.until,
        expect_close=given.expect_close,
        timeout=given.timeout,
        linger=given.linger,
        binary=given.binary,
        end=b"\0" if given.null else b"\n",
        reconnect=given.reconnect or given.resume,
        resume=given.resume,
        color=given.color,
        json=given.json,
        history=not given.no_history,
    )
