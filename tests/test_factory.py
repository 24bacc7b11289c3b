from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from wsservice.config import Limits
from wsservice.factory import common_options, deployed, redeploy
from wsservice.server import ServerProtocol


def test_0_switches_a_limit_off() -> None:
    off = common_options(Limits(max_message_size=0, handshake_timeout=0, close_timeout=0))
    assert off["maxMessagePayloadSize"] == 0
    assert off["openHandshakeTimeout"] == 0
    assert off["closeHandshakeTimeout"] == 0


def test_a_deployed_class_goes_by_the_name_of_the_behaviour() -> None:
    class Behaviour(ServerProtocol):
        """What it does."""

    class_ = deployed(Behaviour, Limits(), {}, Clock())
    assert issubclass(class_, Behaviour)
    assert class_ is not Behaviour
    assert repr(class_) == repr(Behaviour)
    assert class_.__doc__ == "What it does."


def test_a_function_among_the_options_is_no_method() -> None:
    class_: Any = deployed(ServerProtocol, Limits(), {"accept": lambda offers: offers}, Clock())
    assert class_.accept([1]) == [1]
    assert class_().accept([1]) == [1]


def test_other_options_are_those_of_open_connections_too() -> None:
    options: dict[str, Any] = {"closeHandshakeTimeout": 1, "accept": lambda offers: offers}
    class_: Any = deployed(ServerProtocol, Limits(max_message_size=1), options, Clock())
    connection = class_()
    bound = connection._send_bound
    options = {"closeHandshakeTimeout": 2, "accept": lambda _: "none"}
    limits = Limits(max_message_size=2, send_buffer=3)
    redeploy(class_, limits, options)
    assert connection.closeHandshakeTimeout == 2
    assert connection.accept([1]) == "none"
    assert connection._limits is limits
    assert connection._decoding[1] == 2
    assert connection._send_bound is bound
    assert bound.limit == 3
    assert ServerProtocol._limits == Limits()
