"""Keep cookies in a file, in Netscape's format, which curl and exports of browsers use."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from http.cookiejar import Cookie, CookieJar
from pathlib import Path

from ...errors import ConfigError, ConnectError

_HEADER = b"# Netscape HTTP Cookie File\n# wsclient wrote this; it may be edited\n\n"
_FIRST_LINE = re.compile(rb"#( Netscape)? HTTP Cookie File")
_HTTP_ONLY = b"#HttpOnly_"
_FIELDS = 7


def made_cookie(
    domain: str,
    name: str,
    value: str | None,
    *,
    below: bool = False,
    path: str = "/",
    secure: bool = False,
    expires: int | None = None,
    http_only: bool = False,
) -> Cookie:
    """Return a cookie in the form of Python's cookie jars.

    With `below`, it is for the names below its domain too. `expires` is a time of `time.time()`,
    None for a session cookie. `value` is None if there is no `=`. Each character of the texts is an
    octet (Latin-1).
    """
    return Cookie(
        version=0,
        name=name,
        value=value,
        port=None,
        port_specified=False,
        domain=domain,
        domain_specified=below,
        domain_initial_dot=domain.startswith("."),
        path=path,
        path_specified=True,
        secure=secure,
        expires=expires,
        discard=expires is None,
        comment=None,
        comment_url=None,
        rest={"HttpOnly": ""} if http_only else {},
    )


class CookieFile(CookieJar):
    """A jar kept in a file.

    The file `kept_in` is rewritten whenever a server sets a cookie, and only its owner can read it;
    None for a jar that is only read.
    """

    def __init__(self, kept_in: str | None = None) -> None:
        super().__init__()
        self._kept_in = kept_in

    @property
    def is_kept(self) -> bool:
        """True if there is a file to write."""
        return self._kept_in is not None

    def begin(self) -> None:
        """Read the file, if it exists, and check that it can be written. Raises `ConfigError`."""
        if os.path.exists(self._kept_in or ""):
            self.read(self._kept_in or "")
        try:
            self.write()
        except ConnectError as error:
            raise ConfigError(str(error)) from None

    def read(self, path: str) -> None:
        """Add the cookies of a file. Raises `ConfigError` if it cannot be read, or is malformed."""
        try:
            cookies = list(_cookies(Path(path).read_bytes()))
        except ValueError:
            raise ConfigError(f"{path!r} is not a cookie file in Netscape's format") from None
        except OSError as error:
            raise ConfigError(f"cannot read cookies from {path!r}: {error.strerror}") from None
        for each in cookies:
            self.set_cookie(each)
        self.clear_expired_cookies()

    def write(self) -> None:
        """Write the file. Raises `ConnectError` on failure."""
        path = Path(self._kept_in or "")
        try:
            # A new file replaces the old one, so that it is never half written, nor readable by
            # others.
            descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with open(descriptor, "wb") as file:
                    file.write(_HEADER + b"".join(map(_line, self)))
                os.replace(draft, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
        except OSError as error:
            raise ConnectError(f"cannot write cookies to {str(path)!r}: {error.strerror}") from None


def _cookies(octets: bytes) -> Iterator[Cookie]:
    """Parse a cookie file; an empty one is valid. Raises `ValueError` if it is malformed."""
    if octets and not _FIRST_LINE.match(octets):
        raise ValueError("the first line")
    for line in octets.split(b"\n"):
        http_only = line.startswith(_HTTP_ONLY)
        line = line.removeprefix(_HTTP_ONLY).removesuffix(b"\r")
        if not line.strip() or line.startswith(b"#"):
            continue
        # Some programs leave out an empty value at the end.
        fields = [*line.decode("latin-1").split("\t"), ""][:_FIELDS]
        domain, below, path, secure, expires, name, value = fields
        until = int(float(expires or 0))
        yield made_cookie(
            domain.lower(),
            name or value,
            value if name else None,
            below=below == "TRUE",
            path=path,
            secure=secure == "TRUE",
            # 0 marks a session cookie. The session lasts here as long as the user keeps the file.
            expires=until or None,
            http_only=http_only,
        )


def _line(cookie: Cookie) -> bytes:
    has_name = cookie.value is not None
    fields = [
        cookie.domain,
        "TRUE" if cookie.domain_specified else "FALSE",
        cookie.path,
        "TRUE" if cookie.secure else "FALSE",
        str(cookie.expires or 0),
        cookie.name if has_name else "",
        cookie.value if has_name else cookie.name,
    ]
    line = "\t".join(map(str, fields)).encode("latin-1") + b"\n"
    return _HTTP_ONLY + line if cookie.has_nonstandard_attr("HttpOnly") else line
