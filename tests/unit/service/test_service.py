from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock

from wsservice import errors
from wsservice.channels.message import ChannelMessage
from wsservice.config.config import Config
from wsservice.errors import ConfigError, NotPublishedError
from wsservice.net.descriptors import Shares
from wsservice.net.notify import ServiceManager
from wsservice.protocol import frames
from wsservice.server.behaviours import EchoServerProtocol
from wsservice.service import parts, service
from wsservice.service.service import WebSocketService
from wsservice.webhook.posting import PostOutcome

from ...certificates import Authority
from ...nodes import Broker, Engine
from ...support import CLOSE, TEXT, Client, Logged, close_payload, frame

GOODBYE = frame(CLOSE, close_payload(1001), masked=False)


class Port:
    """A port that stops when told to, once `stopped` fires."""

    def __init__(self) -> None:
        self.stopped: Deferred[None] | None = None
        self.asked = False

    def stopListening(self) -> Deferred[None] | None:
        self.asked = True
        return self.stopped


class Run:
    """A service that runs on a reactor in memory, with one port."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.port = Port()
        self.listened = 0
        monkeypatch.setattr(parts, "listen", self._listen)
        self.service = WebSocketService(Config(**settings), self.reactor)
        self.stopped: list[Any] = []

    def _listen(self, endpoints: object, factory: object) -> list[Port]:
        self.listened += 1
        return [self.port]

    def connect(self) -> Client:
        protocol: Any = self.service.factory.buildProtocol(None)
        return Client(protocol)

    def stop(self) -> None:
        self.service.stopService().addBoth(self.stopped.append)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    run = Run(monkeypatch, drain=4, protocol="echo")
    run.service.startService()
    return run


class TestStart:
    def test_it_says_which_codec_it_uses(
        self, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        Run(monkeypatch).service.startService()
        assert f"messages are read by the {frames.CODEC} codec" in logged.text

    @pytest.mark.parametrize(
        ("most", "used", "said"),
        [
            (100, 732, ["[info] up to 100 connections"]),
            (
                100,
                733,
                [
                    (
                        "[warn] --max-connections 100 does not fit: at most 1024 files may be open,"
                        " which leaves room for 99; more are refused with 503, until the hard limit"
                        " is raised (ulimit -n, LimitNOFILE=)"
                    ),
                    "[info] up to 99 connections",
                ],
            ),
            (0, 732, ["[info] up to 100 connections"]),
        ],
    )
    def test_it_says_how_many_connections_there_is_room_for(
        self,
        monkeypatch: pytest.MonkeyPatch,
        logged: Logged,
        most: int,
        used: int,
        said: list[str],
    ) -> None:
        monkeypatch.setattr(service, "limit_for", lambda _: 1024)
        monkeypatch.setattr(service, "in_use", lambda: used)
        run = Run(monkeypatch, max_connections=most)
        run.service.startService()
        for hook, arguments, _ in run.reactor.whenRunningHooks:
            hook(*arguments)
        lines = logged.text.replace("wsservice#", "").splitlines()
        assert [line for line in lines if "connections" in line] == said
        assert run.service.factory.limits._first_reserved == Shares.of(1024).first_reserved

    def test_ports_are_taken_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch)
        run.service.listen()
        run.service.privilegedStartService()
        run.service.startService()
        assert run.listened == 1
        assert run.service.running

    def test_it_takes_them_by_itself(self, run: Run) -> None:
        assert run.listened == 1

    def test_the_behaviour_of_the_configuration_is_served(self, run: Run) -> None:
        assert isinstance(run.connect().protocol, EchoServerProtocol)

    def test_what_cannot_be_is_said_when_it_is_made(self) -> None:
        reactor = MemoryReactorClock()
        for wrong in ({"protocol": "nonsense"}, {"listen": ("nonsense",)}):
            with pytest.raises(ConfigError):
                WebSocketService(Config(**wrong), reactor)
        with pytest.raises(errors.JournalError):
            WebSocketService(Config(message_log="/no/such/folder/x"), reactor)

    def test_endpoints_are_listened_on_by_the_reactor_it_was_given(self) -> None:
        reactor = MemoryReactorClock()
        made = WebSocketService(Config(listen=("tcp:99",)), reactor)
        made.listen()
        assert [server[0] for server in reactor.tcpServers] == [99]


class TestManager:
    """The service manager is told how it goes."""

    def test_from_ready_to_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        heard: list[str] = []
        run = Run(monkeypatch, drain=4)
        run.service.manager = ServiceManager(
            run.reactor, lambda datagram: heard.append(datagram.decode()), watchdog=2
        )
        run.service.startService()
        assert heard == []
        for hook, arguments, _ in run.reactor.whenRunningHooks:
            hook(*arguments)
        assert heard == ["READY=1\nSTATUS=connections: 0", "WATCHDOG=1\nSTATUS=connections: 0"]
        client = run.connect().open()
        run.reactor.advance(1)
        assert heard[2:] == ["WATCHDOG=1\nSTATUS=connections: 1"]
        run.stop()
        assert heard[3:] == ["STOPPING=1\nEXTEND_TIMEOUT_USEC=9000000\nSTATUS=connections: 1"]
        run.reactor.advance(1)
        assert heard[4:] == ["WATCHDOG=1\nSTATUS=connections: 1"]
        client.lose()
        assert run.stopped == [None]
        assert run.reactor.getDelayedCalls() == []


class TestStop:
    def test_without_connections_it_is_over_at_once(self, run: Run) -> None:
        run.stop()
        assert run.port.asked
        assert run.stopped == [None]
        assert run.reactor.getDelayedCalls() == []
        assert not run.service.running

    def test_one_that_was_never_started_stops_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch)
        run.stop()
        assert run.stopped == [None]

    def test_it_waits_for_the_ports_first(self, run: Run) -> None:
        run.port.stopped = Deferred()
        run.stop()
        assert run.stopped == []
        run.port.stopped.callback(None)
        assert run.stopped == [None]

    def test_a_port_that_cannot_be_stopped_is_logged_and_no_obstacle(
        self, run: Run, logged: Logged
    ) -> None:
        run.port.stopped = fail(OSError("no"))
        run.stop()
        assert run.stopped == [None]
        assert "cannot stop listening" in logged.failures[0]

    def test_every_connection_is_closed_with_1001_and_waited_for(
        self, run: Run, logged: Logged
    ) -> None:
        clients = [run.connect().open() for _ in range(2)]
        run.stop()
        for client in clients:
            assert client.frames() == [(CLOSE, close_payload(1001))]
            assert run.stopped == []
            client.close(1001)
            client.lose()
        assert run.stopped == [None]
        assert run.reactor.getDelayedCalls() == []
        assert "dropped" not in logged.text

    def test_one_in_its_handshake_gets_503(self, run: Run) -> None:
        client = run.connect()
        run.stop()
        assert client.taken().startswith(b"HTTP/1.1 503 ")

    def test_those_that_do_not_answer_are_waited_for_no_longer_than_drain(
        self, run: Run, logged: Logged
    ) -> None:
        run.connect().open()
        run.stop()
        run.reactor.advance(3.9)
        assert run.stopped == []
        run.reactor.advance(0.2)
        assert run.stopped == [None]
        assert "1 connections did not close within --drain 4 s; dropped" in logged.text

    def test_one_that_only_waits_for_its_peer_to_end_is_not_waited_for(self, run: Run) -> None:
        client = run.connect().open()
        client.send(frame(3))  # breaks the protocol
        assert client.protocol.state == client.protocol.STATE_CLOSED
        run.stop()
        assert run.stopped == []
        client.protocol.writeConnectionLost()
        assert run.stopped == [None]
        client.lose()

    def test_a_handful_is_told_at_once(self, run: Run) -> None:
        clients = [run.connect().open() for _ in range(100)]
        run.stop()
        assert [client.taken() for client in clients] == [GOODBYE] * 100

    def test_many_are_told_one_after_another_in_no_order(self, run: Run) -> None:
        clients = [run.connect().open() for _ in range(300)]
        run.stop()
        told = [0]
        for _ in range(3):
            told.append(sum(bool(client.transport.value()) for client in clients))
            run.reactor.advance(0.5)
        # 200 in a second: 300 take 1.5 s.
        assert told[1] < 20
        assert 50 < told[2] < 150
        assert 150 < told[3] < 250
        assert [client.taken() for client in clients] == [GOODBYE] * 300
        assert run.stopped == []
        for client in clients:
            client.lose()
        assert run.stopped == [None]
        assert run.reactor.getDelayedCalls() == []

    def test_thousands_are_all_told_within_half_of_drain(self, run: Run) -> None:
        clients = [run.connect().open() for _ in range(2000)]
        run.stop()
        run.reactor.advance(1)
        assert 800 < sum(bool(client.transport.value()) for client in clients) < 1200
        run.reactor.advance(1)
        assert [client.taken() for client in clients] == [GOODBYE] * 2000

    def test_many_with_a_drain_of_0_are_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch, drain=0, protocol="echo")
        run.service.startService()
        clients = [run.connect().open() for _ in range(101)]
        run.stop()
        assert [client.taken() for client in clients] == [GOODBYE] * 101

    def test_those_that_leave_before_they_are_told_end_the_wait(self, run: Run) -> None:
        clients = [run.connect().open() for _ in range(101)]
        run.stop()
        for client in clients:
            client.lose()
        assert run.stopped == [None]
        assert run.reactor.getDelayedCalls() == []

    def test_what_was_queued_is_sent_before_the_goodbye(self, run: Run) -> None:
        client = run.connect().open()
        client.protocol.pauseProducing()
        client.protocol.sendMessage(b"queued")
        run.stop()
        assert client.taken() == b""
        client.protocol.resumeProducing()
        assert client.frames() == [(TEXT, b"queued"), (CLOSE, close_payload(1001))]

    def test_health_checks_are_answered_meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch, drain=4, health_path="/health")
        assert self.check(run) == b"503"  # it starts
        run.service.startService()
        client = run.connect()
        client.ask()
        assert self.check(run) == b"200"
        run.stop()
        assert (run.port.asked, self.check(run)) == (False, b"503")
        late = run.connect()
        assert late.ask().startswith(b"HTTP/1.1 503 ")
        silent = run.connect()
        client.close(1001)
        client.lose()
        # The service does not wait for a client that came late.
        assert (run.port.asked, run.stopped, silent.dropped) == (True, [None], False)

    def check(self, run: Run) -> bytes:
        client = run.connect()
        client.send(b"GET /health HTTP/1.0\r\n\r\n")
        status = client.taken().split()[1]
        client.lose()
        return status

    def test_a_drain_of_0_sends_the_close_frames_and_does_not_wait(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(monkeypatch, drain=0)
        run.service.startService()
        client = run.connect().open()
        client.taken()
        run.stop()
        assert client.frames() == [(CLOSE, close_payload(1001))]
        assert run.stopped == []
        run.reactor.advance(0)
        assert run.stopped == [None]

    def test_what_came_last_is_in_the_message_log_before_it_is_over(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "messages"
        run = Run(monkeypatch, message_log=str(path))
        run.service.startService()
        client = run.connect().open()
        run.stop()
        client.text("last words")
        client.close(1001)
        client.lose()
        assert run.stopped == [None]
        assert path.read_text().endswith("Message received: last words\n")

    def test_it_can_be_started_again(self, run: Run) -> None:
        run.port.stopped = succeed(None)
        run.stop()
        run.service.startService()
        assert run.listened == 2


class TestReload:
    def prepared(self, run: Run, **settings: Any) -> list[Callable[[], object]]:
        settings = {"drain": 4, "protocol": "echo", **settings}
        return [part.prepare(Config(**settings)) for part in run.service.parts]

    def test_how_long_it_drains_may_change(self, run: Run) -> None:
        run.connect().open()
        for commit in self.prepared(run, drain=1):
            commit()
        run.stop()
        run.reactor.advance(1.1)
        assert run.stopped == [None]

    def test_whether_there_is_room_is_looked_at_where_more_are_allowed(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        monkeypatch.setattr(service, "limit_for", lambda _: 1024)
        monkeypatch.setattr(service, "in_use", lambda: 732)
        run.connect().open()
        for commit in self.prepared(run, drain=5):
            commit()
        assert "up to" not in logged.text
        for commit in self.prepared(run, max_connections=101):
            commit()
        # Those that are connected have theirs.
        assert "up to 101 connections" in logged.text
        assert "does not fit" not in logged.text
        for commit in self.prepared(run, max_connections=102):
            commit()
        assert "does not fit" in logged.text

    def test_certificates_are_read_again(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        key, certificate = map(str, authority.certificate())
        config = Config(tls_cert=(certificate,), tls_key=(key,))
        made = WebSocketService(config, MemoryReactorClock())
        Path(key).unlink()
        with pytest.raises(ConfigError):
            [part.prepare(config) for part in made.parts]


class TestWebhook:
    @pytest.fixture
    def told(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
        """A service with a webhook, whose events are kept."""
        secret = tmp_path / "secret"
        secret.touch(0o600)
        secret.write_text("s3cret")
        run = Run(
            monkeypatch, drain=4, webhook="http://hook.example/", webhook_secret_file=str(secret)
        )
        run.service.startService()
        return run

    def test_there_is_none_unless_asked_for(self, run: Run) -> None:
        assert run.service.webhook is None

    def test_connections_tell(self, told: Run) -> None:
        assert told.service.webhook is not None
        told.connect().open().lose()
        assert told.service.webhook.waiting == 2

    def test_at_the_end_it_is_told_what_it_was_not_told_yet(self, told: Run) -> None:
        hook = told.service.webhook
        assert hook is not None
        posted: list[tuple[bytes, Deferred[PostOutcome]]] = []

        class Poster:
            def post(self, body: bytes, headers: object) -> Deferred[PostOutcome]:
                posted.append(
                    (body, Deferred(lambda each: each.callback(PostOutcome("cancelled"))))
                )
                return posted[-1][1]

        hook._poster = Poster()
        client = told.connect().open()
        told.stop()
        client.close(1001)
        client.lose()
        told.reactor.advance(0)
        ((body, answer),) = posted
        assert b'"disconnect"' in body
        assert told.stopped == []
        answer.callback(PostOutcome())
        told.reactor.advance(0)
        assert told.stopped == [None]

    def test_those_who_are_left_are_dropped_so_that_it_can_be_told(self, told: Run) -> None:
        client = told.connect().open()
        told.stop()
        told.reactor.advance(4)
        assert client.aborted
        assert told.stopped == []
        told.reactor.advance(1)
        assert told.stopped == [None]


@pytest.mark.needs("hiredis")
class TestBroker:
    @pytest.fixture
    def met(self, monkeypatch: pytest.MonkeyPatch) -> Run:
        """A service with a broker and an inbox, that are not there."""
        run = Run(monkeypatch, drain=4, broker=("redis://127.0.0.1:1",), inbox="in")
        run.service.startService()
        return run

    def test_there_is_none_unless_asked_for(self, run: Run) -> None:
        assert (run.service.engine, run.service.inbox) == (None, None)

    def test_it_connects_when_it_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch, broker=("redis://127.0.0.1:1",))
        assert run.reactor.tcpClients == []
        run.service.startService()
        assert [each[:2] for each in run.reactor.tcpClients] == [("127.0.0.1", 1)]
        assert run.service.inbox is None

    def test_it_is_not_ready_without(self, met: Run) -> None:
        reasons = [check() for check in met.service.checks]
        assert "broker redis://127.0.0.1:1: connecting" in reasons

    def test_its_hub_meets_others_and_has_the_history_that_is_there(
        self, monkeypatch: pytest.MonkeyPatch, met: Run, run: Run
    ) -> None:
        hub = met.service.hub
        assert met.service.meeting is hub
        assert (hub.has_history, hub.kept) == (False, None)
        kept = Run(monkeypatch, broker=("redis://127.0.0.1:1",), history="10").service
        assert kept.meeting is kept.hub
        assert (kept.hub.has_history, kept.hub.kept) == (True, None)
        alone = Run(monkeypatch, history="10").service
        assert alone.meeting is None
        assert alone.hub.kept is not None

    def test_what_waits_to_be_published_is_over_at_the_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(monkeypatch, drain=0, broker=("redis://127.0.0.1:1",), broker_buffer=5)
        run.service.startService()
        meeting = run.service.meeting
        assert meeting is not None
        became: list[Any] = []
        meeting.deliver(ChannelMessage("a", b"x")).addErrback(
            lambda failure: became.append(failure.type)
        )
        assert meeting.states["waiting"] == 1
        run.stop()
        run.reactor.advance(0)
        assert (run.stopped, became) == ([None], [NotPublishedError])

    def test_what_is_sent_together_is_so_for_what_comes_from_there_too(self, met: Run) -> None:
        assert met.service.meeting is not None
        assert met.service.meeting.gathering is met.service.factory.gathering

    def test_settings_are_read_again(self, met: Run) -> None:
        assert met.service.meeting in met.service.parts
        assert met.service.engine in met.service.parts
        assert met.service.inbox in met.service.parts

    def test_what_clients_send_waits_for_it_also_at_the_end(self, met: Run) -> None:
        inbox = met.service.inbox
        assert inbox is not None
        client = met.connect().open()
        client.text("hello")
        assert inbox.waiting == 1
        met.stop()
        client.close(1001)
        client.lose()
        met.reactor.advance(0)
        assert met.stopped == []
        met.reactor.advance(4)
        met.reactor.advance(0)
        assert met.stopped == [None]
        assert inbox.dropped == 1

    def test_at_the_end_it_ends_too(self, met: Run) -> None:
        met.stop()
        met.reactor.advance(0)
        assert met.stopped == [None]
        engine = met.service.engine
        assert engine is not None
        assert engine.links[0].problem == "stopped"

    def test_what_is_wrong_is_said_when_it_is_made(self) -> None:
        with pytest.raises(ConfigError, match=r"^--broker: its scheme is not allowed"):
            WebSocketService(Config(broker=("http://h",)), MemoryReactorClock())


@pytest.mark.needs("hiredis")
class TestCluster:
    @pytest.fixture
    def engine(self, monkeypatch: pytest.MonkeyPatch) -> Engine:
        engine = Engine(Broker(), "a")
        monkeypatch.setattr(parts, "open_engine", lambda *_: engine)
        return engine

    def test_it_is_a_node_as_long_as_it_runs(
        self, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        run = Run(monkeypatch, drain=0, broker="redis://broker.example")
        broker = engine.broker
        run.service.startService()
        assert broker.index == {b"a"}
        run.stop()
        assert broker.index == {b"a"}
        run.reactor.advance(0)
        assert broker.index == set()
        assert broker.calls[-2:] == ["DEL", "ZREM"]
        assert engine.did == ["start", "stop"]
        assert run.stopped == [None]

    def test_its_face_shows_all_nodes(
        self, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        run = Run(monkeypatch, broker="redis://broker.example", admin="unix:/admin.sock")
        admin, cluster = run.service.admin, run.service.cluster
        assert admin is not None
        assert cluster is not None
        assert admin._routes._cluster is cluster
        assert admin._routes._people is cluster.people
        assert cluster._home.people is admin.people
        assert cluster._home.reasons() == ["starting"]

    def test_its_webhook_says_by_what_name_the_nodes_know_it(
        self, monkeypatch: pytest.MonkeyPatch, engine: Engine, tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret"
        secret.touch(0o600)
        secret.write_text("s3cret")
        hook = {"webhook": "http://hook.example/", "webhook_secret_file": str(secret)}
        webhook = Run(monkeypatch, broker="redis://broker.example", **hook).service.webhook
        assert webhook is not None
        webhook._queue.put(b"1")
        batch = webhook._queue.take(0)
        assert batch is not None
        assert json.loads(batch.body)["node"] == engine.service

    def test_alone_it_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Run(monkeypatch).service.cluster is None
