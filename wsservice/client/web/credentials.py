"""Check and read names, passwords and tokens to log in with."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from ...errors import ConfigError
from .urls import Login

_TOKEN68 = re.compile(r"[0-9A-Za-z._~+/-]+=*")
_LONGEST_FILE = 64 * 1024


def basic(name: str, password: str) -> str:
    """Return the value of a header that logs in with a name and a password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def check_login(login: Login | None) -> Login | None:
    """Return a name and a password that can be sent. Raises `ConfigError` for others."""
    if login is None:
        return None
    name, password = login
    if ":" in name or not f"{name}{password}".isprintable():
        raise ConfigError("auth: a colon in the name, or a control character, is not allowed")
    return name, password


def check_bearer(token: str | None) -> str | None:
    """Return a token that can be sent (RFC 6750). Raises `ConfigError`, which does not show it."""
    if token is not None and not _TOKEN68.fullmatch(token):
        raise ConfigError(
            "bearer: the token is not allowed; give letters, digits and -._~+/ with = at the end"
        )
    return token


def read_bearer(given: str, environment: Mapping[str, str]) -> str:
    """Return the token of `TOKEN`, `@FILE` or `env:NAME`. Raises `ConfigError` if it is missing."""
    if given.startswith("@"):
        return _read(given[1:])
    if given.startswith("env:"):
        name = given[4:]
        if not environment.get(name):
            raise ConfigError(f"--bearer: the environment variable {name!r} is not set")
        return environment[name]
    return given


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_LONGEST_FILE).decode().strip()
    except OSError as error:
        raise ConfigError(f"--bearer: cannot read {path!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--bearer: {path!r} is not text") from None
