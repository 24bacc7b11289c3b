"""Name keys and channels in Redis. PURE.

A name is `PREFIX:KIND:{NAME}`, or `PREFIX:KIND` if there is only one of a kind. NAME is the name of
a channel, or another name that is unique within the kind, escaped: only letters, digits and
`. _ ~ / -` stay as they are. So two names never become equal, none is a pattern, and the braces are
those of a hash tag. All keys of one channel have the same hash tag, so they are on the same server,
and one script may use them together.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote_from_bytes

from ..errors import ConfigError

LONGEST = 255
"""Octets of the longest escaped name. A longer one is replaced by its digest."""

# In an escaped name two hexadecimal digits follow each %, so no name can look like these two.
_EMPTY = "%"
_DIGEST = "%h"
"""The replacement of an empty name, and the beginning of a digest."""

# Without braces, which would make another hash tag, and without the characters of patterns.
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_KIND = re.compile(r"[a-z]+")


def escaped(name: str) -> str:
    """Return a name in ASCII without characters that mean something to Redis.

    Two different names never become equal.
    """
    # A name from the path of a URL may have halves of surrogate pairs, which UTF-8 refuses.
    octets = name.encode(errors="surrogatepass")
    if not octets:
        return _EMPTY
    text = quote_from_bytes(octets, safe="/")
    if len(text) > LONGEST:
        return _DIGEST + hashlib.sha256(octets).hexdigest()
    return text


class Names:
    """The names that begin with a prefix. Raises `ConfigError` for a prefix that is not allowed."""

    def __init__(self, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError(
                f"--broker-prefix: {prefix!r} is not allowed;"
                " give 1 to 64 letters, digits, and . _ : -"
            )
        self.prefix = prefix

    def of(self, kind: str, name: str) -> bytes:
        """Return the name of a key or channel of a kind.

        `kind` is lower-case letters; `name` is unique within the kind, such as a channel's name.
        """
        return self.one(kind) + f":{{{escaped(name)}}}".encode()

    def one(self, kind: str) -> bytes:
        """Return the name of the only key of a kind. Raises `ValueError` for a malformed kind."""
        if not _KIND.fullmatch(kind):
            raise ValueError(kind)
        return f"{self.prefix}:{kind}".encode()
