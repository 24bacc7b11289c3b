"""Escaping of octets and text from a peer, and masking of secrets. PURE.

All text that goes from a peer to a log or a terminal passes here. The result is
one line: nothing in it moves a cursor, changes a colour, turns the writing
direction or starts a line of its own. It can be read back: a backslash is
doubled, the rest is written as in a Python string literal.

The names of headers and parameters that hold secrets stand here once, for the
server's log and for all that the client shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

MASK = "********"
"""Shown in the place of a secret."""

_SHORTEST_SECRET = 4
"""The least characters of a secret."""

ANY_TEXT = ""
"""A secret that is in any text: all of it is masked."""

_SECRET_PART = re.compile(
    "assertion|auth|bearer|cookie|credential|csrf|jwt|passphrase|passw|secret|session|signature"
    "|ticket|token|xsrf"
)
_SECRET_END = re.compile("(?:code|hmac|key|otp|pass|pin|pwd|sid|sig)$")
_NO_SECRET = re.compile("secwebsocket(?:key|accept)|(?:www|proxy)authenticate")
"""The first two show that the other end speaks WebSocket (RFC 6455, 10.3), a challenge how to
log in (RFC 9110, 11.6.1)."""

PUBLIC_SUBPROTOCOLS = frozenset(
    {
        *("chat", "superchat"),  # RFC 6455's own
        *("wsservice.v1", "centrifuge-json", "centrifuge-protobuf"),
        *("amqp", "mqtt", "mqttv3.1", "soap", "xmpp", "sip", "msrp", "binary", "base64"),
        *("wamp.2.json", "wamp.2.msgpack", "wamp.2.cbor", "v10.stomp", "v11.stomp", "v12.stomp"),
        *("graphql-ws", "graphql-transport-ws", "actioncable-v1-json", "vite-hmr"),
        *("ocpp1.2", "ocpp1.5", "ocpp1.6", "ocpp2.0", "ocpp2.0.1", "ocpp2.1"),
        *("channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"),
    }
)
"""Subprotocols that many servers share. Any other name may be a token: browsers can send no
header of a page's own, so pages log in by a subprotocol."""

_NAMED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN_ASCII = bytes(code for code in range(0x20, 0x7F) if chr(code) not in _NAMED)


def _escape_character(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


class _Escapes(dict[int, str]):
    """A table for `str.translate`. It keeps only its first entries: there are a million others."""

    def __missing__(self, code: int) -> str:
        return _escape_character(chr(code))


_ESCAPES = _Escapes({code: _escape_character(chr(code)) for code in range(0x100)})


def _quote_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:  # half of a character: some JSON parsers refuse it
        return "\ufffd"
    return json.dumps(character)[1:-1] if code != 0x7F else "\\u007f"


class _Quotes(dict[int, str]):
    """A table for `str.translate`, as `_Escapes` is one, for strings of JSON."""

    def __missing__(self, code: int) -> str:
        return _quote_character(chr(code))


_QUOTES = _Quotes({code: _quote_character(chr(code)) for code in range(0x100)})


def quote(text: str) -> str:
    """Return `text` as a printable JSON string, which a JSON parser turns back into the text.

    Only halves of surrogate pairs are replaced, by U+FFFD.
    """
    return f'"{text.translate(_QUOTES)}"'


def is_plain(octets: bytes) -> bool:
    """Return True if octets are UTF-8 text that `escape` leaves unchanged."""
    if not octets.translate(None, _PLAIN_ASCII):
        return True
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return False
    return text.isprintable() and "\\" not in text


def escape(text: str) -> str:
    """Return `text` as one printable line.

    Characters that `str.isprintable` rejects are escaped: controls, line and paragraph
    separators, format characters (the bidirectional overrides among them),
    surrogates, unassigned code points, and every space but U+0020.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return text.translate(_ESCAPES)


def escape_once(text: str) -> str:
    """Return text as one printable line, unchanged if it is one: it may be escaped already."""
    return text if text.isprintable() else escape(text)


def escape_within(text: str, limit: int) -> tuple[str, bool]:
    """Return `escape(text)`, cut to at most `limit` octets of UTF-8, and True if it was cut.

    It is never cut within a character or an escape.
    """
    escaped = escape(text[: limit + 1])
    if len(text) <= limit and len(escaped.encode()) <= limit:
        return escaped, False
    kept = []
    room = limit
    for character in text[:limit]:
        piece = _ESCAPES[ord(character)]
        room -= len(piece.encode())
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept), True


def is_secret(name: str) -> bool:
    """Return whether a header, cookie or parameter of this name holds a secret."""
    plain = re.sub(r"[\W_]", "", name.lower())
    if _NO_SECRET.fullmatch(plain):
        return False
    return bool(_SECRET_PART.search(plain) or _SECRET_END.search(plain))


def to_mask(found: Iterable[str]) -> list[str]:
    """Return the texts to mask in others, once each, the longest first.

    Short ones are left out: a mask for them would hide parts of most text.
    """
    secrets = {each for each in found if len(each) >= _SHORTEST_SECRET}
    return sorted(secrets, key=len, reverse=True)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return text with a mask in the place of each secret; the longer ones must come first."""
    for secret in secrets:
        if secret == ANY_TEXT:
            return MASK
        text = text.replace(secret, MASK)
    return text


def shown_subprotocol(name: str) -> str:
    """Return the name of a subprotocol, or a mask where it may be a token."""
    return name if name in PUBLIC_SUBPROTOCOLS else MASK


# A host, maybe with a port, up to the first of /?#. It contains no login.
_HOST_ONLY = re.compile(r"(?:[^:/?#]+:)?//(?:[^@:/?#\[]*|\[[^@\]]*\])(?::[0-9]{0,5})?[/?#]")
_SEPARATOR = re.compile("([?#&;])")
_NESTED_NAME = re.compile("([^?#&;=/]+)=")
_LONG = 16
"""The length, in characters, from which a name without a value is taken for a token."""


def shown_url(url: str) -> str:
    """Return a URL that can be shown: without a login, and without the secrets of its query.

    A login may contain a `/` against the rules: all up to the last `@` is hidden, unless
    a host stands before that.
    """
    if not _HOST_ONLY.match(url):
        url = re.sub(r"^([^:/?#]*://)?.*@", rf"\1{MASK}@", url, count=1, flags=re.DOTALL)
    return shown_query(url)


def shown_query(url: str) -> str:
    """Return a URL, or a path, with a mask for each secret of its query and its fragment.

    A value is masked where its parameter's name says that it is secret, or where it is a URL
    with such a parameter; so is a parameter without a name, which may be a token.
    """
    path, *rest = _SEPARATOR.split(url)
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return path + "".join(mark + _shown_parameter(mark, each) for mark, each in pairs)


def _shown_parameter(mark: str, parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if not value.strip("="):
        # A name behind a # is most often an anchor in a page.
        may_be_one = len(name) >= _LONG or (name and not equals and mark != "#")
        return MASK if may_be_one else parameter
    names = [name, *_NESTED_NAME.findall(unquote_plus(value))]
    return f"{name}={MASK}" if any(is_secret(unquote_plus(each)) for each in names) else parameter


def secret_parameters(url: str) -> list[str]:
    """Return the values that `shown_query` masks, as they stand in the URL and decoded."""
    found = []
    rest = _SEPARATOR.split(url)[1:]
    for mark, parameter in zip(rest[::2], rest[1::2], strict=True):
        if _shown_parameter(mark, parameter) != parameter:
            name, _, value = parameter.partition("=")
            found += [value or name, unquote_plus(value or name)]
    return found
