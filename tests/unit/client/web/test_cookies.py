from __future__ import annotations

import os
import stat
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import pytest

from wsservice.client.options import ClientConfig
from wsservice.client.web.answer import parse_head
from wsservice.client.web.cookiefile import CookieFile, made_cookie
from wsservice.client.web.cookies import check_cookies, cookies_for, keep_cookies
from wsservice.client.web.handshake import opening_request
from wsservice.client.web.urls import parse
from wsservice.errors import ConfigError, ConnectError

NETSCAPE = "# Netscape HTTP Cookie File\n"


def entry(
    domain: str, name: str, value: str, path: str = "/", secure: bool = False, until: int = 0
) -> str:
    sub = "TRUE" if domain.startswith(".") else "FALSE"
    return "\t".join([domain, sub, path, str(secure).upper(), str(until), name, value]) + "\n"


def answer(*cookies: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 101 OK", *(f"Set-Cookie: {each}" for each in cookies)]).encode()


def answer_latin1(*cookies: str) -> bytes:
    return answer(*cookies).decode().encode("latin-1")


class TestGiven:
    def test_they_are_sent_as_they_are(self) -> None:
        assert check_cookies("a=b; c=d=e;x=") == "a=b; c=d=e; x="
        assert check_cookies("") == ""

    @pytest.mark.parametrize(
        "cookies", ["a", "=secret", "a=se cret", "a=secret\r\nX: y", "a=secret,", "é=secret"]
    )
    def test_what_is_none_is_refused_and_not_told(self, cookies: str) -> None:
        with pytest.raises(ConfigError) as caught:
            check_cookies(cookies)
        assert "cret" not in str(caught.value)

    def test_they_stand_before_those_of_a_jar(self) -> None:
        jar = CookieJar()
        keep_cookies(parse("ws://a.example/"), parse_head(answer("k=v")), jar)
        assert cookies_for(parse("ws://a.example/"), "a=b", jar) == "a=b; k=v"
        assert cookies_for(parse("ws://a.example/"), "a=b", None) == "a=b"
        assert cookies_for(parse("ws://b.example/"), "", jar) == ""


class TestJar:
    def kept(self, url: str, *cookies: str) -> CookieJar:
        jar = CookieFile()
        keep_cookies(parse(url), parse_head(answer(*cookies)), jar)
        return jar

    def test_a_cookie_goes_to_its_host_only(self) -> None:
        jar = self.kept("ws://a.example/", "k=v")
        assert cookies_for(parse("ws://a.example:99/p"), "", jar) == "k=v"
        assert cookies_for(parse("ws://b.a.example/"), "", jar) == ""

    def test_a_secure_one_goes_over_tls_only(self) -> None:
        jar = self.kept("wss://a.example/", "k=v; Secure")
        assert cookies_for(parse("ws://a.example/"), "", jar) == ""
        assert cookies_for(parse("wss://a.example/"), "", jar) == "k=v"

    def test_one_for_another_domain_is_not_kept(self) -> None:
        assert list(self.kept("ws://a.example/", "k=v; Domain=b.example")) == []

    @pytest.mark.parametrize(
        ("host", "domain"),
        [
            ("localhost", "localhost"),
            ("localhost", ".LOCALHOST"),
            ("web", "web"),
            ("127.0.0.1", "127.0.0.1"),
        ],
    )
    def test_one_for_the_host_itself_is_kept(self, host: str, domain: str) -> None:
        for cookie in (f"k=v; Domain={domain}; Path=/", f"k=v;Path=/; domain = {domain}"):
            jar = self.kept(f"ws://{host}:8080/", cookie)
            assert cookies_for(parse(f"ws://{host}/p"), "", jar) == "k=v"
            assert cookies_for(parse("ws://b.example/"), "", jar) == ""

    @pytest.mark.parametrize(
        ("host", "domain", "elsewhere"),
        [
            ("a.example", "a.example", "b.a.example"),
            ("b.a.example", "a.example", "a.example"),
            ("a.co.uk", ".co.uk", "b.co.uk"),
            ("me.github.io", "github.io", "you.github.io"),
        ],
    )
    def test_one_for_more_than_its_host_goes_to_its_host_only(
        self, host: str, domain: str, elsewhere: str
    ) -> None:
        jar = self.kept(f"ws://{host}/", f"k=v; Domain={domain}")
        assert cookies_for(parse(f"ws://{host}/"), "", jar) == "k=v"
        assert cookies_for(parse(f"ws://{elsewhere}/"), "", jar) == ""

    @pytest.mark.parametrize(
        ("host", "domain"),
        [
            *(("web", "webby"), ("localhost", "example"), ("localhost", ".local")),
            *(("foo.local", "local"), ("a.example", "example"), ("127.0.0.1", ".0.0.1")),
            *(("a.example", "b.a.example"), ("a.example", "xa.example"), ("[::1]", ":1")),
        ],
    )
    def test_one_for_whole_nets_or_other_hosts_is_not_kept(self, host: str, domain: str) -> None:
        assert list(self.kept(f"ws://{host}/", f"k=v; Domain={domain}")) == []

    def test_a_host_without_a_dot_shares_none_with_one_in_local(self) -> None:
        jar = self.kept("ws://web/", "k=v")
        assert cookies_for(parse("ws://web.local/"), "", jar) == ""
        jar = self.kept("ws://web.local/", "k=v")
        assert cookies_for(parse("ws://web.local/"), "", jar) == "k=v"

    def test_a_plain_jar_of_pythons_gives_none_to_hosts_below_either(self) -> None:
        jar = CookieJar()
        keep_cookies(parse("ws://a.example/"), parse_head(answer("k=v; Domain=a.example")), jar)
        assert cookies_for(parse("ws://b.a.example/"), "", jar) == ""
        assert cookies_for(parse("ws://a.example/"), "", jar) == "k=v"

    def test_what_python_kept_for_a_host_without_a_dot_goes_there(self) -> None:
        jar = CookieJar()
        jar.set_cookie(made_cookie("localhost.local", "k", "v"))
        assert cookies_for(parse("ws://localhost/"), "", jar) == "k=v"

    def test_a_jars_own_policy_may_refuse(self) -> None:
        jar = CookieJar(DefaultCookiePolicy(blocked_domains=["a.example"]))
        keep_cookies(parse("ws://a.example/"), parse_head(answer("k=v")), jar)
        assert list(jar) == []

    @pytest.mark.parametrize(
        ("url", "cookie", "is_kept"),
        [
            ("wss://a.example/", "__Host-k=v; Secure; Path=/", True),
            ("wss://a.example/", "__Host-k=v; Path=/", False),
            ("wss://a.example/", "__host-k=v; Secure; Path=/; Domain=a.example", False),
            ("wss://a.example/", "__Host-k=v; Secure; Path=/p", False),
            ("wss://a.example/", "__Host-k=v; Secure", False),
            ("ws://a.example/", "__Host-k=v; Secure; Path=/", False),
            ("wss://a.example/", "__Secure-k=v; Secure", True),
            ("wss://a.example/", "__Secure-k=v", False),
            ("ws://a.example/", "__SECURE-k=v; Secure", False),
            ("wss://a.example/", "=__Secure-k=v", False),
            ("ws://a.example/", "k=v; Secure", False),
        ],
    )
    def test_one_is_what_its_name_says(self, url: str, cookie: str, is_kept: bool) -> None:
        assert bool(list(self.kept(url, cookie))) is is_kept

    @pytest.mark.parametrize("cookie", ["k=new", "k=; Max-Age=0", "k=new; Path=/p/q"])
    def test_without_tls_a_secure_one_is_left_alone(self, cookie: str) -> None:
        jar = self.kept("wss://a.example/", "k=v; Secure; Path=/")
        keep_cookies(parse("ws://a.example/p/q"), parse_head(answer(cookie)), jar)
        assert cookies_for(parse("wss://a.example/p/q"), "", jar) == "k=v"
        keep_cookies(parse("wss://a.example/"), parse_head(answer("k=new; Path=/")), jar)
        assert cookies_for(parse("wss://a.example/"), "", jar) == "k=new"

    def test_a_unix_sockets_stay_with_the_socket(self) -> None:
        jar = self.kept("ws+unix:/run/a.sock:/", "k=v; Domain=localhost")
        assert cookies_for(parse("ws://localhost/"), "", jar) == ""
        assert cookies_for(parse("ws+unix:/run/b.sock:/"), "", jar) == ""
        assert cookies_for(parse("ws+unix:/run/a.sock:/p"), "", jar) == "k=v"
        jar = self.kept("ws://localhost/", "k=v")
        assert cookies_for(parse("ws+unix:/run/a.sock:/"), "", jar) == ""

    def test_paths(self) -> None:
        jar = self.kept(
            "ws://a.example/p/q?x=/", "a=1", "b=2; Path=/p/q", "c=3; Path=/", "d=4; Path=x"
        )
        assert cookies_for(parse("ws://a.example/p/q/r"), "", jar) == "b=2; a=1; d=4; c=3"
        assert cookies_for(parse("ws://a.example/px"), "", jar) == "c=3"

    def test_one_ends(self) -> None:
        jar = self.kept(
            "ws://a.example/", "k=v; Max-Age=100", "l=w; Expires=Wed, 09 Jun 2100 10:18:14 GMT"
        )
        assert cookies_for(parse("ws://a.example/"), "", jar) == "k=v; l=w"
        assert all((each.expires or 0) < time.time() + 401 * 86400 for each in jar)
        gone = ("k=; Max-Age=0", "l=; Expires=Wed, 09-Jun-2010 10:18:14 GMT")
        keep_cookies(parse("ws://a.example/"), parse_head(answer(*gone)), jar)
        assert list(jar) == []

    @pytest.mark.parametrize("expires", ["nonsense", "", "Wed, 99 Jun 99999999999 10:18:14 GMT"])
    def test_an_end_that_is_none_is_the_sessions(self, expires: str) -> None:
        (cookie,) = self.kept("ws://a.example/", f"k=v; Expires={expires}; Max-Age=x")
        assert cookie.expires is None

    def test_octets_beyond_ascii_go_back_as_they_came(self) -> None:
        for octets in ("\u00c5se".encode(), b"\xc5se"):
            jar = CookieFile()
            head = b"HTTP/1.1 101 OK\r\nSet-Cookie: k=" + octets
            keep_cookies(parse("ws://a.example/"), parse_head(head), jar)
            sent = opening_request(ClientConfig(url="ws://a.example/", cookie_jar=jar), "key", ())
            assert b"\r\nCookie: k=" + octets + b"\r\n" in sent

    def test_one_without_a_name(self) -> None:
        assert cookies_for(parse("ws://a/"), "", self.kept("ws://a/", "v", " ; Path=/")) == "v"

    def test_what_is_too_long_is_not_kept(self) -> None:
        long = "x" * 4095
        assert len(list(self.kept("ws://a/", f"k={long}", f"kk={long}"))) == 1
        (cookie,) = self.kept("ws://a/p/q", f"k=v; Path=/{'x' * 1024}")
        assert cookie.path == "/p"

    def test_a_server_cannot_fill_the_jar(self) -> None:
        jar = self.kept("ws://b.example/", "k=v")
        for n in range(120):
            keep_cookies(parse("ws://a.example/"), parse_head(answer(f"k{n}=v")), jar)
        assert [each.name for each in jar] == ["k", *(f"k{n}" for n in range(70, 120))]

    @pytest.mark.parametrize("domain", ["local", ".local", ".LOCAL"])
    @pytest.mark.parametrize("host", ["localhost", "web", "printer.local"])
    def test_one_for_all_local_hosts_is_not_kept(self, host: str, domain: str) -> None:
        assert list(self.kept(f"ws://{host}/", f"k=v; Domain={domain}")) == []
        jar = self.kept("ws://printer.local/", "k=v", "l=w; Domain=printer.local")
        assert cookies_for(parse("ws://printer.local/"), "", jar) == "k=v; l=w"
        assert cookies_for(parse("ws://nas.local/"), "", jar) == ""

    def test_hostile_ones_are_not_kept(self) -> None:
        assert (
            list(
                self.kept(
                    "ws://a.example/", "k=v\x1b[2J", "k=v\x0bX: y", "k=\tv\tw", "k=v; Path=/\tx"
                )
            )
            == []
        )


class TestFile:
    def test_curls_are_read(self, tmp_path: Path) -> None:
        file = tmp_path / "cookies"
        file.write_text(
            NETSCAPE
            + entry("a.example", "here", "1")
            + entry("b.a.example", "below", "6")
            + "#HttpOnly_"
            + entry(".example", "all", "2")
            + entry("b.example", "there", "3")
            + entry("a.example", "old", "4", until=1)
            + entry("localhost", "local", "5")
        )
        jar = CookieFile()
        jar.read(str(file))
        sent = cookies_for(parse("ws://a.example/"), "", jar)
        assert sorted(sent.split("; ")) == ["all=2", "here=1"]
        assert cookies_for(parse("ws://localhost:8080/"), "", jar) == "local=5"

    @pytest.mark.parametrize(
        "content", [b"nonsense\n", b"\xff\xfe", NETSCAPE.encode() + b"a b c\n"]
    )
    def test_what_is_none_is_refused(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "cookies"
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="is not a cookie file"):
            CookieFile().read(str(file))

    def test_one_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"cannot read cookies from .*: No such file"):
            CookieFile().read(str(tmp_path / "nowhere"))

    def test_what_is_set_is_written_for_the_owner_only(self, tmp_path: Path) -> None:
        file = tmp_path / "jar"
        jar = CookieFile(str(file))
        jar.begin()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        keep_cookies(parse("ws://localhost/"), parse_head(answer("k=v", "l=w; Max-Age=99")), jar)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert os.listdir(tmp_path) == ["jar"]
        assert "\nlocalhost\t" in file.read_text()
        again = CookieFile(str(file))
        again.begin()
        assert cookies_for(parse("ws://localhost/"), "", again) == "k=v; l=w"

    def test_all_that_is_kept_reads_back(self, tmp_path: Path) -> None:
        file = tmp_path / "jar"
        file.touch()
        jar = CookieFile(str(file))
        jar.begin()
        set_cookies = ("k=v; HttpOnly; Secure", "n; Path=/p", "e=", "o=\u00c3\u0085se; Max-Age=99")
        keep_cookies(parse("wss://a.example/"), parse_head(answer_latin1(*set_cookies)), jar)
        keep_cookies(parse("ws+unix:/run/a%20b.sock:/"), parse_head(answer("u=w")), jar)
        assert "o\t\u00c5se\n".encode() in file.read_bytes()
        again = CookieFile(str(file))
        again.begin()
        assert [vars(each) for each in again] == [vars(each) for each in jar]

    def test_a_cookie_for_a_whole_domain_is_the_users_and_a_server_may_renew_it(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "jar"
        file.write_text(NETSCAPE + entry(".a.example", "k", "old"))
        jar = CookieFile(str(file))
        jar.begin()
        new = answer("k=new; Domain=a.example; Path=/")
        keep_cookies(parse("ws://b.a.example/"), parse_head(new), jar)
        for host in ("a.example", "b.a.example", "c.b.a.example"):
            assert cookies_for(parse(f"ws://{host}/"), "", jar) == "k=new"
        assert cookies_for(parse("ws://xa.example/"), "", jar) == ""

    def test_one_that_is_only_read_is_not_written(self, tmp_path: Path) -> None:
        file = tmp_path / "cookies"
        file.write_text(NETSCAPE)
        jar = CookieFile()
        jar.read(str(file))
        keep_cookies(parse("ws://a.example/"), parse_head(answer("k=v")), jar)
        assert file.read_text() == NETSCAPE
        assert cookies_for(parse("ws://a.example/"), "", jar) == "k=v"

    def test_nothing_new_is_not_written(self, tmp_path: Path) -> None:
        file = tmp_path / "jar"
        jar = CookieFile(str(file))
        keep_cookies(parse("ws://a.example/"), parse_head(answer()), jar)
        assert not file.exists()

    def test_one_that_cannot_be_written_is_refused_at_once(self, tmp_path: Path) -> None:
        jar = CookieFile(str(tmp_path / "nowhere" / "jar"))
        with pytest.raises(ConfigError, match=r"cannot write cookies to .*: No such file"):
            jar.begin()
        with pytest.raises(ConnectError, match=r"cannot write cookies"):
            keep_cookies(parse("ws://a.example/"), parse_head(answer("k=v")), jar)

    def test_what_cannot_be_put_in_place_leaves_nothing_behind(self, tmp_path: Path) -> None:
        (tmp_path / "jar").mkdir()
        with pytest.raises(ConnectError):
            CookieFile(str(tmp_path / "jar")).write()
        assert os.listdir(tmp_path) == ["jar"]
