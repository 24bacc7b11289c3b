"""Connect the nodes of a service by Redis or Valkey: messages, history, inbox.

It may import `server`, `client`, `channels` and what lies below them; `redis/` does the wire.

The modules::

    calls.py      the arguments of the scripts, and the answers to them
    engine.py     all Redis servers, and the one of each channel
    figures.py    figures of servers, messages and inbox, for Prometheus
    framing.py    a message between nodes, as octets
    hearing.py    the channels that a node hears
    hub.py        publishes to Redis (SPUBLISH, or PUBLISH to an older server; the script
                  APPEND with a history), and delivers the messages that come back
    inbox.py      messages of clients, appended to a stream
    naming.py     the names of keys and channels in Redis
    outbox.py     messages on the way to one Redis server: order, repeats, doubt; the hub sends
    past.py       the history of channels, asked for and read
    queued.py     a message on its way to Redis
    questions.py  questions to the history
    receiving.py  a behaviour whose messages go to the inbox too
    redis/        the wire: addresses, connections, subscriptions, scripts
    ring.py       the Redis server of a channel, if there are several
    scripts.py    the history in Redis, each step of it a script
    standing.py   the last message of one node that a Redis server took
    tickets.py    tickets, as keys that expire
    waiting.py    messages of clients that wait to be in a stream
"""

from __future__ import annotations

import secrets
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..config.config import Config
from ..errors import ConfigError

if TYPE_CHECKING:
    from .engine import Engine
    from .hub import BrokerHub

__all__ = ["check", "open_engine", "open_hub"]


def open_engine(config: Config, reactor: Any, service: str = "") -> Engine | None:
    """Return the servers of a configuration with a new id for this node, or None without servers.

    `service` is the id that the workers of a service share, by default the node's. Raises
    `ConfigError` for settings that cannot be used.
    """
    if not config.broker:
        return None
    if find_spec("hiredis") is None:
        raise ConfigError(
            "--broker: the package for Redis is missing: pip install 'wsservice[redis]'"
        )
    # Here, since the modules below import hiredis, which only the extra `redis` installs.
    from .engine import Engine

    return Engine(config, reactor, secrets.token_hex(8), service)


def check(config: Config) -> None:
    """Check the settings of the broker as opening does. Raises `ConfigError`."""
    open_engine(config, None)


def open_hub(config: Config, engine: Engine, reactor: Any) -> BrokerHub:
    """Return the hub of a node that meets the other nodes at these servers."""
    from .hub import BrokerHub

    return BrokerHub(config, engine, reactor)
