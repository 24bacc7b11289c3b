"""The user of a server's connection: set once it is known, and named in logs from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from ..auth.contract import User
from ..http.refusal import Refusal
from ..log.peer import Who, nameless
from ..protocol.owner import Hold
from .seats import make_way


class HasUser:
    """The user of a connection. Mix this in before Autobahn's class.

    A connection without a user has no attribute for it, so that it takes no memory.
    """

    id: str
    who: str
    channel: str
    factory: Any
    state: int
    _introduced: bool
    _logged_as: str
    _reader: Any
    _accept: Callable[[Any], None]
    _refuse: Callable[[Refusal], None]
    _denied: Callable[[Any], None]

    @property
    def user(self) -> User | None:
        """The user that the connection's credential names; None without one.

        `onConnect` of a behaviour may set it. Raises `TypeError` for anything but a `User`.
        """
        user: User | None = self.__dict__.get("_user")
        return user

    @user.setter
    def user(self, user: User | None) -> None:
        if user is None:
            if self.__dict__.pop("_user", None) is None:
                return
        elif isinstance(user, User):
            self.__dict__["_user"] = user
        else:
            raise TypeError(f"user: {type(user).__name__} is not allowed; give User(id), or None")
        self._name_user()

    def _name_user(self) -> None:
        """Name the user in logs, and find the connection by it if it is open."""
        user = self.user
        self.who = nameless(self.who) if user is None else Who.of(self.who, user.id)
        if self._introduced:
            self._logged_as = self.factory.journal.name(self.who, self.channel)
        self.factory.hub.identify(self)

    def make_way(self) -> None:
        """Close with 1008 because a newer connection of the user takes the place."""
        make_way(self)

    def succeedHandshake(self, res: Any) -> None:
        """Accept with the result of `onConnect` if the user may have one more connection.

        With workers the parent decides, and nothing is read until it has. Raises `ValueError` if
        the result is wrong.
        """
        seat = None if self.user is None else self.factory.seats.claim(self)
        if isinstance(seat, Deferred):
            self._reader.hold(Hold.DECIDING)
            seat.addCallback(self._seated, res).addErrback(self._denied)
        else:
            self._seated(seat, res)

    def _seated(self, refusal: Refusal | None, res: Any) -> None:
        if refusal is None:
            self._accept(res)
        elif self.state == self.STATE_CONNECTING:  # type: ignore[attr-defined]
            self._refuse(refusal)
