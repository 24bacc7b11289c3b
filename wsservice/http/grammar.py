"""The parts of HTTP's grammar that patterns are made of, each in one place. PURE."""

from __future__ import annotations

TCHAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
"""A character of a token (RFC 9110, 5.6.2)."""

TOKEN = f"{TCHAR}+"
"""The name of a method, a header, a subprotocol, an extension or a cookie."""

FIELD_VALUE = r"[\t -~\x80-\xff]*"
"""A header's value. It may have every octet from 0x80 on (RFC 9110, 5.5)."""

UNRESERVED = r"[A-Za-z0-9._~-]"
"""A character that a URL may have everywhere (RFC 3986, 2.3). Names for DNS have no other."""

IPV6 = r"[0-9A-Fa-f:.]+"
"""Text that may be an IPv6 address (RFC 3986, 3.2.2)."""
