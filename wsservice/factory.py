"""What all connections of a factory have in common: options, given once, on their class."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

from .config import Limits
from .connection import Connection
from .sending import Bound, Gathering, PreparedMessage

_STREAMING = (
    "onMessageBegin",
    "onMessageFrameBegin",
    "onMessageFrameData",
    "onMessageFrameEnd",
    "onMessageFrame",
    "onMessageEnd",
)
"""Autobahn's callbacks for parts of messages. Who overrides one gets all messages that way."""

_C = TypeVar("_C", bound=Connection)


def common_options(limits: Limits) -> dict[str, Any]:
    """Autobahn's options for server and client alike, every one, by Autobahn's names."""
    return {
        "logOctets": False,
        "logFrames": False,
        "trackTimings": False,
        "utf8validateIncoming": True,
        "applyMask": True,
        # Ours is kept in `reading`; this bounds what is inflated at one go. One octet
        # more: at its own limit Autobahn delivers what it inflated cut short.
        "maxMessagePayloadSize": limits.max_message_size and limits.max_message_size + 1,
        "maxFramePayloadSize": 0,
        "autoFragmentSize": 0,
        # A peer that breaks the protocol is told so by a close frame.
        "failByDrop": False,
        "echoCloseCodeReason": True,
        "openHandshakeTimeout": limits.handshake_timeout,
        "closeHandshakeTimeout": limits.close_timeout,
        "tcpNoDelay": True,
        # Ours counts traffic of any kind as life, and costs nothing while there is some.
        "autoPingInterval": 0,
        "autoPingTimeout": 0,
        "autoPingSize": 12,
        "autoPingRestartOnAnyTraffic": True,
    }


def deployed(
    protocol: type[_C], limits: Limits, options: dict[str, Any], reactor: IReactorTime
) -> type[_C]:
    """A protocol's class with a factory's options, in a subclass that goes by the same name.

    A class, and not values for each instance: it is one for all connections.
    """
    streams = any(getattr(protocol, name) is not getattr(Connection, name) for name in _STREAMING)
    namespace = {
        **_shared(protocol, limits, options),
        "__module__": protocol.__module__,
        "__qualname__": protocol.__qualname__,
        "__doc__": protocol.__doc__,
        "_by_codec": not streams,
        "_seconds": staticmethod(reactor.seconds),
        "_send_bound": Bound(limits.send_buffer),
    }
    return type(protocol.__name__, (protocol,), namespace)


def redeploy(protocol: type[Connection], limits: Limits, options: dict[str, Any]) -> None:
    """Give a class that `deployed` made other options: its open connections have them too."""
    for name, value in _shared(protocol, limits, options).items():
        setattr(protocol, name, value)
    protocol._send_bound.change(limits.send_buffer)


def _shared(protocol: type[Connection], limits: Limits, options: dict[str, Any]) -> dict[str, Any]:
    """What connections have of their options, by name."""
    return {
        **{name: staticmethod(each) if callable(each) else each for name, each in options.items()},
        "_limits": limits,
        "_decoding": (not protocol._masks, limits.max_message_size, protocol._batch),
    }


class ConnectionFactory:
    """What the connections of a factory have in common. To be mixed in before Autobahn's."""

    #: Messages left out because a peer read too slowly, how often there was need to leave
    #: out any, and connections closed for it.
    slow_messages = 0
    slow_dropped = 0
    slow_closed = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gathering = Gathering()

    def prepareMessage(
        self, payload: bytes, isBinary: bool = False, doNotCompress: bool = False
    ) -> PreparedMessage:
        """A message to be sent on many connections, by `sendPreparedMessage`."""
        return PreparedMessage(payload, isBinary, doNotCompress)
