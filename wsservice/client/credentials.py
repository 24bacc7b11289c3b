"""Who one is: names, passwords and tokens, and where they may not be seen."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError
from .urls import Login

_TOKEN68 = re.compile(r"[0-9A-Za-z._~+/-]+=*")
_LONGEST_FILE = 64 * 1024
_SECRET = re.compile(r"auth|cookie|token|secret|passw|api-?key|credential", re.IGNORECASE)


def basic(name: str, password: str) -> str:
    """The value of a header that logs in with a name and a password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def check_login(login: Login | None) -> Login | None:
    """A name and password that can be sent. Raises `ConfigError` for others."""
    if login is None:
        return None
    name, password = login
    if ":" in name or not f"{name}{password}".isprintable():
        raise ConfigError("auth: a name must have no colon, and neither part a control character")
    return name, password


def check_bearer(token: str | None) -> str | None:
    """A token that can be sent (RFC 6750). Raises `ConfigError`, which does not tell it."""
    if token is not None and not _TOKEN68.fullmatch(token):
        raise ConfigError(
            "bearer: the token is not allowed; give letters, digits and -._~+/ with = at the end"
        )
    return token


def read_bearer(given: str, environment: Mapping[str, str]) -> str:
    """The token of `TOKEN`, `@FILE` or `env:NAME`. Raises `ConfigError` where there is none."""
    if given.startswith("@"):
        return _read(given[1:])
    if given.startswith("env:"):
        name = given[4:]
        if not environment.get(name):
            raise ConfigError(f"--bearer: there is no environment variable {name!r}")
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


def is_secret(header: str) -> bool:
    """Whether a header of this name holds what nobody else may see."""
    return bool(_SECRET.search(header)) and not header.lower().endswith("-authenticate")
