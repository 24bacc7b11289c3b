"""`--auth htpasswd:FILE`: users and the bcrypt or argon2 hashes of their passwords.

A hash takes a tenth of a second or so by design. It is computed in threads, so that connections do
not wait, and only so many checks may wait for a thread.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from ..clock import monotonic_of
from ..config.config import Config
from ..config.secretfile import read_private
from ..errors import ConfigError
from ..escape import escape
from .cache import GoodCredentials
from .contract import Authenticator, Credential, Form, Inquiry, User, Verdict, check_user_id
from .refusals import away, bad_credential

MOST_PENDING = 64
"""The most passwords that are checked, or wait for it, at once. More are refused with 503."""

REMEMBERED_SECONDS = 60.0
"""Seconds for which a password that was right is not hashed again."""

_MOST_OCTETS = 4 * 1024 * 1024
_MOST_THREADS = 4
_LONGEST_FOR_BCRYPT = 72
"""The octets of a password that bcrypt looks at. Apache's htpasswd cuts there too."""

_MOST_ROUNDS = 15
_MOST_KIB = 512 * 1024
_MOST_PASSES = 64
_MOST_LANES = 64
"""The most that a hash may cost: about two seconds of a core, and 512 MiB."""

_BCRYPT = re.compile(r"\$2[aby]\$(?P<rounds>[0-9]{2})\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=(?P<m>[0-9]{1,9}),t=(?P<t>[0-9]{1,9}),p=(?P<p>[0-9]{1,9})"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,172}"
)
_WANTED = "give a file with lines of USER:HASH, as htpasswd -B prints them"
_WRONG = bad_credential("the name or the password is wrong")
_TOO_MANY = away("too many passwords are being checked")

Hashes = dict[str, str]
"""The hash of each user's password, by the user's id."""


def read_hashes(path: str) -> Hashes:
    """Return the hashes in a file. Raises `ConfigError`, which names the line."""
    octets = read_private("--auth", path, _MOST_OCTETS, _WANTED)
    try:
        lines = octets.decode().split("\n")
    except UnicodeDecodeError:
        raise ConfigError(f"--auth: {escape(path)} is not UTF-8; {_WANTED}") from None
    hashes: Hashes = {}
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r").strip()
        if not text or text.startswith("#"):
            continue
        try:
            name, colon, hashed = text.partition(":")
            if not colon:
                raise ValueError("it has no colon")
            if check_user_id(name) in hashes:
                raise ValueError("its user is in a line before")
            _check_hash(hashed)
        except ValueError as error:
            where = f"--auth: {escape(path)}, line {number}"
            raise ConfigError(f"{where}: {error}; {_WANTED}") from None
        hashes[name] = hashed
    if not hashes:
        raise ConfigError(f"--auth: {escape(path)} has no user; {_WANTED}")
    return hashes


def _check_hash(hashed: str) -> None:
    """Raise `ValueError` for a hash that is unknown, too weak, or too costly."""
    if (match := _BCRYPT.fullmatch(hashed)) is not None:
        if not 4 <= int(match["rounds"]) <= _MOST_ROUNDS:
            raise ValueError(f"its bcrypt has a cost of less than 4 or more than {_MOST_ROUNDS}")
        return
    if (match := _ARGON2.fullmatch(hashed)) is not None:
        bounds = {"m": _MOST_KIB, "t": _MOST_PASSES, "p": _MOST_LANES}
        if not all(1 <= int(match[name]) <= most for name, most in bounds.items()):
            raise ValueError(f"its argon2 may have at most m={_MOST_KIB},t={_MOST_PASSES}")
        return
    old = {"$apr1$": "apr1", "{SHA}": "SHA-1", "$1$": "MD5", "$5$": "crypt", "$6$": "crypt"}
    for start, name in old.items():
        if hashed.startswith(start):
            raise ValueError(f"{name} is too weak a hash for a password, or not known here")
    raise ValueError("its hash is neither bcrypt nor argon2; DES crypt and plain text are refused")


def is_right(hashed: str, password: bytes) -> bool:
    """Return True if a password has this hash. It takes as long as the hash asks for."""
    if hashed.startswith("$argon2"):
        import argon2

        try:
            return argon2.PasswordHasher().verify(hashed, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
    import bcrypt

    try:
        return bcrypt.checkpw(password[:_LONGEST_FOR_BCRYPT], hashed.encode())
    except ValueError:  # such as a password with a NUL
        return False


class PasswordFile(Authenticator):
    """Finds the user of a name and a password.

    `defer` calls a function in a thread, and returns a Deferred of its result.
    """

    forms = frozenset({Form.PASSWORD})

    def __init__(self, path: str, hashes: Hashes, reactor: Any, defer: Any = None) -> None:
        self._path = path
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._pool: ThreadPool | None = None
        self._defer = defer or self._in_pool
        self._secret = secrets.token_bytes(16)
        self._right: GoodCredentials[bool] = GoodCredentials(most=1000)
        self._use(hashes)
        #: Passwords that are being checked, or wait for it.
        self.pending = 0

    def _use(self, hashes: Hashes) -> None:
        self._hashes: Mapping[str, str] = hashes
        self._all = list(hashes.values())
        self._right.clear()

    def check(self, credential: Credential, request: Inquiry) -> Verdict | Deferred[Verdict]:
        name, password = credential.name, credential.text.encode()
        hashed = self._hashes.get(name)
        is_known = hashed is not None
        if hashed is None:
            hashed = self._another(name)
        key = self._right.key_of(name.encode(), hashed.encode(), password)
        if is_known and self._right.get(key, self._monotonic()):
            return User(name)
        if self.pending >= MOST_PENDING:
            return _TOO_MANY
        self.pending += 1
        checked: Deferred[bool] = self._defer(is_right, hashed, password)
        checked.addBoth(self._over)

        def judge(right: bool) -> Verdict:
            if not right or not is_known:
                return _WRONG
            self._right.put(key, True, 0, self._monotonic() + REMEMBERED_SECONDS)
            return User(name)

        answered: Deferred[Verdict] = Deferred()
        # A thread cannot be cancelled: it counts until it is done, whoever has given up.
        checked.addCallback(judge).addCallbacks(
            lambda verdict: None if answered.called else answered.callback(verdict),
            lambda failure: None if answered.called else answered.errback(failure),
        )
        return answered

    def _over(self, result: Any) -> Any:
        self.pending -= 1
        return result

    def _another(self, name: str) -> str:
        """Return the hash of some user, the same for the same name, for an unknown name.

        Checking the password against it takes as long as for one of the users.
        """
        digest = hashlib.blake2b(name.encode(), key=self._secret, digest_size=8).digest()
        return self._all[int.from_bytes(digest, "big") % len(self._all)]

    def _in_pool(self, call: Callable[..., bool], *given: Any) -> Deferred[bool]:
        if self._pool is None:
            threads = min(_MOST_THREADS, os.cpu_count() or 1)
            self._pool = ThreadPool(0, threads, "wsservice-passwords")
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, call, *given)

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        hashes = read_hashes(self._path)

        def commit() -> list[str]:
            if hashes == self._hashes:
                return []
            self._use(hashes)
            return ["the users of --auth htpasswd"]

        return commit

    def stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()


def open_htpasswd(path: str, config: Config, reactor: Any) -> PasswordFile:
    """Return the authenticator for a file. Raises `ConfigError`."""
    for package in ("bcrypt", "argon2"):
        if find_spec(package) is None:
            raise ConfigError(
                f"--auth: htpasswd needs the package {package}; pip install 'wsservice[auth]'"
            )
    if not path:
        raise ConfigError(f"--auth: 'htpasswd' is not allowed without a file; {_WANTED}")
    return PasswordFile(path, read_hashes(path), reactor)
