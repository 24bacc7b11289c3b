"""What is subscribed to at one server, kept over its connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from ..errors import Away, BrokerError
from ..log import PeerLogger
from .conversation import Conversation, Word

BATCH = 500
"""Names in a command at most, so that no server is at one for long."""

_PUSHED = 3
_PUBLISHED = {b"message", b"smessage"}
_SUBSCRIBED = {b"subscribe", b"ssubscribe"}
"""What is pushed: its kind, a name, and what was published or how many names there are."""

Heard = Callable[[bytes], None]

_log = PeerLogger(namespace="wsservice")


class _Subscription:
    __slots__ = ("confirmed", "heard", "waiting")

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.confirmed = False
        self.waiting: Deferred[None] | None = Deferred()

    def confirm(self) -> None:
        self.confirmed = True
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.callback(None)

    def fail(self, error: BrokerError) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.errback(error)


class Subscriptions:
    """Names, and who hears what is published there.

    Names are asked for in batches, one after another: what is subscribed to while the server
    has one to confirm, is in the next.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._wanted: dict[bytes, _Subscription] = {}
        self._to_ask: dict[bytes, None] = {}
        self._to_leave: list[bytes] = []
        self._batch: dict[bytes, _Subscription] = {}
        self._conversation: Conversation | None = None
        self._sharded = False
        self._flushing: IDelayedCall | None = None
        self._all: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._wanted)

    def add(self, name: bytes, heard: Heard) -> Deferred[None]:
        """Subscribe. Raises `ValueError` for a name that is subscribed to.

        Fires once the server has confirmed it, even if that takes several connections. Fails
        with `Refused` where it does not want to, `Away` where it was given up before.
        """
        if name in self._wanted:
            raise ValueError(f"{name!r} is subscribed to")
        subscription = self._wanted[name] = _Subscription(heard)
        self._to_ask[name] = None
        self._later()
        assert subscription.waiting is not None  # noqa: S101 - as it was made
        return subscription.waiting

    def remove(self, name: bytes) -> None:
        """Hear nothing more of a name, at once."""
        subscription = self._wanted.pop(name, None)
        if subscription is None:
            return
        if name in self._to_ask:
            del self._to_ask[name]
        elif self._conversation is not None:
            self._to_leave.append(name)
            self._later()
        subscription.fail(Away("it was unsubscribed from"))

    def begin(self, conversation: Conversation, sharded: bool) -> Deferred[None]:
        """Subscribe to all on a new connection. Fires when all are confirmed, or fails."""
        self._conversation = conversation
        self._sharded = sharded
        self._to_ask = dict.fromkeys(self._wanted)
        everything = self._all = Deferred()
        self._flush()
        return everything

    def lost(self) -> None:
        """The connection is over."""
        self._conversation = None
        self._batch = {}
        self._to_leave.clear()

    def end(self, error: BrokerError) -> None:
        """There will be no other connection."""
        wanted, self._wanted = self._wanted, {}
        self._to_ask.clear()
        for subscription in wanted.values():
            subscription.fail(error)

    def pushed(self, push: Sequence[Any]) -> None:
        """Something came that is no answer."""
        if len(push) != _PUSHED:
            return
        kind, name, payload = push
        if kind in _PUBLISHED:
            subscription = self._wanted.get(name)
            if subscription is not None and subscription.confirmed:
                try:
                    subscription.heard(payload)
                except Exception:
                    # What comes next is heard all the same, by others too.
                    _log.failure("what was published could not be taken")
        elif kind in _SUBSCRIBED:
            subscription = self._batch.pop(name, None)
            if subscription is not None:
                subscription.confirm()
                if not self._batch:
                    self._flush()

    def _later(self) -> None:
        if self._flushing is None and self._conversation is not None:
            self._flushing = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        flushing, self._flushing = self._flushing, None
        if flushing is not None and flushing.active():
            flushing.cancel()
        conversation = self._conversation
        if conversation is None:
            return
        mark = "S" if self._sharded else ""
        while self._to_leave:
            names, self._to_leave = self._to_leave[:BATCH], self._to_leave[BATCH:]
            leave: list[Word] = [f"{mark}UNSUBSCRIBE", *names]
            conversation.ask(leave, lambda _: None, names=len(names))
        if self._batch:
            return
        batch = {name: self._wanted[name] for name in islice(self._to_ask, BATCH)}
        if batch:
            for name in batch:
                del self._to_ask[name]
            self._batch = batch
            subscribe: list[Word] = [f"{mark}SUBSCRIBE", *batch]
            conversation.ask(subscribe, self._not_confirmed, names=len(batch))
        else:
            self._all_are_confirmed()

    def _all_are_confirmed(self) -> None:
        everything, self._all = self._all, None
        if everything is not None:
            everything.callback(None)

    def _not_confirmed(self, error: BrokerError) -> None:
        """A batch was refused; or the connection is over, after which all are asked for again."""
        batch, self._batch = self._batch, {}
        everything, self._all = self._all, None
        if everything is not None:
            everything.errback(error)
        elif self._conversation is not None and not isinstance(error, Away):
            for name, subscription in batch.items():
                if self._wanted.get(name) is subscription:
                    del self._wanted[name]
                subscription.fail(error)
            self._later()
