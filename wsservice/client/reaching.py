"""The command line's part on connecting: how to reach the server, and who one is."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from typing import Any

import attrs

from ..config import option_name
from ..errors import ConfigError
from .cookies import CookieFile
from .credentials import read_bearer
from .options import ClientConfig
from .proxies import ENVIRONMENT, PROXY_FORM
from .security import EncryptedKeyError, Security

_FIELDS = {field.name: field for field in attrs.fields(ClientConfig) if field.init}
_LIMITS = (
    "connect_timeout",
    "handshake_timeout",
    "close_timeout",
    "max_redirects",
    "compression",
    "max_message_size",
    "max_fragments",
    "send_buffer",
)
_CTRL_C = 130
_TERMINAL = "/dev/tty"


def add_options(group: Any) -> None:
    """Add the options to a group of a parser's."""
    _add_identity(group)
    _add_security(group)
    _add_network(group)
    for name in _LIMITS:
        add_setting(group, name)
    group.add_argument(
        "-v", "--verbose", action="store_true", help="show the handshakes on standard error"
    )


def add_setting(group: Any, name: str) -> None:
    """Add the option of a field of `ClientConfig` that has a help of its own."""
    field = _FIELDS[name]
    default: Any = field.default
    if isinstance(default, bool):
        default = "on" if default else "off"
    shown = f"{default:g}" if isinstance(default, float) else f"{default}"
    group.add_argument(
        option_name(name),
        metavar=field.metadata["metavar"],
        help=f"{field.metadata['help']} [default: {shown}]".replace("%", "%%"),
    )


def _add_identity(group: Any) -> None:
    group.add_argument(
        "-H",
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        help="send this header, in place of ours of that name; repeatable",
    )
    group.add_argument("--origin", metavar="ORIGIN", help="say from which web page this is")
    group.add_argument(
        "--subprotocol",
        metavar="NAME",
        dest="subprotocols",
        action="append",
        help="offer this subprotocol, the best first; repeatable",
    )
    group.add_argument(
        "--auth",
        metavar="USER[:PASS]",
        help="log in by HTTP's Basic scheme; asks for the password if there is none",
    )
    group.add_argument(
        "--bearer", metavar="TOKEN|@FILE|env:NAME", help="log in with a token, or that of a file"
    )
    group.add_argument(
        "-b",
        "--cookie",
        metavar="'A=B; C=D'|@FILE",
        action="append",
        help="send these cookies, or those of a cookie file (Netscape's, curl's); repeatable",
    )
    group.add_argument(
        "--cookie-jar", metavar="FILE", help="read cookies from there, and keep there what is set"
    )
    group.add_argument("-A", "--user-agent", metavar="TEXT", help='call us that; "" sends nothing')


def _add_security(group: Any) -> None:
    group.add_argument(
        "--ca", metavar="FILE", help="trust the certificates in there, not the system's"
    )
    group.add_argument(
        "--cert", metavar="FILE", help="show this certificate of ours; its chain may follow it"
    )
    group.add_argument("--key", metavar="FILE", help="its key, if that is in another file")
    group.add_argument(
        "-k",
        "--insecure",
        action="store_true",
        default=None,
        help="verify no certificate and no name: whoever is in between can read and write",
    )


def _add_network(group: Any) -> None:
    group.add_argument(
        "--resolve",
        metavar="HOST:PORT:ADDRESS",
        action="append",
        help="connect to this address for that host and port (*: any host); repeatable",
    )
    versions = group.add_mutually_exclusive_group()
    # Not -4 and -6: beside an option that is a number, -1 is no message any more.
    for version in (4, 6):
        versions.add_argument(
            f"--ipv{version}",
            dest="ip_version",
            action="store_const",
            const=version,
            help=f"connect by IPv{version} only",
        )
    group.add_argument(
        "--proxy",
        metavar="URL",
        help=f'connect through {PROXY_FORM}; "" for none'
        " [default: what http_proxy, https_proxy, all_proxy and no_proxy say]",
    )


def config_of(url: str, given: argparse.Namespace) -> ClientConfig:
    """The settings of a connection to a URL. Raises `ConfigError` for what is not allowed.

    Whatever is named as a field of `ClientConfig` becomes that. Asks at the terminal
    for a password that is not given.
    """
    settings = {
        name: value
        for name, value in vars(given).items()
        if name in _FIELDS and name not in ("url", "auth", "bearer") and value is not None
    }
    settings["headers"] = [_header(each) for each in given.header or ()]
    settings["proxy"] = ENVIRONMENT if given.proxy is None else given.proxy
    settings["cookies"], settings["cookie_jar"] = _cookies(given.cookie or (), given.cookie_jar)
    if given.bearer is not None:
        settings["bearer"] = read_bearer(given.bearer, os.environ)
    if given.verbose:
        settings["trace"] = _show
    if given.auth is not None:
        name, colon, password = given.auth.partition(":")
        settings["auth"] = (name, password)
        if not colon:
            ClientConfig(url=url, **settings)  # what else is wrong, before anything is asked
            settings["auth"] = (name, _ask(f"Password of {name!r}: ", "--auth", "USER:PASS"))
    return _with_identity(ClientConfig(url=url, **settings))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigError("--header: what is given is not allowed; give 'NAME: VALUE'")
    return name, value.strip()


def _cookies(given: Sequence[str], path: str | None) -> tuple[str, CookieFile | None]:
    files = [each[1:] for each in given if each.startswith("@")]
    pairs = "; ".join(each for each in given if not each.startswith("@"))
    if path is None and not files:
        return pairs, None
    jar = CookieFile(path)
    for each in files:
        jar.read(each)
    if path is not None:
        jar.begin()
    return pairs, jar


def _with_identity(config: ClientConfig) -> ClientConfig:
    """The same settings, after the files of TLS were read once; with the key's pass phrase."""
    try:
        Security.of(config)
    except EncryptedKeyError:
        phrase = _ask(
            f"Pass phrase of {config.key or config.cert!r}: ",
            "--key",
            "a key that is not encrypted",
        )
        config = attrs.evolve(config, key_password=phrase)
        Security.of(config)
    return config


def _ask(prompt: str, option: str, instead: str) -> str:
    """What is typed at the terminal, without showing it."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
        return getpass.getpass(prompt)
    except KeyboardInterrupt:
        raise SystemExit(_CTRL_C) from None
    except (OSError, EOFError):
        raise ConfigError(f"{option}: there is no terminal to ask at; give {instead}") from None


def _show(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
