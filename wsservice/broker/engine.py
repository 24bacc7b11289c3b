"""Connect to all servers of a configuration, and find the server of each channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from ..config.config import Config
from ..config.secretfile import read_password
from ..errors import ConfigError
from .naming import Names
from .redis.address import ServerPlace, place_of
from .redis.connection import MOST_ANSWERED
from .redis.link import Link
from .ring import Ring

_PASSWORD = "--broker-password-file"  # noqa: S105 - the option


class Engine:
    """The servers of a configuration, one at least. Raises `ConfigError`.

    `node` is the id of this process, `service` the id that the workers of one service share. Each
    is printable, without a dot, and new at each start.
    """

    def __init__(self, config: Config, reactor: Any, node: str, service: str = "") -> None:
        self.node = node
        self.service = service or node
        self.names = Names(config.broker_prefix)
        places, password = _places(config)
        # An answer, and a published message, must have room for the largest message.
        most = max(MOST_ANSWERED, 2 * config.max_message_size)
        self.links = tuple(
            Link(each, reactor, name=f"wsservice-{node}", password=password, most=most)
            for each in places
        )
        # By the URLs as they are shown, without a login: a new password moves no channel.
        self._ring = Ring([str(each) for each in places])

    def of(self, channel: str) -> Link:
        """Return the server that has a channel."""
        return self.links[self._ring.place(channel)]

    def start(self) -> None:
        """Begin to connect."""
        for link in self.links:
            link.start()

    def stop(self) -> Deferred[None]:
        """End all connections. The Deferred fires within about a second."""
        return DeferredList([link.stop() for link in self.links]).addCallback(lambda _: None)

    def check(self) -> str | None:
        """Return why servers are not connected, for /readyz, or None if all are."""
        down = [f"broker {link}: {link.problem}" for link in self.links if not link.up]
        return "; ".join(down) or None

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """The counters of each server, by its URL."""
        return {str(link): link.counted() for link in self.links}

    @property
    def states(self) -> dict[str, dict[str, int]]:
        """The current state of each server, by its URL."""
        return {str(link): link.state() for link in self.links}

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """Read the password again, and return a function that puts it into effect.

        Open connections stay; later ones log in with it. Raises `ConfigError`.
        """
        # The URLs themselves cannot be reloaded: channels would move between servers.
        _, password = _places(config)

        def commit() -> list[str]:
            before = self.links[0].password
            for link in self.links:
                link.password = password
            return [] if before == password else ["the password of --broker"]

        return commit


def _places(config: Config) -> tuple[list[ServerPlace], bytes]:
    places = [place_of(url) for url in config.broker]
    shown = [str(each) for each in places]
    # The ring needs different names, and a server given twice would have two links.
    for each in shown:
        if shown.count(each) > 1:
            raise ConfigError(f"--broker: {each} twice is not allowed; give each server once")
    if not config.broker_password_file:
        if any(each.user and not each.password for each in places):
            raise ConfigError(
                "--broker: a user without a password is not allowed; give USER:PASSWORD@,"
                f" or the password by {_PASSWORD}"
            )
        return places, b""
    if all(each.password for each in places):
        raise ConfigError(
            f"{_PASSWORD}: {config.broker_password_file!r} is not allowed where each --broker"
            " has a password of its own; give one of the two"
        )
    return places, read_password(_PASSWORD, config.broker_password_file)
