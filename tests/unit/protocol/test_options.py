from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from wsservice.config.limits import Limits
from wsservice.protocol.options import common_options, deployed, redeploy
from wsservice.server.behaviours import ServerProtocol


def test_0_switches_a_limit_off() -> None:
    off = common_options(Limits(max_message_size=0, handshake_timeout=0, close_timeout=0))
    assert off["maxMessagePayloadSize"] == 0
    assert off["openHandshakeTimeout"] == 0
    assert off["closeHandshakeTimeout"] == 0


def test_a_deployed_class_goes_by_the_name_of_the_behaviour() -> None:
    class Behaviour(ServerProtocol):
        """A behaviour for the tests."""

    class_ = deployed(Behaviour, Limits(), {}, Clock())
    assert issubclass(class_, Behaviour)
    assert class_ is not Behaviour
    assert repr(class_) == repr(Behaviour)
    assert class_.__doc__ == "A behaviour for the tests."


def test_a_function_among_the_options_is_no_method() -> None:
    class_: Any = deployed(ServerProtocol, Limits(), {"accept": lambda offers: offers}, Clock())
    assert class_.accept([1]) == [1]
    assert class_().accept([1]) == [1]


def test_other_options_are_those_of_open_connections_too() -> None:
    options: dict[str, Any] = {"closeHandshakeTimeout": 1, "accept": lambda offers: offers}
    class_: Any = deployed(ServerProtocol, Limits(max_message_size=1), options, Clock())
    connection = class_()
    bound = connection._common.send_bound
    options = {"closeHandshakeTimeout": 2, "accept": lambda _: "none"}
    limits = Limits(max_message_size=2, send_buffer=3)
    redeploy(class_, limits, options)
    assert connection.closeHandshakeTimeout == 2
    assert connection.accept([1]) == "none"
    assert connection._common.limits is limits
    assert connection._common.decoding[1] == 2
    assert connection._common.send_bound is bound
    assert bound.limit == 3
    assert not hasattr(ServerProtocol, "_common")


def test_whether_it_only_logs_is_asked_of_the_deployed_class() -> None:
    class Echo(ServerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

    for behaviour, takes_all, batch in ((ServerProtocol, True, 256), (Echo, False, 32)):
        common = deployed(behaviour, Limits(), {}, Clock())._common
        assert common.takes_all is takes_all
        assert common.decoding[2] == batch
