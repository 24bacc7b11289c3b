from __future__ import annotations

import pytest

from wsservice.client.web.urls import parse, redirected
from wsservice.errors import ConfigError


def latin1(text: str) -> str:
    """Text in UTF-8, as the value of a header is read."""
    return text.encode().decode("latin-1")


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
            ("ws+unix:/run/ü.sock:/é", "/run/ü.sock", "/%C3%A9"),
            ("ws+unix:/run/%FF.sock", "/run/\udcff.sock", "/"),
            (f"ws+unix:/{'x' * 106}", f"/{'x' * 106}", "/"),
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

    @pytest.mark.parametrize("url", [f"ws+unix:/{'x' * 107}:/p", f"ws+unix:/{'%C3%BC' * 54}"])
    def test_the_path_of_a_unix_socket_has_an_end(self, url: str) -> None:
        with pytest.raises(ConfigError, match=r"at most 107 octets, this one has 10[89];"):
            parse(url)

    @pytest.mark.parametrize(
        ("url", "ascii_url", "host"),
        [
            ("ws://bücher.example/", "ws://xn--bcher-kva.example/", "xn--bcher-kva.example"),
            ("ws://BÜCHER.example:9", "ws://xn--bcher-kva.example:9", "xn--bcher-kva.example"),
            ("ws://例え。jp/", "ws://xn--r8jz45g.jp/", "xn--r8jz45g.jp"),
            ("ws://my_ü.b--c.example/", "ws://xn--my_-wra.b--c.example/", ""),
            ("ws://a.example/ü?é=ü&%C3", "ws://a.example/%C3%BC?%C3%A9=%C3%BC&%C3", "a.example"),
        ],
    )
    def test_what_is_not_ascii_is_sent_as_browsers_do(
        self, url: str, ascii_url: str, host: str
    ) -> None:
        if not host:  # IDNA has no name for it
            with pytest.raises(ConfigError, match="write it as xn--"):
                parse(url)
            return
        target = parse(url)
        assert (target.url, target.host) == (ascii_url, host)
        assert target.resource.isascii()

    def test_a_login_may_be_beyond_ascii(self) -> None:
        target = parse("ws://Åse:pässword@a.example/ü")
        assert target.login == ("Åse", "pässword")
        assert target.url == "ws://a.example/%C3%BC"

    @pytest.mark.parametrize(
        "host", ["my_service", "r3---sn.cdn.example", "_dmarc.example", "a-.example", "-a", "a~b"]
    )
    def test_every_name_that_dns_may_have_is_taken(self, host: str) -> None:
        assert parse(f"ws://{host}:9/").host == host

    def test_a_dot_at_the_end_is_sent_as_it_was_typed(self) -> None:
        target = parse("ws://a.example./")
        assert (target.host, target.authority) == ("a.example.", "a.example.")

    @pytest.mark.parametrize("host", ["a..b", ".a", "a..", ".", "..", "x" * 64, "a.b." * 64])
    def test_a_name_that_no_dns_has_is_refused_before_it_is_asked(self, host: str) -> None:
        with pytest.raises(ConfigError, match="a host's name has "):
            parse(f"ws://{host}/")

    @pytest.mark.parametrize("url", ["ws://[fe80::1%25eth0.7]:9/p", "ws://[fe80::1%eth0.7]:9/p"])
    def test_the_zone_of_an_address_is_for_this_machine_only(self, url: str) -> None:
        target = parse(url)
        assert (target.host, target.port) == ("fe80::1%eth0.7", 9)
        assert target.authority == "[fe80::1]:9"

    def test_an_empty_port_is_the_default(self) -> None:
        assert parse("wss://a.example:/").port == 443

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
            # A client sees each octet beyond ASCII as a character.
            ("ws://a/p", latin1("/ü?é"), "ws://a/%C3%BC?%C3%A9"),
            ("ws://a/p", latin1("http://bücher.example/ü"), "ws://xn--bcher-kva.example/%C3%BC"),
            ("ws://a/p", latin1("//bücher.example/"), "ws://xn--bcher-kva.example/"),
            ("ws://a/p", latin1("?\u200d\u2028"), "ws://a/p?%E2%80%8D%E2%80%A8"),
            ("ws://a/p", "/\xe9\x85", "ws://a/%E9%85"),
            ("ws+unix:/run/a:/p", "/s#part", "ws+unix:/run/a:/s"),
            ("ws+unix:/run/a:/p", latin1("/ü"), "ws+unix:/run/a:/%C3%BC"),
            ("ws://a/p", "ws://my_service--x:9/", "ws://my_service--x:9/"),
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
            ("ws://a/", "http://a..b/"),
            ("ws://a/", latin1("http://a\u2028b/")),
            ("ws://a/", "http://" + "x" * 64),
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
