from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport

from wsservice.admin import Admin, check, face
from wsservice.config.config import Config
from wsservice.errors import ConfigError, ListenError
from wsservice.service import parts
from wsservice.service.service import WebSocketService

from ...support import CLOSE, Client, Logged, close_payload

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 8081)
EXPOSED = IPv4Address("TCP", "192.0.2.7", 8081)
ADMIN = "tcp:8081:interface=127.0.0.1"


class Port:
    """A port that stops at once, unless told otherwise."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self.stopped: Deferred[None] | None = None
        self.asked = 0

    def getHost(self) -> Any:
        return self._address

    def stopListening(self) -> Deferred[None] | None:
        self.asked += 1
        return self.stopped


class Run:
    """A service with an admin face, on a reactor in memory."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, address: Any = LOOPBACK, **settings: Any
    ) -> None:
        self.reactor = MemoryReactorClock()
        self.public, self.port = Port(None), Port(address)
        monkeypatch.setattr(parts, "listen", lambda *_: [self.public])
        monkeypatch.setattr(face, "listen", self._listen)
        self.service = WebSocketService(
            Config(**{"admin": ADMIN, "drain": 4, "protocol": "echo", **settings}), self.reactor
        )
        assert self.service.admin is not None
        self.admin: Admin = self.service.admin
        self.stopped: list[Any] = []

    def _listen(self, named: Any, factory: Any) -> list[Port]:
        self.named, self.factory = named, factory
        return [self.port]

    def connect(self) -> Client:
        protocol: Any = self.service.factory.buildProtocol(None)
        return Client(protocol)

    def ask(self, target: str, *headers: str) -> bytes:
        channel = self.factory.buildProtocol(None)
        transport = StringTransport(hostAddress=LOOPBACK, lenient=True)
        channel.makeConnection(transport)
        lines = [f"GET {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
        channel.dataReceived("\r\n".join(lines).encode())
        self.transport = transport
        octets: bytes = transport.value()
        return octets

    def stop(self) -> None:
        self.service.stopService().addBoth(self.stopped.append)


def token_file(tmp_path: Path, token: str = "a-token") -> str:
    path = tmp_path / "token"
    path.write_text(token)
    path.chmod(0o600)
    return str(path)


class TestWhere:
    @pytest.mark.parametrize("description", ["tcp:8081", "tcp6:8081", "tcp:8081:interface=0.0.0.0"])
    def test_every_address_is_refused_without_a_token(self, description: str) -> None:
        for make in (
            lambda config: check(config, MemoryReactorClock()),
            lambda config: WebSocketService(config, MemoryReactorClock()),
        ):
            with pytest.raises(ConfigError) as caught:
                make(Config(admin=description))
            said = str(caught.value)
            assert said.startswith(f"--admin {description}: ")
            assert "is not allowed without --admin-token-file" in said

    @pytest.mark.parametrize("inner", ["tcp:8081:interface=127.0.0.1", "unix:x"])
    def test_a_gateway_in_front_is_refused_without_one(self, inner: str, tmp_path: Path) -> None:
        config = Config(admin=f"haproxy:{inner}")
        with pytest.raises(ConfigError) as caught:
            check(config, MemoryReactorClock())
        assert str(caught.value) == (
            f"--admin haproxy:{inner}: a gateway in front is not allowed without"
            " --admin-token-file; give that"
        )
        with_one = attrs.evolve(config, admin_token_file=token_file(tmp_path))
        check(with_one, MemoryReactorClock())

    @pytest.mark.parametrize(
        ("admin", "address"), [(ADMIN, LOOPBACK), ("unix:x", UNIXAddress("x"))]
    )
    def test_a_face_without_one_is_a_warning(
        self, monkeypatch: pytest.MonkeyPatch, logged: Logged, admin: str, address: Any
    ) -> None:
        Run(monkeypatch, address, admin=admin).service.listen()
        (line,) = [each for each in logged.text.splitlines() if "asks for no token" in each]
        assert line.startswith(f"[wsservice#warn] --admin {admin}")
        assert line.endswith("; give --admin-token-file")

    def test_one_with_a_token_is_none(
        self, monkeypatch: pytest.MonkeyPatch, logged: Logged, tmp_path: Path
    ) -> None:
        Run(monkeypatch, admin_token_file=token_file(tmp_path)).service.listen()
        assert "#warn" not in logged.text

    def test_and_taken_with_one(self, tmp_path: Path) -> None:
        config = Config(admin="tcp:8081", admin_token_file=token_file(tmp_path))
        check(config, MemoryReactorClock())
        WebSocketService(config, MemoryReactorClock())

    def test_what_only_shows_when_it_listens_is_refused_then(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(monkeypatch, EXPOSED)
        with pytest.raises(ConfigError, match="is not allowed without --admin-token"):
            run.service.listen()
        assert run.port.asked == run.public.asked == 1
        assert run.service.ports is None

    def test_a_unix_socket_needs_no_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Run(monkeypatch, UNIXAddress("/x"), admin="unix:/x").service.listen()

    def test_one_that_cannot_be_listened_on_gives_the_others_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(monkeypatch)

        def fail(*_: Any) -> Any:
            raise ListenError("taken")

        monkeypatch.setattr(face, "listen", fail)
        with pytest.raises(ListenError):
            run.service.listen()
        assert run.public.asked == 1

    @pytest.mark.parametrize("description", ["nonsense", "tcp:x"])
    def test_what_is_no_endpoint(self, description: str) -> None:
        with pytest.raises(ConfigError, match=f"--admin {description}: is not an endpoint"):
            check(Config(admin=description), MemoryReactorClock())

    def test_a_token_file_that_is_none(self, tmp_path: Path) -> None:
        path = str(tmp_path / "absent")
        with pytest.raises(ConfigError, match="--admin-token-file: "):
            check(Config(admin=ADMIN, admin_token_file=path), MemoryReactorClock())

    def test_without_one_there_is_none(self) -> None:
        check(Config(), MemoryReactorClock())
        assert WebSocketService(Config(), MemoryReactorClock()).admin is None


class TestGateways:
    def test_a_refusal_is_logged_at_most_every_10_seconds(
        self, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        run = Run(monkeypatch)
        run.service.listen()
        said = "refused a request that came through a gateway (X-Forwarded-*)"
        for seconds, lines in ((0, 1), (9.9, 1), (0.2, 2), (0, 2), (60, 3)):
            run.reactor.advance(seconds)
            answer = run.ask("/metrics", "X-Forwarded-For: 192.0.2.9\x1b[31m")
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert logged.text.count(said) == lines
        assert "192.0.2.9" not in logged.text

    def test_also_where_it_brings_a_message(
        self, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        run = Run(monkeypatch)
        run.service.listen()
        answer = run.ask("/publish/a", "Via: 1.1 x", "Content-Length: 9000")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert "came through a gateway (Via)" in logged.text

    def test_http_1_0_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch)
        run.service.listen()
        for path, status in (("/metrics", b"403"), ("/healthz", b"200")):
            channel = run.factory.buildProtocol(None)
            transport = StringTransport(hostAddress=LOOPBACK, lenient=True)
            channel.makeConnection(transport)
            channel.dataReceived(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            assert transport.value().split()[1] == status


class TestReadiness:
    def test_it_follows_the_services_life(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch)
        run.service.listen()
        assert b'"reasons":["starting"]' in run.ask("/readyz")
        run.service.startService()
        assert run.ask("/readyz").startswith(b"HTTP/1.1 200 ")
        client = run.connect().open()
        run.stop()
        assert b'"reasons":["draining"]' in run.ask("/readyz")
        assert run.stopped == []
        assert run.port.asked == 0
        client.close(1001)
        client.lose()
        assert run.port.asked == 1
        assert run.stopped == []
        run.reactor.advance(1)
        assert run.stopped == [None]

    def test_a_service_that_was_stopped_can_be_started_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(monkeypatch)
        run.service.startService()
        run.stop()
        run.service.startService()
        assert run.ask("/readyz").startswith(b"HTTP/1.1 200 ")

    def test_there_is_no_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch, max_connections=1)
        run.service.startService()
        client = run.connect().open()
        assert b'"reasons":["no room for more connections"]' in run.ask("/readyz")
        client.lose()
        assert run.ask("/readyz").startswith(b"HTTP/1.1 200 ")
        run.service.factory.limits.reserve(0, 1)
        assert b'"reasons":["no descriptors for more connections"]' in run.ask("/readyz")

    def test_others_have_a_say(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch)
        run.service.startService()
        broker: list[str | None] = ["cut off from the broker"]
        run.service.checks.append(lambda: broker[0])
        assert b'"reasons":["cut off from the broker"]' in run.ask("/readyz")
        assert b"wsservice_ready 0.0" in run.ask("/metrics")
        broker[0] = None
        assert run.ask("/readyz").startswith(b"HTTP/1.1 200 ")


class TestStop:
    def test_traces_do_not_hold_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch)
        run.service.startService()
        run.connect().open()
        run.ask("/connections/1/trace")
        tracing = run.transport
        assert run.admin.traces == 1
        run.stop()
        run.reactor.advance(4)
        run.reactor.advance(1)
        assert run.stopped == [None]
        assert tracing.value().endswith(b"0\r\n\r\n")
        assert run.admin.traces == 0
        assert tracing.disconnecting

    def test_what_is_said_last_is_traced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch)
        run.service.startService()
        client = run.connect().open()
        run.ask("/connections/1/trace")
        run.stop()
        assert client.frames() == [(CLOSE, close_payload(1001))]
        client.close(1001)
        client.lose()
        traced = run.transport.value()
        assert traced.count(b'"payload":"1001"') == 2
        assert b"event: closed" in traced

    def test_a_port_that_cannot_be_stopped_is_no_obstacle(
        self, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        run = Run(monkeypatch)
        run.service.startService()

        def fail() -> Any:
            raise OSError("no")

        monkeypatch.setattr(run.port, "stopListening", fail)
        run.stop()
        assert run.stopped == [None]
        assert "cannot stop listening" in logged.failures[0]

    def test_nothing_is_measured_any_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch)
        run.service.startService()
        run.reactor.advance(0.25)
        assert dict(run.admin.lag.buckets())["+Inf"] == 1
        run.stop()
        assert run.reactor.getDelayedCalls() == []


class TestPrepare:
    def test_another_token_counts_once_it_is_put_in_effect(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = token_file(tmp_path, "old")
        run = Run(monkeypatch, EXPOSED, admin="tcp:8081", admin_token_file=path)
        run.service.startService()
        token_file(tmp_path, "new")
        put_in_effect = run.admin.prepare(run.service.config)
        old, new = ("/connections", "Authorization: Bearer old"), "Authorization: Bearer new"
        assert run.ask(*old).startswith(b"HTTP/1.1 200 ")
        put_in_effect()
        assert run.ask(*old).startswith(b"HTTP/1.1 401 ")
        assert run.ask("/connections", new).startswith(b"HTTP/1.1 200 ")

    def test_what_cannot_be_read_changes_nothing(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = token_file(tmp_path, "old")
        run = Run(monkeypatch, admin_token_file=path)
        run.service.startService()
        Path(path).write_text("")
        with pytest.raises(ConfigError, match="is empty"):
            run.admin.prepare(run.service.config)
        answer = run.ask("/connections", "Authorization: Bearer old")
        assert answer.startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize(
        ("admin", "address"), [("tcp:8081", EXPOSED), (f"haproxy:{ADMIN}", LOOPBACK)]
    )
    def test_where_others_reach_it_there_is_no_going_without(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, admin: str, address: Any
    ) -> None:
        path = token_file(tmp_path)
        run = Run(monkeypatch, address, admin=admin, admin_token_file=path)
        run.service.startService()
        with pytest.raises(ConfigError, match="not allowed without --admin-token-file"):
            run.admin.prepare(Config(admin=admin))

    def test_a_token_may_come_and_go_where_only_this_machine_does(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        run = Run(monkeypatch)
        run.service.startService()
        run.admin.prepare(Config(admin=ADMIN, admin_token_file=token_file(tmp_path)))()
        assert run.ask("/connections").startswith(b"HTTP/1.1 401 ")
        run.admin.prepare(Config(admin=ADMIN))()
        assert run.ask("/connections").startswith(b"HTTP/1.1 200 ")
