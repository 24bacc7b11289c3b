"""Read the files that settings name, or say why not. PURE."""

from __future__ import annotations

from ..errors import ConfigError
from ..escape import escape


def unreadable(named_by: str, path: str, error: OSError, cure: str) -> ConfigError:
    """Return the error for a file. `named_by` is the option that names it."""
    shown = escape(path) or "an empty path"
    return ConfigError(f"{named_by}: {shown} cannot be read, {error.strerror}; {cure}")


def read_file(named_by: str, path: str, cure: str) -> bytes:
    """Return the content of a file. Raises `ConfigError`, as of `unreadable`."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable(named_by, path, error, cure) from None
