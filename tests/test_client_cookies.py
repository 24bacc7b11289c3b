from __future__ import annotations

import os
import stat
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from wsservice.client.answer import parse_head
from wsservice.client.cookies import CookieFile, check_cookies, cookies_for, keep_cookies
from wsservice.client.urls import parse
from wsservice.errors import ConfigError, ConnectError

NETSCAPE = "# Netscape HTTP Cookie File\n"


def entry(
    domain: str, name: str, value: str, path: str = "/", secure: bool = False, until: int = 0
) -> str:
    sub = "TRUE" if domain.startswith(".") else "FALSE"
    return "\t".join([domain, sub, path, str(secure).upper(), str(until), name, value]) + "\n"


def answer(*cookies: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 101 OK", *(f"Set-Cookie: {each}" for each in cookies)]).encode()


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

    def test_hostile_ones_are_not_kept(self) -> None:
        assert list(self.kept("ws://a.example/", "k=v\x1b[2J", "k=v\x0bX: y")) == []


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
        with pytest.raises(ConfigError, match="is no cookie file"):
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
