from __future__ import annotations

from typing import Any

import attrs
import pytest

from wsservice.client.options import ClientConfig
from wsservice.config.close_codes import SENDABLE
from wsservice.config.config import DEFAULT_PORT, Config
from wsservice.config.fields import BYTES, SECONDS, option_name
from wsservice.config.units import SIZE_UNITS, TIME_UNITS
from wsservice.errors import ConfigError, WSServiceError

TIMES = ("handshake_timeout", "close_timeout", "ping_interval", "ping_timeout", "drain")
SIZES = {
    "max_message_size": 0,
    "send_buffer": 0,
    "log_payload": 0,
    "history_bytes": 65536,
    "inbox_bytes": 65536,
}
COUNTS = ("inbox_size", "broker_buffer")
TIME_ALLOWED = f"seconds from 0 to 86400, or a time with {TIME_UNITS}"


def test_every_default_is_allowed_and_as_documented() -> None:
    assert attrs.asdict(Config()) == {
        "max_message_size": 1024 * 1024,
        "handshake_timeout": 5.0,
        "max_fragments": 1024,
        "limit_connects": (),
        "limit_messages": (),
        "limit_octets": (),
        "limit_action": "wait",
        "limits_dry_run": False,
        "max_subscriptions": 0,
        "message_timeout": 60.0,
        "send_buffer": 1024 * 1024,
        "memory_for_messages": "auto",
        "slow_client": "close",
        "overload_code": 1013,
        "ping_interval": 20.0,
        "ping_timeout": 20.0,
        "compression": False,
        "close_timeout": 5.0,
        "listen": (),
        "port": 8080,
        "tls_cert": (),
        "tls_key": (),
        "tls_client_ca": "",
        "protocol": "greeting",
        "greeting": "Hello from server",
        "message_log": "log",
        "message_log_format": "text",
        "log_format": "text",
        "log_level": "info",
        "log_payload": 4096,
        "allow_origin": (),
        "auth": (),
        "auth_audience": (),
        "auth_issuer": (),
        "auth_leeway": 30.0,
        "auth_secret_file": "",
        "auth_optional": False,
        "auth_cookie": "",
        "auth_first_message": False,
        "auth_failures": 20,
        "max_connections": 10_000,
        "trust_proxy": (),
        "max_connections_per_ip": 0,
        "max_connections_per_user": 0,
        "user_limit_closes": "newest",
        "workers": 1,
        "no_page": False,
        "health_path": "",
        "drain": 10.0,
        "history": "0",
        "history_bytes": 64 * 1024 * 1024,
        "admin": "",
        "admin_token_file": "",
        "webhook": "",
        "webhook_secret_file": "",
        "webhook_events": "connect,disconnect",
        "broker": (),
        "broker_password_file": "",
        "broker_prefix": "wsservice",
        "broker_buffer": 0,
        "inbox": "",
        "inbox_size": 100_000,
        "inbox_away": "buffer,10000",
        "inbox_bytes": 16 * 1024 * 1024,
        "channels": (),
    }


def test_the_default_port_is_not_listened_on_where_listen_is_given() -> None:
    assert Config().port == DEFAULT_PORT
    assert Config(listen=("unix:ws.sock",)).port is None


def test_port_and_listen_given_together_both_hold() -> None:
    config = Config(listen=("unix:ws.sock",), port=9)
    assert (config.port, config.listen) == (9, ("unix:ws.sock",))


def test_it_is_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Config().port = 1  # type: ignore[misc]


def test_it_is_made_by_name_only() -> None:
    with pytest.raises(TypeError):
        Config(8080)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("max_message_size", "0", 0),
        ("log_payload", "12", 12),
        ("log_payload", "12B", 12),
        ("send_buffer", "64KiB", 65536),
        ("max_message_size", "128 MiB", 128 << 20),
        ("history_bytes", "1GiB", 1 << 30),
        ("history_bytes", "64KiB", 65536),
        ("history", "100,1h", "100,3600"),
        ("history", "100,500ms", "100,0.5"),
        ("overload_code", "4013", 4013),
        ("overload_code", 1008, 1008),
        ("drain", "500ms", 0.5),
        ("drain", "1.5m", 90.0),
        ("ping_interval", "30s", 30.0),
        ("close_timeout", "24h", 86400.0),
        ("drain", "2.5", 2.5),
        ("drain", "0", 0.0),
        ("close_timeout", 86400, 86400.0),
        ("greeting", "", ""),
        ("greeting", "two\nlines", "two\nlines"),
        ("message_log", "-", "-"),
        ("compression", "on", True),
        ("compression", "off", False),
        ("compression", True, True),
        ("workers", "1", 1),
        ("workers", 256, 256),
        ("workers", "auto", "auto"),
        ("listen", "tcp:1", ("tcp:1",)),
        ("listen", ["tcp:1", "tcp:2"], ("tcp:1", "tcp:2")),
    ],
)
def test_a_field_takes_its_own_type_or_the_text_of_a_command_line(
    field: str, text: Any, value: object
) -> None:
    assert getattr(Config(**{field: text}), field) == value


WRONG = [
    *(
        ("port", value, "a whole number from 0 to 65535")
        for value in ["", "-1", "65536", 65536, -1, "http", "1.0", 1.0, True, " 1", "1_0", "+1"]
    ),
    ("port", "\N{ARABIC-INDIC DIGIT ONE}", "a whole number from 0 to 65535"),
    ("port", "9" * 5000, "a whole number from 0 to 65535"),
    *(
        (field, value, f"a whole number of bytes from {least}, or a size with {SIZE_UNITS}")
        for field, least in SIZES.items()
        for value in ["-1", -1, "1k", "1MB", "1mib", "1.5KiB", "-1KiB", None, False, 1.5, " 1"]
    ),
    *(
        (field, value, TIME_ALLOWED)
        for field in TIMES
        for value in ["", "-0.1", "86401", "soon", "nan", "inf", None, True, " 1", "1_0", "1\n"]
    ),
    *(
        ("workers", value, "auto, or a whole number from 1 to 256")
        for value in ["", "0", 0, "257", "-1", True, None, 1.5, "Auto", " 1", "+1", "all"]
    ),
    *(
        ("overload_code", value, SENDABLE)
        for value in ["", "1004", 1005, 1006, "1010", 1015, 2999, 5000, "9" * 5000, True, None, 1e3]
    ),
    ("drain", "\N{ARABIC-INDIC DIGIT ONE}", TIME_ALLOWED),
    *(
        ("drain", value, TIME_ALLOWED)
        for value in ["25h", "1d", "1S", "-1s", "1e3s", float("nan"), float("inf"), -1, "1  s"]
    ),
    *(
        ("protocol", value, "greeting, echo or the dotted name of a class")
        for value in ["", 1, None, "a\nb", "\udcff"]
    ),
    *(("compression", value, "on or off") for value in ["", "yes", "ON", 1, None, []]),
    *(("greeting", value, "text in UTF-8") for value in [b"bytes", None, "\udcff"]),
    *(
        ("message_log", value, "log, - or the path of a file")
        for value in ["", "a\0b", None, "\udcff"]
    ),
    *(
        ("listen", value, "a Twisted endpoint string such as tcp:8080 or unix:ws.sock")
        for value in ["", [""], None, 1, ["tcp:1", 2], "tcp:\n"]
    ),
]


@pytest.mark.parametrize(("field", "value", "allowed"), WRONG)
def test_a_wrong_value_is_refused_with_option_value_and_what_is_allowed(
    field: str, value: Any, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**{field: value})
    message = str(caught.value)
    assert message == f"{option_name(field)}: {value!r} is not allowed; give {allowed}"
    assert message.isprintable()


@pytest.mark.parametrize(
    ("size", "fragments"),
    [(0, 0), (1, 1024), ("1MiB", 1024), ("4MiB", 1024), ("5MiB", 1280), ("128MiB", 32768)],
)
def test_a_message_may_have_a_fragment_for_each_4_kib(size: Any, fragments: int) -> None:
    assert Config(greeting="", max_message_size=size).max_fragments == fragments
    assert ClientConfig(url="ws://x", max_message_size=size).max_fragments == fragments
    assert Config(greeting="", max_message_size=size, max_fragments=7).max_fragments == 7


@pytest.mark.parametrize("kind", [Config, ClientConfig])
def test_whatever_is_a_size_or_a_time_takes_units(kind: Any) -> None:
    others = {"url": "ws://x"} if kind is ClientConfig else {}
    for field in attrs.fields(kind):
        if not field.init or "metavar" not in field.metadata:
            continue
        name = field.name
        if name.endswith(("_bytes", "_size", "_buffer", "_payload")) and name not in COUNTS:
            assert getattr(kind(**others, **{name: "64KiB"}), name) == 65536
            assert field.metadata["metavar"] == BYTES
        elif field.type == "float":
            assert getattr(kind(**others, **{name: "2m"}), name) == 120
            assert field.metadata["metavar"] == SECONDS
        else:
            assert field.metadata["metavar"] not in (BYTES, SECONDS)


def test_a_greeting_larger_than_a_message_may_be_is_refused() -> None:
    assert Config(greeting="é", max_message_size=2).greeting == "é"
    assert Config(greeting="é" * 99, max_message_size=0)
    with pytest.raises(ConfigError, match=r"--greeting: 2 bytes .* --max-message-size, 1$"):
        Config(greeting="é", max_message_size=1)


def test_messages_are_not_json_within_a_log_of_text() -> None:
    with pytest.raises(ConfigError, match="--message-log-format: 'json' is not allowed within"):
        Config(message_log_format="json")
    assert Config(message_log_format="json", log_format="json")
    assert Config(message_log_format="json", message_log="-")
    assert Config(log_format="json")


def test_an_error_is_a_value_error_and_one_of_ours() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, WSServiceError)


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(Config)])
def test_every_field_has_what_an_option_needs(field: str) -> None:
    metadata = attrs.fields_dict(Config)[field].metadata
    assert metadata["metavar"] or attrs.fields_dict(Config)[field].default is False
    assert metadata["help"]


def test_an_option_is_named_after_its_field() -> None:
    assert option_name("log_payload") == "--log-payload"


def test_a_key_is_nothing_without_its_certificate_and_both_without_a_port() -> None:
    with pytest.raises(ConfigError, match="--tls-key: is not allowed alone; give --tls-cert too"):
        Config(tls_key=("key.pem",))
    with pytest.raises(ConfigError, match="--tls-cert: is not allowed without a --port"):
        Config(tls_cert=("cert.pem",), listen=("tcp:1",))
    assert Config(tls_cert=("cert.pem",), listen=("tcp:1",), port=2)
    one: Any = "cert.pem"
    assert Config(tls_cert=one).tls_cert == ("cert.pem",)
    for none in ("", None, ()):
        nothing: Any = none
        assert Config(tls_cert=nothing, tls_key=nothing) == Config()
    with pytest.raises(ConfigError, match="--tls-key: 1 are not allowed with 2 of --tls-cert"):
        Config(tls_cert=("a", "b"), tls_key=("c",))
    with pytest.raises(ConfigError, match="--tls-client-ca: is not allowed without TLS"):
        Config(tls_client_ca="ca.pem", listen=("tcp:1",))
    for listen in ("ssl:1:privateKey=k", "haproxy:ssl:1:privateKey=k"):
        assert Config(tls_client_ca="ca.pem", listen=(listen,))


class TestHistory:
    @pytest.mark.parametrize(
        ("given", "size", "seconds"),
        [
            ("0", 0, 0),
            ("0,60", 0, 0),
            ("100", 100, 300),
            ("100,60", 100, 60),
            ("1000000,0.5", 1_000_000, 0.5),
            ("100,0", 100, 0),
            (100, 100, 300),
            (0, 0, 0),
        ],
    )
    def test_it_is_a_size_and_seconds(self, given: Any, size: int, seconds: float) -> None:
        config = Config(history=given)
        assert (config.history_size, config.history_seconds) == (size, seconds)
        assert Config(history=config.history) == config

    @pytest.mark.parametrize(
        "given",
        [
            *("", "x", "-1", "1000001", "10,", "10,x", "10,-1", "10,86401", "1,2,3", "٣"),
            *(-1, 1000001, True, 1.5, None),
        ],
    )
    def test_another_is_refused(self, given: Any) -> None:
        with pytest.raises(ConfigError, match=r"--history: .* allowed; give COUNT or COUNT,"):
            Config(history=given)

    def test_its_octets_have_a_least(self) -> None:
        with pytest.raises(ConfigError, match="--history-bytes: 65535 is not allowed"):
            Config(history_bytes=65535)


class TestWebhook:
    def made(self, **settings: Any) -> Config:
        return Config(**{"webhook": "http://h/", "webhook_secret_file": "secret", **settings})

    @pytest.mark.parametrize(
        "url", ["http://h", "https://h:8443/a/b?c=d", "http://[::1]:1/", "http://192.0.2.1/"]
    )
    def test_urls(self, url: str) -> None:
        assert self.made(webhook=url).webhook == url

    @pytest.mark.parametrize("host", ["my_service", "r3---sn.cdn.example", "hook.example."])
    def test_every_name_that_dns_may_have(self, host: str) -> None:
        assert self.made(webhook=f"https://{host}/").webhook == f"https://{host}/"

    def test_one_beyond_ascii_is_as_browsers_send_it(self) -> None:
        made = self.made(webhook="https://b\u00fccher.example/\u00fc")
        assert made.webhook == "https://xn--bcher-kva.example/%C3%BC"

    @pytest.mark.parametrize(
        "url",
        [
            *("h", "ftp://h/", "http://", "http:///x", "http://u:p@h/", "http://h/#x"),
            *("http://h:x/", "http://h:0/", "http://h:99999/", "http://h h/", "http://a..b/"),
            *("http://h/\n", "http://my_\u00e4/", f"http://{'x' * 64}/"),
        ],
    )
    def test_what_is_no_url(self, url: str) -> None:
        with pytest.raises(ConfigError, match=r"^--webhook: .* is not allowed; give a URL such"):
            self.made(webhook=url)

    def test_events(self) -> None:
        assert Config().webhook_events == "connect,disconnect"
        assert self.made(webhook_events="message,connect").webhook_events == "connect,message"
        for wrong in ("", "x", "connect,", "connect message"):
            with pytest.raises(ConfigError, match="give some of connect,disconnect,message"):
                self.made(webhook_events=wrong)

    @pytest.mark.parametrize("url", ["http://me:hunter2@h/", "ftp://h/?token=hunter2"])
    def test_a_wrong_one_is_shown_without_its_secrets(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.made(webhook=url)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("name", ["webhook", "webhook_secret_file"])
    def test_neither_goes_without_the_other(self, name: str) -> None:
        with pytest.raises(ConfigError, match="is not allowed without --webhook"):
            Config(**{name: "http://h/"})  # type: ignore[arg-type]


class TestInbox:
    def made(self, **settings: Any) -> Config:
        return Config(broker=("redis://h",), **{"inbox": "in", **settings})

    def test_what_becomes_of_messages_while_it_is_away(self) -> None:
        assert self.made(inbox_away="buffer,007").inbox_away == "buffer,7"
        assert self.made(inbox_away="buffer,7").inbox_buffer == 7
        assert self.made(inbox_away="refuse").inbox_buffer == 0
        for wrong in ("", "buffer", "buffer,", "buffer,0", "buffer,x", "buffer,1000001", "Drop"):
            with pytest.raises(ConfigError, match=r"^--inbox-away: .* give refuse, drop, or"):
                self.made(inbox_away=wrong)

    @pytest.mark.parametrize("name", ["a" * 256, "a\n"])
    def test_a_stream_that_is_not_allowed(self, name: str) -> None:
        with pytest.raises(ConfigError, match=r"^--inbox: .* the name of a stream"):
            self.made(inbox=name)

    def test_it_is_none_of_the_services_own(self) -> None:
        with pytest.raises(ConfigError, match=r"^--inbox: 'app:in' is not allowed: names that"):
            self.made(inbox="app:in", broker_prefix="app")
        assert self.made(inbox="app", broker_prefix="app").inbox == "app"

    def test_it_is_not_allowed_alone(self) -> None:
        with pytest.raises(ConfigError, match=r"^--inbox: 'in' is not allowed without --broker"):
            Config(inbox="in")


@pytest.mark.parametrize("path", ["", "/", "/health", "/a/b;c=%20&d", "/" + "a" * 254])
def test_a_path_of_health_checks(path: str) -> None:
    assert Config(health_path=path).health_path == path


@pytest.mark.parametrize(
    "path",
    ["health", "/a?b", "/a#b", "/a b", "/\u00e9", "/a\n", "http://a/b", "/" + "a" * 255, 5, None],
)
def test_what_is_no_path_of_health_checks(path: Any) -> None:
    with pytest.raises(ConfigError, match=r"^--health-path: .* is not allowed; give a path such"):
        Config(health_path=path)


@pytest.mark.parametrize(
    ("of_clients", "most"),
    [(0, 16 << 20), (1, 1 << 20), (1 << 20, 1 << 20), ((1 << 20) + 1, (1 << 20) + 1)],
)
def test_a_message_to_publish_is_bounded_by_those_of_clients(of_clients: int, most: int) -> None:
    assert Config(max_message_size=of_clients, greeting="").most_to_publish == most
