"""Redis or Valkey, where the nodes of a service meet.

The map. Imports run one way, downwards in this list::

    places.py         a URL: where a server is, and who logs in there           PURE
    names.py          what keys and channels are called there                   PURE
    ring.py           which of several servers has a channel                    PURE
    framing.py        what a message is between nodes                           PURE
    scripts.py        the history in Redis, each step of it a script            PURE
    waiting.py        messages of clients that wait to be in a stream           PURE
    identity.py       what a server is, by what it says of itself               PURE
    scripting.py      scripts, which a server keeps by their digests            PURE
    conversation.py   one connection: commands and answers, in their order
    reaching.py       how to get to a server: TCP, TLS, unix sockets, sentinels
    subscriptions.py  what is subscribed to, kept over connections
    link.py           one server, kept connected
    engine.py         all servers, and which has what
    outbox.py         what is published by way of one server, none of it twice
    questions.py      what is asked of the history
    hub.py            sending to many, on every node
    inbox.py          what clients send, appended to a stream
    receiving.py      a behaviour whose messages go there too

All but the PURE ones need what `wsservice[redis]` brings, so that they are imported where
`Config.broker` is, and by nobody else.
"""

from __future__ import annotations

import secrets
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..errors import ConfigError

if TYPE_CHECKING:
    from .engine import Engine
    from .hub import BrokerHub

__all__ = ["check", "open_engine", "open_hub"]


def open_engine(config: Config, reactor: Any, service: str = "") -> Engine | None:
    """The servers of a configuration, if it has any; the node's id is new. Raises `ConfigError`.

    `service` is the id that the workers of a service share; without it, it is the node's.
    """
    if not config.broker:
        return None
    if find_spec("hiredis") is None:
        raise ConfigError("--broker: needs a package more: pip install 'wsservice[redis]'")
    from .engine import Engine

    return Engine(config, reactor, secrets.token_hex(8), service)


def check(config: Config) -> None:
    """Look for what a configuration says of it, as opening it does. Raises `ConfigError`."""
    open_engine(config, None)


def open_hub(config: Config, engine: Engine, reactor: Any) -> BrokerHub:
    """The hub of a node that meets the others at these servers."""
    from .hub import BrokerHub

    return BrokerHub(config, engine, reactor)
