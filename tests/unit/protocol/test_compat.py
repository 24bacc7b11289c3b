"""compat.py: on every version of Python nothing warns of how a client's callbacks are called."""

from __future__ import annotations

import inspect
import sys
import warnings
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from txaio import tx

from wsservice.protocol import compat

TX: Any = tx


async def asynchronous() -> str:
    return "x"


def plain() -> str:
    return "x"


@pytest.mark.parametrize("callback", [asynchronous, plain])
def test_callbacks_are_called_without_a_warning(callback: object) -> None:
    compat.quiet_txaio()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result: Deferred[str] = TX.as_future(callback)
    called: list[str] = []
    result.addCallback(called.append)
    assert called == ["x"]


def test_it_does_something_only_where_there_is_a_warning() -> None:
    compat.quiet_txaio()
    replaced = TX.iscoroutinefunction is inspect.iscoroutinefunction
    assert replaced == (sys.version_info >= compat.FIRST)
