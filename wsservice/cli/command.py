"""The program's command line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import attrs

from .. import __version__
from ..channels.envelopes import SUBPROTOCOL
from ..client.options import ClientConfig
from ..client.web.urls import URL_FORM
from ..errors import ConfigError
from ..escape import MASK, escape_once, shown_url
from ..net.backoff import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS
from ..private.of_python import options_of
from .completion import SHELLS, completion
from .reaching import add_options as add_connecting
from .reaching import add_setting, config_of
from .status import MEANINGS, Status
from .talking import add_options as add_talking

TUTORIAL_URL = "ws://localhost:8080/websockets/"

SHORT_HELP = """\
usage: wsclient URL [OPTION ...]

Sends each -m and -f, then each line of standard input, to the WebSocket server
at URL, and prints each message that arrives. The end of input closes. At a
terminal: a prompt. Without a URL: the client of the tutorial.

  -m, --message TEXT       send this text; repeatable
  -f, --file PATH          send a file as one binary message; repeatable
  --count COUNT            end after COUNT messages; --until REGEX: at a match
  --expect-close CODE      wait for the server to close with CODE
  --timeout SECONDS        end with status 7 after this time, such as 30s or 2m
  --linger SECONDS         wait between the end of input and the close
  --null                   end messages with NUL in place of a line feed
  --binary FORM            print binary messages raw, as hex or as base64
  -H, --header 'NAME: V'   send a header in the handshake; repeatable
  --auth USER[:PASS]       log in; or --bearer TOKEN|@FILE|env:NAME
  --proxy URL              connect through an HTTP or SOCKS proxy
  --reconnect              connect again when the connection is lost
  -k, --insecure           do not verify the server's certificate
  -v, --verbose            show the handshakes
  --help-all               show every option and every exit status

exit status: 0 success, 2 usage, 3 no connection, 4 TLS, 5 refused, 6 lost,
7 timed out, 8 another close code, 130 Ctrl-C
"""
"""The text of `--help`. It fits one screen of 24 lines and 80 columns."""


@attrs.frozen(kw_only=True)
class Command:
    """The program's task, as its command line gives it.

    - `tutorial`: play the client of the tutorial, which has its own URL and message.
    - `messages`: payloads to send once connected, each with True for a binary message.
    - `count`, `until`, `expect_close`: the event that ends the program, None for no such event.
    - `timeout`: seconds that the program may run; 0: any time.
    - `linger`: seconds between the end of input and the close.
    - `binary`: the form in which binary messages are printed, of `BINARY_FORMS`.
    - `end`: the bytes that end each message, printed or read.
    - `reconnect`: open another connection when one is lost.
    - `resume`: begin that connection with the messages that were missed.
    - `color` (auto, always, never), `json` (indent it) and `history` (keep it) are for a
      person at a terminal.
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
    def parse_args(self, *given: Any) -> Any:  # type: ignore[override]
        arguments, unknown = self.parse_known_args(*given)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(_without_values(unknown))}")
        return arguments

    def error(self, message: str) -> Any:
        # A message that quotes a value has escaped it already.
        shown = escape_once(message)
        self.exit(Status.USAGE, f"{self.prog}: {shown}; see --help\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if message:
            _print(message, sys.stderr)
        sys.exit(status)


def _print(text: str, file: Any) -> None:
    try:
        file.write(text)
        file.flush()
    except (AttributeError, OSError):
        # With `--help | head -1` the output is closed. Python would report that once more at its
        # end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _without_values(unknown: Sequence[str]) -> Iterator[str]:
    """Yield the arguments with values masked: the value of a misspelt `--bearer` is a secret."""
    is_value = False
    for each in unknown:
        is_option = each.startswith("-")
        name, equals, _ = each.partition("=")
        if is_option and not each.startswith("--"):
            yield each if len(each) <= len("-x") else f"{each[:2]}{MASK}"
        elif is_option:
            yield f"{name}={MASK}" if equals else name
        else:
            yield MASK if is_value else shown_url(each)
        is_value = is_option and not equals


class _Say(argparse.Action):
    """An option that prints a text and ends.

    `const` makes the text from the parser and the value.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        _print(self.const(parser, values), sys.stdout)
        parser.exit()


def _parser() -> _Parser:
    parser = _Parser(
        prog="wsservice.client",
        usage="wsclient URL [OPTION ...], or python -m wsservice.client URL [OPTION ...]",
        description=(
            "Talk to a WebSocket server. With a URL: send each -m and -f, then each line of"
            " standard input, and print each message that arrives; the end of input closes."
            f" Without a URL: send 'Msg from client' to {TUTORIAL_URL}, and log the replies."
            " BYTES are a number, or a size with B, KiB, MiB or GiB (64KiB); SECONDS are a number,"
            " or a time with ms, s, m or h (500ms)."
        ),
        epilog="exit status: "
        + "; ".join(f"{status:d} {meaning}" for status, meaning in MEANINGS.items())
        + "; 130 on Ctrl-C; 143 on SIGTERM",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("url", metavar="URL", nargs="?", help=f"like {URL_FORM}")
    add_talking(parser)
    add_connecting(parser)
    _add_staying(parser)
    _add_people(parser)
    _add_help(parser)
    return parser


def _add_staying(parser: argparse.ArgumentParser) -> None:
    """Add the options for staying connected."""
    group = parser.add_argument_group("staying connected")
    group.add_argument(
        "--reconnect",
        action="store_true",
        help="connect again after a failed attempt, a lost connection or a close by the server."
        f" The wait is random, up to {FIRST_DELAY_SECONDS:g} s at first, doubled each time, up to"
        f" {LONGEST_DELAY_SECONDS:g} s. Unsent messages are kept and sent in order. A refusal that"
        " will not change, such as HTTP status 401 or a wrong certificate, ends the program",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="--reconnect, and first get the messages missed meanwhile. The server must keep them"
        f" (--history) and speak {SUBPROTOCOL}. Lost messages are reported",
    )
    for name in ("ping_interval", "ping_timeout"):
        add_setting(group, name)


def _add_people(parser: argparse.ArgumentParser) -> None:
    """Add the options for a person at a terminal."""
    group = parser.add_argument_group("at a terminal")
    group.add_argument(
        "--json",
        action="store_true",
        help="indent JSON; /json off stops that",
    )
    group.add_argument(
        "--color",
        metavar="WHEN",
        choices=["auto", "always", "never"],
        default="auto",
        help="use colours: auto, always or never; auto obeys NO_COLOR [default: %(default)s]",
    )
    group.add_argument(
        "--no-history",
        action="store_true",
        help="do not read or write the history of typed lines",
    )


def _add_help(parser: argparse.ArgumentParser) -> None:
    """Add the options that print something and end the program."""
    group = parser.add_argument_group("help")

    def says(option: str, text: Callable[[argparse.ArgumentParser, Any], str], **how: Any) -> None:
        group.add_argument(*option.split(), action=_Say, const=text, default=None, **how)

    says("-h --help", lambda *_: SHORT_HELP, nargs=0, help="show the common options")
    says("--help-all", lambda parser, _: parser.format_help(), nargs=0, help="show every option")
    says("--version", lambda *_: f"wsservice {__version__}\n", nargs=0, help="show the version")
    says(
        "--completion",
        lambda parser, shell: completion(parser, shell),
        metavar="SHELL",
        choices=SHELLS,
        help="print a script that completes the options of wsclient in this shell:"
        f" {', '.join(SHELLS)}; needs shtab",
    )


def _config(given: argparse.Namespace) -> ClientConfig:
    """Return the settings of the connection."""
    return config_of(given.url or TUTORIAL_URL, given)


def _needs_a_url(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    for action in options_of(parser):
        if action.option_strings and getattr(given, action.dest, None) != action.default:
            parser.error(f"{'/'.join(action.option_strings)} needs a URL to talk to")


def parse(arguments: Sequence[str]) -> Command:
    """Return the command of a command line. Ends the process with status 2 if it is wrong."""
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
