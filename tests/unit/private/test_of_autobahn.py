from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflate
from autobahn.websocket.protocol import WebSocketProtocol

from wsservice.errors import ConfigError
from wsservice.private import absent, of_autobahn
from wsservice.private.of_autobahn import (
    SHARED,
    SPARE,
    check,
    connection_lost,
    first_state,
    is_of_server,
)
from wsservice.protocol.options import ConnectionFactory


@pytest.mark.parametrize("owner", SHARED, ids=lambda owner: str(owner.__name__))
def test_this_autobahn_has_the_names(owner: type) -> None:
    assert absent(owner, SHARED[owner]) == []


def test_it_has_those_too_without_which_connections_work() -> None:
    assert absent(WebSocketServerProtocol, SPARE) == []


def test_it_is_supported() -> None:
    check()


def test_one_without_a_name_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Another:
        def method(self) -> None: ...

    monkeypatch.setattr(of_autobahn, "SHARED", {Another: {"_onOpen()": "", "method()": ""}})
    monkeypatch.setattr(of_autobahn, "_GONE", of_autobahn._gone())
    problem = r"^Autobahn [0-9.]+ is not supported: it has no _onOpen\(\); install another version"
    with pytest.raises(ConfigError, match=problem):
        check()
    with pytest.raises(ConfigError, match=problem):
        ConnectionFactory()


def test_a_new_connection_has_attributes() -> None:
    given: dict[str, Any] = {
        "CONFIG_ATTRS": (),
        "factory": SimpleNamespace(isServer=True),
        "log": SimpleNamespace(debug=lambda *_, **__: None),
        "openHandshakeTimeout": 0,
        "setTrackTimings": lambda _: None,
        "trackTimings": False,
    }
    state = first_state(given)
    assert state["state"] == WebSocketProtocol.STATE_CONNECTING
    assert not set(state) & set(given)


def test_without_that_name_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(WebSocketProtocol, "_connectionMade")
    assert first_state({"log": None}) == {}


def test_the_end_of_a_connection_is_autobahns() -> None:
    assert connection_lost is WebSocketProtocol._connectionLost


@pytest.mark.parametrize("of_server", [False, True])
def test_a_compression_knows_its_end(of_server: bool) -> None:
    assert is_of_server(PerMessageDeflate(of_server, False, False, 9, 9, 8)) is of_server
