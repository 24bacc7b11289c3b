from __future__ import annotations

import pytest

from wsservice.client.urls import masked, parse, redirected
from wsservice.errors import ConfigError


class TestParse:
    @pytest.mark.parametrize(
        ("url", "login"),
        [
            ("ws://user:pass@a.example/p", ("user", "pass")),
            ("ws://user@a.example/p", ("user", "")),
            ("ws://us%65r:p%40ss:w%2Frd@a.example/p", ("user", "p@ss:w/rd")),
            ("ws://user:p@ss@a.example/p", ("user", "p@ss")),
        ],
    )
    def test_a_name_and_a_password_are_taken_out_of_it(
        self, url: str, login: tuple[str, str]
    ) -> None:
        target = parse(url)
        assert target.login == login
        assert target.url == "ws://a.example/p"
        assert "user" not in repr(target)

    @pytest.mark.parametrize(
        ("url", "authority"),
        [
            ("ws://a.example/", "a.example"),
            ("ws://a.example:80/", "a.example"),
            ("ws://a.example:443/", "a.example:443"),
            ("wss://a.example:443/", "a.example"),
            ("wss://a.example:80/", "a.example:80"),
            ("ws://[::1]/", "[::1]"),
            ("ws://[::1]:9/", "[::1]:9"),
            ("ws+unix:/run/x.sock", "localhost"),
        ],
    )
    def test_the_authority_has_the_port_only_where_it_is_not_the_default(
        self, url: str, authority: str
    ) -> None:
        assert parse(url).authority == authority

    @pytest.mark.parametrize(
        ("url", "socket", "resource"),
        [
            ("ws+unix:/run/x.sock", "/run/x.sock", "/"),
            ("ws+unix:/run/x.sock:/p?q=1:2", "/run/x.sock", "/p?q=1:2"),
            ("ws+unix:///run/x.sock:/p", "/run/x.sock", "/p"),
            ("WS+UNIX:./x.sock:/", "./x.sock", "/"),
            ("ws+unix:/run/a%20b%3Ac.sock:/p%20q", "/run/a b:c.sock", "/p%20q"),
        ],
    )
    def test_a_unix_socket(self, url: str, socket: str, resource: str) -> None:
        target = parse(url)
        assert (target.socket, target.resource, target.secure) == (socket, resource, False)

    @pytest.mark.parametrize(
        "url",
        ["ws+unix:", "ws+unix::/p", "ws+unix://host/x.sock", "ws+unix:/x:p", "ws+unix:/x%00y"],
    )
    def test_no_unix_socket(self, url: str) -> None:
        with pytest.raises(ConfigError):
            parse(url)

    @pytest.mark.parametrize(
        "url",
        ["ws://user:secret@host:x/", "user:secret@host", "ws://u:se cret@h/", "ws:u:secret@h"],
    )
    def test_what_is_refused_is_shown_without_a_password(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse(url)
        assert "secret" not in str(caught.value)
        assert "cret" not in str(caught.value)

    @pytest.mark.parametrize("host", ["a<b", "a%41", "a\\b", "[::1", "1.2.3.4:5:6", "b\x7f"])
    def test_a_host_is_a_name_or_an_address(self, host: str) -> None:
        with pytest.raises(ConfigError):
            parse(f"ws://{host}/")


def test_masked_shows_what_is_no_secret() -> None:
    assert masked("http://u:p@proxy:1") == "http://***@proxy:1"
    assert masked("http://proxy:1") == "http://proxy:1"
    assert masked("u:p@proxy") == "***@proxy"
    assert masked("http://u:p/w@proxy") == "http://***@proxy"


class TestRedirected:
    @pytest.mark.parametrize(
        ("url", "location", "there"),
        [
            ("ws://a/p/q?r", "/s", "ws://a/s"),
            ("ws://a/p/q", "s?t", "ws://a/p/s?t"),
            ("ws://a:8080/p", "//b/s", "ws://b/s"),
            ("ws://a/p", "ws://b:9/s", "ws://b:9/s"),
            ("ws://a/p", "http://b/s", "ws://b/s"),
            ("ws://a/p", "HTTPS://b/s#part", "wss://b/s"),
            ("wss://a/p", "https://a/s", "wss://a/s"),
            ("wss://a:99/p", "/s", "wss://a:99/s"),
            ("ws+unix:/run/a%3Ab:/p", "/s?t", "ws+unix:/run/a%3Ab:/s?t"),
            ("ws+unix:/run/a:/p", "ws://b/s", "ws://b/s"),
        ],
    )
    def test_it_leads(self, url: str, location: str, there: str) -> None:
        assert redirected(parse(url), location).url == there

    @pytest.mark.parametrize(
        ("url", "location"),
        [
            ("wss://a/", "ws://a/"),
            ("wss://a/", "http://a/"),
            ("ws://a/", "file:///etc/passwd"),
            ("ws://a/", "javascript:1"),
            ("ws://a/", "ws+unix:/run/x.sock:/"),
            ("ws://a/", "http://user:pass@a/"),
            ("ws://a/", "http://a:x/"),
            ("ws://a/", "http://a/\x1b"),
            ("ws://a/", "http://b\xe9/"),
            ("ws://a/", "http://[::1/"),
        ],
    )
    def test_it_must_not_lead(self, url: str, location: str) -> None:
        with pytest.raises(ConfigError) as caught:
            redirected(parse(url), location)
        assert str(caught.value).isprintable()

    def test_an_origin_is_a_scheme_a_host_and_a_port(self) -> None:
        here = parse("ws://a:80/p")
        assert here.same_origin(parse("ws://A/q"))
        for other in ("ws://a:81/", "wss://a:80/", "ws://b/", "ws+unix:/x"):
            assert not here.same_origin(parse(other))
