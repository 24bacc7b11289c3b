"""Find the one credential in a request, wherever it is. PURE.

A client may send it in `Authorization`, in a subprotocol, in the query, in a cookie, or as a
certificate. Two of the first three in one request are refused (RFC 6750, 2). A browser sends
cookies and certificates without being asked, so those count only if there is no other.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol
from urllib.parse import unquote_to_bytes

import attrs

from ..http.refusal import RefusedError
from ..http.request import Request
from .contract import Credential, Form
from .refusals import bad_credential

LONGEST = 8192
"""The most octets of a credential."""

BEARER = "bearer."
"""The beginning of a subprotocol that holds a token."""

COOKIE = "a cookie"
"""The place of a credential that browsers send whatever page asks."""

_AUTHORIZATION, _SUBPROTOCOL = "the Authorization header", "a subprotocol"

_QUERY = {"access_token": Form.TOKEN, "ticket": Form.TICKET}
"""The parameters of a query that hold a credential (RFC 6750, 2.3)."""

_TWO = attrs.evolve(
    bad_credential("the request has more than one credential", "send one"), status=400
)
_NONE_KNOWN = Credential(Form.REQUEST, "", "the request")

_SUBPROTOCOLS = "sec-websocket-protocol"

_TEXT = re.compile(r"[!-~]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class HasCredential(Protocol):
    """The attributes of a request that this module reads."""

    @property
    def target(self) -> str:
        """Return the path and the query, not decoded."""

    @property
    def query(self) -> str:
        """Return the query, not decoded."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers by their names in lower case."""

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """Return the subprotocols that were offered."""


def find(
    request: HasCredential,
    forms: frozenset[Form],
    cookie: str = "",
    certificate: Callable[[], str | None] | None = None,
) -> Credential | None:
    """Return the credential of a request, None if there is none.

    `forms` are those that are taken. `cookie` is the name of the cookie that may hold a token, ""
    for none. `certificate` returns the client's certificate, None if it showed none. Raises
    `RefusedError` with 401 for a malformed one, or one of another form, and with 400 for two.
    """
    found = _found(request, forms)
    if found:
        credential = found[0]
        if len(found) > 1:
            raise RefusedError(_TWO)
        if credential.form not in forms:
            problem = f"a {credential.form.value} is not taken here, in {credential.place}"
            raise RefusedError(bad_credential(problem))
        return credential
    if cookie and Form.TOKEN in forms and "cookie" in request.headers:
        token = _of_cookie(request.headers["cookie"], cookie)
        if token is not None:
            return Credential(Form.TOKEN, token, COOKIE)
    if certificate is not None and Form.CERTIFICATE in forms:
        text = certificate()
        if text is not None:
            return Credential(Form.CERTIFICATE, text, "TLS")
    return _NONE_KNOWN if Form.REQUEST in forms else None


def token_of(text: str, place: str) -> Credential:
    """Return a token as a credential. Raises `RefusedError` for a malformed one."""
    return Credential(Form.TOKEN, _checked(text, place), place)


def admitted(request: Request) -> Request:
    """Return a request as the behaviour sees it: without a credential in subprotocol or query.

    One in a header of its own stays.
    """
    names = tuple(each for each in request.subprotocols if not each.startswith(BEARER))
    target = _without_credentials(request) if "?" in request.target else request.target
    if len(names) == len(request.subprotocols):
        return request if target == request.target else attrs.evolve(request, target=target)
    headers = {name: each for name, each in request.headers.items() if name != _SUBPROTOCOLS}
    if names:
        headers[_SUBPROTOCOLS] = ", ".join(names)
    return Request(target, request.host, request.origin, names, headers)


def _without_credentials(request: Request) -> str:
    """Return a request's target without the credentials of its query."""
    parts = request.query.split("&")
    kept = [each for each in parts if each.partition("=")[0] not in _QUERY]
    if len(kept) == len(parts):
        return request.target
    return f"{request.path}?{'&'.join(kept)}" if kept else request.path


def _found(request: HasCredential, forms: frozenset[Form]) -> list[Credential]:
    """Return the credentials that a client sent on purpose."""
    found = []
    authorization = request.headers.get("authorization")
    if authorization is not None:
        credential = _of_authorization(authorization)
        if credential is not None:
            found.append(credential)
        elif Form.REQUEST not in forms:
            raise RefusedError(
                bad_credential("the scheme of Authorization is not taken here", "use Bearer")
            )
    for name in request.subprotocols:
        if name.startswith(BEARER):
            text = _checked(name.removeprefix(BEARER), _SUBPROTOCOL)
            found.append(Credential(Form.TOKEN, text, _SUBPROTOCOL))
    # Most requests have no query, and most queries no credential.
    if "?" in request.target:
        found += _of_query(request.query)
    return found


def _of_query(query: str) -> Iterator[Credential]:
    for part in query.split("&"):
        name, _, value = part.partition("=")
        form = _QUERY.get(name)
        if form is not None:
            place = f"?{name}="
            yield Credential(form, _checked(_decoded(value, place), place), place)


def _checked(text: str, place: str) -> str:
    if not text:
        raise RefusedError(bad_credential(f"the credential is empty, in {place}"))
    if len(text) > LONGEST:
        raise RefusedError(
            bad_credential(f"the credential has more than {LONGEST} octets, in {place}")
        )
    if not _TEXT.fullmatch(text):
        raise RefusedError(
            bad_credential(
                f"the credential is malformed, in {place}", "send printable ASCII without spaces"
            )
        )
    return text


def _decoded(value: str, place: str) -> str:
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise RefusedError(bad_credential(f"the credential is malformed, in {place}")) from None


def _of_authorization(value: str) -> Credential | None:
    scheme, _, rest = value.partition(" ")
    rest = rest.strip(" ")
    place = _AUTHORIZATION
    if scheme.lower() == "bearer":
        return Credential(Form.TOKEN, _checked(rest, place), place)
    if scheme.lower() == "basic":
        name, password = _of_basic(_checked(rest, place), place)
        return Credential(Form.PASSWORD, password, place, name)
    return None


def _of_basic(text: str, place: str) -> tuple[str, str]:
    malformed = bad_credential(f"the name and the password are malformed, in {place}")
    try:
        both = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise RefusedError(malformed) from None
    name, colon, password = both.partition(":")
    if not colon or not name or not password or _CONTROLS.search(both):
        raise RefusedError(malformed)  # RFC 7617, 2
    return name, password


def _of_cookie(header: str, wanted: str) -> str | None:
    """Return the token in a cookie, None if the request has no such cookie."""
    values = set()
    for each in header.split(";"):
        name, _, value = each.strip(" \t").partition("=")
        if name == wanted:
            # RFC 6265, 4.1.1: a value may be in quotation marks.
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            values.add(value[1:-1] if quoted else value)
    if not values:
        return None
    if len(values) > 1:
        # A page of a neighbouring domain may have set the other one.
        raise RefusedError(
            attrs.evolve(bad_credential("the request has the cookie twice", "send one"), status=400)
        )
    return _checked(values.pop(), COOKIE)
