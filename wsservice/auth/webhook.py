"""`--auth webhook:URL`: ask the application who a client is, by a signed POST.

The application answers 200 with a user, or 401 or 403. Anything else, and no answer in time, lets
nobody in: the client gets 503.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from .. import __version__
from ..channels.query import asked_for, channel_of
from ..client.web import signing
from ..client.web.asking import Asker, WebAnswer
from ..clock import wall_of
from ..config.config import Config
from ..config.secretfile import read_secret
from ..errors import ConfigError
from ..escape import escape
from ..http.target import HasTarget
from .cache import GoodCredentials
from .contract import Authenticator, Credential, Form, Inquiry, User, Verdict
from .refusals import away, bad_credential, forbidden
from .strictjson import parse_object
from .urls import is_safe, place_of

PATIENCE = 5.0
"""Seconds that the application has for its answer."""

MOST_OCTETS = 64 * 1024
"""The most octets of an answer."""

MOST_PENDING = 100
"""The most requests under way at once. Clients beyond them are refused with 503."""

LONGEST_CACHE_SECONDS = 3600.0
"""The most seconds for which an answer is remembered, whatever it says."""

HEADERS = ("accept-language", "host", "user-agent")
"""The headers of a client's request that the application gets."""

_LONGEST_HEADER = 1024
_SECRET = "--auth-secret-file"  # noqa: S105 - the option
_NO_ANSWER = away("the application that knows the users gave no answer")
_TOO_MANY = away("too many credentials are being checked")
_BAD = bad_credential("the application refused the credential")
_FORBIDDEN = forbidden("the application does not let this user in")

_log = Logger(namespace="wsservice")


class Requesting(Protocol):
    """The sender of requests: see `asking.Asker`."""

    def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Deferred[WebAnswer]:
        """Send a request. Never fails, and may be cancelled."""


@attrs.frozen
class _Target(HasTarget):
    target: str


def question(credential: Credential, request: Inquiry) -> bytes:
    """Return the body of the request about a credential: a JSON object."""
    target = _Target(request.target)
    channel = channel_of(target.path)
    about = {"form": credential.form.value, "place": credential.place, "text": credential.text}
    if credential.form is Form.PASSWORD:
        about["name"] = credential.name
    said = {
        "credential": about,
        "peer": _plain(request.address),
        "path": target.path,
        "channels": (channel, *asked_for(target.query, channel, resuming=False).channels),
        "origin": request.origin,
        "headers": {
            name: request.headers[name][:_LONGEST_HEADER]
            for name in HEADERS
            if name in request.headers
        },
    }
    return json.dumps(said, separators=(",", ":")).encode()


def _plain(address: str | None) -> str | None:
    """Return an address of IPv4 as such, where a socket of IPv6 took the connection."""
    inner = (address or "").removeprefix("::ffff:")
    return inner if "." in inner else address


def verdict_of(answer: WebAnswer) -> tuple[Verdict, float]:
    """Return the verdict in an answer, and the seconds for which it may be remembered.

    Raises `ValueError` for an answer that is none; its text has nothing of it.
    """
    if answer.status == 401:
        return _BAD, 0.0
    if answer.status == 403:
        return _FORBIDDEN, 0.0
    if answer.problem:
        raise ValueError(answer.problem)
    if answer.status != 200:
        raise ValueError(f"answered {answer.status}")
    try:
        said = parse_object(answer.body)
    except ValueError as error:
        raise ValueError(f"answered with JSON that cannot be used: {error}") from None
    claims, cache = said.get("claims"), said.get("cache", 0)
    if claims is None:
        claims = {}
    if not isinstance(claims, dict):
        raise ValueError('answered with "claims" that are no object')
    if isinstance(cache, bool) or not isinstance(cache, int | float) or not cache >= 0:
        raise ValueError('answered with a "cache" that is no number of seconds')
    if "user" not in said:
        raise ValueError('answered without a "user"')
    try:
        user = User(said["user"], claims, said.get("expires"))
    except ValueError as error:
        raise ValueError(f"answered with a user that cannot be: {error}") from None
    return user, min(cache, LONGEST_CACHE_SECONDS)


class AskedApplication(Authenticator):
    """Finds the user of a credential by asking the application at a URL.

    `key` signs the requests. The same question gets the answer that it got before, for as long as
    that answer allows.
    """

    forms = frozenset({Form.TOKEN, Form.PASSWORD})

    def __init__(self, url: str, key: bytes, poster: Requesting, wall: Callable[[], float]) -> None:
        self._name = place_of(url)
        self._key = key
        self._poster = poster
        self._wall = wall
        self._failing = False
        # The answers are kept as they came, so that no two connections share an object of theirs.
        self._known: GoodCredentials[WebAnswer] = GoodCredentials()
        #: Requests that are under way.
        self.pending = 0

    def check(self, credential: Credential, request: Inquiry) -> Verdict | Deferred[Verdict]:
        body = question(credential, request)
        # The answer may depend on all of the question, not only on the credential.
        key = self._known.key_of(body)
        known = self._known.get(key, self._wall())
        if known is not None:
            return verdict_of(known)[0]
        if self.pending >= MOST_PENDING:
            return _TOO_MANY
        now = int(self._wall())
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"wsservice/{__version__}",
            **signing.headers(self._key, secrets.token_hex(16), now, body),
        }
        self.pending += 1
        asked: Deferred[Any] = self._poster.ask("POST", headers, body)
        return asked.addBoth(self._over).addCallback(self._answered, key)

    def _over(self, result: Any) -> Any:
        self.pending -= 1
        return result

    def _answered(self, answer: WebAnswer, key: bytes) -> Verdict:
        try:
            verdict, seconds = verdict_of(answer)
        except ValueError as error:
            if not self._failing:
                self._failing = True
                _log.warn(
                    "--auth webhook {name}: it {why}; clients get 503 meanwhile",
                    name=self._name,
                    why=str(error),
                )
            return _NO_ANSWER
        if self._failing:
            self._failing = False
            _log.info("--auth webhook {name}: it works again", name=self._name)
        if isinstance(verdict, User) and seconds > 0:
            until = self._wall() + seconds
            if verdict.expires is not None:
                until = min(until, verdict.expires)
            self._known.put(key, answer, len(answer.body), until)
        return verdict

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        key = _key(config)

        def commit() -> list[str]:
            # An operator who reloads wants the application to be asked.
            self._known.clear()
            before, self._key = self._key, key
            return [] if before == key else ["the secret of --auth webhook"]

        return commit


def _key(config: Config) -> bytes:
    if not config.auth_secret_file:
        raise ConfigError(
            f"--auth: 'webhook' is not allowed without {_SECRET}, the secret that signs requests"
        )
    secret = read_secret(_SECRET, config.auth_secret_file, "secret")
    try:
        return signing.key_of(secret)
    except ValueError:
        raise ConfigError(
            f"{_SECRET}: {escape(config.auth_secret_file)} has no valid base64 behind whsec_; give"
            " a secret that has, or one without whsec_"
        ) from None


def open_webhook_auth(url: str, config: Config, reactor: Any) -> AskedApplication:
    """Return the authenticator that asks a URL. Raises `ConfigError`."""
    if not is_safe("webhook", url):
        _log.warn(
            "--auth webhook {name}: credentials are sent by http:, where others on the way can read"
            " them; give an https: URL",
            name=place_of(url),
        )
    asker = Asker(url, reactor, patience=PATIENCE, most=MOST_OCTETS)
    return AskedApplication(url, _key(config), asker, wall_of(reactor))
