"""What a request holds that is not for a log, and text without it. PURE.

Who raises an exception often puts in its text what it is about: a token, a cookie.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, unquote_plus

from .config import MASK
from .request import Request

_SHORTEST = 4
"""Characters that a secret has at least: text without all shorter ones would be none."""

_NAMES = re.compile(r"auth|cookie|token|secret|session|key$|password|sec-websocket-protocol")
_NO_SECRET = {"sec-websocket-key"}
"""It only shows that the server has understood (RFC 6455, 10.3)."""


def secrets_of(request: Request) -> list[str]:
    """Values of headers and of the query that may be secrets, the longest first."""
    found = {*_of_query(request.query), *_of_headers(request.headers)}
    return sorted((each for each in found if len(each) >= _SHORTEST), key=len, reverse=True)


def _of_query(query: str) -> Iterator[str]:
    yield query
    yield unquote_plus(query)
    for part in query.split("&"):
        yield part.partition("=")[2] or part
    for name, value in parse_qsl(query, keep_blank_values=True):
        yield value or name


def _of_headers(headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if name in _NO_SECRET or not _NAMES.search(name):
            continue
        yield value
        for part in re.split(r"[;,]", value):
            yield part.strip()
            yield part.partition("=")[2].strip(' "')
        scheme, _, credentials = value.partition(" ")
        yield credentials.strip()
        if scheme.lower() == "basic":
            yield from _of_basic(credentials)


def _of_basic(credentials: str) -> Iterator[str]:
    try:
        user_and_password = base64.b64decode(credentials).decode()
    except (binascii.Error, ValueError):
        return
    yield user_and_password
    yield user_and_password.partition(":")[2]


def masked(text: str, secrets: Iterable[str]) -> str:
    """Text with a mask in the place of each secret. Longer ones come before what is in them."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text
