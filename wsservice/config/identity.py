"""The settings of identity: which credentials are asked for, and where they may be. PURE."""

from __future__ import annotations

import re
from typing import Any

import attrs

from ..errors import ConfigError
from ..http import grammar
from .fields import (
    NEW,
    SECONDS,
    TO_FILE,
    TO_SECONDS,
    TO_SWITCH,
    converter,
    option_name,
    parse_line,
    parse_texts,
    setting,
    to_whole,
)
from .rates import RateLimits

IDENTITY = "Identity"
"""The group of these options in the help of the service."""

_KIND = re.compile(r"[A-Za-z_][\w.-]*(?::.+)?", re.ASCII | re.DOTALL)
_COOKIE = re.compile(grammar.TOKEN)

_NEEDED = {"jwt:": ("auth_audience", "auth_issuer"), "webhook:": ("auth_secret_file",)}
"""The settings that only one kind reads, by the kind."""


def _parse_kinds(value: Any) -> tuple[str, ...]:
    given = parse_texts(value)
    if not all(map(_KIND.fullmatch, given)) or len(set(given)) < len(given):
        raise ValueError(value)
    return given


def _parse_cookie(value: Any) -> str:
    text = parse_line(value)
    if text and not _COOKIE.fullmatch(text):
        raise ValueError(value)
    return text


@attrs.frozen(kw_only=True)
class IdentitySettings(RateLimits):
    """The settings of identity. Without `auth` no client is asked for a credential."""

    auth: tuple[str, ...] = setting(
        (),
        converter("KIND:VALUE, such as tokens:FILE, each once", _parse_kinds),
        "KIND:VALUE",
        "ask clients for a credential; repeatable",
        group=IDENTITY,
        more="tokens:FILE has users and the SHA-256 of their tokens; jwt:FILE and jwt:URL have the"
        " keys that verify JSON Web Tokens; htpasswd:FILE has passwords; tickets takes those that"
        " POST /tickets on --admin made; tls:FIELD takes a client's certificate; webhook:URL is"
        " your application; MODULE:FUNCTION asks a function of yours. docs/auth.md has every kind."
        " A client with no credential, or a bad one, is refused with 401.",
        repeatable=True,
        reloads=NEW,
    )
    auth_audience: tuple[str, ...] = setting(
        (),
        converter("text, each at least one character", parse_texts),
        "TEXT",
        "audience that tokens must be for; repeatable",
        group=IDENTITY,
        more="The claim aud of a JSON Web Token must be, or have, one of these. Without this"
        " option it is not checked.",
        common=False,
        repeatable=True,
        reloads=NEW,
    )
    auth_issuer: tuple[str, ...] = setting(
        (),
        converter("text, each at least one character", parse_texts),
        "TEXT",
        "issuer that tokens must be from; repeatable",
        group=IDENTITY,
        more="The claim iss of a JSON Web Token must be one of these. Without this option it is"
        " not checked.",
        common=False,
        repeatable=True,
        reloads=NEW,
    )
    auth_leeway: float = setting(
        30.0,
        TO_SECONDS,
        SECONDS,
        "how far clocks may differ; 0: not at all",
        group=IDENTITY,
        more="A JSON Web Token is taken that expired, or begins, by so little.",
        common=False,
        reloads=NEW,
    )
    auth_secret_file: str = setting(
        "",
        TO_FILE,
        "FILE",
        "secret that signs each request of webhook:",
        group=IDENTITY,
        more="The application verifies by it that the service is asking. --auth webhook:URL needs"
        " it. A reload reads the file again.",
        common=False,
        reloads=NEW,
    )
    auth_optional: bool = setting(
        False,
        TO_SWITCH,
        "",
        "let clients in that show no credential",
        group=IDENTITY,
        more="They have no user. A bad credential is refused all the same.",
        common=False,
        reloads=NEW,
    )
    auth_cookie: str = setting(
        "",
        converter("the name of a cookie", _parse_cookie),
        "NAME",
        "take the token from this cookie too",
        group=IDENTITY,
        more="A page whose client shows the cookie must be of the service's own host, or named by"
        " --allow-origin; * does not suffice.",
        common=False,
        reloads=NEW,
    )
    auth_first_message: bool = setting(
        False,
        TO_SWITCH,
        "",
        "take the token as the first message too",
        group=IDENTITY,
        more="A client that shows no credential in its request must send the token as its first"
        " text message, within --handshake-timeout. Nothing else is taken or sent before it.",
        common=False,
        reloads=NEW,
    )
    auth_failures: int = setting(
        20,
        to_whole(0),
        "COUNT",
        "failures of an address; 0: no limit",
        group=IDENTITY,
        more="After so many bad credentials, an address may try once every 5 seconds; further"
        " requests with a credential are refused with 429. An address is one IPv4 address or"
        " one IPv6 /64 network.",
        unit="failures",
        common=False,
        reloads=NEW,
    )

    def check_identity(self) -> None:
        """Raise `ConfigError` for settings of identity that do not go together."""
        for name in (
            "auth_audience",
            "auth_issuer",
            "auth_secret_file",
            "auth_optional",
            "auth_cookie",
            "auth_first_message",
        ):
            if getattr(self, name) and not self.auth:
                raise ConfigError(
                    f"{option_name(name)}: is not allowed without --auth, such as tokens:FILE"
                )
        for kind, names in _NEEDED.items():
            for name in names:
                if getattr(self, name) and not any(each.startswith(kind) for each in self.auth):
                    raise ConfigError(f"{option_name(name)}: is not allowed without --auth {kind}…")
        if self.auth_optional and self.auth_first_message:
            raise ConfigError(
                "--auth-optional: is not allowed beside --auth-first-message; give one of them"
            )
