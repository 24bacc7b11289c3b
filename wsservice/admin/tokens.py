"""The tokens of the admin face: their names, and what each may do."""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import TypeVar

import attrs

from ..config.secretfile import read_table
from ..errors import ConfigError
from ..escape import escape

T = TypeVar("T")

OPTION = "--admin-token-file"

MOST_TOKENS = 100
"""The most tokens of a file. Each request is compared with all of them."""

SHORTEST = 16
"""The least characters of a token that has a name: 96 bits in base64, too many to be guessed."""

_MOST_OF_FILE = 64 * 1024
"""The largest size of the file, in bytes."""

_LONGEST = 1024
"""The most characters of a token. A request's head has at most 16 KiB."""

_LONGEST_ALONE = 4096
"""The most characters of a token that is alone in its file."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TOKEN = re.compile(r"[!-~]+", re.ASCII)

_ALL = "all"


class Right(enum.Enum):
    """A right of a token."""

    READ = "read"
    """Read figures, connections and channels, and trace connections."""
    PUBLISH = "publish"
    """Publish messages, and send them to single connections."""
    CLOSE = "close"
    """Close connections."""
    TICKETS = "tickets"
    """Make tickets, by which clients connect as any user."""


ALL_RIGHTS = frozenset(Right)

_WANTED = (
    "give one token alone, or lines of NAME RIGHTS TOKEN, where RIGHTS are some of"
    f" {','.join(each.value for each in Right)}, or {_ALL}; a line that begins with # is a comment"
)


@attrs.frozen
class Caller:
    """The caller of a request: the name of its token, and its rights.

    The name is "" for a token without one, and where no token is asked for.
    """

    name: str = ""
    rights: frozenset[Right] = ALL_RIGHTS


@attrs.frozen
class _NamedToken:
    digest: bytes = attrs.field(repr=False)
    caller: Caller


@attrs.frozen
class AdminTokens:
    """The tokens of a file."""

    _tokens: tuple[_NamedToken, ...]

    @classmethod
    def bare(cls, token: bytes) -> AdminTokens:
        """Return one token without a name, which has all rights."""
        return cls((_NamedToken(digest_of(token), Caller()),))

    @classmethod
    def read(cls, path: str) -> AdminTokens:
        """Return the tokens of a file.

        A file with one word has one token, which has all rights and no name. Otherwise each line
        is `NAME RIGHTS TOKEN`, empty, or a comment. Raises `ConfigError`, which shows nothing of
        the lines, if the file is missing or malformed, or if any user may write it. A file that
        all users may read is only logged: secret files in containers often are.
        """
        text = read_table(OPTION, path, _WANTED, _MOST_OF_FILE)
        words = text.split(maxsplit=1)
        if not words:
            raise ConfigError(f"{OPTION}: {escape(path)} is empty; {_WANTED}")
        if len(words) == 1 and words[0].startswith(b"#"):
            raise ConfigError(f"{OPTION}: {escape(path)} has only a comment; {_WANTED}")
        if len(words) == 1:
            return cls.bare(_alone(path, words[0]))
        return cls(tuple(_of_lines(path, text)))

    @property
    def named(self) -> bool:
        """True for tokens with names."""
        return any(each.caller.name for each in self._tokens)

    def caller(self, given: bytes) -> Caller | None:
        """Return the caller that has a token; None for an unknown token.

        The time tells nothing about the tokens: digests of one length are compared, all of them.
        """
        digest, found = digest_of(given), None
        for each in self._tokens:
            if hmac.compare_digest(each.digest, digest):
                found = each.caller
        return found


def digest_of(token: bytes) -> bytes:
    """Return the digest by which a token is compared and remembered."""
    return hashlib.sha256(token).digest()


def _alone(path: str, word: bytes) -> bytes:
    token = word.strip()
    if len(token) > _LONGEST_ALONE or not _TOKEN.fullmatch(token.decode("latin-1")):
        raise ConfigError(
            f"{OPTION}: {escape(path)} has one word, which is no token: one is of up to"
            f" {_LONGEST_ALONE} characters of printable ASCII; {_WANTED}"
        )
    return token


def _of_lines(path: str, text: bytes) -> Iterable[_NamedToken]:
    names: dict[str, int] = {}
    digests: dict[bytes, int] = {}
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            token = _of_line(line.decode("latin-1").split())
            _is_new("name", token.caller.name, number, names)
            _is_new("token", token.digest, number, digests)
            if len(names) > MOST_TOKENS:
                raise ValueError(f"there are more than {MOST_TOKENS} tokens")
        except ValueError as error:
            raise ConfigError(
                f"{OPTION}: {escape(path)}, line {number}: {error}; {_WANTED}"
            ) from None
        yield token
    if not names:
        raise ConfigError(f"{OPTION}: {escape(path)} has only comments; {_WANTED}")


def _of_line(words: list[str]) -> _NamedToken:
    """Return the token of a line. Raises `ValueError`, which has nothing of the line."""
    # A word in the wrong place may be the token, so an error shows no word at all.
    if len(words) != 3:
        raise ValueError(f"it has {len(words)} words in place of 3")
    name, rights, token = words
    if not _NAME.fullmatch(name):
        raise ValueError("the name needs 1 to 64 letters, digits, and . _ -")
    if not _TOKEN.fullmatch(token) or len(token) > _LONGEST:
        raise ValueError(f"the token needs up to {_LONGEST} characters of printable ASCII")
    if len(token) < SHORTEST:
        raise ValueError(f"the token is too short, it needs {SHORTEST} characters or more")
    return _NamedToken(digest_of(token.encode()), Caller(name, _rights(rights)))


def _rights(text: str) -> frozenset[Right]:
    if text == _ALL:
        return ALL_RIGHTS
    try:
        return frozenset(Right(each) for each in text.split(","))
    except ValueError:
        raise ValueError("there is an unknown right") from None


def _is_new(what: str, value: T, number: int, known: dict[T, int]) -> None:
    before = known.setdefault(value, number)
    if before != number:
        raise ValueError(f"the {what} is that of line {before} already")
