"""Send cookies, and keep those that servers set (RFC 6265bis).

A cookie goes back only to the host that set it, whatever its Domain says, so that no list of public
suffixes is needed. A unix socket is a host of its own. Only a user's own file holds cookies for all
names below a domain.
"""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import Mapping
from http.cookiejar import Cookie, CookieJar
from urllib.parse import quote
from urllib.request import Request

from ...errors import ConfigError
from ...http.grammar import TOKEN
from ...http.hostname import address_of
from .answer import AnswerHead
from .cookiefile import CookieFile, made_cookie
from .urls import UrlTarget

_PAIR = re.compile(rf"{TOKEN}=[\x21-\x2b\x2d-\x3a\x3c-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_LONGEST = 4096
"""The most octets of a name and a value together (RFC 6265bis, 5.6)."""
_LONGEST_ATTRIBUTE = 1024
_LONGEST_LIFE = 400 * 86400
"""The most seconds that a cookie is kept (RFC 6265bis, 5.5)."""
_MOST_OF_HOST = 50
"""The most cookies of one host (RFC 6265bis, 6.1); the oldest go first."""


def check_cookies(text: str) -> str:
    """Return `a=b; c=d` in the form of a header.

    Raises `ConfigError`, without the text: a secret.
    """
    pairs = [each.strip() for each in text.split(";") if each.strip()]
    if not all(map(_PAIR.fullmatch, pairs)):
        raise ConfigError("cookie: the value is not allowed; give 'NAME=VALUE; NAME=VALUE'")
    return "; ".join(pairs)


def cookies_for(target: UrlTarget, cookies: str, jar: CookieJar | None) -> str:
    """Return the Cookie header for a target: the given cookies, and those of the jar.

    Each character is an octet (Latin-1), so that cookies go back as they came.
    """
    kept = [each for each in jar or () if _is_for(each, target)]
    kept.sort(key=lambda each: -len(each.path))
    pairs = [each.name if each.value is None else f"{each.name}={each.value}" for each in kept]
    octets = [_in_latin1(each) for each in pairs]
    return "; ".join([*filter(None, [cookies]), *(each for each in octets if _is_sendable(each))])


def keep_cookies(target: UrlTarget, answer: AnswerHead, jar: CookieJar) -> None:
    """Put the cookies that a server sets into the jar. Raises `ConnectError` if its file fails."""
    changed = False
    for name, value in answer.headers:
        if name.lower() == "set-cookie":
            cookie = _parse(value, target, jar)
            changed |= cookie is not None and _keep(cookie, target, jar)
    if changed and isinstance(jar, CookieFile) and jar.is_kept:
        jar.write()


def _host(target: UrlTarget) -> str:
    """Return the domain of a target's cookies."""
    if target.socket is not None:
        # The colon keeps it apart from the name of any host.
        return "unix:" + quote(os.path.abspath(target.socket))
    return target.host.lower().rstrip(".")


def _is_for(cookie: Cookie, target: UrlTarget) -> bool:
    path = target.resource.partition("?")[0]
    return (
        _is_of(cookie, _host(target))
        and _is_within(path, cookie.path)
        and (target.secure or not cookie.secure)
        and not cookie.is_expired()
    )


def _is_of(cookie: Cookie, host: str) -> bool:
    """Return True if a cookie is for a host (RFC 6265bis, 5.1.3)."""
    domain = cookie.domain.lower()
    if cookie.domain_specified or domain.startswith("."):
        return _is_below(host, domain.lstrip("."))
    # Python's own jars append this to a name without a dot.
    return domain == host or ("." not in host and domain == f"{host}.local")


def _is_below(host: str, domain: str) -> bool:
    return host == domain or (
        bool(domain) and host.endswith(f".{domain}") and address_of(host) is None
    )


def _is_within(path: str, folder: str) -> bool:
    """Return True if a path matches a cookie's (RFC 6265bis, 5.1.4)."""
    return path == folder or path.startswith(folder if folder.endswith("/") else f"{folder}/")


def _in_latin1(text: str) -> str:
    """Return text with an octet in each character. Text beyond Latin-1 becomes UTF-8 first."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode("latin-1")
    return text


def _is_sendable(pair: str) -> bool:
    return not _CONTROL.search(pair) and ";" not in pair


def _parse(text: str, target: UrlTarget, jar: CookieJar) -> Cookie | None:
    """Return the cookie that a header sets; None if it sets none (RFC 6265bis, 5.6 and 5.7)."""
    pair, *rest = text.split(";")
    name, equals, value = pair.partition("=")
    name, value = (name.strip(" \t"), value.strip(" \t")) if equals else ("", pair.strip(" \t"))
    attributes = _attributes(rest)
    domain, secure = attributes.get("domain", ""), "secure" in attributes
    path = attributes.get("path", "")
    is_whole = path.startswith("/")
    if not is_whole:
        path = _folder(target)
    if not name + value or len(name + value) > _LONGEST or _CONTROL.search(name + value + path):
        return None
    if secure and not target.secure:
        return None
    if not _prefix_holds(name or value, secure, bool(domain), is_whole and path == "/"):
        return None
    if domain and not _may_say(target, domain):
        return None
    given = _given(jar, domain, name or value, path)
    return made_cookie(
        _host(target) if given is None else given.domain,
        name or value,
        value if name else None,
        below=given is not None,
        path=path,
        secure=secure,
        expires=_expires(attributes),
        http_only="httponly" in attributes,
    )


def _attributes(parts: list[str]) -> Mapping[str, str]:
    found = {}
    for each in parts:
        name, _, value = each.partition("=")
        value = value.strip(" \t")
        if len(value) <= _LONGEST_ATTRIBUTE:
            found[name.strip(" \t").lower()] = value
    if "domain" in found:
        found["domain"] = found["domain"].lower().removeprefix(".")
    return found


def _prefix_holds(name: str, secure: bool, has_domain: bool, is_whole: bool) -> bool:
    """Return True if a cookie keeps the promise of its name's prefix (RFC 6265bis, 4.1.3).

    A cookie with `secure` came over TLS.
    """
    name = name.lower()
    if name.startswith("__host-"):
        return secure and not has_domain and is_whole
    return secure or not name.startswith("__secure-")


def _may_say(target: UrlTarget, domain: str) -> bool:
    """Return True if a server may name a domain: its host, or one above it, except a top level."""
    host = "localhost" if target.socket is not None else _host(target)
    return host == domain or ("." in domain and _is_below(host, domain))


def _given(jar: CookieJar, domain: str, name: str, path: str) -> Cookie | None:
    """Return the cookie in the user's file, for a whole domain, that a server replaces."""
    for each in jar if domain else ():
        is_same = (each.domain.lower().lstrip("."), each.name, each.path) == (domain, name, path)
        if each.domain_specified and is_same:
            return each
    return None


def _folder(target: UrlTarget) -> str:
    """Return the default path of a cookie (RFC 6265bis, 5.1.4)."""
    return target.resource.partition("?")[0].rpartition("/")[0] or "/"


def _expires(attributes: Mapping[str, str]) -> int | None:
    now = int(time.time())
    age = attributes.get("max-age", "")
    if re.fullmatch(r"-?[0-9]+", age):
        until = now + max(0, int(age))
    else:
        try:
            moment = email.utils.parsedate_tz(attributes.get("expires", ""))
            until = 0 if moment is None else max(1, int(email.utils.mktime_tz(moment)))
        except (ValueError, OverflowError, TypeError, IndexError):
            until = 0
        if not until:
            return None
    return min(until, now + _LONGEST_LIFE)


def _keep(cookie: Cookie, target: UrlTarget, jar: CookieJar) -> bool:
    """Put a cookie into the jar, or remove an expired one. Return True if the jar changed."""
    if not target.secure and any(_is_overlaid(each, cookie, target) for each in jar):
        return False
    before = _same(cookie, jar)
    if cookie.is_expired():
        if before is not None:
            jar.clear(cookie.domain, cookie.path, cookie.name)
        return before is not None
    # A program's jar may have a policy of its own, and refuse it.
    jar.set_cookie_if_ok(cookie, Request(target.http_url))  # noqa: S310 - it is not opened
    of_host = [each for each in jar if each.domain == cookie.domain]
    for each in of_host[: max(0, len(of_host) - _MOST_OF_HOST)]:
        jar.clear(each.domain, each.path, each.name)
    return before is None or vars(before) != vars(cookie)


def _same(cookie: Cookie, jar: CookieJar) -> Cookie | None:
    key = (cookie.domain, cookie.path, cookie.name)
    return next((each for each in jar if (each.domain, each.path, each.name) == key), None)


def _is_overlaid(secure: Cookie, cookie: Cookie, target: UrlTarget) -> bool:
    """Return True if a cookie that came without TLS would replace one that is only for TLS."""
    return (
        secure.secure
        and secure.name == cookie.name
        and _is_of(secure, _host(target))
        and _is_within(cookie.path, secure.path)
    )
