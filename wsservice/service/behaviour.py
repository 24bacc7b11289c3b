"""The behaviour that `--protocol` names: a class, found by its short or dotted name."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

from ..errors import ConfigError
from ..escape import escape
from ..server.behaviours import EchoServerProtocol, GreetingServerProtocol, ServerProtocol

_SHORT_NAMES: dict[str, type[ServerProtocol]] = {
    "greeting": GreetingServerProtocol,
    "echo": EchoServerProtocol,
}


def find_protocol(name: str) -> type[ServerProtocol]:
    """Return the behaviour of a name: `greeting`, `echo`, or a dotted name.

    Modules in the current folder are found too, where twistd alone does not look. Raises
    `ConfigError`.
    """
    if name in _SHORT_NAMES:
        return _SHORT_NAMES[name]
    allowed = "give greeting, echo, or the dotted name of a subclass of wsservice.ServerProtocol"
    module_name, _, class_name = name.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"--protocol: {name!r} is not allowed; {allowed}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"--protocol: {name!r} cannot be imported, {_where(error)}") from error
    if found is None:
        raise ConfigError(f"--protocol: module {module_name!r} has no {class_name!r}; {allowed}")
    if not (isinstance(found, type) and issubclass(found, ServerProtocol)):
        raise ConfigError(f"--protocol: {name!r} is not a subclass of ServerProtocol; {allowed}")
    return found


def _where(error: BaseException) -> str:
    """Return the text of an import error in one line, with the file and the line of the fault."""
    text = escape(f"{type(error).__name__}: {error}")
    if isinstance(error, SyntaxError):
        return text  # it says where
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename.startswith("<frozen importlib"):
        return text  # no code ran: the module itself was not found
    return f"{text} ({escape(last.filename)}, line {last.lineno})"
