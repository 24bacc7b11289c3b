"""The program's command line: what is sent, what is printed, and when that is enough."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import Any

from .printing import BINARY_FORMS

_CLOSE_CODES = range(1000, 5000)

_LARGEST_FILE = 128 * 1024 * 1024
"""Octets that a file may have which is sent as one message: it is held in memory."""


def add_options(group: Any) -> None:
    """Add the options to a group of an `argparse` parser."""
    group.add_argument(
        *("-m", "--message"),
        metavar="TEXT",
        action="append",
        type=_text,
        default=[],
        dest="messages",
        help="send this once connected; repeatable",
    )
    group.add_argument(
        *("-f", "--file"),
        metavar="PATH",
        action="append",
        type=_file,
        default=[],
        dest="messages",
        help="send what is in a file as one binary message, - for all of standard input;"
        " repeatable, and sent in the order given with -m",
    )
    group.add_argument(
        "--count",
        metavar="N",
        type=_number("a whole number from 1", range(1, sys.maxsize)),
        help="print N messages, close, and end with status 0",
    )
    group.add_argument(
        "--until",
        metavar="REGEX",
        type=_regex,
        help="print messages up to the first that has a match for this Python regular"
        " expression, close, and end with status 0; with --count, whichever comes first",
    )
    group.add_argument(
        "--expect-close",
        metavar="CODE",
        type=_number("a close code from 1000 to 4999, 1005 for one without", _CLOSE_CODES),
        help="wait for the server to close with this code, and end with status 0",
    )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="end with status 7 when all is not over after so long, connecting included",
    )
    group.add_argument(
        "--linger",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="at the end of input wait so long before closing, for answers [default: 0]",
    )
    group.add_argument(
        "--null",
        action="store_true",
        help="each message ends in a NUL instead of a line feed, those of standard input too:"
        " for messages of many lines",
    )
    group.add_argument(
        "--binary",
        metavar="FORM",
        choices=list(BINARY_FORMS),
        default="raw",
        help="how binary messages are printed: raw, hex or base64 [default: raw]",
    )


def _text(text: str) -> tuple[bytes, bool]:
    try:
        return text.encode(), False
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("a message must be text in UTF-8") from None


def _file(path: str) -> tuple[bytes, bool]:
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path!r} cannot be read, {error.strerror}") from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{path!r} is not the path of a file") from None
    if len(content) > _LARGEST_FILE:
        limit = f"{_LARGEST_FILE >> 20} MiB"
        raise argparse.ArgumentTypeError(f"{path!r} is not allowed; give a file of at most {limit}")
    return content, True


def _not_allowed(text: str, allowed: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r} is not allowed; give {allowed}")


def _number(allowed: str, numbers: range) -> Callable[[str], int]:
    def number(text: str) -> int:
        # int() takes more than a person means by a number, and not so long ones.
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) in numbers):
            raise _not_allowed(text, allowed)
        return int(text)

    return number


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?|\.[0-9]+", text, re.ASCII):
        raise _not_allowed(text, "seconds, such as 5 or 0.5")
    return float(text)


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise _not_allowed(text, f"a regular expression of Python ({error})") from None
