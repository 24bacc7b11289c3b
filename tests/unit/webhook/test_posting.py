from __future__ import annotations

import gc
from typing import Any

import pytest
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from wsservice.client.web import asking
from wsservice.client.web.asking import MOST_OF_ANSWER, PATIENCE
from wsservice.webhook.posting import Poster, PostOutcome

from ...support import Logged


class Transport(StringTransport):
    """Tells its protocol of its end, as the reactor does."""

    protocol: Any

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    abortConnection = loseConnection


class Endpoint:
    """The way to a receiver in memory."""

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.is_slow = False
        self.place: tuple[str, int] | None = None
        self.transport = Transport()
        self.cancelled = False

    def __call__(self, reactor: Any, host: str, port: int, timeout: float) -> Endpoint:
        self.place = (host, port)
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.problem is not None:
            return fail(self.problem)
        if self.is_slow:

            def cancel(_: object) -> None:
                self.cancelled = True

            return Deferred(cancel)
        protocol = factory.buildProtocol(None)
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        return succeed(protocol)


class Post:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.tls: list[tuple[bytes, int]] = []
        monkeypatch.setattr(asking, "HostEndpoint", self.endpoint)
        monkeypatch.setattr(asking, "wrapClientTLS", lambda _creator, endpoint: endpoint)
        self.outcome: list[PostOutcome] = []
        self.posted: Deferred[PostOutcome] = Deferred()

    def creatorForNetloc(self, host: bytes, port: int) -> object:
        self.tls.append((host, port))
        return object()

    def begin(self, url: str = "http://hook.example/there?x=1") -> Post:
        policy: Any = self
        self.posted = Poster(url, self.clock, policy).post(b"the body", {"webhook-id": "7"})
        self.posted.addCallback(self.outcome.append)
        return self

    def hear(self, octets: bytes) -> None:
        if not self.endpoint.transport.disconnecting:
            self.endpoint.transport.protocol.dataReceived(octets)

    def end(self) -> None:
        self.endpoint.transport.loseConnection()

    @property
    def over(self) -> bool:
        return self.endpoint.transport.disconnecting and self.clock.getDelayedCalls() == []


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    return Post(monkeypatch)


def test_what_is_posted(post: Post) -> None:
    post.begin()
    head, _, body = post.endpoint.transport.value().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /there?x=1 HTTP/1.1"
    assert {b"Host: hook.example", b"Content-Length: 8", b"Connection: close"} <= set(lines)
    assert b"webhook-id: 7" in head.lower()
    assert body == b"the body"
    assert (post.endpoint.place, post.tls) == (("hook.example", 80), [])


def test_https_is_verified_by_name(post: Post) -> None:
    post.begin("https://hook.example:8443/")
    assert post.endpoint.place == ("hook.example", 8443)
    assert post.tls == [(b"hook.example", 8443)]


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_it_was_taken(post: Post, status: int) -> None:
    post.begin().hear(b"HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n" % status)
    assert post.outcome == [PostOutcome()]
    assert post.over


@pytest.mark.parametrize("status", [300, 400, 401, 404, 410, 500, 503])
def test_it_was_not(post: Post, status: int) -> None:
    post.begin().hear(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
    assert post.outcome == [PostOutcome(f"answered {status}")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_it_is_not_sent_elsewhere(post: Post, status: int) -> None:
    post.begin()
    post.endpoint.place = None
    post.hear(b"HTTP/1.1 %d Go\r\nLocation: http://b/\r\nContent-Length: 0\r\n\r\n" % status)
    assert post.outcome == [PostOutcome(f"answered {status}")]
    assert post.endpoint.place is None


def test_for_how_long_it_wants_to_be_left_alone(post: Post) -> None:
    post.begin().hear(b"HTTP/1.1 429 No\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n")
    assert post.outcome == [PostOutcome("answered 429", 30.0)]


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MOST_OF_ANSWER),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000,
    ],
)
def test_an_answer_without_an_end_is_cut_and_counts(post: Post, octets: bytes) -> None:
    post.begin()
    for start in range(0, len(octets), 4096):
        post.hear(octets[start : start + 4096])
    assert post.outcome == [PostOutcome()]
    assert post.over


@pytest.mark.parametrize("octets", [b"HTTP/1.1 200 OK\r\n", b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_head_without_an_end_is_cut(post: Post, octets: bytes) -> None:
    post.begin().hear(octets)
    for _ in range(MOST_OF_ANSWER // 1000):
        post.hear(b"X-More: %s\r\n" % (b"x" * 1000))
    post.hear(b"X-More: %s\r\n" % (b"x" * 1000))
    (outcome,) = post.outcome
    assert outcome.problem
    assert post.over


@pytest.mark.parametrize("octets", [b"no HTTP at all\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n"])
def test_nonsense_is_not_taken(post: Post, octets: bytes) -> None:
    post.begin().hear(octets)
    post.end()
    (outcome,) = post.outcome
    assert outcome.problem.startswith("failed: ")
    assert post.over


def test_an_end_without_an_answer(post: Post) -> None:
    post.begin().end()
    assert post.outcome == [PostOutcome("failed: Connection was closed cleanly")]


def test_nobody_there(post: Post) -> None:
    post.endpoint.problem = ConnectError(111, "Connection refused")
    post.begin()
    (outcome,) = post.outcome
    assert outcome.problem.startswith("failed: An error occurred while connecting: 111")
    assert post.clock.getDelayedCalls() == []


def test_tls_that_fails(post: Post) -> None:
    post.endpoint.problem = SSL.Error([("SSL routines", "", "certificate verify failed")])
    post.begin("https://hook.example/")
    assert post.outcome == [PostOutcome("failed in TLS (certificate verify failed)")]


def test_a_receiver_that_says_nothing_has_its_time(post: Post) -> None:
    post.begin()
    post.clock.advance(PATIENCE - 0.1)
    assert post.outcome == []
    post.clock.advance(0.1)
    assert post.outcome == [PostOutcome("gave no answer within 10 s")]
    assert post.over


def test_a_receiver_that_goes_on_and_on_has_the_same_time(post: Post) -> None:
    post.begin().hear(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(20):
        post.clock.advance(0.5)
        post.hear(b".")
    assert post.outcome == [PostOutcome()]
    assert post.over


def test_a_connection_that_does_not_come_has_it_too(post: Post) -> None:
    post.endpoint.is_slow = True
    post.begin().clock.advance(PATIENCE)
    assert post.outcome == [PostOutcome("gave no answer within 10 s")]
    assert post.endpoint.cancelled


@pytest.mark.parametrize("is_slow", [False, True])
def test_it_can_be_cancelled(post: Post, is_slow: bool) -> None:
    post.endpoint.is_slow = is_slow
    post.begin().posted.cancel()
    assert post.outcome == [PostOutcome("was cancelled: no time was left")]
    assert post.clock.getDelayedCalls() == []


@pytest.mark.parametrize("host", ["my_service", "r3---sn.cdn.example", "hook.example."])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_name_that_dns_may_have(host: str, scheme: str) -> None:
    reactor = MemoryReactorClock()
    outcome: list[PostOutcome] = []
    Poster(f"{scheme}://{host}:9/", reactor).post(b"", {}).addCallback(outcome.append)
    # In memory every name has this address.
    assert [each[:2] for each in reactor.tcpClients] == [("127.0.0.1", 9)]
    assert outcome == []


@pytest.mark.parametrize("url", ["http://a..b/", "https://a~b/", "http://[::1/", "http://a:0/"])
def test_a_url_that_cannot_be_asked_is_an_attempt_that_failed(url: str) -> None:
    outcome: list[PostOutcome] = []
    Poster(url, MemoryReactorClock()).post(b"", {}).addCallback(outcome.append)
    assert outcome[0].problem.startswith("failed: ")


def test_a_certificate_for_another_host(post: Post) -> None:
    post.endpoint.problem = VerificationError(errors=[])
    assert post.begin().outcome == [
        PostOutcome("failed in TLS (its certificate is for another host)")
    ]


def test_one_that_is_cancelled_is_over_at_once(post: Post, logged: Logged) -> None:
    """A real connection ends later: in the reactor's next turn."""
    post.begin()
    later: list[Failure] = []
    post.endpoint.transport.abortConnection = lambda: later.append(  # type: ignore[method-assign]
        Failure(ConnectionDone())
    )
    post.posted.cancel()
    assert post.outcome == [PostOutcome("was cancelled: no time was left")]
    post.endpoint.transport.protocol.connectionLost(later[0])
    assert post.outcome == [PostOutcome("was cancelled: no time was left")]
    del later[:]
    gc.collect()  # which has Twisted tell of what nobody looked at
    assert logged.failures == []
    assert post.clock.getDelayedCalls() == []
