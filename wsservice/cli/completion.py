"""Complete the options of the program in a shell, by shtab if it is installed."""

from __future__ import annotations

import argparse

from ..private.of_python import options_of
from .status import Status

SHELLS = ("bash", "zsh", "fish", "tcsh")


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return a completion script for a shell.

    Ends the process with status 2 if shtab is missing.
    """
    try:
        import shtab
    except ImportError:
        problem = "--completion needs shtab: pip install 'wsservice[cli]'"
        parser.exit(Status.USAGE, f"{parser.prog}: {problem}\n")
    parser.prog = "wsclient"
    for action in options_of(parser):
        if action.metavar in ("PATH", "FILE"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))
