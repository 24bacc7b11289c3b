from __future__ import annotations

from typing import Any

import attrs
import pytest

from wsservice import __version__
from wsservice.client.options import TUTORIAL_URL, ClientConfig, parse
from wsservice.errors import ConfigError

Capture = pytest.CaptureFixture[str]


class TestURL:
    @pytest.mark.parametrize(
        ("url", "secure", "host", "port", "resource"),
        [
            ("ws://localhost", False, "localhost", 80, "/"),
            ("wss://localhost", True, "localhost", 443, "/"),
            ("ws://localhost:8080/websockets/", False, "localhost", 8080, "/websockets/"),
            ("ws://a.example/p?q=1&r=2", False, "a.example", 80, "/p?q=1&r=2"),
            ("ws://a.example?q=1", False, "a.example", 80, "/?q=1"),
            ("ws://a.example/p;v=1/q;w=2?x", False, "a.example", 80, "/p;v=1/q;w=2?x"),
            ("ws://[2001:db8::1]:9/", False, "2001:db8::1", 9, "/"),
            ("WS://A.example/P", False, "a.example", 80, "/P"),
        ],
    )
    def test_it_says_whom_to_ask_for_what(
        self, url: str, secure: bool, host: str, port: int, resource: str
    ) -> None:
        config = ClientConfig(url=url)
        assert (config.secure, config.host, config.port, config.resource) == (
            secure,
            host,
            port,
            resource,
        )

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "localhost:8080",
            "http://localhost/",
            "ws://",
            "ws:///path",
            "ws://:80/",
            "ws://localhost:0/",
            "ws://localhost:65536/",
            "ws://localhost:http/",
            "ws://[::1/",
            "ws://user@localhost/",
            "ws://user:secret@localhost/",
            "ws://localhost/a b",
            "ws://localhost/a\nb",
            "\tws://localhost/",
            "ws://localhost/\x1b",
            "ws://bücher.example/",
            "ws://localhost/\udcff",
        ],
    )
    def test_what_is_none_is_refused_in_one_line(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            ClientConfig(url=url)
        assert str(caught.value) == (
            f"{url!r} is not allowed; give a URL like ws://HOST[:PORT][/PATH], or wss:"
        )
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("url", ["ws://localhost/#", "ws://localhost/#part"])
    def test_one_with_a_fragment_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match="a WebSocket URL has no fragment"):
            ClientConfig(url=url)


class TestClientConfig:
    def test_it_is_frozen(self) -> None:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            ClientConfig(url=TUTORIAL_URL).url = ""  # type: ignore[misc]

    @pytest.mark.parametrize("headers", [{"X-A": "1"}, [("X-A", "1")]])
    def test_headers_are_a_mapping_or_pairs(self, headers: Any) -> None:
        assert ClientConfig(url=TUTORIAL_URL, headers=headers).headers == (("X-A", "1"),)

    @pytest.mark.parametrize(
        "settings",
        [
            {"headers": {"X\r\nY": "1"}},
            {"headers": {"": "1"}},
            {"headers": {"X": "1\r\nY: 2"}},
            {"headers": {"X": "é"}},
            {"origin": "a\r\nX: 1"},
            {"user_agent": "a\r\nX: 1"},
            {"subprotocols": ["a b"]},
            {"subprotocols": ["a,b"]},
            {"subprotocols": [""]},
            {"connect_timeout": -1},
            {"max_message_size": "x"},
        ],
    )
    def test_what_would_break_the_handshake_is_refused_in_one_line(self, settings: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            ClientConfig(url=TUTORIAL_URL, **settings)
        assert str(caught.value).isprintable()


class TestCommand:
    def test_no_arguments_are_the_tutorials_part(self) -> None:
        command = parse([])
        assert command.tutorial
        assert command.config.url == "ws://localhost:8080/websockets/"
        assert command.messages == ()

    def test_with_a_url_only_what_is_given_is_sent(self) -> None:
        command = parse(["ws://a.example/", "-m", "one", "--message", "zwölf", "-m", ""])
        assert not command.tutorial
        assert command.config.url == "ws://a.example/"
        assert command.messages == (b"one", "zwölf".encode(), b"")

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["http://a"], "'http://a' is not allowed; give a URL like"),
            (["-m", "x"], "-m needs a URL to send to"),
            (["ws://a", "-m", "\udcff"], "-m: a message must be text in UTF-8"),
            (["ws://a", "-m"], "argument -m/--message: expected one argument"),
            (["ws://a", "ws://b\n\x1b"], r"unrecognized arguments: ws://b\n\x1b"),
            (["ws://a", "--mess", "x"], "unrecognized arguments: --mess x"),
        ],
    )
    def test_what_is_wrong_is_one_line_and_status_2(
        self, capsys: Capture, arguments: list[str], problem: str
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            parse(arguments)
        assert caught.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"wsservice.client: {problem}")
        assert err.endswith("; see --help\n")
        assert err[:-1].isprintable()

    def test_help_tells_the_exit_statuses(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit):
            parse(["--help"])
        assert "3 could not connect" in capsys.readouterr().out

    def test_version(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit):
            parse(["--version"])
        assert capsys.readouterr().out == f"wsservice {__version__}\n"


def test_a_header_given_twice_is_refused_rather_than_lost() -> None:
    with pytest.raises(ConfigError, match="more than once"):
        ClientConfig(url="ws://a/", headers=[("X-A", "1"), ("x-a", "2")])
