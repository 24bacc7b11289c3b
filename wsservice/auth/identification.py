"""Find the user of a request: the credential, and the authenticator that takes its form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred

from ..clock import monotonic_of, wall_of
from ..config.config import Config
from ..config.origins import AllowedOrigins, check_origin
from ..errors import ConfigError
from ..http.refusal import Refusal, RefusedError
from ..http.request import Request
from .contract import Authenticator, Credential, Form, Inquiry, User, Verdict
from .credentials import COOKIE, find
from .kinds import open_authenticator
from .refusals import BAD, NONE, away, bad_credential, completed, expired, no_credential, throttled
from .throttle import Throttle

MOST_PENDING = 1000
"""The most checks of one process that may be under way at once."""

_TOO_MANY = away("too many credentials are being checked")


@attrs.frozen
class _Rules:
    """The settings of identity in force."""

    authenticators: dict[str, Authenticator]
    is_optional: bool
    cookie: str
    first_message: bool
    origins: AllowedOrigins
    forms: frozenset[Form]
    by_form: dict[Form, Authenticator]


class Identification:
    """The authenticators of a service, and the rules by which requests are asked for credentials.

    Raises `ConfigError`. `extra` are authenticators beside those of `--auth`, such as that of
    tickets; they count only while `--auth` names one.
    """

    def __init__(self, config: Config, reactor: Any, extra: Iterable[Authenticator] = ()) -> None:
        self._reactor = reactor
        self._extra = tuple(extra)
        self._wall = wall_of(reactor)
        self._running = False
        self._rules = self._rules_of(config, {})
        self.throttle = Throttle(config.auth_failures, monotonic_of(reactor))
        #: Checks that are under way.
        self.pending = 0
        #: Called after a reload.
        self.changed: Callable[[], object] = lambda: None

    @property
    def is_on(self) -> bool:
        """Return True if clients are asked for a credential."""
        return bool(self._rules.authenticators)

    @property
    def takes_first_message(self) -> bool:
        """Return True if the token may come as the first message."""
        return self._rules.first_message

    @property
    def _asks_no_more(self) -> bool:
        """Return True if a request without a credential is not refused."""
        return self._rules.is_optional or self._rules.first_message

    # The life of a part of the service

    def prepare(self, config: Config) -> Callable[[], Iterable[str]]:
        """Return a function that applies settings, with all files read anew."""
        before = self._rules.authenticators
        rules = self._rules_of(config, before)
        kept = [each for spec, each in rules.authenticators.items() if spec in before]
        commits = [each.prepare(config) for each in (*kept, *self._extra)]

        def commit() -> list[str]:
            changed = [name for each in commits for name in each() or ()]
            self._rules = rules
            self.throttle.most = config.auth_failures
            self.changed()
            if self._running:
                for spec in rules.authenticators.keys() - before.keys():
                    rules.authenticators[spec].start()
                for spec in before.keys() - rules.authenticators.keys():
                    before[spec].stop()
            return changed

        return commit

    def start(self) -> None:
        """Start the authenticators."""
        self._running = True
        for each in (*self._rules.authenticators.values(), *self._extra):
            each.start()

    def stop(self) -> Deferred[Any]:
        """Stop the authenticators. Fires when they are stopped."""
        self._running = False
        all_of_them = (*self._rules.authenticators.values(), *self._extra)
        return DeferredList([maybeDeferred(each.stop) for each in all_of_them], consumeErrors=True)

    def _rules_of(self, config: Config, before: dict[str, Authenticator]) -> _Rules:
        those = {
            spec: before.get(spec) or open_authenticator(spec, config, self._reactor)
            for spec in config.auth
        }
        by_form: dict[Form, Authenticator] = {}
        for spec, each in those.items():
            if each.forms <= by_form.keys():
                raise ConfigError(
                    f"--auth: {spec.partition(':')[0]!r} is not allowed behind another one that"
                    " takes the same form of credential: it would never be asked; give one of them"
                )
            for form in each.forms:
                by_form.setdefault(form, each)
        for each in self._extra:
            for form in each.forms:
                by_form.setdefault(form, each)
        # Cookies are sent whatever page asks, so `*` does not count for them.
        origins = AllowedOrigins.of(each for each in config.allow_origin if each != "*")
        return _Rules(
            those,
            config.auth_optional,
            config.auth_cookie,
            config.auth_first_message,
            origins,
            frozenset(by_form),
            by_form,
        )

    # Requests

    def credential(
        self, request: Request, certificate: Callable[[], str | None]
    ) -> Credential | Refusal | None:
        """Return the credential of a request, or why the request is refused.

        None is a request without one that is let in, or has to send its token as a message.
        """
        rules = self._rules
        try:
            found = find(request, rules.forms, rules.cookie, certificate)
        except RefusedError as refused:
            return completed(refused.refusal, rules.forms)
        if found is None:
            return None if self._asks_no_more else self.missing()
        if found.place == COOKIE:
            return check_origin(request, rules.origins) or found
        return found

    def missing(self) -> Refusal:
        """Return the refusal of a request without a credential."""
        forms = self._rules.forms
        return completed(no_credential(forms), forms)

    def check(
        self, credential: Credential, request: Inquiry, address: Callable[[], str | None]
    ) -> Verdict | Awaitable[Verdict]:
        """Return the user of a credential, or a refusal, or either later.

        `address` returns the key of the client's address in `throttle`. Every verdict has to pass
        `settled`. Raises what the authenticator raises.
        """
        # Nearly always nobody has failed.
        if self.throttle and (wait := self.throttle.wait(address())):
            return throttled(wait)
        if self.pending >= MOST_PENDING:
            return _TOO_MANY
        authenticator = self._rules.by_form.get(credential.form)
        if authenticator is None:
            return bad_credential(f"a {credential.form.value} is not taken here")
        return authenticator.check(credential, request)

    def settled(
        self, verdict: object, credential: Credential, address: Callable[[], str | None]
    ) -> Verdict | None:
        """Return a verdict that is fit for use, and count a failure.

        None is for a request that showed no credential, and is let in, or has to send its token as
        a message. Raises `TypeError` for something else than a verdict.
        """
        if isinstance(verdict, User):
            if verdict.expires is None or verdict.expires > self._wall():
                return verdict
            verdict = expired()
        if not isinstance(verdict, Refusal):
            raise TypeError(f"an authenticator returned {type(verdict).__name__}")
        if verdict.kind == NONE and credential.form is Form.REQUEST and self._asks_no_more:
            return None
        refusal = completed(verdict, self._rules.forms, credential.place)
        if refusal.kind == BAD:
            self.throttle.failed(address())
        return refusal
