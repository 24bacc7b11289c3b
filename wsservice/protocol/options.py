"""Set options and parts that all connections of a factory share, once, on their class."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

from ..clock import monotonic_of, wall_of
from ..config.limits import Limits
from ..net.gathering import Gathering
from ..net.timers import Timers
from ..net.turns import Turns
from ..private.of_autobahn import check as check_autobahn
from .budget import MESSAGE, QUEUE, Budget
from .common import BATCH_MESSAGES, LOGGED_BATCH, Common
from .connection import Connection
from .sending import PreparedMessage
from .unfinished import Watch

_STREAMING = (
    "onMessageBegin",
    "onMessageFrameBegin",
    "onMessageFrameData",
    "onMessageFrameEnd",
    "onMessageFrame",
    "onMessageEnd",
)
"""Autobahn's callbacks for parts of messages. A behaviour that overrides one gets all messages
from Autobahn, since the codec makes whole messages only."""

_C = TypeVar("_C", bound=Connection)


def common_options(limits: Limits) -> dict[str, Any]:
    """Return all of Autobahn's options that servers and clients share, by Autobahn's names."""
    return {
        "logOctets": False,
        "logFrames": False,
        "trackTimings": False,
        "utf8validateIncoming": True,
        "applyMask": True,
        # `reading` keeps the limit; this one bounds what Autobahn inflates at one go. It is one
        # octet more, since at its own limit Autobahn delivers a message that is cut short.
        "maxMessagePayloadSize": limits.max_message_size and limits.max_message_size + 1,
        "maxFramePayloadSize": 0,
        "autoFragmentSize": 0,
        # A peer that breaks the protocol gets a close frame, not an end of TCP without a reason.
        "failByDrop": False,
        "echoCloseCodeReason": True,
        "openHandshakeTimeout": limits.handshake_timeout,
        "closeHandshakeTimeout": limits.close_timeout,
        "tcpNoDelay": True,
        # 0 switches Autobahn's pings off. `keepalive` takes any traffic as a sign of life.
        "autoPingInterval": 0,
        "autoPingTimeout": 0,
        "autoPingSize": 12,
        "autoPingRestartOnAnyTraffic": True,
    }


def deployed(
    protocol: type[_C], limits: Limits, options: dict[str, Any], reactor: IReactorTime
) -> type[_C]:
    """Return a subclass of a protocol, by the same name, with a factory's options.

    Options are on the class, since Autobahn would copy each of them to each connection.
    """
    streams = any(getattr(protocol, name) is not getattr(Connection, name) for name in _STREAMING)
    namespace = {
        **_attributes(options),
    }
    made = subclass(protocol, (), namespace)
    made._common = Common(
        limits,
        seconds=monotonic_of(reactor),
        wall=wall_of(reactor),
        masked=not protocol._masks,
        # Of the new class: a behaviour learns this of its subclasses.
        batch=LOGGED_BATCH if made._takes_all else BATCH_MESSAGES,
        takes_all=made._takes_all,
        by_codec=not streams,
    )
    return made


def subclass(protocol: type[_C], mixins: tuple[type, ...], namespace: dict[str, Any]) -> type[_C]:
    """Return a subclass of a protocol by the same name, for logs. `mixins` stand before it."""
    names = ("__module__", "__qualname__", "__doc__")
    named = {name: getattr(protocol, name) for name in names}
    return type(protocol.__name__, (*mixins, protocol), {**namespace, **named})


def redeploy(protocol: type[Connection], limits: Limits, options: dict[str, Any]) -> None:
    """Change the options of a class that `deployed` made, for its open connections too."""
    for name, value in _attributes(options).items():
        setattr(protocol, name, value)
    protocol._common.change(limits)


def _attributes(options: dict[str, Any]) -> dict[str, Any]:
    """Return the class attributes that hold options, by name."""
    # A function on a class would become a method, and get the connection as an argument.
    return {name: staticmethod(each) if callable(each) else each for name, each in options.items()}


class ConnectionFactory:
    """The parts that the connections of a factory share. A mixin to stand before Autobahn's.

    Raises `ConfigError` for a version of Autobahn that lacks a private name of `of_autobahn`.
    """

    #: Messages left out because a peer read too slowly, how often messages were left out, and
    #: connections closed for it.
    slow_messages = 0
    slow_dropped = 0
    slow_closed = 0

    #: Connections closed because a message was not whole in time.
    message_timeouts = 0

    _batched_timer: Timers
    # Autobahn's
    reactor: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        check_autobahn()
        super().__init__(*args, **kwargs)
        self.gathering = Gathering()
        self.turns = Turns(self.reactor, self.gathering)
        seconds = monotonic_of(self.reactor)
        self.budget = Budget(0, seconds)
        self.unfinished = Watch(self, seconds)

    def make_room_soon(self) -> None:
        """Make connections give memory up in the reactor's next turn, if all hold too much."""
        self._batched_timer.call_later(0, self.budget.make_room)

    def memory_gauges(self) -> dict[str, int]:
        """Return the octets that unfinished messages and send queues take, and their limit."""
        self.budget.account_anew()
        return {
            "message_memory": self.budget.octets,
            "message_memory_max": self.budget.limit,
        }

    def memory_counters(self) -> dict[str, int]:
        """Return how often unfinished messages and send queues were given up, by reason."""
        return {
            "memory_messages": self.budget.given_up[MESSAGE],
            "memory_queues": self.budget.given_up[QUEUE],
            "message_timeouts": self.message_timeouts,
        }

    def prepareMessage(
        self, payload: bytes, isBinary: bool = False, doNotCompress: bool = False
    ) -> PreparedMessage:
        """Return a message to be sent on many connections by `sendPreparedMessage`.

        `doNotCompress` sends it uncompressed on each. Raises `TypeError` for a payload that is not
        bytes.
        """
        return PreparedMessage(payload, isBinary, doNotCompress)
