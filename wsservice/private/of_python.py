"""Use two private names of Python's own modules.

=====================  =====================================  ======================================
Name                   Needed for                             Without it
=====================  =====================================  ======================================
`socket._accept`       accepting without two look-ups for     `socket.accept`, which costs a
                       each connection                        fortieth of a connection more
`_actions`             the options of a parser of `argparse`  no completion of file names; an option
                                                              without a URL goes unnoticed
=====================  =====================================  ======================================
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable
from typing import Any

Accept = Callable[[], tuple[Any, Any]]


def raw_accept(listener: socket.socket) -> Accept | None:
    """Return a function that accepts a descriptor and an address, or None without that name."""
    accept: Accept | None = getattr(listener, "_accept", None)
    return accept


def options_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options and arguments of a parser, or an empty list without that name."""
    return list(getattr(parser, "_actions", ()))
