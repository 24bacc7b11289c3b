"""`--auth tokens:FILE`: users, and the SHA-256 of their tokens."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from functools import partial

import attrs

from ..config.config import Config
from ..config.secretfile import read_private
from ..errors import ConfigError
from ..escape import escape
from .contract import Authenticator, Credential, Form, Inquiry, User, Verdict, check_user_id
from .refusals import bad_credential

_MOST_OCTETS = 16 * 1024 * 1024
_LINE = re.compile(r"(.+):sha256:([0-9a-f]{64})")
_WANTED = "give a file with lines of USER:sha256:HASH, as python -m wsservice.auth USER prints them"
_UNKNOWN = bad_credential("the token is unknown")

Users = dict[bytes, tuple[bytes, User]]
"""The users, each beside the hash of the token, by that hash."""


def line_of(user: str) -> tuple[str, str]:
    """Return a new token of a user, and the line for the file. Raises `ValueError` for a bad id."""
    check_user_id(user)
    if user.startswith("#") or user != user.strip():
        raise ValueError("the user's id begins with # or a space, or ends with one")
    token = secrets.token_urlsafe(32)
    return token, f"{user}:sha256:{hash_of(token).hex()}"


def hash_of(token: str) -> bytes:
    """Return the SHA-256 of a token. A token of 256 random bits needs no slower hash."""
    return hashlib.sha256(token.encode()).digest()


def read_users(path: str) -> Users:
    """Return the users of a file. Raises `ConfigError`."""
    octets = read_private("--auth", path, _MOST_OCTETS, _WANTED)
    users: Users = {}
    try:
        lines = octets.decode().split("\n")
    except UnicodeDecodeError:
        raise ConfigError(f"--auth: {escape(path)} is not UTF-8; {_WANTED}") from None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        try:
            if match is None:
                raise ValueError("it is malformed")
            digest = bytes.fromhex(match[2])
            if digest in users:
                raise ValueError("the same token is in a line before")
            users[digest] = digest, User(match[1])
        except ValueError as error:
            where = f"--auth: {escape(path)}, line {number}"
            raise ConfigError(f"{where}: {error}; {_WANTED}") from None
    return users


@attrs.define(eq=False)
class TokenFile(Authenticator):
    """Finds the user of a token in a file, which a reload reads anew."""

    forms = frozenset({Form.TOKEN})

    _path: str
    _users: Users = attrs.field(repr=False)

    def check(self, credential: Credential, request: Inquiry) -> Verdict:
        # Looked up by its hash, a token tells nothing by the time that it takes: nobody can choose
        # what its hash begins with.
        digest = hash_of(credential.text)
        expected, user = self._users.get(digest, (b"", None))
        return user if hmac.compare_digest(digest, expected) and user else _UNKNOWN

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        return partial(self._commit, read_users(self._path))

    def _commit(self, users: Users) -> list[str]:
        changed = ["the users of --auth tokens"] if users != self._users else []
        self._users = users
        return changed


def open_tokens(path: str, _config: Config, _reactor: object) -> TokenFile:
    """Return the authenticator for a file. Raises `ConfigError`."""
    if not path:
        raise ConfigError(f"--auth: 'tokens' is not allowed without a file; {_WANTED}")
    return TokenFile(path, read_users(path))
