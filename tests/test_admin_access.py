from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from wsservice.admin.access import Access, is_exposed, read_token
from wsservice.admin.exchange import Answer, Asked
from wsservice.config import Config
from wsservice.errors import ConfigError

from .support import Logged

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 8081)
PUBLIC = IPv4Address("TCP", "192.0.2.7", 8081)
MAPPED = IPv6Address("TCP", "::ffff:192.0.2.7", 8081)
SIX = IPv6Address("TCP", "2001:db8::7", 8081)
UNIX = UNIXAddress("/run/admin.sock")


def asked(host: str | None = "localhost:8081", at: Any = LOOPBACK, **more: Any) -> Asked:
    headers = {} if host is None else {"host": (host,)}
    headers |= {name: (value,) for name, value in more.pop("headers", {}).items()}
    return Asked(more.pop("method", "GET"), more.pop("target", "/metrics"), headers, at=at)


def status(answer: Answer | None) -> int | None:
    return None if answer is None else answer.status


class TestHost:
    @pytest.mark.parametrize(
        ("host", "at"),
        [
            ("localhost:8081", LOOPBACK),
            ("localhost", LOOPBACK),
            ("localhost:9999", LOOPBACK),  # a tunnel's end
            ("LocalHost:8081", PUBLIC),
            ("127.0.0.1:8081", LOOPBACK),
            ("127.1.2.3:1", LOOPBACK),
            ("[::1]:8081", LOOPBACK),
            ("192.0.2.7:8081", PUBLIC),
            ("192.0.2.7:8081", MAPPED),
            ("[2001:DB8:0::7]:8081", SIX),
            ("192.0.2.7", IPv4Address("TCP", "192.0.2.7", 80)),
            ("anything.example", UNIX),
            ("???", UNIX),
            (None, UNIX),
        ],
    )
    def test_the_listeners_own(self, host: str | None, at: Any) -> None:
        assert Access().objection(asked(host, at)) is None

    @pytest.mark.parametrize(
        ("host", "at"),
        [
            ("evil.example:8081", LOOPBACK),
            ("evil.example", PUBLIC),
            ("localhost.evil.example:8081", LOOPBACK),
            ("127.0.0.1.evil.example:8081", LOOPBACK),
            ("192.0.2.8:8081", PUBLIC),
            ("192.0.2.7:9091", PUBLIC),
            ("192.0.2.7", PUBLIC),
            ("[2001:db8::8]:8081", SIX),
            ("0.0.0.0:8081", LOOPBACK),
        ],
    )
    def test_another_is_refused(self, host: str, at: Any) -> None:
        assert status(Access().objection(asked(host, at))) == 421

    @pytest.mark.parametrize("host", [None, "", "a b", "user@localhost", "localhost:0", "[::1"])
    def test_none_that_is_one(self, host: str | None) -> None:
        assert status(Access().objection(asked(host))) == 400

    def test_two_are_none(self) -> None:
        twice = Asked("GET", "/", {"host": ("localhost:8081", "evil.example")}, at=LOOPBACK)
        assert status(Access().objection(twice)) == 400


class TestOrigin:
    @pytest.mark.parametrize("origin", ["http://localhost:8081", "https://localhost:8081"])
    def test_its_own_page(self, origin: str) -> None:
        assert Access().objection(asked(headers={"origin": origin})) is None

    @pytest.mark.parametrize(
        "origin",
        ["http://evil.example", "http://localhost:3000", "null", "http://127.0.0.1:8081", "x"],
    )
    @pytest.mark.parametrize("at", [LOOPBACK, UNIX])
    def test_another_is_refused(self, origin: str, at: Any) -> None:
        foreign = asked(at=at, headers={"origin": origin})
        assert status(Access().objection(foreign)) == 403

    def test_a_page_that_came_through_a_proxy_to_a_socket(self) -> None:
        through = asked("ops.example", UNIX, headers={"origin": "https://ops.example"})
        assert Access().objection(through) is None


class TestToken:
    access = Access(b"correct-horse")

    def given(self, authorization: str) -> int | None:
        headers = {"authorization": authorization}
        return status(self.access.objection(asked(headers=headers)))

    @pytest.mark.parametrize("value", ["Bearer correct-horse", "bearer  correct-horse "])
    def test_the_right_one(self, value: str) -> None:
        assert self.given(value) is None

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "Bearer",
            "Bearer correct-hors",
            "Bearer correct-horse2",
            "Bearer correct-horse correct-horse",
            "Basic correct-horse",
            "correct-horse",
            "Bearer \u00e9\u20ac",
        ],
    )
    def test_another(self, value: str) -> None:
        assert self.given(value) == 401

    def test_how_it_is_asked_for(self) -> None:
        answer = self.access.objection(asked())
        assert answer is not None
        assert ("WWW-Authenticate", "Bearer") in answer.headers
        assert b"correct" not in answer.body

    @pytest.mark.parametrize("target", ["/", "/healthz", "/readyz", "/readyz?x"])
    def test_what_needs_none(self, target: str) -> None:
        assert self.access.objection(asked(target=target)) is None

    @pytest.mark.parametrize("target", ["/metrics", "/connections", "/x", "//", "/healthz/"])
    def test_all_else_does(self, target: str) -> None:
        assert status(self.access.objection(asked(target=target))) == 401

    def test_a_foreign_page_is_refused_whatever_it_brings(self) -> None:
        headers = {"authorization": "Bearer correct-horse", "origin": "http://evil.example"}
        assert status(self.access.objection(asked(headers=headers))) == 403

    def test_it_is_in_no_repr(self) -> None:
        assert "correct" not in repr(self.access)


class TestReadToken:
    def refused(self, path: Path, octets: bytes | None = None) -> str:
        if octets is not None:
            path.write_bytes(octets)
            path.chmod(0o600)
        with pytest.raises(ConfigError) as caught:
            read_token(str(path))
        assert str(caught.value).startswith(f"--admin-token-file: {path} ")
        assert str(caught.value).isprintable()
        return str(caught.value)

    def test_the_token_without_the_space_around_it(self, tmp_path: Path, logged: Logged) -> None:
        path = tmp_path / "token"
        path.write_bytes(b" s3cr3t/+=\n")
        path.chmod(0o600)
        assert read_token(str(path)) == b"s3cr3t/+="
        assert logged.text == ""

    @pytest.mark.parametrize("octets", [b"", b"\n \n"])
    def test_an_empty_file(self, tmp_path: Path, octets: bytes) -> None:
        assert "is empty; give a file" in self.refused(tmp_path / "token", octets)

    @pytest.mark.parametrize(
        "octets", [b"two words", b"a\nb", "\u00e9".encode(), b"x\x00y", b"x" * 5000]
    )
    def test_what_is_no_token(self, tmp_path: Path, octets: bytes) -> None:
        said = self.refused(tmp_path / "token", octets)
        assert "something else than one token" in said

    def test_no_file(self, tmp_path: Path) -> None:
        assert "cannot be read, No such file" in self.refused(tmp_path / "absent")
        assert "cannot be read, Is a directory" in self.refused(tmp_path)

    def test_one_that_everybody_may_write_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_bytes(b"token")
        path.chmod(0o602)
        assert "may be written by everybody" in self.refused(path)

    def test_one_that_everybody_may_read_is_logged(self, tmp_path: Path, logged: Logged) -> None:
        path = tmp_path / "token"
        path.write_bytes(b"s3cr3t")
        path.chmod(0o644)
        assert read_token(str(path)) == b"s3cr3t"
        assert "may be read by every user" in logged.text
        assert "s3cr3t" not in logged.text


def test_a_configuration_without_one_asks_for_none() -> None:
    assert Access.of(Config(admin="unix:x")).token is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (LOOPBACK, False),
        (IPv6Address("TCP", "::1", 1), False),
        (IPv6Address("TCP", "::ffff:127.0.0.1", 1), False),
        (UNIX, False),
        (PUBLIC, True),
        (SIX, True),
        (IPv6Address("TCP", "fe80::1%eth0", 1), True),
        (IPv4Address("TCP", "0.0.0.0", 1), True),
        (IPv6Address("TCP", "::", 1), True),
    ],
)
def test_who_reaches_it(address: Any, expected: bool) -> None:
    assert is_exposed(address) is expected
