"""The settings of a service: one frozen, validated value. PURE.

This is the only home of a default. The command line, and every other source
of settings, makes its options from the fields of `Config`, so a setting is
added here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs

from .errors import ConfigError
from .policy import AllowedOrigins
from .request import parse_host

DEFAULT_PORT = 8080

MOST_HISTORY = 1_000_000
"""Messages that may be kept of a channel."""

MOST_BUFFERED = 1_000_000
"""Messages that may wait for a server of Redis."""

HISTORY_SECONDS = 300.0
"""How long they are kept where it is not said."""

_MOST_WORKERS = 256

_LONGEST_STREAM = 255

MASK = "********"
"""What is shown in the place of a secret."""

_T = TypeVar("_T")


def option_name(field: str) -> str:
    """The option that sets a field: `log_payload` is `--log-payload`."""
    return "--" + field.replace("_", "-")


def refuse(field: attrs.Attribute[Any], value: object, allowed: str) -> ConfigError:
    """The error for a wrong value: the option, the value, and what is allowed."""
    shown = MASK if field.metadata["secret"] else repr(value)
    return ConfigError(f"{option_name(field.name)}: {shown} is not allowed; give {allowed}")


def _converter(allowed: str, parse: Callable[[Any], _T]) -> attrs.Converter:  # type: ignore[type-arg]
    def convert(value: Any, field: attrs.Attribute[Any]) -> _T:
        try:
            return parse(value)
        except (TypeError, KeyError, ValueError, OverflowError):
            raise refuse(field, value, allowed) from None

    return attrs.Converter(convert, takes_field=True)


def _whole(low: int, high: int | None = None, optional: bool = False) -> attrs.Converter:  # type: ignore[type-arg]
    def parse(value: Any) -> int | None:
        if optional and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise TypeError(value)
        # int() takes more than a person means by a number: " 1_0", "+1", digits of other scripts.
        if isinstance(value, str) and not (value.isascii() and value.isdigit()):
            raise ValueError(value)
        number = int(value)
        if number < low or (high is not None and number > high):
            raise ValueError(value)
        return number

    upto = "" if high is None else f" to {high}"
    return _converter(f"a whole number from {low}{upto}", parse)


WHOLE = _whole(0)


def _parse_seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    # As int() does, float() takes " 1", "1_0" and digits of other scripts.
    if isinstance(value, str) and not set(value) <= set("0123456789."):
        raise ValueError(value)
    number = float(value)
    if not 0 <= number <= 86400:
        raise ValueError(value)
    return number


SECONDS = _converter("seconds from 0 to 86400", _parse_seconds)


def _parse_switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"on": True, "off": False}[value]


SWITCH = _converter("on or off", _parse_switch)


def _parse_workers(value: Any) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(value)
    number = int(value)
    if not 1 <= number <= _MOST_WORKERS:
        raise ValueError(value)
    return number


def _choice(*words: str) -> attrs.Converter:  # type: ignore[type-arg]
    return _converter(" or ".join(words), {word: word for word in words}.__getitem__)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    value.encode()  # what is not UTF-8 on the command line arrives as lone surrogates
    return value


def _line(value: Any) -> str:
    text = _text(value)
    if not text.isprintable():
        raise ValueError(value)
    return text


def _some_text(value: Any) -> str:
    text = _line(value)
    if not text:
        raise ValueError(value)
    return text


def _optional(parse: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    return lambda value: None if value in (None, "") else parse(value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    return tuple(_some_text(each) for each in value)


def _parse_url(value: Any) -> str:
    """A URL of HTTP, or nothing."""
    text = _line(value)
    if not text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not text.isascii() or " " in text:
        raise ValueError(value)
    # A name and a password would be shown, and are not sent by all who take URLs.
    if not parts.hostname or "@" in parts.netloc or "#" in text or parts.port == 0:
        raise ValueError(value)
    parse_host(parts.netloc)
    return text


_EVENTS = ("connect", "disconnect", "message")


def _parse_events(value: Any) -> str:
    given = _line(value).split(",")
    if not set(given) <= set(_EVENTS):
        raise ValueError(value)
    return ",".join(each for each in _EVENTS if each in given)


def _origins(value: Any, field: attrs.Attribute[Any]) -> tuple[str, ...]:
    given = tuple(value) if isinstance(value, list | tuple) else (value,)
    for each in given:
        try:
            AllowedOrigins.of((each,))
        except (TypeError, ValueError):
            allowed = "* or an origin, such as https://app.example or http://localhost:3000"
            raise refuse(field, each, allowed) from None
    return given


ORIGINS = attrs.Converter(_origins, takes_field=True)

NEW = "new"
OPEN = "open"
"""What becomes of a setting that is read anew while the service runs: it holds for
what comes from then on, or for the connections that are open too. All others need a
restart."""


def _history(value: Any) -> str:
    """`SIZE,SECONDS` of that or of `SIZE`, which may be a number; "0" for none."""
    text = str(value) if type(value) is int else _text(value)
    size_text, comma, seconds_text = text.partition(",")
    if not (size_text.isascii() and size_text.isdigit()) or int(size_text) > MOST_HISTORY:
        raise ValueError(value)
    if not int(size_text):
        return "0"
    seconds = _parse_seconds(seconds_text) if comma else HISTORY_SECONDS
    return f"{int(size_text)},{seconds:g}"


def _stream(value: Any) -> str:
    text = _line(value)
    if len(text) > _LONGEST_STREAM:
        raise ValueError(value)
    return text


def _inbox_away(value: Any) -> str:
    text = _text(value)
    kind, _, count = text.partition(",")
    if text in ("refuse", "drop"):
        return text
    if kind != "buffer" or not (count.isascii() and count.isdigit()):
        raise ValueError(value)
    if not 1 <= int(count) <= MOST_HISTORY:
        raise ValueError(value)
    return f"{kind},{int(count)}"


def setting(
    default: Any,
    converter: attrs.Converter,  # type: ignore[type-arg]
    metavar: str,
    help: str,  # noqa: A002
    repeatable: bool = False,
    secret: bool = False,
    reloads: str | None = None,
    in_toml: str | None = None,
) -> Any:
    """A field that is an option too, with what its help says of it. A secret is never shown.

    An option without a metavar takes no value on a command line: it is a switch,
    and given it is on. `reloads` is `NEW`, `OPEN`, or None where it needs a restart.
    `in_toml` is the type that it has in a file, where that is not the field's.
    """
    return attrs.field(
        default=default,
        converter=converter,
        metadata={
            "metavar": metavar,
            "help": help,
            "repeatable": repeatable,
            "secret": secret,
            "reloads": reloads,
            "in_toml": in_toml,
        },
    )


@attrs.frozen(kw_only=True)
class Limits:
    """What server and client alike hold their peer to. 0 switches a limit off."""

    max_message_size: int = setting(
        1024 * 1024,
        _whole(0),
        "BYTES",
        "close with 1009 on a larger message; 0: no limit",
        reloads=OPEN,
    )
    handshake_timeout: float = setting(
        5.0,
        SECONDS,
        "SECONDS",
        "how long the opening handshake may take; 0: no limit",
        reloads=NEW,
    )
    max_fragments: int = setting(
        1024,
        _whole(0),
        "COUNT",
        "close with 1008 on a message in more fragments; 0: no limit",
        reloads=OPEN,
    )
    send_buffer: int = setting(
        1024 * 1024,
        _whole(0),
        "BYTES",
        "so much may wait for a peer that reads slowly; 0: no limit",
        reloads=OPEN,
    )
    slow_client: str = setting(
        "close",
        _choice("close", "drop"),
        "close|drop",
        "when that is reached: close with 1013, or drop the oldest messages",
        reloads=OPEN,
    )
    ping_interval: float = setting(
        20.0,
        SECONDS,
        "SECONDS",
        "ping a peer after so long without traffic; 0: never",
        reloads=OPEN,
    )
    ping_timeout: float = setting(
        20.0,
        SECONDS,
        "SECONDS",
        "and drop it after so long without a sign of life; 0: never",
        reloads=OPEN,
    )
    compression: bool = setting(
        False,
        SWITCH,
        "on|off",
        "speak permessage-deflate where the peer does; some 30 kB more for each connection",
        reloads=NEW,
    )
    close_timeout: float = setting(
        5.0,
        SECONDS,
        "SECONDS",
        "how long a peer may take to answer a close; 0: no limit",
        reloads=OPEN,
    )


@attrs.frozen(kw_only=True)
class Config(Limits):
    """How a service is to run. Raises `ConfigError` for a value that is not allowed.

    Every field takes a value of its type, or the text that a command line has
    for it. 0 switches a limit off.
    """

    listen: tuple[str, ...] = setting(
        (),
        _converter("a Twisted endpoint string such as tcp:8080 or unix:ws.sock", _texts),
        "ENDPOINT",
        "listen there, in place of the default port; a Twisted endpoint string, repeatable",
        repeatable=True,
    )
    port: int | None = setting(
        attrs.Factory(lambda self: None if self.listen else DEFAULT_PORT, takes_self=True),
        _whole(0, 65535, optional=True),
        "PORT",
        f"TCP port to listen on, IPv6 and IPv4; 0 takes a free one"
        f" [default: {DEFAULT_PORT}, none where --listen is given]",
    )
    tls_cert: str | None = setting(
        None,
        _converter("the path of a file in PEM", _optional(_some_text)),
        "FILE",
        "speak TLS on --port, by this certificate; in PEM, its chain behind it, and the key too"
        " where there is no --tls-key",
        reloads=NEW,
    )
    tls_key: str | None = setting(
        None,
        _converter("the path of a file in PEM", _optional(_some_text)),
        "FILE",
        "its key, in PEM, not encrypted",
        reloads=NEW,
    )
    protocol: str = setting(
        "greeting",
        _converter("greeting, echo or the dotted name of a class", _some_text),
        "NAME",
        "the behaviour: greeting, echo, or a dotted name such as chat.Chat",
    )
    greeting: str = setting(
        "Hello from server",
        _converter("text in UTF-8", _text),
        "TEXT",
        'what the greeting behaviour sends on connect; "" sends nothing',
        reloads=NEW,
    )
    message_log: str = setting(
        "log",
        _converter("log, - or the path of a file", _some_text),
        "DEST",
        "where messages are logged: log (with the rest), - (standard output) or a file",
    )
    message_log_format: str = setting(
        "text",
        _choice("text", "json"),
        "text|json",
        "how they are logged there: lines of text, or of JSON",
    )
    log_format: str = setting(
        "text",
        _choice("text", "json"),
        "text|json",
        "how twistd's own log is written, or twist's: as they do, or in lines of JSON",
    )
    log_level: str = setting(
        "info",
        _choice("debug", "info", "warn", "error", "critical"),
        "debug|info|warn|error|critical",
        "what is less than this is not logged there; a message that came in is info",
        reloads=OPEN,
    )
    log_payload: int = setting(
        4096,
        _whole(0),
        "BYTES",
        "log at most so much of a message, escaped; 0 logs sizes only",
        reloads=OPEN,
    )
    allow_origin: tuple[str, ...] = setting(
        (),
        ORIGINS,
        "PATTERN",
        "let web pages of this origin connect, besides those of the same host and port;"
        " such as https://app.example, or * for any; repeatable",
        repeatable=True,
        reloads=NEW,
    )
    max_connections: int = setting(
        10_000,
        _whole(0),
        "COUNT",
        "refuse more connections than these with 503; 0: no limit",
        reloads=NEW,
    )
    max_connections_per_ip: int = setting(
        0,
        _whole(0),
        "COUNT",
        "the same for those of one IPv4 address or one IPv6 /64; 0: no limit",
        reloads=NEW,
    )
    workers: int | str = setting(
        1,
        _converter(f"auto, or a whole number from 1 to {_MOST_WORKERS}", _parse_workers),
        "COUNT|auto",
        "serve in so many processes; auto: as many as there are CPUs to use",
    )
    no_page: bool = setting(
        False,
        SWITCH,
        "",
        "no page for browsers at /",
        reloads=NEW,
    )
    drain: float = setting(
        10.0,
        SECONDS,
        "SECONDS",
        "on SIGTERM, wait so long for closing handshakes; 0 does not wait",
        reloads=OPEN,
    )

    admin: str = setting(
        "",
        _converter("a Twisted endpoint string such as tcp:8081:interface=127.0.0.1", _line),
        "ENDPOINT",
        "serve health, metrics and connections there, to operators; a Twisted endpoint string",
    )
    admin_token_file: str = setting(
        "",
        _converter("the path of a file", _line),
        "PATH",
        "ask for the token in this file there; without it, only for loopback and unix sockets",
        reloads=NEW,
    )
    history: str = setting(
        "0",
        _converter(
            f"SIZE or SIZE,SECONDS, such as 100 or 100,3600: messages up to {MOST_HISTORY},"
            " seconds up to 86400",
            _history,
        ),
        "SIZE[,SECONDS]",
        "keep so many messages of each channel, for so long, for clients that come back;"
        f" {HISTORY_SECONDS:g} seconds if not said, and 0 seconds: of any age",
        in_toml="str | int",
    )
    history_bytes: int = setting(
        64 * 1024 * 1024,
        _whole(65536),
        "BYTES",
        "and so much of all channels together",
    )

    @property
    def history_size(self) -> int:
        """Messages kept of each channel; 0 for no history."""
        return int(self.history.partition(",")[0])

    @property
    def history_seconds(self) -> float:
        """How long they are kept; 0 for as long as there is room."""
        return float(self.history.partition(",")[2] or 0)

    webhook: str = setting(
        "",
        _converter("a URL such as https://app.example/hook, without a user or #", _parse_url),
        "URL",
        "tell this web server, by POST, who connects and who leaves",
    )
    webhook_secret_file: str = setting(
        "",
        _converter("the path of a file", _line),
        "PATH",
        "sign what it is told with the secret in this file",
    )
    webhook_events: str = setting(
        "connect,disconnect",
        _converter("some of connect,disconnect,message", _parse_events),
        "EVENTS",
        "what it is told: connect, disconnect, and message for each message, separated by commas",
    )

    broker: tuple[str, ...] = setting(
        (),
        _converter("a URL such as redis://redis.example", _texts),
        "URL",
        "meet other nodes at this server of Redis or Valkey; several, repeatable, share channels",
        repeatable=True,
        secret=True,
    )
    broker_password_file: str = setting(
        "",
        _converter("the path of a file", _line),
        "PATH",
        "log in there with the password in this file",
    )
    broker_prefix: str = setting(
        "wsservice",
        _converter("text", _line),
        "TEXT",
        "what begins the names of all keys and channels there: another for each service",
    )

    broker_buffer: int = setting(
        0,
        _whole(0, MOST_BUFFERED),
        "COUNT",
        "let so many messages wait while it is away; others are refused, and reach nobody",
    )

    inbox: str = setting(
        "",
        _converter(f"the name of a stream, of at most {_LONGEST_STREAM} characters", _stream),
        "STREAM",
        "append each message that a client sends to this stream there, for workers",
    )
    inbox_size: int = setting(
        100_000,
        _whole(1),
        "COUNT",
        "keep about so many messages there, of all nodes together; the oldest go first",
        reloads=OPEN,
    )
    inbox_away: str = setting(
        "buffer,10000",
        _converter(f"refuse, drop, or buffer,COUNT up to {MOST_HISTORY}", _inbox_away),
        "refuse|drop|buffer,COUNT",
        "while it cannot be reached: close who sends with 1013, drop messages, or let so many"
        " wait and then refuse",
        reloads=OPEN,
    )
    inbox_bytes: int = setting(
        16 * 1024 * 1024,
        _whole(65536),
        "BYTES",
        "and so much of them",
        reloads=OPEN,
    )

    @property
    def inbox_buffer(self) -> int:
        """Messages that wait while it cannot be reached."""
        return int(self.inbox_away.partition(",")[2] or 0)

    def _check_broker(self) -> None:
        for name in ("broker_password_file", "broker_buffer", "inbox"):
            if getattr(self, name) and not self.broker:
                raise ConfigError(
                    f"{option_name(name)}: {getattr(self, name)!r} is not allowed without"
                    " --broker, a URL such as redis://redis.example"
                )
        if self.inbox.startswith(f"{self.broker_prefix}:"):
            raise ConfigError(
                f"--inbox: {self.inbox!r} is not allowed: what begins so is the service's own;"
                " give another name"
            )

    def __attrs_post_init__(self) -> None:
        self._check_broker()
        if self.tls_key is not None and self.tls_cert is None:
            raise ConfigError("--tls-key: is not allowed alone; give --tls-cert too")
        if self.tls_cert is not None and self.port is None:
            raise ConfigError(
                "--tls-cert: is not allowed without a --port to speak TLS on;"
                " give that too, or --listen ssl:443:privateKey=key.pem:certKey=cert.pem"
            )
        if bool(self.webhook) != bool(self.webhook_secret_file):
            given, other = ("--webhook", "--webhook-secret-file")[:: 1 if self.webhook else -1]
            raise ConfigError(
                f"{given}: {self.webhook or self.webhook_secret_file!r} is not allowed"
                f" without {other}; give both"
            )
        if self.admin_token_file and not self.admin:
            raise ConfigError(
                f"--admin-token-file: {self.admin_token_file!r} is not allowed without --admin,"
                " an endpoint such as tcp:8081:interface=127.0.0.1"
            )
        formats = (self.message_log_format, self.log_format)
        if self.message_log == "log" and formats == ("json", "text"):
            raise ConfigError(
                "--message-log-format: 'json' is not allowed within a log of text;"
                " give a --message-log of its own, or --log-format json"
            )
        size = len(self.greeting.encode())
        if 0 < self.max_message_size < size:
            raise ConfigError(
                f"--greeting: {size} octets are not allowed;"
                f" give at most --max-message-size, {self.max_message_size}"
            )
