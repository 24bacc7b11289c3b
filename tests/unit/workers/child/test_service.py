from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.testing import MemoryReactorClock

from wsservice.channels.history import Missed
from wsservice.channels.presence import Presence
from wsservice.channels.query import Position
from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.log.threshold import Threshold
from wsservice.server.admission import Verdict
from wsservice.workers.child.ports import PortPlace
from wsservice.workers.child.service import Ends, Serving
from wsservice.workers.wire import passing, records
from wsservice.workers.wire.coding import BusMessage, BusQuestion, Reply
from wsservice.workers.wire.framing import TooLongError, framed
from wsservice.workers.wire.messages import DeliveredCounts, MissedPage, Publication, Stamp
from wsservice.workers.wire.orders import (
    CommitConfig,
    DeliveryLost,
    DrainWorker,
    PingWorker,
    PrepareConfig,
    PresenceTold,
    ReopenLog,
    TellChannels,
    TellFigures,
    TellMembers,
    TellPresence,
)
from wsservice.workers.wire.passing import Handing
from wsservice.workers.wire.reports import (
    AskHistory,
    AskPresence,
    ConnectionsChanged,
    Leaving,
    NoReply,
    Pong,
    Ready,
)

from ....certificates import Authority
from ....support import CLOSE, TEXT, Client, Logged, close_payload, frames


class Reactor(MemoryReactorClock):
    """A reactor in memory that can be told things by another thread."""

    def callFromThread(self, function: Any, *args: Any) -> None:
        function(*args)

    def running_now(self) -> None:
        for hook, arguments, _ in self.whenRunningHooks:
            hook(*arguments)


class Run:
    """A worker in memory, with one port, and what its parent hears."""

    def __init__(self, way: str = "log", **settings: Any) -> None:
        self.reactor = Reactor()
        self.config = Config(**settings)
        self.parent, self.end = passing.pair()
        self.reading, self.messages = records.pair()
        self.alarms: list[float] = []
        self.heard: list[Any] = []
        self.threshold = Threshold(self.config.log_level)
        self.serving = Serving(self.reactor, self.alarms.append, self.threshold, os.getcwd())
        bus: Any = self.serving.bus
        bus.say = self.heard.append
        bus.hasten = bus.say
        bus.publish = self._publish
        self.place = PortPlace(int(socket.AF_INET), ["192.0.2.9", 8080])
        self.way = way

    def _publish(self, body: bytes) -> bool:
        self.heard.append(body)
        return True

    def start(self) -> Run:
        ends = Ends(self.messages, [(self.end, self.place)])
        self.serving.serve(self.config, ends, self.way)
        self.reactor.running_now()
        return self

    @property
    def service(self) -> Any:
        service: Any = self.serving._service
        return service

    def connect(self, number: int = 7, verdict: Verdict = Verdict.ADMITTED) -> Client:
        """A connection that was handed over, made in memory."""
        self.service.factory.ids.handed(Handing(number, verdict, ("192.0.2.1", 5000)))
        return Client(self.service.factory.buildProtocol(None))

    def tell(self, message: BusMessage) -> None:
        self.serving.bus.dataReceived(framed(message.body()))

    def is_stopped(self) -> bool:
        self.reactor.advance(0)
        return bool(self.reactor.hasStopped)

    def close(self) -> None:
        for each in (self.parent, self.end, self.reading, self.messages):
            each.close()


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run(drain=4, protocol="echo").start()
    yield run
    run.close()


class TestStart:
    def test_it_says_that_it_is_ready_and_for_how_many(self, run: Run) -> None:
        assert isinstance(run.heard[0], Ready)
        assert run.heard[0].room > 0
        assert run.service.factory.limits._first_reserved > 100
        assert run.service.factory.limits._most == 0

    def test_it_has_its_share_of_the_memory_for_messages(self) -> None:
        run = Run(workers=4, memory_for_messages="100MiB").start()
        assert run.service.factory.budget.limit == 25 * 1024 * 1024
        changed = attrs.asdict(Config(workers=4, memory_for_messages="40MiB"))
        run.tell(CommitConfig(changed))
        assert run.service.factory.budget.limit == 10 * 1024 * 1024
        run.close()

    def test_it_listens_on_what_it_was_given_whatever_the_endpoint(self) -> None:
        for settings in (
            {"port": 1},
            {"listen": ("systemd:domain=INET:index=0",)},
            {"listen": ("haproxy:systemd:domain=INET:name=ws",)},
            {"listen": ("unix:/no/such/folder/ws.sock",)},
        ):
            run = Run(**settings).start()
            (port,) = run.service.ports
            assert port.fileno() == run.end.fileno()
            assert run.reactor.tcpServers == run.reactor.unixServers == []
            run.close()

    def test_a_connection_has_the_id_that_its_parent_gave_it(self, run: Run) -> None:
        client = run.connect(123)
        assert client.protocol.id == "123"
        run.reactor.advance(0)
        assert ConnectionsChanged((123,), ()) in run.heard
        client.lose()
        run.reactor.advance(0)
        assert ConnectionsChanged((), (123,)) in run.heard

    def test_one_for_which_the_service_has_no_room_is_told_so(self, run: Run) -> None:
        assert run.connect(1, Verdict.REFUSED).ask().startswith(b"HTTP/1.1 503 ")
        assert run.connect(2, Verdict.DROPPED).aborted

    def test_what_cannot_be_is_raised(self) -> None:
        run = Run(protocol="nonsense")
        with pytest.raises(ConfigError):
            run.start()
        run.close()

    @pytest.mark.parametrize("listen", ["tcp:1", "haproxy:tcp:1"])
    def test_addresses_are_counted_here_since_the_parent_may_not_know_them(
        self, listen: str
    ) -> None:
        run = Run(listen=(listen,), max_connections_per_ip=3).start()
        assert run.service.factory.limits._most_per_address == 3
        run.close()


class TestMessageLog:
    def test_lines_go_to_the_parent_where_it_alone_writes(self) -> None:
        run = Run(way="records", message_log="-").start()
        run.connect().open().text("hello")
        run.reactor.advance(0)
        line = run.reading.recv(1000).decode()
        assert line.startswith("1970-01-01T")
        assert line.endswith("] Message received: hello\n")
        run.close()

    def test_or_to_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "messages"
        run = Run(way="file", message_log=str(path)).start()
        run.connect().open().text("hello")
        run.reactor.advance(0)
        moved = path.rename(tmp_path / "moved")
        run.tell(ReopenLog())
        assert path.read_text() == ""
        assert moved.read_text().endswith("Message received: hello\n")
        run.close()


class TestPublishing:
    def test_what_is_published_here_goes_to_the_parent(self, run: Run) -> None:
        run.service.hub.publish("news", b"hello")
        assert run.heard[-1] == Publication("news", b"hello").body()

    def test_what_comes_is_sent_here_and_counted_where_that_is_asked(self, run: Run) -> None:
        client = run.connect().open("/news")
        client.taken()
        run.heard.clear()
        for request in (0, 9):
            run.serving.bus.dataReceived(
                framed(Publication("news", b"hello", False, request).body())
            )
        assert client.frames() == [(TEXT, b"hello")] * 2
        assert run.heard == [Reply(9, DeliveredCounts(1, 0))]

    def test_what_comes_together_leaves_in_one_write(self, run: Run) -> None:
        client = run.connect().open("/news")
        client.taken()
        written: list[bytes] = []
        client.protocol._queue.write_by(written.append)
        body = framed(Publication("news", b"hello").body())
        run.serving.bus.dataReceived(body * 3)
        assert len(written) == 1
        assert list(frames(written[0])) == [(TEXT, b"hello")] * 3

    def test_before_it_serves_nobody_has_it(self) -> None:
        run = Run()
        run.serving.bus.dataReceived(framed(Publication("news", b"hello", False, 9).body()))
        assert run.heard == [Reply(9, DeliveredCounts(0, 0))]
        run.close()


class TestPresence:
    def test_the_parent_is_told_of_those_who_are_here(self, run: Run) -> None:
        run.tell(TellPresence("a", 0, request=5))
        assert run.heard[-1] == Reply(5, Presence("a", 0).as_json())

    def test_the_parent_is_asked_for_all(self, run: Run) -> None:
        asked: Any = run.service.hub.presence("a", 0)
        run.reactor.advance(0)
        assert run.heard[-1] == AskPresence(1, "a", 0)
        run.tell(PresenceTold(1, Presence("a", 7).as_json()))
        assert asked.result == Presence("a", 7)


class TestHistory:
    @pytest.fixture
    def run(self) -> Iterator[Run]:
        run = Run(history="100").start()
        yield run
        run.close()

    def stamped(self, offset: int, request: int = 0) -> bytes:
        stamp = Stamp(Position(offset, "e.1"), 5.0)
        return framed(Publication("news", b"hello", False, request, stamp).body())

    def test_what_is_published_here_goes_to_the_parent_and_comes_back(self, run: Run) -> None:
        client = run.connect().open("/news")
        client.taken()
        assert run.service.hub.publish("news", b"hello") == 1
        assert run.heard[-1] == Publication("news", b"hello").body()
        assert client.frames() == []
        run.serving.bus.dataReceived(self.stamped(1, 9))
        assert client.frames() == [(TEXT, b"hello")]
        assert run.heard[-1] == Reply(9, DeliveredCounts(1, 0))

    def test_what_is_asked_is_answered(self, run: Run) -> None:
        run.heard.clear()
        outcome: list[Any] = []
        run.service.hub.missed("news", Position(1, "e.1")).addCallback(outcome.append)
        assert run.heard == [AskHistory(1, "news", (1, "e.1"))]
        missed = Missed((), Position(1, "e.1"))
        run.serving.bus.dataReceived(framed(MissedPage(1, "news", missed).body()))
        assert [each.position for each in outcome] == [missed.position]

    def test_what_was_lost_is_asked_for(self, run: Run) -> None:
        run.connect().open("/news")
        run.serving.bus.dataReceived(self.stamped(1))
        run.heard.clear()
        run.tell(DeliveryLost("news"))
        assert AskHistory(1, "news", (1, "e.1")) in run.heard


class TestFaults:
    """A fault of this end is told to the parent, and the bus to it stays."""

    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
        run = Run(admin="tcp:0:interface=127.0.0.1").start()

        def fail(*_: Any) -> None:
            raise TooLongError("70,000,000 octets")

        for owner, name in (
            (run.service.hub, "local_presence"),
            (run.service.hub, "channels"),
            (run.service.hub, "local_members"),
            (run.service.hub, "receive"),
        ):
            monkeypatch.setattr(owner, name, fail)
        run.heard.clear()
        yield run
        run.close()

    @pytest.mark.parametrize(
        "question",
        [TellPresence("a", 0), TellMembers("a", 10, 0), TellChannels(10, None)],
    )
    def test_a_question_is_refused(
        self, run: Run, question: BusQuestion[Any], logged: Logged
    ) -> None:
        run.tell(attrs.evolve(question, request=5))
        assert run.heard == [NoReply(5)]
        assert "a message from the parent cannot be handled" in logged.failures[0]
        run.tell(PingWorker())
        assert run.heard[1:] == [Pong()]

    def test_so_is_a_publication_that_is_counted(self, run: Run, logged: Logged) -> None:
        for request in (0, 9):
            run.serving.bus.dataReceived(framed(Publication("a", b"x", False, request).body()))
        assert run.heard == [NoReply(9)]
        assert len(logged.failures) == 2

    def test_what_was_no_question_is_not(self, run: Run, logged: Logged) -> None:
        run.service.hub.presence("a", 0)
        run.reactor.advance(0)
        run.heard.clear()
        run.tell(PresenceTold(1, {}))
        assert run.heard == []
        assert len(logged.failures) == 1


def test_without_a_history_nothing_of_one_is_heard(run: Run) -> None:
    run.heard.clear()
    run.tell(DeliveryLost("news"))
    page = MissedPage(1, "news", Missed((), Position(1, "e.1")))
    run.serving.bus.dataReceived(framed(page.body()))
    assert run.heard == []


class TestReload:
    def prepare(self, run: Run, config: Config) -> None:
        run.tell(PrepareConfig(attrs.asdict(config), request=3))

    def commit(self, run: Run, config: Config) -> None:
        run.tell(CommitConfig(attrs.asdict(config)))

    def test_what_was_prepared_is_put_in_effect_when_that_is_said(self, run: Run) -> None:
        new = attrs.evolve(run.config, drain=7, greeting="", max_message_size=5, log_level="warn")
        self.prepare(run, new)
        assert run.heard[-1] == Reply(3, "")
        client = run.connect().open()
        assert run.service.config.drain == 4
        self.commit(run, new)
        assert run.service.config.drain == 7
        assert run.threshold.level == "warn"
        client.text("longer")
        assert client.frames()[0][0] == CLOSE

    def test_one_that_began_meanwhile_takes_it_too(self, run: Run) -> None:
        new = attrs.evolve(run.config, drain=7)
        self.prepare(run, attrs.evolve(new, drain=8))
        self.commit(run, new)
        assert run.service.config.drain == 7

    def test_what_is_wrong_is_said(self, tmp_path: Path, logged: Logged) -> None:
        key, certificate = Authority(tmp_path).certificate("localhost")
        run = Run(tls_cert=(str(certificate),), tls_key=(str(key),)).start()
        assert run.service.ports[0].fileno() == run.end.fileno()
        certificate.unlink()
        self.prepare(run, attrs.evolve(run.config, drain=7))
        assert run.heard[-1].answer.startswith("--tls-cert: ")
        self.commit(run, attrs.evolve(run.config, drain=7))
        assert run.service.config.drain == 10
        assert "this worker asks to be replaced, --tls-cert: " in logged.text
        assert run.heard[-1] == Leaving()
        run.close()


class TestEnd:
    def test_pings_are_answered(self, run: Run) -> None:
        run.tell(PingWorker())
        assert run.heard[-1] == Pong()

    @pytest.mark.parametrize(("replaced", "status"), [(True, b"200"), (False, b"503")])
    def test_health_checks_learn_whether_the_service_ends_and_not_the_worker(
        self, replaced: bool, status: bytes
    ) -> None:
        run = Run(drain=4, protocol="echo", health_path="/health").start()
        open_one, asking, shaking = run.connect(1).open(), run.connect(2), run.connect(3)
        run.tell(DrainWorker(roll=replaced))
        run.reactor.advance(0)
        if replaced:  # else they were told as connections
            asking.send(b"GET /health HTTP/1.0\r\n\r\n")
            assert shaking.ask().startswith(b"HTTP/1.1 101 ")
        else:
            late = run.connect(4)
            late.send(b"GET /health HTTP/1.0\r\n\r\n")
            assert late.taken().endswith(b'{"ready":false}\n')
            late.lose()
        assert asking.taken().split()[1] == status
        assert run.service.factory.is_stopping is not replaced
        for each in (open_one, asking, shaking):
            each.lose()
        assert run.is_stopped()
        run.close()

    def test_told_to_drain_it_closes_all_and_ends(self, run: Run) -> None:
        client = run.connect().open()
        shaking = run.connect(8)
        run.tell(DrainWorker(roll=False))
        run.reactor.advance(0)
        assert client.frames() == [(CLOSE, close_payload(1001))]
        assert shaking.taken().startswith(b"HTTP/1.1 503 ")
        assert run.alarms == [9]
        run.tell(DrainWorker(roll=False))
        assert not run.is_stopped()
        client.close(1001)
        for each in (client, shaking):
            each.lose()
        assert run.is_stopped()
        assert run.end.fileno() == -1

    def test_replaced_it_refuses_nobody(self, run: Run) -> None:
        shaking = run.connect()
        run.tell(DrainWorker(roll=True))
        run.reactor.advance(0.5)
        assert shaking.taken() == b""
        shaking.open()
        run.reactor.advance(0.1)
        assert shaking.frames() == [(CLOSE, close_payload(1001))]
        assert not run.is_stopped()
        shaking.lose()
        assert run.is_stopped()

    def test_replaced_it_leaves_to_others_who_was_handed_over(self, run: Run) -> None:
        one, two = socket.socketpair()
        with one, two:
            passing.hand(run.parent, one.fileno(), Handing(9, Verdict.ADMITTED, ("192.0.2.1", 5)))
        taker = socket.socket(fileno=os.dup(run.end.fileno()))
        run.tell(DrainWorker(roll=True))
        with taker:
            taken = passing.take(taker)
        assert taken is not None
        assert taken[0] is not None
        taken[0].close()

    def test_without_its_parent_it_ends(self, run: Run) -> None:
        client = run.connect().open()
        run.serving.bus.connectionLost()
        run.reactor.advance(0)
        assert client.frames() == [(CLOSE, close_payload(1001))]
        client.lose()
        assert run.is_stopped()

    @pytest.mark.parametrize(
        "message",
        [
            TellFigures(request=1).body(),  # without an admin face, there are no reports
            Leaving().body(),
            b'{"say": "of a later build"}',
        ],
    )
    def test_what_its_parent_never_says_ends_the_bus(self, run: Run, message: bytes) -> None:
        class Transport:
            aborted = False

            def abortConnection(self) -> None:
                self.aborted = True

        run.serving.bus.transport = Transport()
        run.serving.bus.dataReceived(framed(message))
        assert run.serving.bus.transport.aborted

    @pytest.mark.parametrize(
        ("order", "answers"),
        [
            ({"say": "drain"}, []),
            ({"say": "presence", "request": 7}, [NoReply(7)]),
            ({"say": "doing", "request": "x"}, []),
        ],
    )
    def test_an_order_that_it_cannot_follow_is_left_out(
        self, run: Run, logged: Logged, order: dict[str, Any], answers: list[NoReply]
    ) -> None:
        client = run.connect().open()
        run.heard.clear()
        run.serving.bus.dataReceived(framed(json.dumps(order).encode()))
        assert run.heard == answers
        assert "an order of the parent is left out: " in logged.text
        client.text("still there")
        assert not client.dropped


class TestSignals:
    @pytest.fixture
    def handlers(self, monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
        handlers: dict[int, Any] = {}
        monkeypatch.setattr(signal, "signal", handlers.__setitem__)
        return handlers

    def test_told_to_end_it_asks_to_be_replaced(self, run: Run, handlers: dict[int, Any]) -> None:
        run.serving.install_signals()
        handlers[signal.SIGTERM](signal.SIGTERM, None)
        assert run.heard[-1] == Leaving()
        assert run.alarms == []

    def test_by_the_kernel_since_its_parent_is_gone_it_has_an_end(
        self, run: Run, handlers: dict[int, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.serving.install_signals()
        monkeypatch.setattr(os, "getppid", lambda: 1)
        handlers[signal.SIGTERM](signal.SIGTERM, None)
        assert run.alarms == [9]

    def test_at_once_means_but_for_its_message_log(
        self, tmp_path: Path, handlers: dict[int, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "messages"
        run = Run(way="file", message_log=str(path)).start()
        run.serving.install_signals()
        ended: list[int] = []
        monkeypatch.setattr(os, "_exit", ended.append)
        run.connect().open().text("held")
        handlers[signal.SIGQUIT](signal.SIGQUIT, None)
        assert ended == [131]
        assert path.read_text().endswith("Message received: held\n")
        run.close()
