from __future__ import annotations

import pytest

from wsservice.client.web.proxies import ENVIRONMENT, exempt, parse_proxy, proxy_for
from wsservice.client.web.urls import parse
from wsservice.errors import ConfigError


class TestParse:
    @pytest.mark.parametrize(
        ("url", "shown", "login"),
        [
            ("http://p.example:3128", "http://p.example:3128", None),
            ("p.example:3128", "http://p.example:3128", None),
            ("http://p.example/", "http://p.example:80", None),
            ("https://p.example", "https://p.example:443", None),
            ("socks5://[::1]", "socks5://[::1]:1080", None),
            ("socks5h://u:p%40@p.example:1", "socks5h://p.example:1", ("u", "p@")),
            ("u:p@p.example:1", "http://p.example:1", ("u", "p")),
            ("socks://p.example:1/", "socks5h://p.example:1", None),
            ("http://my_proxy:3128", "http://my_proxy:3128", None),
            ("http://bücher.example:3128", "http://xn--bcher-kva.example:3128", None),
        ],
    )
    def test_it_says_where_it_is(self, url: str, shown: str, login: tuple[str, str] | None) -> None:
        proxy = parse_proxy(url)
        assert str(proxy) == shown
        assert proxy.login == login
        assert "login" not in repr(proxy)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "ftp://p:1",
            "http://u:secret@p:x",
            "http://u:secret@p/path",
            "http://u:secret@p?q",
            "socks5://u:secret@",
            f"socks5://u:{'secret' * 50}@p",
            "socks5://secret@p",
            "http://u:secret@p\x1b",
            "http://u:secret@a..b",
            "socks4://u:secret@p",
        ],
    )
    def test_what_is_none_is_refused_without_its_password(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_proxy(url, "https_proxy")
        assert str(caught.value).startswith("https_proxy: ")
        assert "secret" not in str(caught.value)
        assert str(caught.value).isprintable()


class TestChoice:
    def chosen(self, url: str, setting: str = ENVIRONMENT, **environment: str) -> str:
        proxy = proxy_for(parse(url), setting, environment)
        return "" if proxy is None else proxy.host

    def test_the_one_that_is_given(self) -> None:
        assert self.chosen("ws://a/", "http://p", http_proxy="q", no_proxy="*") == "p"

    def test_none(self) -> None:
        assert self.chosen("ws://a/", "", http_proxy="q") == ""
        assert self.chosen("ws://a/") == ""

    def test_a_unix_socket_has_none(self) -> None:
        assert self.chosen("ws+unix:/x", "http://p") == ""

    def test_variables_by_scheme(self) -> None:
        names = {"http_proxy": "h", "https_proxy": "s", "all_proxy": "a"}
        assert self.chosen("ws://a/", **names) == "h"
        assert self.chosen("wss://a/", **names) == "s"
        assert self.chosen("ws://a/", ws_proxy="w", **names) == "w"
        assert self.chosen("ws://a/", all_proxy="a") == "a"
        assert self.chosen("wss://a/", ALL_PROXY="a") == "a"
        assert self.chosen("wss://a/", HTTPS_PROXY="s", https_proxy="") == "s"

    def test_http_proxy_in_capitals_is_what_a_cgi_programs_client_sets(self) -> None:
        assert self.chosen("ws://a/", HTTP_PROXY="evil") == ""

    def test_a_variable_that_is_wrong_is_named(self) -> None:
        with pytest.raises(ConfigError, match=r"http_proxy: .* is not allowed"):
            self.chosen("ws://a/", http_proxy="ftp://p")

    def test_no_proxy_is_asked(self) -> None:
        assert self.chosen("ws://a/", http_proxy="h", no_proxy="b,a") == ""
        assert self.chosen("ws://a/", http_proxy="h", NO_PROXY="a") == ""
        assert self.chosen("ws://a/", http_proxy="h", NO_PROXY="b") == "h"


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("a.example", "*"),
        ("a.example", "b, *"),
        ("a.example", "a.example"),
        ("a.example", "x A.EXAMPLE y"),
        ("a.example", ".example"),
        ("a.example", "example"),
        ("a.example.", "example."),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8::7", "2001:db8::/32"),
        ("::1", "[::1]"),
        ("fe80::1%eth0", "fe80::/10"),
        ("a.example", "a.example:80"),
        ("b.a.example", "A.example:80"),
        ("192.0.2.7", "192.0.2.7:80"),
        ("::1", "[::1]:80"),
        ("a.example", "*:80"),
        ("a.example", "*.example"),
        ("b.a.example", "*.example:80"),
    ],
)
def test_exempt(host: str, no_proxy: str) -> None:
    assert exempt(host, 80, no_proxy)


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("a.example", ""),
        ("a.example", ","),
        ("a.example", "."),
        ("a.example", "xample"),
        ("a.example", "b.example"),
        ("example", "a.example"),
        ("a.example", "*.b"),
        ("192.0.2.7", "192.0.3.0/24"),
        ("192.0.2.7", "2.7"),
        ("192.0.2.7", "2001:db8::/32"),
        ("192.0.2.7", "192.0.2.0/99"),
        ("a.example", "a.example:81"),
        ("192.0.2.7", "192.0.2.7:8"),
        ("a.example", "a.example:" + "8" * 9999),
        ("::1", "[::1]:81"),
        ("::1", "::2"),
        ("a.example", "*:81"),
        ("a.example", "*.a.example"),
        ("aexample", "*.example"),
        ("a.example", "*."),
        ("a.example", ":80"),
    ],
)
def test_not_exempt(host: str, no_proxy: str) -> None:
    assert not exempt(host, 80, no_proxy)
