"""Find the classes and functions of an application, which settings name. PURE."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

from ..errors import ConfigError
from ..escape import escape


def find_named(option: str, given: str, module: str, name: str) -> Any:
    """Return what a module has by a name, None if it has no such name.

    Modules in the current folder are found too, where twistd alone does not look. Raises
    `ConfigError` if the module cannot be imported; its text names the option and the value given.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{option}: {given!r} cannot be imported, {_where(error)}") from error


def _where(error: BaseException) -> str:
    """Return the text of an import error in one line, with the file and the line of the fault."""
    text = escape(f"{type(error).__name__}: {error}")
    if isinstance(error, SyntaxError):
        return text  # it says where
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename.startswith("<frozen importlib"):
        return text  # no code ran: the module itself was not found
    return f"{text} ({escape(last.filename)}, line {last.lineno})"
