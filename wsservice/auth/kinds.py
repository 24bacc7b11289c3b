"""The kinds of authenticators that `--auth KIND:VALUE` names, each loaded where it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ..config.config import Config
from ..errors import ConfigError
from .contract import Authenticator

Open = Callable[[str, Config, Any], Authenticator]
"""A function that takes the value behind the colon, the configuration and the reactor."""

KINDS: dict[str, tuple[str, str]] = {
    "htpasswd": ("htpasswd", "open_htpasswd"),
    "jwt": ("jwt.authenticator", "open_jwt"),
    "tickets": ("tickets", "open_tickets"),
    "tokens": ("tokens", "open_tokens"),
    "tls": ("certificate", "open_certificate"),
    "webhook": ("webhook", "open_webhook_auth"),
}
"""The module of this package for each kind, and the function in it: an `Open`. It raises
`ConfigError`, whose text begins with `--auth`."""

_FUNCTION = ("function", "open_function")
"""The same for MODULE:FUNCTION. It gets the whole text."""


def open_authenticator(spec: str, config: Config, reactor: Any) -> Authenticator:
    """Return the authenticator of one `--auth`. Raises `ConfigError`."""
    kind, colon, value = spec.partition(":")
    if kind not in KINDS:
        if not colon or not all(map(str.isidentifier, [*kind.split("."), value])):
            raise ConfigError(
                f"--auth: kind {kind!r} is unknown; give {', '.join(KINDS)}, or the name of a"
                " function as MODULE:FUNCTION"
            )
        kind, value = "", spec
    module, function = KINDS.get(kind, _FUNCTION)
    opened: Open = getattr(importlib.import_module(f".{module}", __package__), function)
    try:
        return opened(value, config, reactor)
    except ConfigError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and spec.startswith(f"{missing.name}:"):
            raise ConfigError(f"{error}; give such a module, or {', '.join(KINDS)}") from None
        raise
