"""Define the options for connecting: identity, TLS, network and limits."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from typing import Any

import attrs

from ..client.options import ClientConfig
from ..client.security import EncryptedKeyError, Security
from ..client.web.cookiefile import CookieFile
from ..client.web.credentials import read_bearer
from ..client.web.proxies import ENVIRONMENT
from ..config.fields import option_name, shown
from ..errors import ConfigError

_FIELDS = {field.name: field for field in attrs.fields(ClientConfig) if field.init}
_DEFAULTS = ClientConfig(url="ws://localhost/")
_LIMITS = (
    "connect_timeout",
    "handshake_timeout",
    "close_timeout",
    "max_redirects",
    "compression",
    "max_message_size",
    "max_fragments",
    "message_timeout",
    "send_buffer",
)
_CTRL_C = 130
_TERMINAL = "/dev/tty"


def add_options(parser: Any) -> None:
    """Add the options to an `argparse` parser, in groups."""
    _add_identity(parser.add_argument_group("identity"))
    _add_security(parser.add_argument_group("TLS"))
    _add_network(parser.add_argument_group("network"))
    limits = parser.add_argument_group("limits")
    for name in _LIMITS:
        add_setting(limits, name)


def add_setting(group: Any, name: str) -> None:
    """Add the option of a field of `ClientConfig` that has a help of its own."""
    field = _FIELDS[name]
    default = shown(field, getattr(_DEFAULTS, name))
    group.add_argument(
        option_name(name),
        metavar=field.metadata["metavar"],
        help=f"{field.metadata['help']} [default: {default}]".replace("%", "%%"),
    )


def _add_identity(group: Any) -> None:
    group.add_argument(
        "-H",
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        help="send this header in the handshake, in place of the default one; repeatable",
    )
    group.add_argument(
        "--origin", metavar="ORIGIN", help="send this Origin header, as a web page does"
    )
    group.add_argument(
        "--subprotocol",
        metavar="NAME",
        dest="subprotocols",
        action="append",
        help="offer this subprotocol, the preferred one first; repeatable",
    )
    group.add_argument(
        "--auth",
        metavar="USER[:PASS]",
        help="log in with HTTP Basic; without PASS, the program asks for the password",
    )
    group.add_argument(
        "--bearer",
        metavar="TOKEN|@FILE|env:NAME",
        help="log in with a token, or with the token in a file or in a variable",
    )
    group.add_argument(
        "-b",
        "--cookie",
        metavar="'A=B; C=D'|@FILE",
        action="append",
        help="send these cookies, or those in a cookie file of curl's format; repeatable",
    )
    group.add_argument(
        "--cookie-jar", metavar="FILE", help="read cookies from FILE, and save new cookies to it"
    )
    group.add_argument(
        "-A", "--user-agent", metavar="TEXT", help='send this User-Agent; "" sends none'
    )


def _add_security(group: Any) -> None:
    group.add_argument(
        "--ca", metavar="FILE", help="trust the PEM certificates in FILE, not the system's"
    )
    group.add_argument(
        "--cert", metavar="FILE", help="client certificate in PEM; its chain may follow it"
    )
    group.add_argument(
        "--key", metavar="FILE", help="private key of --cert, if it is in another file"
    )
    group.add_argument(
        "-k",
        "--insecure",
        action="store_true",
        default=None,
        help="do not verify the server's certificate: anyone in between can read and write",
    )


def _add_network(group: Any) -> None:
    group.add_argument(
        "--resolve",
        metavar="HOST:PORT:ADDRESS",
        action="append",
        help="connect to ADDRESS for this host and port, without DNS; *: any host; repeatable",
    )
    versions = group.add_mutually_exclusive_group()
    # The options are not named -4 and -6: with a numeric option, argparse takes "-1" for an option
    # too, and no longer for a message.
    for version in (4, 6):
        versions.add_argument(
            f"--ipv{version}",
            dest="ip_version",
            action="store_const",
            const=version,
            help=f"use IPv{version} only",
        )
    group.add_argument(
        "--proxy",
        metavar="URL",
        help="connect through a proxy, http://[USER:PASS@]HOST[:PORT], or one of https, socks,"
        ' socks5 or socks5h; "" for none [default: from http_proxy, https_proxy, all_proxy and'
        " no_proxy]",
    )
    group.add_argument(
        "-v", "--verbose", action="store_true", help="show the handshakes on standard error"
    )


def config_of(url: str, given: argparse.Namespace) -> ClientConfig:
    """Return the settings of a connection to a URL.

    An argument with the name of a field of `ClientConfig` sets that field. Asks at the
    terminal for a password that is not given. Raises `ConfigError` for a wrong value.
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
            # Another wrong value is an error before a person has typed a password.
            ClientConfig(url=url, **settings)
            settings["auth"] = (name, _ask(f"Password of {name!r}: ", "--auth", "USER:PASS"))
    return _with_identity(ClientConfig(url=url, **settings))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigError("--header: a header without a colon is not allowed; give 'NAME: VALUE'")
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
    """Return the settings with the pass phrase of an encrypted key, after reading its files."""
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
    """Return what a person types at the terminal, without showing it."""
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
