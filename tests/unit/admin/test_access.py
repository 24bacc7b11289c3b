from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from wsservice.admin.access import Access, is_exposed, read_token
from wsservice.admin.exchange import AdminRequest, Answer
from wsservice.config.config import Config
from wsservice.errors import ConfigError

from ...support import Logged

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 8081)
PUBLIC = IPv4Address("TCP", "192.0.2.7", 8081)
MAPPED = IPv6Address("TCP", "::ffff:192.0.2.7", 8081)
SIX = IPv6Address("TCP", "2001:db8::7", 8081)
UNIX = UNIXAddress("/run/admin.sock")


def asked(host: str | None = "localhost:8081", at: Any = LOOPBACK, **more: Any) -> AdminRequest:
    headers = {} if host is None else {"host": (host,)}
    headers |= {name: (value,) for name, value in more.pop("headers", {}).items()}
    target, version = more.pop("target", "/metrics"), more.pop("version", "HTTP/1.1")
    return AdminRequest(more.pop("method", "GET"), target, headers, at=at, version=version)


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
        twice = AdminRequest("GET", "/", {"host": ("localhost:8081", "evil.example")}, at=LOOPBACK)
        assert status(Access().objection(twice)) == 400


class TestProbes:
    """Health checks of gateways, which name a cluster as host, or none at all."""

    @pytest.mark.parametrize("target", ["/healthz", "/readyz", "/readyz?a"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize(
        ("host", "version"),
        [
            ("cluster_name", "HTTP/1.1"),
            ("evil.example:8081", "HTTP/1.1"),
            ("localhost:", "HTTP/1.1"),
            ("cluster_name", "HTTP/1.0"),
            (None, "HTTP/1.0"),
        ],
    )
    def test_any_host_will_do(
        self, target: str, method: str, host: str | None, version: str
    ) -> None:
        probe = asked(host, target=target, method=method, version=version)
        assert Access(b"token").objection(probe) is None

    @pytest.mark.parametrize("target", ["/", "/metrics", "/connections", "/healthz/", "/Readyz"])
    def test_at_no_other_path(self, target: str) -> None:
        assert status(Access().objection(asked("cluster_name", target=target))) == 421
        old = asked(None, target=target, version="HTTP/1.0")
        assert status(Access().objection(old)) == 403
        assert status(Access(b"token").objection(old)) == 400

    def test_by_no_other_method(self) -> None:
        probe = asked("cluster_name", target="/healthz", method="POST")
        assert status(Access().objection(probe)) == 421

    def test_and_not_for_a_web_page(self) -> None:
        headers = {"origin": "http://cluster_name"}
        assert (
            status(Access().objection(asked("cluster_name", target="/healthz", headers=headers)))
            == 421
        )
        headers = {"origin": "http://evil.example"}
        assert status(Access().objection(asked(target="/healthz", headers=headers))) == 403

    @pytest.mark.parametrize("host", [None, "", "a b", "a@b"])
    def test_a_host_that_is_none_is_refused(self, host: str | None) -> None:
        assert status(Access().objection(asked(host, target="/healthz"))) == 400

    def test_an_absolute_target_names_the_host(self) -> None:
        for target, host, expected in (
            ("http://localhost:8081/metrics", "localhost:8081", None),
            ("http://cluster_name/readyz", "cluster_name", None),
            ("http://evil.example/metrics", "evil.example", 421),
            ("http://localhost:8081/metrics", "evil.example", 400),
            ("http://evil.example/metrics", "localhost:8081", 400),
        ):
            assert status(Access().objection(asked(host, target=target))) == expected
        mismatched = asked("???", UNIX, target="http://localhost/metrics")
        assert status(Access().objection(mismatched)) == 400


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


MARKS = [
    ({"x-forwarded-for": ("192.0.2.9",)}, "HTTP/1.1", "X-Forwarded-*"),
    ({"x-forwarded-anything": ("",)}, "HTTP/1.1", "X-Forwarded-*"),
    ({"x-real-ip": ("192.0.2.9",)}, "HTTP/1.1", "X-Real-IP"),
    ({"forwarded": ("for=192.0.2.9",)}, "HTTP/1.1", "Forwarded"),
    ({"via": ("1.1 gateway",)}, "HTTP/1.1", "Via"),
    ({}, "HTTP/1.0", "HTTP/1.0"),
]


class TestSites:
    """The site that a browser says a request comes from (Fetch Metadata)."""

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense", "none, none"])
    @pytest.mark.parametrize(
        ("method", "target", "mode"),
        [
            ("GET", "/metrics", "no-cors"),
            ("GET", "/metrics", "navigate"),
            ("GET", "/connections", "navigate"),
            ("POST", "/publish/chat", "no-cors"),
            ("GET", "/", "no-cors"),
            ("POST", "/", "navigate"),
        ],
    )
    def test_another_sites_page_is_refused_without_a_token(
        self, site: str, method: str, target: str, mode: str
    ) -> None:
        headers = {"sec-fetch-site": site, "sec-fetch-mode": mode}
        foreign = asked(method=method, target=target, headers=headers)
        assert status(Access().objection(foreign)) == 403

    @pytest.mark.parametrize("site", ["same-origin", "none"])
    def test_its_own_page_and_an_address_that_was_typed(self, site: str) -> None:
        assert Access().objection(asked(headers={"sec-fetch-site": site})) is None

    def test_a_link_to_the_page(self) -> None:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert Access().objection(asked(target="/", headers=headers)) is None

    @pytest.mark.parametrize("target", ["/healthz", "/readyz"])
    def test_health_is_for_all(self, target: str) -> None:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
        assert Access().objection(asked(target=target, headers=headers)) is None

    def test_with_a_token_they_are_judged_by_that(self) -> None:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
        access = Access(b"token")
        assert status(access.objection(asked(headers=headers))) == 401
        headers["authorization"] = "Bearer token"
        assert access.objection(asked(headers=headers)) is None


class TestGateways:
    @pytest.mark.parametrize("at", [LOOPBACK, PUBLIC, UNIX])
    @pytest.mark.parametrize("target", ["/", "/metrics", "/connections", "/publish/a", "/x"])
    @pytest.mark.parametrize(("headers", "version", "mark"), MARKS)
    def test_without_a_token_they_are_refused(
        self, headers: Any, version: str, mark: str, target: str, at: Any
    ) -> None:
        host = {"host": ("192.0.2.7:8081",)} if at == PUBLIC else {"host": ("localhost",)}
        through = AdminRequest("GET", target, host | headers, at=at, version=version)
        answer = Access().objection(through)
        assert status(answer) == 403
        assert answer is not None
        assert f"({mark}); without --admin-token-file" in json.loads(answer.body)["error"]
        assert Access().refused_gateway(through) == mark

    @pytest.mark.parametrize("target", ["/healthz", "/readyz", "/readyz?x"])
    @pytest.mark.parametrize(("headers", "version", "mark"), MARKS)
    def test_health_is_for_all(self, headers: Any, version: str, mark: str, target: str) -> None:
        through = AdminRequest(
            "GET", target, {"host": ("localhost",)} | headers, b"", LOOPBACK, version
        )
        assert Access().objection(through) is None

    @pytest.mark.parametrize(("headers", "version", "mark"), MARKS)
    def test_with_a_token_they_are_judged_by_that(
        self, headers: Any, version: str, mark: str
    ) -> None:
        access = Access(b"correct-horse")
        given = {"host": ("localhost",)} | headers
        through = AdminRequest("GET", "/metrics", given, b"", LOOPBACK, version)
        assert status(access.objection(through)) == 401
        given |= {"authorization": ("Bearer correct-horse",)}
        assert access.objection(attrs.evolve(through, headers=given)) is None

    def test_what_a_client_sends_itself_is_no_mark(self) -> None:
        own = asked(headers={"x-request-id": "1", "x-forwarded": "1", "via-what": "1"})
        assert Access().objection(own) is None


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
        assert "no token, or more than one" in said

    def test_no_file(self, tmp_path: Path) -> None:
        assert "cannot be read, No such file" in self.refused(tmp_path / "absent")
        assert "cannot be read, Is a directory" in self.refused(tmp_path)

    def test_one_that_everybody_may_write_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_bytes(b"token")
        path.chmod(0o602)
        assert "may be written by every user" in self.refused(path)

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
