from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import hiredis
import pytest
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock

from wsservice.broker.redis.address import place_of
from wsservice.broker.redis.connect import Reach
from wsservice.broker.redis.link import Away, Link, LuaScript, Refused, Unknown

from ....redis import Network, Server, bulk, hello, push
from ....support import Logged


class Run:
    """A link, and a server in memory."""

    def __init__(self, url: str = "redis://h", luck: float = 1.0, **how: Any) -> None:
        self.clock = Clock()
        self.network = Network()
        place = place_of(url)
        reach = Reach(place, self.clock, endpoint=self.network.endpoint)
        self.link = Link(place, self.clock, name="me", reach=reach, random=lambda: luck, **how)
        self.ups: list[bool] = []
        self.link.watchers.append(lambda link: self.ups.append(link.up))

    def accept(self) -> list[list[bytes]]:
        """Make the connection: what is asked first."""
        self.server = self.network.accept()
        self.clock.advance(0)
        return self.server.asked()

    def begin(self, **said: str) -> Server:
        """Start it, and have it connected."""
        self.link.start()
        self.accept()
        self.server.welcome(**said)
        self.server.asked()
        return self.server

    def is_up(self) -> bool:
        return self.link.up

    def asked(self) -> list[list[bytes]]:
        self.clock.advance(0)
        return self.server.asked()

    def outcome(self, deferred: Any) -> list[Any]:
        outcome: list[Any] = []
        deferred.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
        return outcome


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    run.link.stop()
    run.clock.advance(2)
    assert not run.clock.getDelayedCalls()


def test_it_logs_in_before_it_is_up(run: Run, logged: Logged) -> None:
    assert run.link.problem == "not started"
    run.link.start()
    run.link.start()
    assert run.network.addresses == ["h:6379"]
    assert run.link.problem == "connecting"
    assert run.accept() == [[b"HELLO", b"3", b"SETNAME", b"me"]]
    run.server.welcome()
    assert run.is_up()
    assert str(run.link.problem) == "None"
    assert run.ups == [True]
    assert run.link.version == "Redis 7.0.15"
    assert "broker redis://h:6379: connected to Redis 7.0.15" in logged.text


def test_it_logs_in_as_the_url_says() -> None:
    run = Run("redis://app:secret@h/3")
    run.link.start()
    assert run.accept() == [
        [b"HELLO", b"3", b"AUTH", b"app", b"secret", b"SETNAME", b"me"],
    ]
    run.server.say(hello(), b"+OK\r\n", b"+PONG\r\n")
    assert run.asked() == [[b"SELECT", b"3"], [b"PING"]]
    assert run.is_up()


def test_its_password_may_come_from_elsewhere_and_change() -> None:
    run = Run(password="first")
    run.link.start()
    assert run.accept()[0][2:5] == [b"AUTH", b"default", b"first"]
    run.link.password = "second"
    run.server.lose()
    run.clock.advance(1)
    assert run.accept()[0][2:5] == [b"AUTH", b"default", b"second"]
    other = Run("redis://:own@h", password="first")
    other.link.start()
    assert other.accept()[0][4] == b"own"


def test_its_user_may_have_a_password_of_any_octets() -> None:
    run = Run("redis://app@h", password=b" \xff ")
    run.link.start()
    assert run.accept()[0][2:5] == [b"AUTH", b"app", b" \xff "]


@pytest.mark.parametrize("where", ["address", "connect_to"])
def test_whatever_fails_on_the_way_is_an_attempt_that_failed(
    run: Run, monkeypatch: pytest.MonkeyPatch, logged: Logged, where: str
) -> None:
    async def fails(*_: object) -> None:
        raise UnicodeError("unforeseen")

    with monkeypatch.context() as broken:
        broken.setattr(run.link._reach, where, fails)
        run.link.start()
        run.clock.advance(1)
    assert run.link.problem == "unforeseen"
    assert len(logged.failures) == 1  # and not at each attempt
    run.clock.advance(5)
    run.accept()
    run.server.welcome()
    assert run.is_up()


def test_so_is_what_fails_after_a_failed_attempt(
    run: Run, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(run.link, "_not_opened", _fails)
        run.link.start()
        run.network.refuse(ConnectError(111))
    assert "an attempt to connect" in logged.text
    run.clock.advance(1)
    run.accept()
    run.server.welcome()
    assert run.is_up()


def _fails(*_: object) -> None:
    raise UnicodeError("unforeseen")


def test_a_call_is_answered(run: Run) -> None:
    run.begin()
    outcome = run.outcome(run.link.call("GET", "a"))
    assert run.asked() == [[b"GET", b"a"]]
    run.server.say(bulk(b"1"))
    assert outcome == [b"1"]
    refused = run.outcome(run.link.call("INCR"))
    run.server.say(b"-ERR wrong number\r\n")
    assert [(type(each), each.kind) for each in refused] == [(Refused, "ERR")]
    assert run.is_up()
    assert run.link.calls == {"answered": 1, "refused": 1, "unknown": 0, "away": 0}


def test_while_it_is_away_nothing_is_sent(run: Run) -> None:
    calls = [run.outcome(run.link.call("GET", "a"))]
    run.link.start()
    calls.append(run.outcome(run.link.script(LuaScript("return 1"), [])))
    run.accept()
    calls.append(run.outcome(run.link.publish(b"c", b"x")))
    assert [type(error) for (error,) in calls] == [Away] * 3
    assert [str(error) for (error,) in calls] == ["not started", "connecting", "connecting"]
    assert run.asked() == []
    assert run.link.calls["away"] == 3


def test_a_script_is_called_with_its_keys_and_arguments(run: Run) -> None:
    run.begin()
    script = LuaScript("return 1")
    run.link.script(script, ["k", b"l"], [1, "x"])
    assert run.asked() == [[b"EVAL", b"return 1", b"2", b"k", b"l", b"1", b"x"]]
    run.server.say(b":1\r\n")
    run.link.script(script, [])
    assert run.asked() == [[b"EVALSHA", script.sha.encode(), b"0"]]
    run.server.lose()
    run.clock.advance(1)
    run.accept()
    run.server.welcome()
    run.server.asked()
    # Another server may not know it.
    run.link.script(script, [])
    assert run.asked()[0][0] == b"EVAL"


@pytest.mark.parametrize(
    ("server", "version", "publishes", "shown"),
    [
        ("redis", "6.2.14", b"PUBLISH", "Redis 6.2.14"),
        ("redis", "7.0.0", b"SPUBLISH", "Redis 7.0.0"),
        ("redis", "10.1", b"SPUBLISH", "Redis 10.1"),
        ("redis", "nonsense\x1b", b"PUBLISH", "Redis nonsense\\x1b"),
        ("valkey", "8.1.0", b"SPUBLISH", "Valkey 8.1.0"),
        ("other", "1", b"PUBLISH", "other 1"),
    ],
)
def test_it_is_sharded_where_the_server_has_it(
    server: str, version: str, publishes: bytes, shown: str
) -> None:
    run = Run()
    run.begin(server=server, version=version)
    assert (run.link.publishes, run.link.version) == (publishes, shown)
    outcome = run.outcome(run.link.publish(b"c", b"x"))
    assert run.asked() == [[publishes, b"c", b"x"]]
    run.server.say(b":3\r\n")
    assert outcome == [3]


def test_what_is_subscribed_to_is_so_again_before_it_is_up(run: Run) -> None:
    run.begin()
    heard: list[bytes] = []
    outcome = run.outcome(run.link.subscribe(b"c", heard.append))
    assert run.asked() == [[b"SSUBSCRIBE", b"c"]]
    run.server.say(push(b"ssubscribe", b"c", 1), push(b"smessage", b"c", b"1"))
    assert (outcome, heard, run.link.subscribed) == ([None], [b"1"], 1)
    run.server.lose()
    assert run.ups == [True, False]
    run.clock.advance(1)
    run.accept()
    run.server.welcome()
    assert not run.is_up()
    assert run.asked()[-1] == [b"SSUBSCRIBE", b"c"]
    run.server.say(push(b"ssubscribe", b"c", 1))
    assert run.ups == [True, False, True]
    run.server.say(push(b"smessage", b"c", b"2"))
    assert heard == [b"1", b"2"]
    run.link.unsubscribe(b"c")
    assert run.asked() == [[b"SUNSUBSCRIBE", b"c"]]


def test_where_it_is_lost_what_was_asked_is_unknown(run: Run, logged: Logged) -> None:
    run.begin()
    outcome = run.outcome(run.link.call("INCR", "a"))
    run.server.lose()
    assert [type(each) for each in outcome] == [Unknown]
    assert run.link.problem == "it closed the connection"
    assert run.ups == [True, False]
    assert "[wsservice#warn] broker redis://h:6379: it closed the connection" in logged.text
    assert run.link.calls["unknown"] == 1


def test_it_comes_back_later_each_time_at_random(run: Run, logged: Logged) -> None:
    run.link.start()
    for delay in (1, 2, 4, 5, 5):
        run.network.refuse(ConnectError(111))
        run.clock.advance(delay - 0.1)
        assert run.network.asked == []
        run.clock.advance(0.1)
        assert len(run.network.asked) == 1
    assert run.link.problem == "h:6379: Connection refused"
    # The same is said once.
    assert logged.text.count("Connection refused") == 1
    run.accept()
    run.server.welcome()
    run.server.lose()
    run.clock.advance(1)
    assert len(run.network.asked) == 1


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"-WRONGPASS invalid username-password pair\r\n", "WRONGPASS invalid"),
        (b"-NOAUTH HELLO must be called\r\n", "NOAUTH HELLO must be called"),
        (b"-ERR unknown command `HELLO`\r\n", "it is older than version 6, which is wanted"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no answer: speaks something else than RESP"),
        (b"+OK\r\n", "no answer within 5 s"),
    ],
)
def test_what_is_wrong_at_the_beginning_is_said(
    answer: bytes, problem: str, logged: Logged
) -> None:
    run = Run("redis://:hunter2@h")
    run.link.start()
    run.accept()
    run.server.say(answer)
    run.clock.pump([1] * 6)
    assert str(run.link.problem).startswith(problem)
    assert run.server.is_lost()
    assert problem in logged.text
    assert "hunter2" not in logged.text
    assert not logged.failures


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"role": "replica"}, "it is a replica, which accepts no writes"),
        ({"mode": "cluster"}, "it is one of a cluster of Redis, which is not supported"),
    ],
)
def test_a_server_that_is_not_the_right_one_is_left(said: dict[str, str], problem: str) -> None:
    run = Run()
    run.begin(**said)
    assert str(run.link.problem).startswith(problem)
    assert run.server.is_lost()
    run.clock.advance(1)
    run.accept()
    run.server.welcome()
    assert run.is_up()


def test_one_that_still_reads_its_data_is_not_up(run: Run) -> None:
    run.link.start()
    run.accept()
    run.server.say(b"%0\r\n")
    run.clock.advance(0)
    run.server.say(b"-LOADING Redis is loading the dataset in memory\r\n")
    assert not run.is_up()
    assert run.link.problem == "LOADING Redis is loading the dataset in memory"


@pytest.mark.parametrize("kind", ["READONLY", "LOADING", "MASTERDOWN", "NOAUTH"])
def test_one_that_is_no_longer_what_it_was_is_left_once_all_is_answered(
    run: Run, kind: str
) -> None:
    run.begin()
    first, second = (run.outcome(run.link.call("INCR", name)) for name in "ab")
    run.server.say(f"-{kind} not here\r\n".encode())
    assert not run.is_up()
    assert not run.server.is_lost()
    third = run.outcome(run.link.call("INCR", "c"))
    run.server.say(f"-{kind} not here\r\n".encode())
    assert [type(each) for (each,) in (first, second, third)] == [Refused, Refused, Away]
    assert run.server.is_lost()
    assert run.link.problem == f"{kind} not here"
    run.clock.advance(1)
    assert len(run.network.asked) == 1


def test_one_that_became_a_replica_is_found_out(run: Run) -> None:
    run.begin()
    for _ in range(3):
        run.clock.pump([1, 1])
        assert run.asked() == [[b"HELLO"]]
        run.server.say(hello())
    assert run.is_up()
    run.clock.pump([1, 1])
    run.server.say(hello(role="replica"))
    assert not run.is_up()
    assert run.link.problem == "it is a replica, which accepts no writes"
    assert run.server.is_lost()


def test_one_that_says_nothing_is_found_out(run: Run) -> None:
    run.begin()
    run.clock.pump([1] * 8)
    assert run.link.problem == "gave no answer within 5 s"
    assert run.server.is_lost()


def test_one_that_does_not_say_what_it_is_is_kept(run: Run) -> None:
    run.begin()
    run.clock.pump([1, 1])
    run.server.say(b"-ERR no\r\n")
    assert run.is_up()


def test_a_server_that_is_full_is_kept(run: Run) -> None:
    run.begin()
    outcome = run.outcome(run.link.call("SET", "a", "b"))
    run.server.say(b"-OOM command not allowed\r\n")
    assert outcome[0].kind == "OOM"
    assert run.is_up()


def test_at_the_end_what_was_asked_is_answered() -> None:
    run = Run()
    run.begin()
    outcome = run.outcome(run.link.call("INCR", "a"))
    waiting = run.outcome(run.link.subscribe(b"c", lambda _: None))
    stopped = run.outcome(run.link.stop())
    assert (stopped, run.link.problem) == ([], "stopped")
    run.asked()
    run.server.say(b":1\r\n")
    assert (outcome, stopped) == ([1], [])
    run.clock.advance(0)
    assert stopped == [None]
    assert [type(each) for each in waiting] == [Away]
    assert run.server.is_lost()
    assert not run.clock.getDelayedCalls()


def test_at_the_end_a_server_that_does_not_answer_is_left() -> None:
    run = Run()
    run.begin()
    outcome = run.outcome(run.link.call("INCR", "a"))
    stopped = run.outcome(run.link.stop())
    run.clock.advance(1)
    assert [type(each) for each in outcome] == [Unknown]
    assert stopped == [None]
    assert not run.clock.getDelayedCalls()


def test_at_the_end_it_connects_no_more() -> None:
    run = Run()
    run.link.start()
    assert run.outcome(run.link.stop()) == [None]
    assert run.network.cancelled == 1
    run.clock.advance(100)
    assert len(run.network.asked) == 1
    assert not run.clock.getDelayedCalls()


def test_who_watches_and_fails_is_logged(run: Run, logged: Logged) -> None:
    def fail(_: Link) -> None:
        raise RuntimeError("boom")

    run.link.watchers.insert(0, fail)
    run.begin()
    assert run.ups == [True]
    assert len(logged.failures) == 1


def test_what_it_counts() -> None:
    run = Run()
    run.begin()
    run.link.call("GET", "a")
    sent = run.server.transport
    run.clock.advance(0.02)
    size = len(sent.value())
    run.server.say(b"+OK\r\n")
    before = run.link.octets
    assert before[1] > size
    run.server.lose()
    assert run.link.octets == before
    counted = run.link.counted()
    assert counted["connects"] == 1
    assert counted["calls"]["answered"] == 1
    assert counted["octets"] == list(before)
    assert counted["seconds"][0] == pytest.approx(0.02)
    assert run.link.state() == {"links": 1, "up": 0, "subscribed": 0}


class TestSentinels:
    URL = "redis+sentinel://:secret@s1,s2/mymaster"
    QUESTION = [[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"mymaster"]]

    def master(self, run: Run, host: bytes = b"10.0.0.1", port: bytes = b"7000") -> None:
        """The first sentinel answers."""
        if run.network.asked:
            assert run.accept() == self.QUESTION
            self.sentinel = run.server
        else:
            run.clock.advance(0)
            assert self.sentinel.asked() == self.QUESTION
        self.sentinel.say(b"*2\r\n", bulk(host, port))

    def look(self, run: Run, server: Server) -> None:
        """So much time passes that it is looked again, at the server too."""
        run.clock.pump([1, 1])
        server.say(hello())

    def begin(self) -> Run:
        run = Run(self.URL)
        run.link.start()
        self.master(run)
        assert run.network.addresses == ["10.0.0.1:7000"]
        run.accept()
        run.server.welcome()
        assert run.is_up()
        return run

    def test_they_are_asked_where_the_server_is(self) -> None:
        self.begin()

    def test_they_are_told_a_password_that_comes_from_elsewhere(self) -> None:
        run = Run("redis+sentinel://s1/mymaster", password="secret")
        run.link.start()
        assert run.accept() == self.QUESTION
        run.server.say(b"-NOAUTH Authentication required.\r\n")
        assert run.asked() == [[b"AUTH", b"secret"]]

    def test_one_that_is_still_asked_is_collected_in_silence(self, logged: Logged) -> None:
        run = Run("redis+sentinel://s1/mymaster")
        run.link.start()
        assert run.accept() == self.QUESTION
        del run
        gc.collect()
        assert "Traceback" not in logged.text

    def test_they_are_asked_again_when_it_is_lost(self) -> None:
        run = self.begin()
        run.server.lose()
        run.clock.advance(1)
        self.master(run, b"10.0.0.2")
        assert run.network.addresses == ["10.0.0.2:7000"]

    def test_they_are_asked_whether_it_is_still_the_same(self) -> None:
        run = self.begin()
        for _ in range(2):
            self.look(run, run.server)
            self.master(run)
            assert run.is_up()
        self.look(run, run.server)
        self.master(run, b"10.0.0.2")
        assert not run.is_up()
        assert run.link.problem == "the sentinels say that it is 10.0.0.2:7000"
        assert run.server.is_lost()

    def test_they_are_asked_one_question_at_a_time(self) -> None:
        run = self.begin()
        self.sentinel.lose()
        server = run.server
        for _ in range(3):
            self.look(run, server)
            assert run.network.addresses == ["s1:26379"]  # to which there is no connection yet
        self.master(run)
        assert run.network.asked == []
        self.look(run, server)
        self.master(run)
        assert run.is_up()

    def test_one_that_is_gone_has_others(self) -> None:
        run = self.begin()
        self.sentinel.lose()
        self.look(run, run.server)
        run.network.refuse(ConnectError(111))
        assert run.network.addresses == ["s2:26379"]
        server = run.server
        self.master(run)
        run.server = server
        assert run.is_up()

    def test_without_them_it_stays(self) -> None:
        run = self.begin()
        self.sentinel.lose()
        for _ in range(2):
            self.look(run, run.server)
            run.network.refuse(ConnectError(111))
            run.network.refuse(ConnectError(111))
            assert run.is_up()

    def test_at_the_end_they_are_asked_no_more(self) -> None:
        run = self.begin()
        run.link.stop()
        assert self.sentinel.is_lost()
        run.clock.advance(0)
        assert not run.clock.getDelayedCalls()


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"*1025\r\n", "claims 1025 elements in an answer that can have 1024"),
        (b"%513\r\n", "claims 1026 elements in an answer that can have 1024"),
        (b"$65537\r\n", "sent more than 65536 octets in one answer"),
        (b">17\r\n", "claims 17 elements in a push that can have 16"),
    ],
)
def test_a_server_that_claims_too_much_at_the_login_is_left_and_freed(
    head: bytes, problem: str, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reader(hiredis.Reader):
        pass

    monkeypatch.setattr(hiredis, "Reader", Reader)
    run = Run()
    run.link.start()
    run.accept()
    gone = weakref.ref(run.server.conversation._reader)
    gc.disable()
    try:
        run.server.say(head)
        assert gone() is None
    finally:
        gc.enable()
    assert run.server.is_lost()
    assert run.link.problem == f"no answer: {problem}"
    assert logged.text.count(problem) == 1
    assert "Traceback" not in logged.text


def test_an_answer_to_hello_may_tell_of_many_modules(run: Run) -> None:
    run.link.start()
    run.accept()
    module = b"%4\r\n" + bulk(b"name", b"x", b"ver", 1, b"path", b"/x", b"args") + b"*1\r\n+a\r\n"
    facts = hello().replace(b"%4\r\n", b"%5\r\n") + bulk(b"modules") + b"*20\r\n" + module * 20
    run.server.say(facts, b"+PONG\r\n")
    assert run.is_up()


def test_once_it_is_logged_in_answers_may_be_large(run: Run) -> None:
    run.begin()
    outcome = run.outcome(run.link.call("GET", "a"))
    run.clock.advance(0)
    run.server.say(bulk(b"x" * 100_000))
    assert outcome == [b"x" * 100_000]


def test_what_a_script_may_answer_is_what_it_says(run: Run) -> None:
    run.begin()
    outcome = run.outcome(run.link.script(LuaScript("return 1", elements=100), ()))
    run.clock.advance(0)
    run.server.say(b"*100\r\n" + bulk(*range(100)))
    assert outcome == [list(range(100))]
    outcome = run.outcome(run.link.call("KEYS", "*"))
    run.clock.advance(0)
    run.server.say(b"*17\r\n")
    assert [type(each) for each in outcome] == [Unknown]
    assert run.link.problem == "claims 17 elements in an answer that can have 16"


def test_pushes_that_are_passed_over_are_counted_over_all_connections(run: Run) -> None:
    run.begin().say(push(b"invalidate", b"a", b"b"))
    run.server.lose()
    run.clock.advance(1)
    run.accept()
    run.server.welcome()
    run.server.say(push(5))
    assert run.link.counted()["passed_over"] == 2
