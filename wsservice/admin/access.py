"""Who may ask the admin face: those with the token, and no web page of another host."""

from __future__ import annotations

import hmac
import ipaddress

import attrs
from twisted.internet.address import IPv4Address, IPv6Address

from ..config import Config
from ..errors import ConfigError
from ..escape import escape
from ..policy import AllowedOrigins
from ..request import Host, parse_host
from ..secretfile import read_secret
from .exchange import Answer, Asked, problem

OPEN_TO_ALL = frozenset({"/", "/healthz", "/readyz"})
"""What needs no token: the page, which has no figures in it and asks for the token, and what
probes ask for, which say no more than whether the service is well."""

_DEFAULT_PORTS = (80, 443)


def read_token(path: str) -> bytes:
    """The token in a file. Raises `ConfigError` where there is none, or anybody may put one.

    That all users of the machine may read it is logged, and not refused: files of
    secrets in containers are often so.
    """
    return read_secret("--admin-token-file", path, "token")


def is_exposed(address: object) -> bool:
    """Whether others than this machine reach a listener with this address."""
    if not isinstance(address, IPv4Address | IPv6Address):
        return False
    return not _ip(address.host).is_loopback


def exposed(option: str, host: str) -> ConfigError:
    """The error for a listener that is, and needs a token therefore."""
    where = escape(host) or "every address"
    return ConfigError(
        f"{option}: {where} is not allowed without --admin-token-file; give that,"
        " or an address of this machine alone, such as tcp:8081:interface=127.0.0.1"
    )


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IP address; what came by IPv4 to a socket that takes both is one of IPv4."""
    parsed = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return parsed if mapped is None else mapped


@attrs.frozen
class Access:
    """The rules. Without a `token` none is asked for."""

    token: bytes | None = attrs.field(default=None, repr=False)

    @classmethod
    def of(cls, config: Config) -> Access:
        """As a configuration has it. Raises `ConfigError`."""
        path = config.admin_token_file
        return cls(read_token(path) if path else None)

    def objection(self, asked: Asked) -> Answer | None:
        """The refusal of a request, None where there is nothing against it."""
        return self._foreign(asked) or self._unknown(asked)

    def _foreign(self, asked: Asked) -> Answer | None:
        at = asked.at if isinstance(asked.at, IPv4Address | IPv6Address) else None
        named = asked.header("host")
        try:
            host = parse_host(named or "")
        except ValueError:
            host = None
            if at is not None:
                return problem(400, "a Host is needed that is one, once")
        if host is not None and at is not None and not _is_own(host, at):
            # So that no web page gets here by a name that it has rebound to this address.
            return problem(421, "that Host is not served; ask by the address of this listener")
        origin = asked.header("origin")
        if origin is None or (host is not None and AllowedOrigins().allows(origin, host)):
            return None
        return problem(403, "pages of another origin are not served")

    def _unknown(self, asked: Asked) -> Answer | None:
        if self.token is None or asked.path in OPEN_TO_ALL:
            return None
        scheme, _, given = (asked.header("authorization") or "").partition(" ")
        is_it = hmac.compare_digest(given.strip(" ").encode("latin-1", "replace"), self.token)
        if is_it and scheme.lower() == "bearer":
            return None
        return problem(401, "the token is needed", ("WWW-Authenticate", "Bearer"))


def _is_own(host: Host, at: IPv4Address | IPv6Address) -> bool:
    """Whether a Host names the listener: loopback, by any port, or its own address.

    By any port, since a tunnel's end, as of `ssh -L`, may have another.
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
