"""The secrets of a request, which must not appear in a log. PURE.

The text of an exception often quotes its cause: a token, a cookie.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Protocol
from urllib.parse import parse_qsl, unquote_plus

from ..escape import is_secret, to_mask

_CHANNEL = "channel="
"""The parameter that names a channel, which is no secret: the list of channels has its name, and
the line of the log about a refused channel."""


class RequestAttributes(Protocol):
    """The attributes of a request that this module reads."""

    @property
    def query(self) -> str:
        """Return the target after the first question mark."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers by their names in lower case."""


def is_secret_header(name: str) -> bool:
    """Return True if the value of a header, named in lower case, may be a secret.

    Subprotocols count, since browsers can set no other header and pages send tokens there.
    """
    return name == "sec-websocket-protocol" or is_secret(name)


def secrets_of(request: RequestAttributes) -> list[str]:
    """Return the values of headers and of the query that may be secrets, the longest first."""
    return to_mask({*_of_query(request.query), *_of_headers(request.headers)})


def _of_query(query: str) -> Iterator[str]:
    yield query
    yield unquote_plus(query)
    for part in query.split("&"):
        if not part.startswith(_CHANNEL):
            yield part.partition("=")[2] or part
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "channel":
            yield value or name


def _of_headers(headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if not is_secret_header(name):
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
