"""The settings of a service: one frozen, validated value. PURE.

`Config`, with `Integrations` and `Limits` below it, is the only home of a
default. The command line, and every other source of settings, makes its options
from the fields, so a setting is added here and nowhere else.
"""

from __future__ import annotations

import re
from typing import Any

import attrs

from ..errors import ConfigError
from .fields import (
    BYTES,
    NEW,
    OPEN,
    SECONDS,
    TO_FILE,
    TO_MEMORY,
    TO_ORIGINS,
    TO_PEMS,
    TO_PROXIES,
    TO_SECONDS,
    TO_SWITCH,
    TO_WORKERS,
    converter,
    parse_line,
    parse_some_text,
    parse_text,
    parse_texts,
    parse_whole,
    setting,
    to_choice,
    to_size,
    to_whole,
)
from .identity import IDENTITY
from .integrations import HISTORY, OPERATION, REDIS, WEBHOOK, Integrations
from .limits import LIMITS, TIMEOUTS
from .rules import ChannelRule, parse_rules
from .units import KIB, MIB

DEFAULT_PORT = 8080

LISTENING, BEHAVIOUR, LOGS = "Listening", "Behaviour", "Logs"

GROUPS = (
    LISTENING,
    BEHAVIOUR,
    IDENTITY,
    LIMITS,
    TIMEOUTS,
    LOGS,
    OPERATION,
    HISTORY,
    WEBHOOK,
    REDIS,
)
"""The groups of all options, in the order of the help."""

_LARGEST_PORT = 65535

_ENDPOINT_OF_TLS = re.compile(r"\A(?:haproxy:)?ssl:")

_PATH = re.compile(r"/[!\"$->@-~]{0,254}")
"""The path of a request target: printable ASCII without a query and a fragment."""


def _parse_port(value: Any) -> int | None:
    return None if value is None else parse_whole(value, 0, _LARGEST_PORT)


def _to_rules(value: Any) -> tuple[ChannelRule, ...]:
    try:
        return parse_rules(value)
    except ConfigError as error:
        raise ConfigError(f"--channels: {error}") from None


def _parse_path(value: Any) -> str:
    text = parse_line(value)
    if text and not _PATH.fullmatch(text):
        raise ValueError(value)
    return text


@attrs.frozen(kw_only=True)
class Config(Integrations):
    """The configuration of a service. Raises `ConfigError` for a value that is not allowed.

    Every field takes a value of its type, or the text that a command line gives
    for it. 0 switches a limit off.
    """

    listen: tuple[str, ...] = setting(
        (),
        converter("a Twisted endpoint string such as tcp:8080 or unix:ws.sock", parse_texts),
        "ENDPOINT",
        "Twisted endpoint to listen on; repeatable",
        group=LISTENING,
        more="Such as tcp:8080:interface=127.0.0.1 or unix:ws.sock. The default port is not"
        " opened then; give --port to have both.",
        repeatable=True,
    )
    port: int | None = setting(
        attrs.Factory(lambda self: None if self.listen else DEFAULT_PORT, takes_self=True),
        converter(f"a whole number from 0 to {_LARGEST_PORT}", _parse_port),
        "PORT",
        "TCP port, IPv4 and IPv6; 0: any free port",
        group=LISTENING,
        unit="port",
        more="There is no default where --listen is given.",
    )
    tls_cert: tuple[str, ...] = setting(
        (),
        TO_PEMS,
        "FILE",
        "speak TLS on --port; repeatable",
        group=LISTENING,
        more="The file is PEM: the certificate, then its chain, and the key too if there is no"
        " --tls-key. With several files, a client gets the certificate of the name that it asks"
        " for (SNI), and the first one otherwise.",
        repeatable=True,
        reloads=NEW,
        in_toml="str | tuple[str, ...]",
    )
    tls_key: tuple[str, ...] = setting(
        (),
        TO_PEMS,
        "FILE",
        "private key of --tls-cert; repeatable",
        group=LISTENING,
        more="The file is PEM and not encrypted. Give one for each --tls-cert, in the same order.",
        repeatable=True,
        reloads=NEW,
        in_toml="str | tuple[str, ...]",
    )
    tls_client_ca: str = setting(
        "",
        TO_FILE,
        "FILE",
        "ask clients for certificates of this CA",
        group=LISTENING,
        more="The file has certificates of authorities, in PEM. A client without a certificate of"
        " one of them is refused in the TLS handshake, on --port and on ssl: endpoints. With"
        " --auth-optional, or another --auth beside tls:, a client may show none.",
        common=False,
        reloads=NEW,
    )
    protocol: str = setting(
        "greeting",
        converter("greeting, echo or the dotted name of a class", parse_some_text),
        "NAME",
        "behaviour: greeting, echo or a class",
        group=BEHAVIOUR,
        more="A class goes by its dotted name, such as chat.Chat.",
    )
    greeting: str = setting(
        "Hello from server",
        converter("text in UTF-8", parse_text),
        "TEXT",
        "message sent on connect",
        group=BEHAVIOUR,
        more='The greeting behaviour sends it to each client that connects; "" sends nothing.',
        reloads=NEW,
    )
    message_log: str = setting(
        "log",
        converter("log, - or the path of a file", parse_some_text),
        "DEST",
        "message log: log, - (stdout) or a file",
        group=LOGS,
        more="log is Twisted's own log, together with everything else.",
    )
    message_log_format: str = setting(
        "text",
        to_choice("text", "json"),
        "text|json",
        "format of the message log",
        group=LOGS,
    )
    log_format: str = setting(
        "text",
        to_choice("text", "json"),
        "text|json",
        "format of Twisted's log",
        group=LOGS,
        more="text leaves twistd's and twist's own formats; json writes one object per line.",
    )
    log_level: str = setting(
        "info",
        to_choice("debug", "info", "warn", "error", "critical"),
        "LEVEL",
        "level: debug, info, warn, error, critical",
        group=LOGS,
        more="Less important events are not logged. A message that arrives is logged at info.",
        reloads=OPEN,
    )
    log_payload: int = setting(
        4 * KIB,
        to_size(),
        BYTES,
        "part of a message to log; 0: only its size",
        group=LOGS,
        more="Payloads are escaped.",
        reloads=OPEN,
    )
    allow_origin: tuple[str, ...] = setting(
        (),
        TO_ORIGINS,
        "ORIGIN",
        "web pages that may connect; repeatable",
        group=LISTENING,
        more="Such as https://app.example, or * for any page. Pages of the service's own host"
        " and port may connect in any case.",
        repeatable=True,
        reloads=NEW,
    )
    trust_proxy: tuple[str, ...] = setting(
        (),
        TO_PROXIES,
        "CIDR|unix",
        "proxies that name the client; repeatable",
        group=LISTENING,
        more="Such as 127.0.0.1 or 10.0.0.0/8; unix trusts all at unix sockets. From these alone"
        " X-Forwarded-For, Forwarded and X-Forwarded-Proto are believed: logs, limits and"
        " behaviours have the address of the client. Have the proxy set or remove both headers.",
        repeatable=True,
        reloads=NEW,
    )
    max_connections: int = setting(
        10_000,
        to_whole(0),
        "COUNT",
        "most connections; 0: no limit",
        group=LIMITS,
        more="Further connections are refused with 503.",
        unit="connections",
        reloads=NEW,
    )
    max_connections_per_ip: int = setting(
        0,
        to_whole(0),
        "COUNT",
        "connections of one address; 0: no limit",
        group=LIMITS,
        more="An address is one IPv4 address or one IPv6 /64 network. Further connections are"
        " refused with 503.",
        unit="connections",
        reloads=NEW,
    )
    max_connections_per_user: int = setting(
        0,
        to_whole(0),
        "COUNT",
        "connections of one user; 0: no limit",
        group=LIMITS,
        more="Connections without a user do not count. With --broker each node counts its own.",
        unit="connections",
        common=False,
        reloads=NEW,
    )
    user_limit_closes: str = setting(
        "newest",
        to_choice("newest", "oldest"),
        "newest|oldest",
        "connection that goes at this limit",
        group=LIMITS,
        more="It takes effect at --max-connections-per-user: newest refuses the new connection"
        " with 403, oldest closes the oldest one with 1008.",
        common=False,
        reloads=NEW,
    )
    memory_for_messages: int | str = setting(
        "auto",
        TO_MEMORY,
        "BYTES|auto",
        "all messages in memory; 0: no limit",
        group=LIMITS,
        more="It bounds the unfinished messages and the send queues of all connections together."
        " auto is a quarter of the memory that the service may use. When it is full, the"
        " service drops messages or closes connections, those first that hold most for longest.",
        unit="bytes",
        common=False,
        reloads=OPEN,
    )
    workers: int | str = setting(
        1,
        TO_WORKERS,
        "COUNT|auto",
        "server processes; auto: one per CPU",
        group=OPERATION,
        more="They share ports, limits and the log. A message published in one reaches the"
        " clients of all.",
        unit="processes",
    )
    no_page: bool = setting(
        False,
        TO_SWITCH,
        "",
        "serve no test page to browsers at /",
        group=LISTENING,
        reloads=NEW,
    )
    health_path: str = setting(
        "",
        converter("a path such as /health, in ASCII and without ?", _parse_path),
        "/PATH",
        "answer health checks at this path",
        group=LISTENING,
        more="On the public port: 200, or 503 while the service is not ready or drains.",
        reloads=NEW,
    )
    drain: float = setting(
        10.0,
        TO_SECONDS,
        SECONDS,
        "time to drain on SIGTERM; 0: no wait",
        group=OPERATION,
        more="The service sends each client a close frame, and drops the connections that are"
        " open after this time.",
        reloads=OPEN,
    )

    channels: tuple[ChannelRule, ...] = setting(
        (),
        attrs.Converter(_to_rules),
        "[[channels]]",
        "what users may do, by channel",
        reloads=NEW,
        in_toml="tables",
        file_only=True,
    )

    @property
    def most_to_publish(self) -> int:
        """Return the most octets of a message that is published, or sent by an operator.

        It may be as large as a message of a client, and 1 MiB at least. If those have no limit, it
        has at most 16 MiB.
        """
        return max(self.max_message_size or 16 * MIB, MIB)

    @property
    def asks_certificates_of_all(self) -> bool:
        """Return True if no client gets in without a certificate of `tls_client_ca`.

        Some may come without one if `auth_optional` is set, or if `auth` names other credentials
        beside certificates.
        """
        by_certificate = [each.startswith("tls:") for each in self.auth]
        is_one_of_several = any(by_certificate) and not all(by_certificate)
        return not self.auth_optional and not is_one_of_several

    def __attrs_post_init__(self) -> None:
        self.check_identity()
        self.check_broker()
        self._check_tls()
        self.check_webhook()
        self.check_admin()
        self._check_logs()
        size = len(self.greeting.encode())
        if 0 < self.max_message_size < size:
            raise ConfigError(
                f"--greeting: {size} bytes are not allowed;"
                f" give at most --max-message-size, {self.max_message_size}"
            )

    def _check_tls(self) -> None:
        if self.tls_key and not self.tls_cert:
            raise ConfigError("--tls-key: is not allowed alone; give --tls-cert too")
        if self.tls_key and len(self.tls_key) != len(self.tls_cert):
            raise ConfigError(
                f"--tls-key: {len(self.tls_key)} are not allowed with {len(self.tls_cert)} of"
                " --tls-cert; give one for each, in the same order, or none if each key is in the"
                " file of its certificate"
            )
        has_tls = self.tls_cert or any(_ENDPOINT_OF_TLS.search(each) for each in self.listen)
        if self.tls_client_ca and not has_tls:
            raise ConfigError(
                "--tls-client-ca: is not allowed without TLS; give --tls-cert, or --listen ssl:…"
            )
        if self.tls_cert and self.port is None:
            raise ConfigError(
                "--tls-cert: is not allowed without a --port to speak TLS on;"
                " give that too, or --listen ssl:443:privateKey=key.pem:certKey=cert.pem"
            )

    def _check_logs(self) -> None:
        formats = (self.message_log_format, self.log_format)
        if self.message_log == "log" and formats == ("json", "text"):
            raise ConfigError(
                "--message-log-format: 'json' is not allowed within a log of text;"
                " give a --message-log of its own, or --log-format json"
            )


OPTIONS = tuple(each for each in attrs.fields(Config) if not each.metadata["file_only"])
"""The fields that are options and variables: all but tables of the file."""
