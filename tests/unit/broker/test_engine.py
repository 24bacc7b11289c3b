from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

import wsservice.broker
from wsservice.broker import check, open_engine
from wsservice.broker.engine import Engine
from wsservice.config.config import Config
from wsservice.errors import ConfigError

URLS = ("redis://127.0.0.1:1", "redis://127.0.0.1:2")


def made(*urls: str, **settings: Any) -> Engine:
    return Engine(Config(broker=urls, **settings), MemoryReactorClock(), "n1")


def test_without_a_url_there_is_none() -> None:
    assert open_engine(Config(), None) is None
    check(Config())


def test_each_node_has_an_id_of_its_own() -> None:
    config = Config(broker=URLS)
    one, other = (open_engine(config, MemoryReactorClock(), "s") for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.node != other.node
    assert one.node.isalnum()
    assert (one.service, other.service) == ("s", "s")
    alone = open_engine(config, MemoryReactorClock())
    assert alone is not None
    assert alone.service == alone.node


def test_each_channel_is_at_one_server() -> None:
    engine = made(*URLS)
    assert {engine.of(f"room-{number}") for number in range(50)} == set(engine.links)
    assert engine.of("a") is engine.of("a")
    again = made(*reversed(URLS))
    assert all(str(again.of(name)) == str(engine.of(name)) for name in map(str, range(50)))


def test_it_connects_to_all_and_ends_all() -> None:
    reactor = MemoryReactorClock()
    engine = Engine(Config(broker=URLS), reactor, "n1")
    assert reactor.tcpClients == []
    engine.start()
    assert [port for _, port, *_ in reactor.tcpClients] == [1, 2]
    ended: list[Any] = []
    engine.stop().addCallback(ended.append)
    assert ended == [None]


def test_what_is_not_as_it_should_be() -> None:
    engine = made(*URLS)
    assert engine.check() == (
        "broker redis://127.0.0.1:1: not started; broker redis://127.0.0.1:2: not started"
    )
    engine.links[0].up = True
    assert engine.check() == "broker redis://127.0.0.1:2: not started"
    engine.links[1].up = True
    assert engine.check() is None


def test_names_begin_with_the_prefix() -> None:
    assert made(*URLS, broker_prefix="app").names.one("x") == b"app:x"


def test_figures_are_by_server_and_name_no_password() -> None:
    engine = made("redis://u:hunter2@h/1")
    assert set(engine.figures) == set(engine.states) == {"redis://h:6379/1"}
    assert "hunter2" not in repr(engine.figures) + str(engine.check())


class TestPassword:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "password"
        path.touch(mode=0o600)
        path.write_text("first\n")
        return path

    def test_it_is_for_each_server_that_has_none(self, file: Path) -> None:
        engine = made("redis://h", "redis://:own@i", broker_password_file=str(file))
        assert [link.password for link in engine.links] == [b"first", b"first"]

    def test_it_is_that_of_a_user_of_the_url(self, file: Path) -> None:
        file.write_bytes(b" p\xe4ss w\xc3\xb6rd \n")
        engine = made("redis://an%20app@h", broker_password_file=str(file))
        (link,) = engine.links
        assert (link.place.user, link.password) == ("an app", b" p\xe4ss w\xc3\xb6rd ")

    def test_a_user_needs_one(self) -> None:
        with pytest.raises(ConfigError, match=r"^--broker: a user .* --broker-password-file$"):
            made("redis://u@h", "redis://u:p@i")

    def test_one_that_nobody_has_is_not_allowed(self, file: Path) -> None:
        with pytest.raises(ConfigError, match=r"^--broker-password-file: .* give one of the two"):
            made("redis://:own@h", broker_password_file=str(file))

    def test_it_is_read_again(self, file: Path) -> None:
        config = Config(broker=("redis://h",), broker_password_file=str(file))
        engine = Engine(config, MemoryReactorClock(), "n1")
        assert engine.prepare(config)() == []
        file.write_text("second")
        commit = engine.prepare(config)
        assert engine.links[0].password == b"first"
        assert commit() == ["the password of --broker"]
        assert engine.links[0].password == b"second"
        file.write_text("")
        with pytest.raises(ConfigError, match=r"^--broker-password-file: .* is empty"):
            engine.prepare(config)

    def test_it_is_not_allowed_alone(self) -> None:
        with pytest.raises(ConfigError, match="is not allowed without --broker"):
            Config(broker_password_file="x")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"broker": ("http://h",)}, "^--broker: its scheme is not allowed; give redis://"),
        ({"broker": ("redis://h", "redis://h:6379/0")}, "^--broker: redis://h:6379 twice is not"),
        ({"broker": ("redis://h",), "broker_prefix": "{"}, "^--broker-prefix: '{' is not allowed"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_checked(settings: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        check(Config(**settings))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsservice.broker, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"^--broker: .* pip install 'wsservice\[redis\]'$"):
        check(Config(broker=URLS))
