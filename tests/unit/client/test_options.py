from __future__ import annotations

from typing import Any

import attrs
import pytest

from wsservice.client.options import ClientConfig
from wsservice.client.web.urls import URL_FORM
from wsservice.errors import ConfigError

URL = "ws://localhost:8080/websockets/"

_NOT_PRINTABLE = "a character that cannot be printed is written %XX, for each octet; "


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
        t = ClientConfig(url=url).target
        assert (t.secure, t.host, t.port, t.resource) == (
            secure,
            host,
            port,
            resource,
        )

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("", ""),
            ("localhost:8080", ""),
            ("http://localhost/", ""),
            ("ws://", "a host is a name, an IPv4 address or an IPv6 address in brackets; "),
            ("ws:///path", "a host is a name, an IPv4 address or an IPv6 address in brackets; "),
            ("ws://:80/", "a host is a name, an IPv4 address or an IPv6 address in brackets; "),
            ("ws://localhost:0/", "a port is a number from 1 to 65535; "),
            ("ws://localhost:65536/", "a port is a number from 1 to 65535; "),
            (
                "ws://localhost:http/",
                "a host is a name, an IPv4 address or an IPv6 address in brackets; ",
            ),
            ("ws://[::1/", "the text in brackets is not an IPv6 address; "),
            ("ws://localhost/a b", "a space in it is written %20; "),
            ("ws://localhost/a\nb", _NOT_PRINTABLE),
            ("\tws://localhost/", _NOT_PRINTABLE),
            ("ws://localhost/\x1b", _NOT_PRINTABLE),
            ("ws://localhost/\udcff", _NOT_PRINTABLE),
        ],
    )
    def test_what_is_none_is_refused_in_one_line(self, url: str, why: str) -> None:
        with pytest.raises(ConfigError) as caught:
            ClientConfig(url=url)
        assert str(caught.value) == f"{url!r} is not allowed; {why}give a URL like {URL_FORM}"
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("url", ["ws://localhost/#", "ws://localhost/#part"])
    def test_one_with_a_fragment_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match="a WebSocket URL has no fragment"):
            ClientConfig(url=url)


class TestClientConfig:
    def test_it_is_frozen(self) -> None:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            ClientConfig(url=URL).url = ""  # type: ignore[misc]

    @pytest.mark.parametrize("headers", [{"X-A": "1"}, [("X-A", "1")]])
    def test_headers_are_a_mapping_or_pairs(self, headers: Any) -> None:
        assert ClientConfig(url=URL, headers=headers).headers == (("X-A", "1"),)

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
            ClientConfig(url=URL, **settings)
        assert str(caught.value).isprintable()


def test_a_header_given_twice_is_sent_twice_where_that_makes_sense() -> None:
    pairs = (("X-A", "1"), ("x-a", "2"))
    assert ClientConfig(url="ws://a/", headers=pairs).headers == pairs
    with pytest.raises(ConfigError, match="more than once"):
        ClientConfig(url="ws://a/", headers=[("Host", "1"), ("host", "2")])


class TestCredentials:
    def test_those_of_the_url_are_taken_out_of_it(self) -> None:
        config = ClientConfig(url="ws://user:secret@a/p")
        assert (config.url, config.auth) == ("ws://a/p", ("user", "secret"))
        assert ClientConfig(url=config.url).auth is None

    def test_others_stand_before_them(self) -> None:
        assert ClientConfig(url="ws://u:p@a/", auth=("v", "q")).auth == ("v", "q")
        assert ClientConfig(url="ws://u:p@a/", bearer="t").auth is None

    def test_one_of_them_is_enough(self) -> None:
        with pytest.raises(ConfigError, match="auth and bearer"):
            ClientConfig(url=URL, auth=("u", "p"), bearer="t")

    def test_they_are_not_shown(self) -> None:
        config = ClientConfig(
            url="ws://u:secret@a/",
            headers={"Authorization": "secret", "X-Api-Key": "secret", "X-A": "shown"},
            cookies="a=secret",
            proxy="http://u:secret@p",
            key_password="secret",
        )
        assert "secret" not in repr(config)
        assert "shown" in repr(config)
        assert "secret" not in repr(ClientConfig(url=URL, bearer="secret"))

    @pytest.mark.parametrize(
        "settings",
        [
            {"headers": {"Authorization": "secret\n"}},
            {"cookies": "secret"},
            {"bearer": "secret secret"},
            {"auth": ("a:b", "secret")},
            {"proxy": "http://u:secret@p:x"},
        ],
    )
    def test_not_even_where_they_are_refused(self, settings: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            ClientConfig(url=URL, **settings)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["Connection", "upgrade", "Sec-WebSocket-Key", "sec-websocket-x", "Content-Length"],
)
def test_headers_that_make_the_handshake_are_not_the_users(name: str) -> None:
    with pytest.raises(ConfigError, match="the handshake sets it"):
        ClientConfig(url=URL, headers={name: "x"})


def test_a_subprotocol_is_offered_once() -> None:
    with pytest.raises(ConfigError, match="number 2 is given twice"):
        ClientConfig(url=URL, subprotocols=["a", "a"])


class TestResolve:
    @pytest.mark.parametrize(
        ("entry", "pins"),
        [
            ("a.example:80:127.0.0.1", {("a.example", 80): ("127.0.0.1",)}),
            ("A.example:80:[::1],127.0.0.1", {("a.example", 80): ("::1", "127.0.0.1")}),
            ("a:1:::1", {("a", 1): ("::1",)}),
            ("*:443:127.0.0.1", {("*", 443): ("127.0.0.1",)}),
            ("[::2]:80:[::1]", {("::2", 80): ("::1",)}),
        ],
    )
    def test_of_a_host_and_port_the_addresses(self, entry: str, pins: Any) -> None:
        assert ClientConfig(url=URL, resolve=[entry]).pins == pins

    @pytest.mark.parametrize(
        "entry",
        ["", "a", "a:80", "a:80:", "a:x:127.0.0.1", "a:0:127.0.0.1", "a:80:b", "a b:80:::1"],
    )
    def test_what_is_none_is_refused(self, entry: str) -> None:
        with pytest.raises(ConfigError, match="--resolve: "):
            ClientConfig(url=URL, resolve=[entry])


@pytest.mark.parametrize("version", [5, "4", True])
def test_an_ip_version_is_4_or_6(version: Any) -> None:
    with pytest.raises(ConfigError, match="ip_version"):
        ClientConfig(url=URL, ip_version=version)


def test_a_proxy_is_a_url_the_environments_or_none() -> None:
    for proxy in ("", "environment", "p:1", "socks5h://u:p@p"):
        assert ClientConfig(url=URL, proxy=proxy).proxy == proxy


class TestSecrets:
    CONFIG = ClientConfig(
        url="ws://h/?room=1&token=hunter21",
        headers={"X-Api-Key": "hunter22", "X-Team": "blue"},
        subprotocols=["wsservice.v1", "hunter23"],
        auth=("me", "hunter24"),
        cookies="a=hunter25",
    )

    def test_they_are_not_in_its_repr(self) -> None:
        assert "hunter" not in repr(self.CONFIG)
        assert "blue" in repr(self.CONFIG)
        assert "wsservice.v1" in repr(self.CONFIG)

    def test_they_are_known_and_what_is_none_is_not_among_them(self) -> None:
        secrets = set(self.CONFIG.secrets)
        assert {f"hunter2{n}" for n in range(1, 6)} <= secrets
        assert not secrets & {"blue", "wsservice.v1", "me", "1", ""}

    @pytest.mark.parametrize("names", [["hunter2=="], ["hunter2", "hunter2"]])
    def test_a_subprotocol_that_is_not_allowed_is_not_told(self, names: list[str]) -> None:
        with pytest.raises(ConfigError) as caught:
            ClientConfig(url=URL, subprotocols=names)
        assert "hunter2" not in str(caught.value)
