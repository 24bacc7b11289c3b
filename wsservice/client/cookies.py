"""Cookies: those that are sent, and the file that they are kept in."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from email.message import Message
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy, LoadError, MozillaCookieJar
from pathlib import Path
from typing import Any
from urllib.request import Request

from ..errors import ConfigError, ConnectError
from .answer import Answer
from .urls import Target

_PAIR = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+=[\x21-\x2b\x2d-\x3a\x3c-\x7e]*")
# Python's jar knows a host without a dot by this name, no other program does.
_LOCALHOST, _AS_KEPT = "localhost", "localhost.local"


def check_cookies(text: str) -> str:
    """`a=b; c=d`, fit for a header. Raises `ConfigError`, which does not tell what it was."""
    pairs = [each.strip() for each in text.split(";") if each.strip()]
    if not all(map(_PAIR.fullmatch, pairs)):
        raise ConfigError("cookie: what is given is not allowed; give 'NAME=VALUE; NAME=VALUE'")
    return "; ".join(pairs)


def cookies_for(target: Target, cookies: str, jar: CookieJar | None) -> str:
    """The value of the Cookie header: those given, and those of the jar that are for a target."""
    kept = ""
    if jar is not None:
        request = Request(target.http_url)  # noqa: S310 - it is not opened
        with _no_warnings():
            jar.add_cookie_header(request)
        kept = request.get_header("Cookie") or ""
    return "; ".join(each for each in (cookies, kept) if each)


def keep_cookies(target: Target, answer: Answer, jar: CookieJar) -> None:
    """Put those that a server sets into the jar."""
    request = Request(target.http_url)  # noqa: S310 - it is not opened
    with _no_warnings():
        jar.extract_cookies(_Response(answer), request)  # type: ignore[arg-type]


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    # Of what makes no sense to it, Python's jar warns with a traceback.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Response:
    """An answer as a jar wants it."""

    def __init__(self, answer: Answer) -> None:
        self._headers = Message()
        for name, value in answer.headers:
            if value.isprintable():
                self._headers[name] = value

    def info(self) -> Message:
        return self._headers


class CookieFile(MozillaCookieJar):
    """A jar kept in a file of Netscape's format, which curl and browsers' exports have.

    `kept_in` is written anew whenever a server sets a cookie, readable by its
    owner only; None for a jar that is only read.
    """

    def __init__(self, kept_in: str | None = None) -> None:
        # A cookie set without a domain is its host's alone (RFC 6265, 5.3).
        super().__init__(
            policy=DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain)
        )
        self._kept_in = kept_in

    def begin(self) -> None:
        """Read the file, if there is one, and see that it can be written. Raises `ConfigError`."""
        if os.path.exists(self._kept_in or ""):
            self.read(self._kept_in or "")
        try:
            self.write()
        except ConnectError as error:
            raise ConfigError(str(error)) from None

    def read(self, path: str) -> None:
        """Take the cookies of a file. Raises `ConfigError` where it cannot be read, or is none."""
        try:
            with _no_warnings():
                self.load(path, ignore_discard=True, ignore_expires=True)
        except (LoadError, UnicodeDecodeError):
            raise ConfigError(f"{path!r} is no cookie file of Netscape's format") from None
        except OSError as error:
            raise ConfigError(f"cannot read cookies from {path!r}: {error.strerror}") from None
        for cookie in list(self):
            if cookie.expires == 0:
                # As curl and browsers write one of a session, which is as long here as
                # its user says. To Python it expired long ago.
                cookie.expires = None
            if cookie.domain == _LOCALHOST:
                self.clear(cookie.domain, cookie.path, cookie.name)
                self.set_cookie(_renamed(cookie, _AS_KEPT))
        self.clear_expired_cookies()

    def extract_cookies(self, response: Any, request: Any) -> None:
        """As the jar's own; and writes the file, if there were any."""
        before = _state(self)
        super().extract_cookies(response, request)
        if self._kept_in is not None and _state(self) != before:
            self.write()

    def write(self) -> None:
        """Write the file. Raises `ConnectError` where that cannot be done."""
        path = Path(self._kept_in or "")
        saved = MozillaCookieJar()
        for cookie in self:
            saved.set_cookie(_renamed(cookie, _LOCALHOST) if cookie.domain == _AS_KEPT else cookie)
        try:
            # Whole or not at all, and never for others to read.
            descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            os.close(descriptor)
            try:
                saved.save(draft, ignore_discard=True)
                os.replace(draft, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
        except OSError as error:
            raise ConnectError(f"cannot write cookies to {str(path)!r}: {error.strerror}") from None


def _renamed(cookie: Cookie, domain: str) -> Cookie:
    cookie = copy.copy(cookie)
    cookie.domain = domain
    return cookie


def _state(jar: CookieJar) -> list[dict[str, Any]]:
    return [dict(vars(each)) for each in jar]
