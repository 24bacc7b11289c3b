"""The behaviour that `--protocol` names: a class, found by its short or dotted name."""

from __future__ import annotations

from ..config.named import find_named
from ..errors import ConfigError
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
    found = find_named("--protocol", name, module_name, class_name)
    if found is None:
        raise ConfigError(f"--protocol: module {module_name!r} has no {class_name!r}; {allowed}")
    if not (isinstance(found, type) and issubclass(found, ServerProtocol)):
        raise ConfigError(f"--protocol: {name!r} is not a subclass of ServerProtocol; {allowed}")
    return found
