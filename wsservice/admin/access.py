"""Decide who may use the admin face: clients with a token, and no web page of another host."""

from __future__ import annotations

import ipaddress

import attrs
from twisted.internet.address import IPv4Address, IPv6Address

from ..config.config import Config
from ..config.origins import AllowedOrigins
from ..errors import ConfigError
from ..escape import escape
from ..http.target import Host, parse_authority
from .exchange import AdminRequest, Answer, problem
from .guesses import Guesses, address_of
from .tokens import AdminTokens, Caller

PROBED = frozenset({"/healthz", "/readyz"})
"""Paths of health checks. Their answers tell only whether the service is well, so a gateway may ask
for them without a token, and with any Host: a gateway sends the name of a cluster, or none."""

OPEN_TO_ALL = PROBED | {"/"}
"""Paths that need no token: the health checks, and the page, which holds no figures and asks its
reader for the token."""

_DEFAULT_PORTS = (80, 443)

_OWN_SITES = (None, "same-origin", "none")
"""The values of `Sec-Fetch-Site` that are allowed: a client that is no browser sends none, our own
page "same-origin", and an address that a person typed gives "none"."""

_FORWARDED = "x-forwarded-"

_MARKS = {"x-real-ip": "X-Real-IP", "forwarded": "Forwarded", "via": "Via"}
"""Headers that gateways add, beside those that begin with `X-Forwarded-`."""


def is_exposed(address: object) -> bool:
    """Return True for an IP address that other machines can reach."""
    if not isinstance(address, IPv4Address | IPv6Address):
        return False
    return not _ip(address.host).is_loopback


def exposed(option: str, host: str) -> ConfigError:
    """Return the error for a listener that other machines can reach, without a token."""
    where = escape(host) or "every address"
    return ConfigError(
        f"{option}: {where} is not allowed without --admin-token-file; give that,"
        " or an address of this machine alone, such as tcp:8081:interface=127.0.0.1"
    )


def behind_gateway(option: str) -> ConfigError:
    """Return the error for a listener behind a gateway, without a token."""
    return ConfigError(
        f"{option}: a gateway in front is not allowed without --admin-token-file; give that"
    )


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an IP address. An IPv4 address that is mapped into IPv6 is returned as IPv4."""
    parsed = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return parsed if mapped is None else mapped


@attrs.frozen
class Access:
    """The rules of access. With `tokens` None, no token is asked for.

    `guesses` counts wrong tokens.
    """

    tokens: AdminTokens | None = None
    guesses: Guesses = attrs.field(factory=Guesses, eq=False, repr=False)

    @classmethod
    def of(cls, config: Config, guesses: Guesses | None = None) -> Access:
        """Return the rules of a configuration.

        Raises `ConfigError` for a token file that is refused.
        """
        path = config.admin_token_file
        return cls(AdminTokens.read(path) if path else None, guesses or Guesses())

    def judge(self, asked: AdminRequest) -> Caller | Answer:
        """Return the caller of a request, or the answer that refuses it.

        A caller that needs no token, as for a health check, has no rights if it shows none.
        """
        judges = (self._forwarded, self._foreign, self._cross_site)
        refusal = next(filter(None, (judge(asked) for judge in judges)), None)
        return refusal or self._known(asked)

    def refused_gateway(self, asked: AdminRequest) -> str | None:
        """Return the header, or version, that marks a gateway and refuses the request; else None.

        A gateway lets the whole internet in by the address of a machine that may ask. The mark is
        only a hint: TCP proxies leave none, nor does nginx with HTTP/1.1. Only the token protects.
        """
        if self.tokens is not None or asked.path in PROBED:
            return None
        for name in asked.headers:
            if name.startswith(_FORWARDED):
                return "X-Forwarded-*"
            if name in _MARKS:
                return _MARKS[name]
        # nginx uses HTTP/1.0 by default, and no current client does.
        return None if asked.version == "HTTP/1.1" else "HTTP/1.0"

    def _forwarded(self, asked: AdminRequest) -> Answer | None:
        mark = self.refused_gateway(asked)
        if mark is None:
            return None
        return problem(
            403,
            f"the request came through a gateway ({mark}); without --admin-token-file a gateway"
            " may ask only /healthz and /readyz",
        )

    def _foreign(self, asked: AdminRequest) -> Answer | None:
        at = asked.at if isinstance(asked.at, IPv4Address | IPv6Address) else None
        named = asked.header("host")
        is_probe = _is_probe(asked)
        if named is None and is_probe and asked.version == "HTTP/1.0":
            return None
        try:
            host = asked.url.host(parse_authority(named or ""))
        except ValueError:
            host = None
            if at is not None or asked.url.scheme:
                return problem(
                    400,
                    "one Host header is needed, with the host of the request target if that has"
                    " one; send Host: NAME:PORT",
                )
        if is_probe:
            return None
        if host is not None and at is not None and not _is_own(host, at):
            # A web page can point its own host name at this address (DNS rebinding). Its requests
            # carry that name, so only names of this listener are served.
            return problem(
                421, "that Host is not served; ask by localhost, or the address of this listener"
            )
        origin = asked.header("origin")
        if origin is None or (host is not None and AllowedOrigins().allows(origin, host)):
            return None
        return problem(
            403, "pages of another origin are not served; open the page of this listener"
        )

    def _cross_site(self, asked: AdminRequest) -> Answer | None:
        """Refuse a request of another site's page if no token protects (Fetch Metadata, W3C).

        Such a request may have no Origin: browsers send none for an image, or for a form that
        reads.
        """
        if self.tokens is not None or asked.path in PROBED:
            return None
        if asked.header("sec-fetch-site") in _OWN_SITES:
            return None
        is_visit = asked.header("sec-fetch-mode") == "navigate"
        if asked.path == "/" and asked.method == "GET" and is_visit:
            return None
        return problem(
            403,
            "requests of other sites' pages are not served; open the page of this listener, or"
            " give --admin-token-file",
        )

    def _known(self, asked: AdminRequest) -> Caller | Answer:
        if self.tokens is None:
            return Caller()
        if asked.path in OPEN_TO_ALL:
            return Caller(rights=frozenset())
        scheme, _, given = (asked.header("authorization") or "").partition(" ")
        token = given.strip(" ").encode("latin-1", "replace")
        if scheme.lower() != "bearer" or not token:
            return _needs_token()
        address = address_of(asked)
        # The client's last wrong token is compared always: it may have become a right one.
        wait = 0 if self.guesses.tried(address, token) else self.guesses.wait(address)
        if wait:
            return problem(
                429,
                f"too many wrong tokens came from this address; try again in {wait} s",
                ("Retry-After", str(wait)),
            )
        caller = self.tokens.caller(token)
        if caller is None:
            self.guesses.add(address, token)
            return _needs_token()
        return caller


def _needs_token() -> Answer:
    what = "the token is needed; send Authorization: Bearer TOKEN"
    return problem(401, what, ("WWW-Authenticate", "Bearer"))


def _is_probe(asked: AdminRequest) -> bool:
    """Return True for a health check: a request that only reads health, and is no web page's.

    The answer says nothing else, so a page that gets here by DNS rebinding learns nothing.
    """
    is_page = asked.header("origin") is not None
    return asked.path in PROBED and asked.method in ("GET", "HEAD") and not is_page


def _is_own(host: Host, at: IPv4Address | IPv6Address) -> bool:
    """Return True if a Host names this listener: loopback with any port, or its own address.

    Any port, because the local end of a tunnel, such as that of `ssh -L`, may have another one.
    """
    if host.name == "localhost":
        return True
    try:
        address = _ip(host.name.strip("[]"))
    except ValueError:
        return False
    if address.is_loopback:
        return True
    ports = _DEFAULT_PORTS if host.port is None else (host.port,)
    return address == _ip(at.host) and at.port in ports
