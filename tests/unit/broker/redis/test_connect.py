from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    TimeoutError,  # noqa: A004 - Twisted's
)
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from wsservice.broker.redis.address import Address, place_of
from wsservice.broker.redis.connect import Reach, Unreachable, why
from wsservice.broker.redis.connection import ConnectionOwner
from wsservice.errors import ConfigError

from ....certificates import Authority
from ....redis import Network, Server, bulk

SENTINELS = "redis+sentinel://:secret@s1,s2,s3/mymaster"


class Run:
    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.network = Network()
        self.reach = Reach(place_of(url), self.clock, endpoint=self.network.endpoint)
        self.found: list[Any] = []

    def look(self) -> None:
        looked: Any = ensureDeferred(self.reach.address())
        looked.addCallbacks(self.found.append, lambda failure: self.found.append(failure.value))

    def sentinel(self, *answers: bytes) -> Server:
        """A sentinel answers, to one question after another."""
        server = self.network.accept()
        for answer in answers:
            server.say(answer)
        return server


def test_one_server_is_where_the_url_says() -> None:
    run = Run("redis://h:1")
    run.look()
    assert run.found == [Address("h", 1)]
    assert run.network.asked == []


@pytest.mark.parametrize("host", ["my_redis", "r3---sn.cdn.example", "redis.example."])
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_every_name_that_dns_may_have_is_connected_to(host: str, scheme: str) -> None:
    reactor = MemoryReactorClock()
    reach = Reach(place_of(f"{scheme}://{host}:1"), reactor)
    ensureDeferred(reach.connect_to(Address(host, 1), ConnectionOwner()))
    # In memory every name has this address.
    assert [each[:2] for each in reactor.tcpClients] == [("127.0.0.1", 1)]


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "a~b", "a b\n", ""])
def test_a_sentinel_may_name_any_host(host: str) -> None:
    found: list[Any] = []
    reach = Reach(place_of("rediss+sentinel://s/m"), MemoryReactorClock())
    connecting: Any = ensureDeferred(reach.connect_to(Address(host or "\0", 1), ConnectionOwner()))
    connecting.addErrback(found.append)
    (failure,) = found
    assert failure.check(Unreachable)
    assert str(failure.value).isprintable()


def test_sentinels_are_asked_one_after_another() -> None:
    run = Run(SENTINELS)
    run.look()
    run.network.refuse(ConnectError(111))
    run.sentinel(b"*-1\r\n")
    server = run.sentinel(b"*2\r\n" + bulk(b"::1", b"7000"))
    assert run.found == [Address("::1", 7000)]
    # It is asked again.
    run.look()
    run.clock.advance(0)
    assert len(server.asked()) == 2
    server.say(b"*2\r\n" + bulk(b"::1", b"7001"))
    assert run.found[1] == Address("::1", 7001)
    run.reach.close()
    assert server.is_lost()
    # Those that did not know are asked last, from then on.
    run.look()
    assert run.network.addresses == ["s3:26379"]


def test_where_none_knows_it_the_last_reason_is_told() -> None:
    run = Run(SENTINELS)
    run.look()
    for _ in range(2):
        run.network.refuse(ConnectError(111))
    run.sentinel(b"*-1\r\n")
    (error,) = run.found
    assert isinstance(error, Unreachable)
    assert str(error) == "sentinel s3:26379: it knows no master mymaster"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"+OK\r\n", "gave no address"),
        (b"*1\r\n" + bulk(b"a"), "gave no address"),
        (b"*2\r\n" + bulk(b"a", b"x"), "gave no address"),
        (b"*2\r\n" + bulk(b"\xff", b"1"), "gave no address"),
        (b"*2\r\n:1\r\n:2\r\n", "gave no address"),
        (b"-ERR no\x1b\r\n", ": ERR no\\x1b"),
        (b"HTTP/1.1\r\n", "speaks something else"),
    ],
)
def test_what_is_no_answer_of_a_sentinel(answer: bytes, reason: str) -> None:
    run = Run("redis+sentinel://s1/m")
    run.look()
    run.sentinel(answer)
    assert reason in str(run.found[0])
    assert str(run.found[0]).startswith("sentinel s1:26379")


def test_a_sentinel_that_says_nothing_is_left() -> None:
    run = Run("redis+sentinel://s1/m")
    run.look()
    run.sentinel()
    run.clock.pump([1] * 4)
    problem = "sentinel s1:26379: no answer within 2 s; does it want TLS?"
    assert str(run.found[0]) == problem
    assert not run.clock.getDelayedCalls()


def test_a_sentinel_that_wants_a_password_is_given_the_servers() -> None:
    run = Run(SENTINELS)
    run.look()
    server = run.network.accept()
    server.say(b"-NOAUTH Authentication required.\r\n")
    run.clock.advance(0)
    assert server.asked()[-1] == [b"AUTH", b"secret"]
    server.say(b"+OK\r\n", b"*2\r\n" + bulk(b"a", b"1"))
    assert run.found == [Address("a", 1)]


def test_a_sentinel_that_wants_one_where_there_is_none() -> None:
    run = Run("redis+sentinel://s1/m")
    run.look()
    run.sentinel(b"-NOAUTH Authentication required.\r\n")
    assert str(run.found[0]) == "sentinel s1:26379: NOAUTH Authentication required."


@pytest.mark.parametrize(
    ("url", "kind"), [("redis://127.0.0.1:1", "tcp"), ("redis+unix:///run/s", "unix")]
)
def test_by_default_the_reactor_connects(url: str, kind: str) -> None:
    reactor = MemoryReactorClock()
    place = place_of(url)
    reach = Reach(place, reactor)
    ensureDeferred(reach.connect_to(place.addresses[0], ConnectionOwner()))
    if kind == "unix":
        assert reactor.unixClients[0][0] == "/run/s"
    else:
        assert reactor.tcpClients[0][:2] == ("127.0.0.1", 1)


def test_a_file_of_certificates_is_read_when_it_is_made(tmp_path: Path) -> None:
    Reach(place_of(f"rediss://h?ca={Authority(tmp_path).file}".replace(" ", "%20")), Clock())
    Reach(place_of("rediss://h"), Clock())
    none = tmp_path / "none.pem"
    with pytest.raises(ConfigError, match=r"^--broker: ca: cannot read '.*none\.pem': No such"):
        Reach(place_of(f"rediss://h?ca={none}"), Clock())
    none.write_text("nothing")
    with pytest.raises(ConfigError, match=r"^--broker: ca: '.*' has no certificate in PEM"):
        Reach(place_of(f"rediss://h?ca={none}"), Clock())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionDone(), "it closed the connection"),
        (ConnectionLost(), "the connection was lost"),
        (TimeoutError(), "no connection in time"),
        (ConnectError(111), "Connection refused"),
        (ConnectError(2, "x"), "No such file or directory"),
        (DNSLookupError("no results for hostname lookup: h\x1b"), None),
        (ValueError(), "ValueError"),
    ],
)
def test_why_there_is_no_connection(error: Exception, said: str | None) -> None:
    reason = why(Failure(error))
    assert said is None or reason == said
    assert reason.isprintable()


def test_why_tls_failed() -> None:
    security = Reach(place_of("rediss://h"), Clock())._security
    assert security is not None
    error = SSL.Error([("SSL routines", "", "wrong version number")])
    assert why(Failure(error), security.for_host("h")) == (
        "TLS failed: the server does not speak it (wrong version number)"
    )
