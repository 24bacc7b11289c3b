"""What keys and channels are called in Redis. PURE.

A name is `PREFIX:KIND:{NAME}`, or `PREFIX:KIND` where there is one of a kind. NAME is a
channel's, or whatever else tells one of a kind from another, escaped: it has only letters,
digits and `. _ ~ / -` as they are, so that no name can be another's, none is a pattern, and
the braces are those of the hash tag. All names of one channel have the same, so that they are
on the same server, and a script may touch them together.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote_from_bytes

from ..errors import ConfigError

LONGEST = 255
"""Octets that an escaped name has at most; of a longer one there is a digest in its place."""

_EMPTY = "%"
_DIGEST = "%h"
"""What stands for an empty name, and before a digest: no escape looks so."""

_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_KIND = re.compile(r"[a-z]+")


def escaped(name: str) -> str:
    """A name in ASCII, in which nothing has a meaning to Redis. Two never come to the same."""
    # What came from a URL's path may have halves of surrogate pairs.
    octets = name.encode(errors="surrogatepass")
    if not octets:
        return _EMPTY
    text = quote_from_bytes(octets, safe="/")
    if len(text) > LONGEST:
        return _DIGEST + hashlib.sha256(octets).hexdigest()
    return text


class Names:
    """The names that begin with a prefix. Raises `ConfigError` for one that is not allowed."""

    def __init__(self, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError(
                f"--broker-prefix: {prefix!r} is not allowed;"
                " give 1 to 64 letters, digits, and . _ : -"
            )
        self.prefix = prefix

    def of(self, kind: str, name: str) -> bytes:
        """What is of a kind, in lower-case letters, and has a name, such as a channel's."""
        return self.one(kind) + f":{{{escaped(name)}}}".encode()

    def one(self, kind: str) -> bytes:
        """What there is one of."""
        if not _KIND.fullmatch(kind):
            raise ValueError(kind)
        return f"{self.prefix}:{kind}".encode()
