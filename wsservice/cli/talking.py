"""Define the options for messages, printing and the end."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import Any

from ..config.fields import SECONDS
from ..config.units import TIME_UNITS, parse_seconds
from . import largest
from .printing import BINARY_FORMS

_CLOSE_CODES = range(1000, 5000)


def add_options(parser: Any) -> None:
    """Add the options to an `argparse` parser, in groups."""
    _add_messages(parser.add_argument_group("messages"))
    _add_ends(parser.add_argument_group("ending"))


def _add_messages(group: Any) -> None:
    group.add_argument(
        *("-m", "--message"),
        metavar="TEXT",
        action="append",
        type=_text,
        default=[],
        dest="messages",
        help="send this text once connected; repeatable",
    )
    group.add_argument(
        *("-f", "--file"),
        metavar="PATH",
        action="append",
        type=_file,
        default=[],
        dest="messages",
        help="send a file as one binary message, or all of standard input with -; repeatable."
        " -m and -f keep their order",
    )
    group.add_argument(
        "--null",
        action="store_true",
        help="end each message with NUL in place of a line feed, in input and output, for"
        " messages of several lines",
    )
    group.add_argument(
        "--binary",
        metavar="FORM",
        choices=list(BINARY_FORMS),
        default="raw",
        help="print binary messages raw, as hex or as base64 [default: %(default)s]",
    )


def _add_ends(group: Any) -> None:
    group.add_argument(
        "--count",
        metavar="COUNT",
        type=_number("a whole number from 1", range(1, sys.maxsize)),
        help="print COUNT messages, close, and end with status 0",
    )
    group.add_argument(
        "--until",
        metavar="REGEX",
        type=_regex,
        help="print messages up to the first that matches this Python regular expression,"
        " close, and end with status 0; with --count, whichever comes first",
    )
    group.add_argument(
        "--expect-close",
        metavar="CODE",
        type=_number("a close code from 1000 to 4999, 1005 for one without", _CLOSE_CODES),
        help="wait for the server to close with this code, and end with status 0; 1005 is a"
        " close without a code",
    )
    group.add_argument(
        "--timeout",
        metavar=SECONDS,
        type=_seconds,
        default=0.0,
        help="end with status 7 if the program runs longer, connecting included; 0: no limit"
        " [default: %(default)g]",
    )
    group.add_argument(
        "--linger",
        metavar=SECONDS,
        type=_seconds,
        default=0.0,
        help="wait for replies between the end of input and the close [default: %(default)g]",
    )


def _text(text: str) -> tuple[bytes, bool]:
    try:
        return text.encode(), False
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("a message must be text in UTF-8") from None


def _file(path: str) -> tuple[bytes, bool]:
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            content = largest.read_message(file)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path!r} cannot be read, {error.strerror}") from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{path!r} is not the path of a file") from None
    if content is None:
        limit = largest.shown()
        raise argparse.ArgumentTypeError(f"{path!r} is not allowed; give a file of at most {limit}")
    return content, True


def _not_allowed(text: str, allowed: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r} is not allowed; give {allowed}")


def _number(allowed: str, numbers: range) -> Callable[[str], int]:
    def number(text: str) -> int:
        # int() accepts more than people write as a number, and fails for one of 5000 digits.
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) in numbers):
            raise _not_allowed(text, allowed)
        return int(text)

    return number


def _seconds(text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError:
        allowed = f"seconds, such as 5 or 0.5, or a time with {TIME_UNITS}"
        raise _not_allowed(text, allowed) from None


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise _not_allowed(text, f"a regular expression of Python ({error})") from None
