"""Parse the URL of a server of Redis or Valkey: its address, and the login. PURE."""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import parse_qsl, unquote_to_bytes

import attrs

from ...errors import ConfigError
from ...escape import escape
from ...http.hostname import LONGEST_SOCKET_PATH, parse_place

PORT = 6379
SENTINEL_PORT = 26379

MOST_DATABASE = 65535
"""The largest number of a database. A server has 16 by default."""

_OPTION = "--broker"
_ALLOWED = (
    "redis://[[USER][:PASSWORD]@]HOST[:PORT][/DB], rediss:// (TLS, ?ca=FILE),"
    " redis+sentinel://HOST[:PORT],HOST[:PORT]/MASTER[/DB] (rediss+sentinel:// by TLS),"
    " or redis+unix:///PATH[?db=DB]; or the same with valkey in place of redis"
)
# Not by `urllib.parse.urlsplit`: since Python 3.14 it refuses an IPv6 address behind another host.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<path>[^?]*)"
    r"(?:\?(?P<query>.*))?"
)
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_MASTER = re.compile(r"[A-Za-z0-9._-]{1,128}")
_DATABASE = re.compile(r"[0-9]{1,5}")


@attrs.frozen
class Address:
    """An address to connect to: a host and port, or the path of a socket if `host` is empty."""

    host: str
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if not self.host:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class ServerPlace:
    """A server, or the sentinels that know its address if `master` is not empty.

    `addresses` has the server's address, or those of all sentinels. `ca` is a file of certificates
    to trust in place of the system's, or "". The `password` of a `user` may be in a file instead.
    `shown` is the URL without user and password, for logs and figures.
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
    """A malformed URL. The text says why, and quotes nothing of the URL."""


def _refuse(why: str) -> NoReturn:
    raise _WrongError(why)


def place_of(url: str) -> ServerPlace:
    """Return the place that a URL names.

    Raises `ConfigError`. Its text has no part of the URL, since any part of a malformed URL may be
    the password.
    """
    try:
        return _place(url)
    except _WrongError as error:
        raise ConfigError(f"{_OPTION}: {error}; give {_ALLOWED}") from None


def _place(url: str) -> ServerPlace:
    if not url.isascii() or not url.isprintable() or " " in url:
        _refuse("a URL with spaces, or what is no printable ASCII, is not allowed")
    if not _ESCAPES.fullmatch(url):
        _refuse("a URL with a % that no two hexadecimal digits follow is not allowed")
    # A # begins a fragment, so the rest of a password would be cut off without a word.
    if "#" in url:
        _refuse("a URL with a # is not allowed: in a password it is %23")
    parts = _URL.fullmatch(url)
    scheme = "" if parts is None else parts["scheme"].lower()
    kind, _, way = scheme.partition("+")
    kinds = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
    if parts is None or kind not in kinds:
        _refuse("its scheme is not allowed")
    tls, path = kinds[kind], parts["path"]
    # The last @, so that a raw @ in a password is noticed in `_login` and not taken for a host.
    login, _, hosts = parts["authority"].rpartition("@")
    user, password = _login(login)
    query = _query(parts["query"] or "")
    ca = query.pop("ca", "") if tls else ""
    if way == "unix" and not tls:
        if hosts:
            _refuse("the path of a socket begins behind three slashes, redis+unix:///PATH;")
        database = _database(query.pop("db", ""))
        address = Address("", path=_socket(path))
        place = ServerPlace(str(address), (address,), database=database)
    elif way == "sentinel":
        master, _, number = path.removeprefix("/").partition("/")
        if not _MASTER.fullmatch(master):
            _refuse("sentinels are asked for a MASTER, whose name is letters, digits, . _ -")
        addresses = tuple(_address(each, SENTINEL_PORT) for each in hosts.split(","))
        place = ServerPlace(f"/{master}", addresses, master, _database(number))
    elif not way:
        place = ServerPlace("", (_address(hosts, PORT),), database=_database(path[1:]))
    else:
        _refuse("its scheme is not allowed")
    if query:
        _refuse("its ? is not allowed there, or has an unknown name, or one without a value")
    return attrs.evolve(
        place, shown=_shown(scheme, place), tls=tls, ca=ca, user=user, password=password
    )


def _shown(scheme: str, place: ServerPlace) -> str:
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
    # A NUL ends a string in C, which would open another socket or file than the one named.
    if "\0" in decoded:
        _refuse("a NUL in it is not allowed")
    return decoded


def _login(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if "@" in text:
        _refuse("more than one @ is not allowed: in a password it is %40")
    if "[" in text or "]" in text:
        _refuse("brackets are for IPv6 addresses only: in a password they are %5B and %5D")
    if colon and not password:
        _refuse("an empty password is not allowed, USER@ is one whose password is in a file")
    return _decoded(user), _decoded(password)


def _query(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    query = {name: _decoded_value(value) for name, value in pairs if value}
    # A name that comes twice or has no value leaves an unknown name, which is refused.
    return query if len(query) == len(pairs) else {"": ""}


def _decoded_value(value: str) -> str:
    # `parse_qsl` puts U+FFFD in the place of invalid UTF-8.
    if "\0" in value or "\ufffd" in value:
        _refuse("what it has percent-encoded is not UTF-8")
    return value


def _address(text: str, port: int) -> Address:
    try:
        host, given = parse_place(text)
    except ValueError as error:
        _refuse(str(error))
    return Address(host, given or port)


def _database(text: str) -> int:
    if not text:
        return 0
    if not _DATABASE.fullmatch(text) or int(text) > MOST_DATABASE:
        _refuse(f"a database is a number from 0 to {MOST_DATABASE}")
    return int(text)


def _socket(text: str) -> str:
    path = _decoded(text)
    if len(path) < 2 or len(path.encode()) > LONGEST_SOCKET_PATH:
        _refuse(f"the path of a socket has 2 to {LONGEST_SOCKET_PATH} octets")
    return path
