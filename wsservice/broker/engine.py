"""All servers that a service is told of, and which has what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from ..config import Config
from ..errors import ConfigError
from ..secretfile import read_secret
from .conversation import MOST_ANSWERED
from .link import Link
from .names import Names
from .places import Place, place_of
from .ring import Ring

_PASSWORD = "--broker-password-file"  # noqa: S105 - the option


class Engine:
    """The servers of a configuration, one at least. Raises `ConfigError`.

    `node` tells this process from all others, and `service` the workers of one service from
    those of others: each is printable, without a dot, and new at each start.
    """

    def __init__(self, config: Config, reactor: Any, node: str, service: str = "") -> None:
        self.node = node
        self.service = service or node
        self.names = Names(config.broker_prefix)
        places, password = _places(config)
        most = max(MOST_ANSWERED, 2 * config.max_message_size)
        self.links = tuple(
            Link(each, reactor, name=f"wsservice-{node}", password=password, most=most)
            for each in places
        )
        self._ring = Ring([str(each) for each in places])

    def of(self, channel: str) -> Link:
        """The server that has a channel."""
        return self.links[self._ring.place(channel)]

    def start(self) -> None:
        """Begin to connect."""
        for link in self.links:
            link.start()

    def stop(self) -> Deferred[None]:
        """End all connections. Fires within a second or so."""
        return DeferredList([link.stop() for link in self.links]).addCallback(lambda _: None)

    def check(self) -> str | None:
        """Why it is not as it should be, for /readyz; None if it is."""
        down = [f"broker {link}: {link.problem}" for link in self.links if not link.up]
        return "; ".join(down) or None

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """What was counted of each server."""
        return {str(link): link.counted() for link in self.links}

    @property
    def states(self) -> dict[str, dict[str, int]]:
        """How each server is now."""
        return {str(link): link.state() for link in self.links}

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """See `reloading.Part`: the password is read again, for the connections to come."""
        _, password = _places(config)

        def commit() -> list[str]:
            before = self.links[0].password
            for link in self.links:
                link.password = password
            return [] if before == password else ["the password of --broker"]

        return commit


def _places(config: Config) -> tuple[list[Place], str]:
    places = [place_of(url) for url in config.broker]
    shown = [str(each) for each in places]
    for each in shown:
        if shown.count(each) > 1:
            raise ConfigError(f"--broker: {each} twice is not allowed; give each server once")
    if not config.broker_password_file:
        return places, ""
    if all(each.password for each in places):
        raise ConfigError(
            f"{_PASSWORD}: {config.broker_password_file!r} is not allowed where each --broker"
            " has a password of its own; give one of the two"
        )
    return places, read_secret(_PASSWORD, config.broker_password_file, "password").decode()
