from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from wsservice.config import Limits
from wsservice.factory import common_options, deployed
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
