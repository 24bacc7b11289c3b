"""Where a server of Redis or Valkey is, and who logs in there: a URL of it. PURE."""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import attrs

from ..errors import ConfigError
from ..escape import escape
from ..request import Host, parse_host

PORT = 6379
SENTINEL_PORT = 26379

MOST_DATABASE = 65535
"""The largest number of a database that is taken; a server has 16 unless told otherwise."""

_OPTION = "--broker"
_ALLOWED = (
    "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// (TLS, ?ca=FILE),"
    " redis+sentinel://HOST[:PORT],HOST[:PORT]/MASTER[/DB] (rediss+sentinel:// by TLS),"
    " or redis+unix:///PATH[?db=DB]; valkey in the place of redis is the same"
)
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_MASTER = re.compile(r"[A-Za-z0-9._-]{1,128}")
_DATABASE = re.compile(r"[0-9]{1,5}")
_SOCKET_PATH = 107
"""Octets that the path of a unix socket may have."""


@attrs.frozen
class Address:
    """Where to connect to: a host and port, or, where `host` is empty, the path of a socket."""

    host: str
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if not self.host:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class Place:
    """A server, or, where `master` is not empty, the sentinels that know where it is.

    `addresses` is the server's one, or those of all sentinels. `ca` is a file of certificates
    to trust in place of the system's, "" for those. `shown` is the URL as it may be shown to
    anybody: it has neither user nor password.
    """

    shown: str
    addresses: tuple[Address, ...]
    master: str = ""
    database: int = 0
    tls: bool = False
    ca: str = ""
    user: str = ""
    password: str = attrs.field(default="", repr=False)

    def __str__(self) -> str:
        return self.shown


class _WrongError(ValueError):
    """What is wrong with a URL, in words that have nothing of it."""


def _refuse(why: str) -> NoReturn:
    raise _WrongError(why)


def place_of(url: str) -> Place:
    """The place that a URL names. Raises `ConfigError`, whose text has no part of the URL.

    What is in the wrong place of a URL may be its password.
    """
    try:
        return _place(url)
    except _WrongError as error:
        raise ConfigError(f"{_OPTION}: {error}; give {_ALLOWED}") from None


def _place(url: str) -> Place:
    if not url.isascii() or not url.isprintable() or " " in url:
        _refuse("a URL with spaces, or what is no printable ASCII, is not allowed")
    if not _ESCAPES.fullmatch(url):
        _refuse("a URL with a % that no two hexadecimal digits follow is not allowed")
    try:
        parts = urlsplit(url)
    except ValueError:
        _refuse("it is no URL")
    if "#" in url:
        _refuse("a URL with a # is not allowed: in a password it is %23")
    kind, _, way = parts.scheme.partition("+")
    kinds = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
    if kind not in kinds or "://" not in url:
        _refuse("its scheme is not allowed")
    tls = kinds[kind]
    login, _, hosts = parts.netloc.rpartition("@")
    user, password = _login(login)
    query = _query(parts.query)
    ca = query.pop("ca", "") if tls else ""
    if way == "unix" and not tls:
        if hosts:
            _refuse("the path of a socket begins behind three slashes, redis+unix:///PATH;")
        database = _database(query.pop("db", ""))
        address = Address("", path=_socket(parts.path))
        place = Place(str(address), (address,), database=database)
    elif way == "sentinel":
        master, _, number = parts.path.removeprefix("/").partition("/")
        if not _MASTER.fullmatch(master):
            _refuse("sentinels are asked for a MASTER, whose name is letters, digits, . _ -")
        addresses = tuple(_address(each, SENTINEL_PORT) for each in hosts.split(","))
        place = Place(f"/{master}", addresses, master, _database(number))
    elif not way:
        place = Place("", (_address(hosts, PORT),), database=_database(parts.path[1:]))
    else:
        _refuse("its scheme is not allowed")
    if query:
        _refuse("its ? is not allowed there, or has an unknown name, or one without a value")
    return attrs.evolve(
        place, shown=_shown(parts.scheme, place), tls=tls, ca=ca, user=user, password=password
    )


def _shown(scheme: str, place: Place) -> str:
    hosts = ",".join(map(str, place.addresses))
    master = f"/{place.master}" if place.master else ""
    if not place.addresses[0].host:
        return f"{scheme}://{escape(hosts)}" + (f"?db={place.database}" if place.database else "")
    return f"{scheme}://{hosts}{master}" + (f"/{place.database}" if place.database else "")


def _decoded(text: str) -> str:
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        _refuse("what it has percent-encoded is not UTF-8")
    if "\0" in decoded:
        _refuse("a NUL in it is not allowed")
    return decoded


def _login(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if "@" in text:
        _refuse("more than one @ is not allowed: in a password it is %40")
    if user and not password:
        _refuse("a user without a password is not allowed, :PASSWORD@ is one without a user")
    if colon and not password:
        _refuse("an empty password is not allowed")
    return _decoded(user), _decoded(password)


def _query(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    query = {name: _decoded_value(value) for name, value in pairs if value}
    return query if len(query) == len(pairs) else {"": ""}


def _decoded_value(value: str) -> str:
    if "\0" in value or "\ufffd" in value:
        _refuse("what it has percent-encoded is not UTF-8")
    return value


def _address(text: str, port: int) -> Address:
    try:
        host: Host = parse_host(text)
    except ValueError:
        _refuse("a host is a name, an IPv4 or a bracketed IPv6 address, its port from 1 to 65535")
    return Address(host.name.strip("[]"), host.port or port)


def _database(text: str) -> int:
    if not text:
        return 0
    if not _DATABASE.fullmatch(text) or int(text) > MOST_DATABASE:
        _refuse(f"a database is a number from 0 to {MOST_DATABASE}")
    return int(text)


def _socket(text: str) -> str:
    path = _decoded(text)
    if len(path) < 2 or len(path.encode()) > _SOCKET_PATH:
        _refuse(f"the path of a socket has 2 to {_SOCKET_PATH} octets")
    return path
