from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from wsservice.admin.access import Access, is_exposed
from wsservice.admin.exchange import AdminRequest, Answer
from wsservice.admin.tokens import AdminTokens
from wsservice.config.config import Config

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


def with_token(token: bytes) -> Access:
    return Access(AdminTokens.bare(token))


def objection(access: Access, asked: AdminRequest) -> Answer | None:
    judged = access.judge(asked)
    return judged if isinstance(judged, Answer) else None


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
        assert objection(Access(), asked(host, at)) is None

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
        assert status(objection(Access(), asked(host, at))) == 421

    @pytest.mark.parametrize("host", [None, "", "a b", "user@localhost", "localhost:0", "[::1"])
    def test_none_that_is_one(self, host: str | None) -> None:
        assert status(objection(Access(), asked(host))) == 400

    def test_two_are_none(self) -> None:
        twice = AdminRequest("GET", "/", {"host": ("localhost:8081", "evil.example")}, at=LOOPBACK)
        assert status(objection(Access(), twice)) == 400


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
        assert objection(with_token(b"token"), probe) is None

    @pytest.mark.parametrize("target", ["/", "/metrics", "/connections", "/healthz/", "/Readyz"])
    def test_at_no_other_path(self, target: str) -> None:
        assert status(objection(Access(), asked("cluster_name", target=target))) == 421
        old = asked(None, target=target, version="HTTP/1.0")
        assert status(objection(Access(), old)) == 403
        assert status(objection(with_token(b"token"), old)) == 400

    def test_by_no_other_method(self) -> None:
        probe = asked("cluster_name", target="/healthz", method="POST")
        assert status(objection(Access(), probe)) == 421

    def test_and_not_for_a_web_page(self) -> None:
        headers = {"origin": "http://cluster_name"}
        assert (
            status(objection(Access(), asked("cluster_name", target="/healthz", headers=headers)))
            == 421
        )
        headers = {"origin": "http://evil.example"}
        assert status(objection(Access(), asked(target="/healthz", headers=headers))) == 403

    @pytest.mark.parametrize("host", [None, "", "a b", "a@b"])
    def test_a_host_that_is_none_is_refused(self, host: str | None) -> None:
        assert status(objection(Access(), asked(host, target="/healthz"))) == 400

    def test_an_absolute_target_names_the_host(self) -> None:
        for target, host, expected in (
            ("http://localhost:8081/metrics", "localhost:8081", None),
            ("http://cluster_name/readyz", "cluster_name", None),
            ("http://evil.example/metrics", "evil.example", 421),
            ("http://localhost:8081/metrics", "evil.example", 400),
            ("http://evil.example/metrics", "localhost:8081", 400),
        ):
            assert status(objection(Access(), asked(host, target=target))) == expected
        mismatched = asked("???", UNIX, target="http://localhost/metrics")
        assert status(objection(Access(), mismatched)) == 400


class TestOrigin:
    @pytest.mark.parametrize("origin", ["http://localhost:8081", "https://localhost:8081"])
    def test_its_own_page(self, origin: str) -> None:
        assert objection(Access(), asked(headers={"origin": origin})) is None

    @pytest.mark.parametrize(
        "origin",
        ["http://evil.example", "http://localhost:3000", "null", "http://127.0.0.1:8081", "x"],
    )
    @pytest.mark.parametrize("at", [LOOPBACK, UNIX])
    def test_another_is_refused(self, origin: str, at: Any) -> None:
        foreign = asked(at=at, headers={"origin": origin})
        assert status(objection(Access(), foreign)) == 403

    def test_a_page_that_came_through_a_proxy_to_a_socket(self) -> None:
        through = asked("ops.example", UNIX, headers={"origin": "https://ops.example"})
        assert objection(Access(), through) is None


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
        assert status(objection(Access(), foreign)) == 403

    @pytest.mark.parametrize("site", ["same-origin", "none"])
    def test_its_own_page_and_an_address_that_was_typed(self, site: str) -> None:
        assert objection(Access(), asked(headers={"sec-fetch-site": site})) is None

    def test_a_link_to_the_page(self) -> None:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert objection(Access(), asked(target="/", headers=headers)) is None

    @pytest.mark.parametrize("target", ["/healthz", "/readyz"])
    def test_health_is_for_all(self, target: str) -> None:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
        assert objection(Access(), asked(target=target, headers=headers)) is None

    def test_with_a_token_they_are_judged_by_that(self) -> None:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
        access = with_token(b"token")
        assert status(objection(access, asked(headers=headers))) == 401
        headers["authorization"] = "Bearer token"
        assert objection(access, asked(headers=headers)) is None


class TestGateways:
    @pytest.mark.parametrize("at", [LOOPBACK, PUBLIC, UNIX])
    @pytest.mark.parametrize("target", ["/", "/metrics", "/connections", "/publish/a", "/x"])
    @pytest.mark.parametrize(("headers", "version", "mark"), MARKS)
    def test_without_a_token_they_are_refused(
        self, headers: Any, version: str, mark: str, target: str, at: Any
    ) -> None:
        host = {"host": ("192.0.2.7:8081",)} if at == PUBLIC else {"host": ("localhost",)}
        through = AdminRequest("GET", target, host | headers, at=at, version=version)
        answer = objection(Access(), through)
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
        assert objection(Access(), through) is None

    @pytest.mark.parametrize(("headers", "version", "mark"), MARKS)
    def test_with_a_token_they_are_judged_by_that(
        self, headers: Any, version: str, mark: str
    ) -> None:
        access = with_token(b"correct-horse")
        given = {"host": ("localhost",)} | headers
        through = AdminRequest("GET", "/metrics", given, b"", LOOPBACK, version)
        assert status(objection(access, through)) == 401
        given |= {"authorization": ("Bearer correct-horse",)}
        assert objection(access, attrs.evolve(through, headers=given)) is None

    def test_what_a_client_sends_itself_is_no_mark(self) -> None:
        own = asked(headers={"x-request-id": "1", "x-forwarded": "1", "via-what": "1"})
        assert objection(Access(), own) is None


class TestToken:
    access = with_token(b"correct-horse")

    def given(self, authorization: str) -> int | None:
        headers = {"authorization": authorization}
        return status(objection(self.access, asked(headers=headers)))

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
        answer = objection(self.access, asked())
        assert answer is not None
        assert ("WWW-Authenticate", "Bearer") in answer.headers
        assert b"correct" not in answer.body

    @pytest.mark.parametrize("target", ["/", "/healthz", "/readyz", "/readyz?x"])
    def test_what_needs_none(self, target: str) -> None:
        assert objection(self.access, asked(target=target)) is None

    @pytest.mark.parametrize("target", ["/metrics", "/connections", "/x", "//", "/healthz/"])
    def test_all_else_does(self, target: str) -> None:
        assert status(objection(self.access, asked(target=target))) == 401

    def test_a_foreign_page_is_refused_whatever_it_brings(self) -> None:
        headers = {"authorization": "Bearer correct-horse", "origin": "http://evil.example"}
        assert status(objection(self.access, asked(headers=headers))) == 403

    def test_it_is_in_no_repr(self) -> None:
        assert "correct" not in repr(self.access)


def test_a_configuration_without_one_asks_for_none() -> None:
    assert Access.of(Config(admin="unix:x")).tokens is None


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
