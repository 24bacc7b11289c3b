"""`--auth MODULE:FUNCTION`: a function of the application finds the user of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..config.config import Config
from ..config.named import find_named
from ..errors import ConfigError, CredentialError
from ..http.refusal import Refusal
from .contract import Authenticator, Credential, Form, Inquiry, User, Verdict
from .refusals import away, bad_credential, forbidden, no_credential

_REFUSED = "the application refused the client"


class FunctionAuthenticator(Authenticator):
    """Asks a function, whatever credential a request has, or none that is known.

    The function gets Autobahn's `ConnectionRequest`. It returns the user's id or a `User`, or None
    for nobody, or an awaitable of these; or it raises `CredentialError`.
    """

    forms = frozenset(Form)

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def check(self, credential: Credential, request: Inquiry) -> Verdict | Awaitable[Verdict]:
        asked = request.as_autobahn
        if credential.form is Form.TOKEN:
            # A function needs to look in one place only, for a renewal or a first message too.
            asked.headers = {**asked.headers, "authorization": f"Bearer {credential.text}"}
        try:
            answer = self._function(asked)
        except CredentialError as error:
            return _refusal(error)
        if isinstance(answer, Deferred):
            return answer.addCallbacks(_verdict, _failed, callbackArgs=(credential,))
        if isinstance(answer, Awaitable):
            return _awaited(answer, credential)
        return _verdict(answer, credential)


def open_function(spec: str, _config: Config, _reactor: object) -> FunctionAuthenticator:
    """Return the authenticator for `MODULE:FUNCTION`. Raises `ConfigError`."""
    module, _, name = spec.partition(":")
    function = find_named("--auth", spec, module, name)
    if not callable(function):
        raise ConfigError(
            f"--auth: module {module!r} has no function {name!r}; give a kind, such as"
            " tokens:FILE, or a function that takes the request and returns the user's id"
        )
    return FunctionAuthenticator(function)


async def _awaited(answer: Awaitable[Any], credential: Credential) -> Verdict:
    try:
        return _verdict(await answer, credential)
    except CredentialError as error:
        return _refusal(error)


def _failed(failure: Failure) -> Refusal | Failure:
    # Not by `trap`, which raises: a traceback for each cancelled call is work for the collector.
    if isinstance(failure.value, CredentialError):
        return _refusal(failure.value)
    return failure


def _verdict(answer: Any, credential: Credential) -> Verdict:
    if answer is None:
        known = credential.form is not Form.REQUEST
        return bad_credential(_REFUSED) if known else no_credential(frozenset())
    if isinstance(answer, str):
        try:
            return User(answer)
        except ValueError as error:
            return forbidden(str(error))
    return answer  # type: ignore[no-any-return]


def _refusal(error: CredentialError) -> Refusal:
    problem = str(error) or _REFUSED
    if error.status == 403:
        return forbidden(problem)
    return away(problem) if error.status == 503 else bad_credential(problem)
