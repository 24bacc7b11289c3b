"""`python -m wsservice.publish`: publish a message, or each line of standard input."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import BinaryIO, NoReturn

from . import __version__
from .errors import (
    ConfigError,
    NotAcceptedError,
    NotReachedError,
    PublishError,
)
from .escape import escape
from .publisher import (
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
"""Octets of a message that are read: more than any face takes by default."""


class Status(IntEnum):
    """How the program ended. Besides these, 130 after Ctrl-C and 143 after SIGTERM.

    Where the client's program has the same, the number is the same.
    """

    OK = 0
    NO_OUTPUT = 1
    USAGE = 2
    NO_CONNECTION = 3
    NO_TLS = 4
    REFUSED = 5
    NOT_ANSWERED = 7


_MEANINGS = {
    Status.OK: "published, be it to nobody",
    Status.NO_OUTPUT: "standard input or output failed",
    Status.USAGE: "wrong usage, or a message that is not UTF-8 text",
    Status.NO_CONNECTION: "could not connect",
    Status.NO_TLS: "TLS failed",
    Status.REFUSED: "refused, nothing was published",
    Status.NOT_ANSWERED: "no answer in time: published, or not",
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
        description="Send to all connections on a channel of a running service, by its --admin.",
        epilog=f"exit status:\n{meanings}\n\nOf several lines those before a failure were sent.",
        allow_abbrev=False,
    )
    parser.add_argument("channel", metavar="CHANNEL", help="a URL's path, such as news")
    parser.add_argument(
        "message",
        metavar="MESSAGE",
        nargs="?",
        help="without one, each line of standard input is a message, as it comes",
    )
    parser.add_argument("--binary", action="store_true", help="send binary messages, not text")
    parser.add_argument(
        "--whole", action="store_true", help="all of standard input is one message, not each line"
    )
    parser.add_argument(
        "--url",
        help="the admin face: http://HOST:PORT, https: or unix:PATH"
        f" [default: {URL_VARIABLE}, or {DEFAULT_URL}]",
    )
    parser.add_argument(
        "--token-file",
        metavar="PATH",
        help="the token that it asks for is in this file"
        f" [default: {TOKEN_VARIABLE}, which is the token, or {TOKEN_FILE_VARIABLE}]",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="for each message [default: %(default)g]",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="do not say what became of it")
    parser.add_argument("--version", action="version", version=f"wsservice {__version__}")
    return parser


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
        # What is not UTF-8 on a command line arrives as halves of surrogate pairs.
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
                f"{where} is not UTF-8, from octet {error.start + 1} on; give text, or --binary",
            ) from None


def _bounded(octets: bytes) -> bytes:
    if len(octets) > _MOST_OF_LINE:
        raise _EndError(Status.USAGE, f"a message has at most {_MOST_OF_LINE} octets")
    return octets


def _said(count: int, published: Published) -> str:
    """What became of it, for people."""
    if count == 1:
        text = f"handed to {published.handed} connections"
    else:
        text = f"{count} messages, handed over {published.handed} times"
    if published.dropped:
        text += f"; {published.dropped} times somebody read too slowly"
    if published.complete:
        return text
    if published.nodes is None:
        return f"{text}; on its way to more"
    return f"{text}; heard on {published.nodes} {'node' if published.nodes == 1 else 'nodes'}"


def _run(arguments: Sequence[str] | None) -> None:
    given = _parser().parse_args(arguments)
    handed = dropped = count = 0
    complete, nodes = True, None
    try:
        with _publisher(given) as publisher:
            for message in _messages(given):
                published = publisher.publish(given.channel, message)
                count += 1
                handed += published.handed
                dropped += published.dropped
                complete &= published.complete
                nodes = published.nodes if nodes is None else max(nodes, published.nodes or 0)
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
        sys.stdout.write(_said(count, Published(handed, dropped, complete, nodes)) + "\n")
        sys.stdout.flush()


def _counted(problem: str, count: int) -> str:
    return f"{problem} ({count} before it were published)" if count else problem


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
        # Else Python would try once more to write it, and complain.
        sys.stdout = None
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    raise SystemExit(status)


if __name__ == "__main__":
    main()
