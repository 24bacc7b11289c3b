"""Work around libraries that call functions of which newer versions of Python warn."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import Any

from txaio import tx

FIRST = (3, 14)
"""The first version of Python on which `asyncio.iscoroutinefunction` warns."""


def quiet_txaio() -> None:
    """Make txaio ask `inspect` whether a callback is `async def`. Idempotent.

    Autobahn calls a client's `onConnecting` and `onConnect` through txaio, which calls
    `asyncio.iscoroutinefunction`. That function warns on Python 3.14 and 3.15. Python 3.16 does not
    have it: there `import txaio` itself fails, up to txaio 26.6.1 at least.
    """
    # Only if the name is still asyncio's: a later txaio may have another function there.
    imported: Any = tx
    if sys.version_info < FIRST or not hasattr(imported, "iscoroutinefunction"):
        return
    if imported.iscoroutinefunction is asyncio.iscoroutinefunction:
        imported.iscoroutinefunction = inspect.iscoroutinefunction
