"""`python -m wsservice.publish`: publish a message, or each line of standard input."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any, BinaryIO, NoReturn

from .. import __version__
from ..config.units import TIME_UNITS, parse_seconds
from ..errors import (
    ConfigError,
    NotAcceptedError,
    NotReachedError,
    PublishError,
)
from ..escape import escape
from . import (
    DEFAULT_URL,
    TIMEOUT,
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    Message,
    Published,
    Publisher,
)

_MOST_OF_LINE = 16 * 1024 * 1024
"""Most bytes of a message that are read: more than any admin listener takes by default."""


class Status(IntEnum):
    """The exit statuses of the program. Besides these, 130 after Ctrl-C and 143 after SIGTERM.

    `wsclient` has the same numbers for the same outcomes.
    """

    OK = 0
    NO_OUTPUT = 1
    USAGE = 2
    NO_CONNECTION = 3
    NO_TLS = 4
    REFUSED = 5
    NOT_ANSWERED = 7


_MEANINGS = {
    Status.OK: "published, even if no client is connected",
    Status.NO_OUTPUT: "standard input or output failed",
    Status.USAGE: "wrong usage, or a text message that is not UTF-8",
    Status.NO_CONNECTION: "could not connect",
    Status.NO_TLS: "TLS failed",
    Status.REFUSED: "refused; nothing was published",
    Status.NOT_ANSWERED: "no answer in time; the message may have been published",
}


class _EndError(Exception):
    """The program ends with a status, and a line that says why."""

    def __init__(self, status: Status, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _EndError(Status.USAGE, f"{escape(message)}; see --help")


def _parser() -> argparse.ArgumentParser:
    meanings = "\n".join(f"  {int(status)}  {meaning}" for status, meaning in _MEANINGS.items())
    parser = _Parser(
        prog="python -m wsservice.publish",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [OPTION ...] CHANNEL [MESSAGE]",
        description="Send a message to all connections on a channel of a running service, through"
        "\nits --admin listener.",
        epilog=f"exit status:\n{meanings}\n\nAfter a failure, the messages of earlier lines are"
        " published already.\n\nexamples:\n"
        "  %(prog)s news 'It rains'\n"
        "  tail -f log | %(prog)s --url unix:a.sock news",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("channel", metavar="CHANNEL", help="the path of a URL, such as news")
    parser.add_argument(
        "message",
        metavar="MESSAGE",
        nargs="?",
        help="text to send; without it, each line of standard input is a message",
    )
    _add_message(parser.add_argument_group("message"))
    _add_service(parser.add_argument_group("service"))
    _add_output(parser.add_argument_group("output and help"))
    return parser


def _add_message(group: Any) -> None:
    """Add the options for the messages."""
    group.add_argument("--binary", action="store_true", help="send binary messages, not text")
    group.add_argument(
        "--whole", action="store_true", help="send all of standard input as one message"
    )


def _add_service(group: Any) -> None:
    """Add the options for the service that publishes."""
    group.add_argument(
        "--url",
        metavar="URL",
        help="its admin listener: http://HOST:PORT, https://HOST:PORT or unix:PATH"
        f" [default: ${URL_VARIABLE}, or {DEFAULT_URL}]",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="file with the token of the listener"
        f" [default: the token in ${TOKEN_VARIABLE}, or the file ${TOKEN_FILE_VARIABLE}]",
    )
    group.add_argument(
        "--timeout",
        type=_time,
        default=TIMEOUT,
        metavar="SECONDS",
        help="time to publish one message and get the answer; also 500ms, 2m or 1h"
        " [default: %(default)gs]",
    )


def _add_output(group: Any) -> None:
    """Add the options for the output, and those that print something and end the program."""
    group.add_argument("-q", "--quiet", action="store_true", help="do not print the result")
    group.add_argument("-h", "--help", action="help", help="show this help")
    group.add_argument(
        "--version",
        action="version",
        version=f"wsservice {__version__}",
        help="show the version",
    )


def _time(text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError:
        allowed = f"seconds, or a time with {TIME_UNITS}"
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give {allowed}") from None


def _publisher(given: argparse.Namespace) -> Publisher:
    variables = dict(os.environ)
    if given.url is not None:
        variables[URL_VARIABLE] = given.url
    if given.token_file is not None:
        variables[TOKEN_FILE_VARIABLE] = given.token_file
        variables.pop(TOKEN_VARIABLE, None)
    return Publisher.from_environment(variables, timeout=given.timeout)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise _EndError(Status.NO_OUTPUT, "there is no standard input; give a MESSAGE")
    return sys.stdin.buffer


def _messages(given: argparse.Namespace) -> Iterator[Message]:
    if given.message is not None:
        # Bytes of a command line that are not UTF-8 arrive as halves of surrogate pairs.
        whole: Iterable[bytes] = (os.fsencode(given.message),)
    elif given.whole:
        whole = (_bounded(_standard_input().read(_MOST_OF_LINE + 1)),)
    else:
        stdin = _standard_input()
        lines = iter(lambda: stdin.readline(_MOST_OF_LINE + 1), b"")
        whole = (_bounded(line).removesuffix(b"\n").removesuffix(b"\r") for line in lines)
    for number, octets in enumerate(whole, 1):
        try:
            yield octets if given.binary else octets.decode()
        except UnicodeDecodeError as error:
            where = "the message" if given.message is not None else f"message {number}"
            raise _EndError(
                Status.USAGE,
                f"{where} is not UTF-8, from byte {error.start + 1} on; give text, or --binary",
            ) from None


def _bounded(octets: bytes) -> bytes:
    if len(octets) > _MOST_OF_LINE:
        raise _EndError(Status.USAGE, f"a message has at most {_MOST_OF_LINE} bytes")
    return octets


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _said(count: int, published: Published) -> str:
    """Return the result for people."""
    if count == 1:
        text = f"handed to {published.handed} {_plural(published.handed, 'connection')}"
    else:
        text = (
            f"{count} messages, handed over {published.handed} {_plural(published.handed, 'time')}"
        )
    if published.dropped:
        text += f"; {published.dropped} dropped for slow readers"
    if published.complete:
        return text
    if published.nodes is None:
        return f"{text}; on its way to more"
    return f"{text}; heard on {published.nodes} {_plural(published.nodes, 'node')}"


def _run(arguments: Sequence[str] | None) -> None:
    given = _parser().parse_args(arguments)
    count = 0
    total = Published(0, 0)
    try:
        with _publisher(given) as publisher:
            for message in _messages(given):
                total = total.plus(publisher.publish(given.channel, message))
                count += 1
    except ConfigError as error:
        raise _EndError(Status.USAGE, str(error)) from error
    except NotReachedError as error:
        status = Status.NO_TLS if error.tls else Status.NO_CONNECTION
        raise _EndError(status, _counted(str(error), count)) from error
    except NotAcceptedError as error:
        raise _EndError(Status.REFUSED, _counted(str(error), count)) from error
    except PublishError as error:
        raise _EndError(Status.NOT_ANSWERED, _counted(str(error), count)) from error
    if not given.quiet:
        sys.stdout.write(_said(count, total) + "\n")
        sys.stdout.flush()


def _counted(problem: str, count: int) -> str:
    return f"{problem} ({count} {_plural(count, 'message')} published before)" if count else problem


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program, and end the process with its exit status."""
    status = int(Status.OK)
    try:
        _run(arguments)
    except _EndError as end:
        status = end.status
        sys.stderr.write(f"wsservice.publish: {end}\n")
    except OSError as error:
        status = Status.NO_OUTPUT
        sys.stderr.write(f"wsservice.publish: {error.strerror}\n")
        # Python would try once more to write the output, and print a traceback.
        sys.stdout = None
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    raise SystemExit(status)


if __name__ == "__main__":
    main()
