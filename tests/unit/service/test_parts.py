from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from wsservice.channels.hub import LocalHub
from wsservice.config.config import Config
from wsservice.errors import ListenError
from wsservice.server.admission import ConnectionLimits
from wsservice.service.parts import ConnectionParts, given_back, one_after_another
from wsservice.service.service import WebSocketService


@pytest.fixture
def everything(tmp_path: Path) -> Config:
    """Settings of a service that has every part."""
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("s3cret")
    return Config(
        broker=("redis://127.0.0.1:1",),
        inbox="in",
        webhook="http://hook.example/",
        webhook_secret_file=str(secret),
        admin="unix:/admin.sock",
    )


@pytest.mark.needs("hiredis")
class TestOrder:
    """The order of parts is the same at each start, reload and stop."""

    def test_settings_are_read_again(self, everything: Config) -> None:
        made = WebSocketService(everything, MemoryReactorClock())
        assert [type(each).__name__ for each in made.parts] == [
            *("Renewal", "ServerFactory", "Journal", "WebSocketService", "Admin"),
            *("Webhook", "Engine", "BrokerHub", "Inbox", "Identification"),
        ]

    def test_it_is_ready(self, everything: Config) -> None:
        made = WebSocketService(everything, MemoryReactorClock())
        assert [check.__qualname__ for check in made.checks] == [
            *("WebSocketService._not_running", "ConnectionParts.no_room"),
            *("Engine.check", "BrokerHub.check", "Inbox.check"),
        ]

    def test_parts_start_and_stop(
        self, everything: Config, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reactor = MemoryReactorClock()
        made: Any = WebSocketService(everything, reactor)
        monkeypatch.setattr("wsservice.service.parts.listen", lambda *_: [])
        called: list[str] = []
        waiting: list[Deferred[None]] = []

        def note(name: str, waits: bool = False) -> Any:
            def call(*_: Any) -> Deferred[None] | None:
                called.append(name)
                if waits:
                    waiting.append(Deferred())
                    return waiting[-1]
                return None

            return call

        hooks = made._parts.hooks
        for calls, names in (
            (hooks.starts, ["webhook", "engine", "identification"]),
            (made._face.listens, ["admin listens"]),
            (made._face.starts, ["admin"]),
            (made._nodes.starts, ["cluster"]),
        ):
            assert len(calls) == len(names)
            calls[:] = map(note, names)
        made.startService()
        assert called == [
            *("admin listens", "webhook", "engine", "identification", "admin", "cluster")
        ]
        called.clear()
        for calls, names in (
            (hooks.flushes, ["webhook", "inbox"]),
            (hooks.stops, ["identification", "engine"]),
            (made._nodes.stops, ["cluster"]),
            (made._face.stops, ["admin"]),
        ):
            assert len(calls) == len(names)
            calls[:] = [note(name, waits=True) for name in names]
        assert len(hooks.closes) == 1
        hooks.closes[:] = [note("hub")]
        monkeypatch.setattr(type(made.journal), "close", note("journal"))
        made.manager.stopped = note("manager")
        stopped: list[Any] = []
        made.stopService().addBoth(stopped.append)
        reactor.advance(0)
        steps = [["webhook", "inbox"], ["hub", "cluster"], ["identification"], ["engine"]]
        for step in [*steps, ["journal", "manager", "admin"]]:
            assert (called, stopped) == (step, [])
            called.clear()
            now, waiting[:] = list(waiting), []
            for each in now:
                each.callback(None)
        assert stopped == [None]


def test_a_worker_has_its_own_hub_ids_and_limits() -> None:
    hub, ids, limits = LocalHub(), iter(["7"]), ConnectionLimits(5)
    parts = ConnectionParts(Config(), MemoryReactorClock(), hub=hub, ids=ids, limits=limits)
    assert parts.hub is parts.factory.hub is hub
    assert (parts.factory.ids, parts.factory.limits) == (ids, limits)


class TestCalls:
    def test_each_waits_for_the_one_before_it(self) -> None:
        called: list[str] = []
        waits: Deferred[None] = Deferred()

        def first() -> Deferred[None]:
            called.append("first")
            return waits

        done = one_after_another([first, lambda: called.append("second")])
        assert called == ["first"]
        waits.callback(None)
        assert called == ["first", "second"]
        assert done.called

    def test_one_that_fails_ends_them(self) -> None:
        def fail() -> None:
            raise RuntimeError("broken")

        called: list[str] = []
        failed: list[Any] = []
        one_after_another([fail, lambda: called.append("late")]).addErrback(failed.append)
        assert failed[0].check(RuntimeError)
        assert called == []


class TestGivenBack:
    def test_ports_stay_where_all_goes_well(self, ports: list[Any]) -> None:
        with given_back(ports):
            pass
        assert [each.asked for each in ports] == [False, False]

    def test_all_are_given_back_where_the_service_cannot_go_on(self, ports: list[Any]) -> None:
        with pytest.raises(ListenError), given_back(ports):
            raise ListenError("taken")
        assert [each.asked for each in ports] == [True, True]

    @pytest.fixture
    def ports(self) -> list[Any]:
        class Port:
            asked = False

            def stopListening(self) -> None:
                self.asked = True

        return [Port(), Port()]
