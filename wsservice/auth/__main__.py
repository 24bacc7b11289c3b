"""Make a token: `python -m wsservice.auth USER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..escape import escape
from .tokens import line_of

_EPILOG = """\
The token goes to standard error, once: nobody can find it out later. The line for the file of
--auth tokens:FILE goes to standard output:

  (umask 077; python -m wsservice.auth tom >> tokens.txt)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a token and its line. Return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m wsservice.auth",
        description="Make a token for a user of twistd wsdemo --auth tokens:FILE.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("user", metavar="USER", help="the user's id")
    user = parser.parse_args(arguments).user
    try:
        token, line = line_of(user)
    except ValueError as error:
        sys.stderr.write(f"{parser.prog}: {escape(str(error))}\n")
        return 1
    sys.stderr.write(f"the token of {escape(user)}, shown once: {token}\n")
    sys.stdout.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
