"""`--auth jwt:FILE` and `--auth jwt:URL`: the users that JSON Web Tokens name (RFC 7519)."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred

from ...client.web.asking import Asker, ask_now
from ...clock import wall_of
from ...config.config import Config
from ...errors import ConfigError
from ...http.refusal import Refusal
from ..cache import GoodCredentials
from ..contract import Authenticator, Credential, Form, Inquiry, User, Verdict
from ..refusals import away, bad_credential
from ..urls import is_safe, shown

if TYPE_CHECKING:
    from .claims import ClaimRules, ReadToken
    from .keys import Keys

_FOREVER = float("inf")
_UNKNOWN_KEY = bad_credential("the token names an unknown key (kid)", "get a new one")
_NO_KEYS = away("the keys that verify tokens are too old", "the issuer's server gave no new ones")
_KEY_NOT_FOUND = away(
    "the token names an unknown key (kid), and the issuer's keys cannot be fetched now",
    "the log says why",
)


class KeySource(Protocol):
    """The keys of an issuer, wherever they are."""

    changed: Callable[[], object]

    @property
    def keys(self) -> Keys | None:
        """Return the keys in force, None if there are none that can be trusted."""

    @property
    def is_away(self) -> bool:
        """Return True if new keys could not be had when they were asked for last."""

    def look_again(self) -> Deferred[None] | None:
        """Look for new keys, and fire when that is over; None if it was done lately."""

    def prepare(self) -> Callable[[], list[str]]:
        """Return a function that puts new keys in force. Raises `ConfigError`."""

    def start(self) -> None:
        """Begin to keep the keys up to date."""

    def stop(self) -> None:
        """End that."""


class JSONWebTokens(Authenticator):
    """Finds the user in a token that one of the issuer's keys verifies.

    A token that was verified is remembered, up to its end: a client that comes back costs no
    signature. `wall` returns the time in seconds since 1970.
    """

    forms = frozenset({Form.TOKEN})

    def __init__(self, source: KeySource, rules: ClaimRules, wall: Callable[[], float]) -> None:
        self._source = source
        self._rules = rules
        self._wall = wall
        # The claims are kept as JSON, so that no two connections share an object of theirs.
        self._verified: GoodCredentials[bytes] = GoodCredentials()
        source.changed = self._verified.clear

    def check(self, credential: Credential, request: Inquiry) -> Verdict | Deferred[Verdict]:
        from .claims import open_token, user_of

        keys = self._source.keys
        if keys is None:
            return _NO_KEYS
        now = self._wall()
        key = self._verified.key_of(credential.text.encode())
        payload = self._verified.get(key, now)
        if payload is not None:
            return user_of(json.loads(payload), self._rules, now)
        token = open_token(credential.text)
        if isinstance(token, Refusal):
            return token
        verdict = self._verified_user(token, keys, key)
        if verdict is not None:
            return verdict
        fetched = self._source.look_again()
        if fetched is None:
            return self._not_found()

        def again(_: None) -> Verdict:
            keys = self._source.keys
            if keys is None:
                return _NO_KEYS
            return self._verified_user(token, keys, key) or self._not_found()

        return fetched.addCallback(again)

    def _verified_user(self, token: ReadToken, keys: Keys, key: bytes) -> Verdict | None:
        """Return the verdict over a token, None if its key is not among these."""
        from .claims import candidates, user_of, verify

        fitting = candidates(token, keys)
        if isinstance(fitting, Refusal):
            return fitting
        if not fitting:
            return None
        claims = verify(token, fitting)
        if isinstance(claims, Refusal):
            return claims
        user = user_of(claims, self._rules, self._wall())
        if isinstance(user, User):
            until = _FOREVER if user.expires is None else user.expires
            self._verified.put(key, token.payload, len(token.payload), until)
        return user

    def _not_found(self) -> Refusal:
        return _KEY_NOT_FOUND if self._source.is_away else _UNKNOWN_KEY

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        commit_keys = self._source.prepare()
        rules = _rules_of(config)

        def commit() -> list[str]:
            self._rules = rules
            return commit_keys()

        return commit

    def start(self) -> None:
        self._source.start()

    def stop(self) -> None:
        self._source.stop()


def open_jwt(value: str, config: Config, reactor: Any) -> JSONWebTokens:
    """Return the authenticator of `jwt:VALUE`. Raises `ConfigError`.

    The keys at a URL are fetched before it returns.
    """
    if find_spec("joserfc") is None:
        raise ConfigError("--auth: jwt needs the package joserfc; pip install 'wsservice[auth]'")
    if not value:
        raise ConfigError(
            "--auth: 'jwt' is not allowed without keys; give jwt:FILE or jwt:https://HOST/PATH"
        )
    source = _remote(value, reactor) if "://" in value else _file(value)
    return JSONWebTokens(source, _rules_of(config), wall_of(reactor))


def _rules_of(config: Config) -> ClaimRules:
    from .claims import ClaimRules

    return ClaimRules(
        frozenset(config.auth_audience), frozenset(config.auth_issuer), config.auth_leeway
    )


def _file(path: str) -> KeySource:
    from .keyfile import FileKeys

    return FileKeys(path)


def _remote(url: str, reactor: Any) -> KeySource:
    from .jwks import HEADERS, MOST_OCTETS, PATIENCE, RemoteKeys

    if not is_safe("jwt", url):
        raise ConfigError(
            f"--auth: 'jwt:{shown(url)}' is not allowed, since anybody on the way could change the"
            " keys; give an https: URL, or an http: URL of this machine"
        )
    asker = Asker(url, reactor, patience=PATIENCE, most=MOST_OCTETS)
    try:
        return RemoteKeys(url, ask_now(url, HEADERS, PATIENCE, MOST_OCTETS), asker, reactor)
    except ValueError as error:
        raise ConfigError(
            f"--auth: no key could be fetched from {shown(url)}: it {error}; give the URL of a"
            " JWK Set that answers"
        ) from None
