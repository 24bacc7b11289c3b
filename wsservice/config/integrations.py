"""The settings of the systems around a service: operators, a web server, Redis. PURE."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs

from ..errors import ConfigError
from ..escape import shown_url
from ..http.hostname import ascii_url, parse_place
from .fields import (
    BYTES,
    NEW,
    OPEN,
    TO_FILE,
    converter,
    option_name,
    parse_line,
    parse_text,
    parse_texts,
    setting,
    to_size,
    to_whole,
)
from .identity import IdentitySettings
from .keep import HISTORY_SECONDS, KEEP_ALLOWED, MOST_HISTORY, Keep, parse_keep
from .units import MIB

OPERATION, HISTORY, WEBHOOK, REDIS = "Operation", "History", "Webhook", "Redis or Valkey"
"""The groups of these options in the help of the service."""

MOST_BUFFERED = 1_000_000
"""The largest number of messages that may wait for a Redis server."""

_LEAST_KEPT_BYTES = 65536
_LONGEST_STREAM = 255
_EVENTS = ("connect", "disconnect", "message")


def _parse_url(value: Any) -> str:
    """Return a URL of HTTP in ASCII, or ""."""
    text = parse_line(value)
    if not text:
        return text
    text = ascii_url(text)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or " " in text:
        raise ValueError(value)
    # Logs would show a name and a password, and not every HTTP client sends them.
    if not parts.hostname or "@" in parts.netloc or "#" in text or parts.port == 0:
        raise ValueError(value)
    parse_place(parts.netloc)
    return text


def _parse_events(value: Any) -> str:
    given = parse_line(value).split(",")
    if not set(given) <= set(_EVENTS):
        raise ValueError(value)
    return ",".join(each for each in _EVENTS if each in given)


def _parse_stream(value: Any) -> str:
    text = parse_line(value)
    if len(text) > _LONGEST_STREAM:
        raise ValueError(value)
    return text


def _parse_inbox_away(value: Any) -> str:
    text = parse_text(value)
    kind, _, count = text.partition(",")
    if text in ("refuse", "drop"):
        return text
    if kind != "buffer" or not (count.isascii() and count.isdigit()):
        raise ValueError(value)
    if not 1 <= int(count) <= MOST_HISTORY:
        raise ValueError(value)
    return f"{kind},{int(count)}"


@attrs.frozen(kw_only=True)
class Integrations(IdentitySettings):
    """The settings of a service that concern the systems around it."""

    admin: str = setting(
        "",
        converter("a Twisted endpoint string such as tcp:8081:interface=127.0.0.1", parse_line),
        "ENDPOINT",
        "serve health, metrics and connections here",
        group=OPERATION,
        more="A Twisted endpoint string, such as tcp:8081:interface=127.0.0.1. Operators watch"
        " the service there, publish messages and close connections.",
    )
    admin_token_file: str = setting(
        "",
        TO_FILE,
        "FILE",
        "tokens that --admin asks for",
        group=OPERATION,
        more="One token alone, which may do all; or lines of NAME RIGHTS TOKEN, where RIGHTS are"
        " some of read,publish,close,tickets, or all. Without a token, --admin accepts only"
        " loopback addresses and unix sockets.",
        reloads=NEW,
    )
    history: str = setting(
        "0",
        converter(KEEP_ALLOWED, parse_keep),
        "COUNT[,SECONDS]",
        "messages to keep per channel; 0: none",
        group=HISTORY,
        more="A client that comes back gets the messages that it missed, and one that asks by"
        f" ?history=20 the last 20. Messages older than SECONDS ({HISTORY_SECONDS:g} unless"
        " given) are removed; 0 SECONDS keeps messages of any age.",
        unit="messages",
        in_toml="str | int",
    )
    history_bytes: int = setting(
        64 * MIB,
        to_size(_LEAST_KEPT_BYTES),
        BYTES,
        "history of all channels together",
        group=HISTORY,
        more="When the history is full, the oldest messages are removed.",
        common=False,
    )
    webhook: str = setting(
        "",
        converter("a URL such as https://app.example/hook, without a user or #", _parse_url),
        "URL",
        "POST connects and disconnects to this URL",
        group=WEBHOOK,
        more="It needs --webhook-secret-file.",
    )
    webhook_secret_file: str = setting(
        "",
        TO_FILE,
        "FILE",
        "secret that signs each POST",
        group=WEBHOOK,
    )
    webhook_events: str = setting(
        "connect,disconnect",
        converter(f"some of {','.join(_EVENTS)}", _parse_events),
        "EVENTS",
        "events to POST",
        group=WEBHOOK,
        more="connect, disconnect or message, or several of them, separated by commas.",
    )
    broker: tuple[str, ...] = setting(
        (),
        converter("a URL such as redis://redis.example", parse_texts),
        "URL",
        "Redis server shared by all nodes; repeatable",
        group=REDIS,
        more="A message published on one node reaches the clients of all nodes. Several"
        " servers share the channels.",
        repeatable=True,
        secret=True,
    )
    broker_password_file: str = setting(
        "",
        TO_FILE,
        "FILE",
        "password for Redis",
        group=REDIS,
    )
    broker_prefix: str = setting(
        "wsservice",
        converter("text in one line", parse_line),
        "TEXT",
        "start of every name in Redis",
        group=REDIS,
        more="All keys and channels of the service begin with it. Services that share a Redis"
        " need different prefixes.",
        common=False,
    )
    broker_buffer: int = setting(
        0,
        to_whole(0, MOST_BUFFERED),
        "COUNT",
        "messages that may wait for Redis; 0: none",
        group=REDIS,
        more="While Redis is away, this many messages wait. Further messages are refused and"
        " reach no client.",
        unit="messages",
        common=False,
    )
    inbox: str = setting(
        "",
        converter(f"the name of a stream, of at most {_LONGEST_STREAM} characters", _parse_stream),
        "STREAM",
        "append client messages to this Redis stream",
        group=REDIS,
        more="Workers in any language read them there.",
    )
    inbox_size: int = setting(
        100_000,
        to_whole(1),
        "COUNT",
        "messages to keep in --inbox, roughly",
        group=REDIS,
        more="It counts the messages of all nodes. The oldest are removed, read or not.",
        unit="messages",
        common=False,
        reloads=OPEN,
    )
    inbox_away: str = setting(
        "buffer,10000",
        converter(f"refuse, drop, or buffer,COUNT up to {MOST_HISTORY}", _parse_inbox_away),
        "POLICY",
        "refuse, drop, hold COUNT messages",
        group=REDIS,
        more="This happens to client messages while Redis is away: refuse closes the sender with"
        " --overload-code, drop discards the message, buffer,COUNT holds COUNT messages and"
        " then refuses.",
        unit="messages",
        common=False,
        reloads=OPEN,
    )
    inbox_bytes: int = setting(
        16 * MIB,
        to_size(_LEAST_KEPT_BYTES),
        BYTES,
        "size of the messages in that buffer",
        group=REDIS,
        common=False,
        reloads=OPEN,
    )

    @property
    def history_size(self) -> int:
        """Return the number of messages to keep per channel; 0 for no history."""
        return Keep.of(self.history).size

    @property
    def history_seconds(self) -> float:
        """Return the seconds that a message stays in the history; 0: until room runs out."""
        return Keep.of(self.history).seconds

    @property
    def inbox_buffer(self) -> int:
        """Return the number of messages that may wait while Redis is away; 0 for none."""
        return int(self.inbox_away.partition(",")[2] or 0)

    def check_broker(self) -> None:
        """Raise `ConfigError` for settings of Redis that do not go together."""
        for name in ("broker_password_file", "broker_buffer", "inbox"):
            if getattr(self, name) and not self.broker:
                raise ConfigError(
                    f"{option_name(name)}: {getattr(self, name)!r} is not allowed without"
                    " --broker, a URL such as redis://redis.example"
                )
        if self.inbox.startswith(f"{self.broker_prefix}:"):
            raise ConfigError(
                f"--inbox: {self.inbox!r} is not allowed: names that begin with"
                f" '{self.broker_prefix}:' are the service's own; give another name"
            )

    def check_webhook(self) -> None:
        """Raise `ConfigError` for a webhook without a secret, or a secret without a webhook."""
        if bool(self.webhook) != bool(self.webhook_secret_file):
            given, other = ("--webhook", "--webhook-secret-file")[:: 1 if self.webhook else -1]
            raise ConfigError(
                f"{given}: {shown_url(self.webhook) or self.webhook_secret_file!r} is not allowed"
                f" without {other}; give both"
            )

    def check_admin(self) -> None:
        """Raise `ConfigError` for a token without a listener that asks for it."""
        if self.admin_token_file and not self.admin:
            raise ConfigError(
                f"--admin-token-file: {self.admin_token_file!r} is not allowed without --admin,"
                " an endpoint such as tcp:8081:interface=127.0.0.1"
            )
