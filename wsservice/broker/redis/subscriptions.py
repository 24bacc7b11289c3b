"""Keep the subscriptions at one server, over all of its connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from ...errors import Away, BrokerError
from ...log.peer import PeerLogger
from .connection import Conversation, Word

BATCH = 500
"""The most names in a command, so that no command keeps a server busy for long."""

_PUSHED = 3
_PUBLISHED = {b"message", b"smessage"}
_SUBSCRIBED = {b"subscribe", b"ssubscribe"}
_UNSUBSCRIBED = {b"unsubscribe", b"sunsubscribe"}
"""The kinds of pushes. A push has a kind, a name, and a message or the number of names."""

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
    """The names that are subscribed to, and the functions that hear their messages.

    Names are sent in batches, one after another. A name that is added while the server confirms a
    batch is in the next one.
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
        #: The number of ignored pushes: malformed ones, and those of other kinds.
        self.passed_over = 0

    def __len__(self) -> int:
        return len(self._wanted)

    def add(self, name: bytes, heard: Heard) -> Deferred[None]:
        """Subscribe to a name; `heard` is called with each message.

        The Deferred fires once the server has confirmed the name, even if that takes several
        connections. Fails with `Refused` if the server refuses, `Away` if the name was removed
        before. Raises `ValueError` for a name that is subscribed to already.
        """
        if name in self._wanted:
            raise ValueError(f"{name!r} is subscribed to")
        subscription = self._wanted[name] = _Subscription(heard)
        self._to_ask[name] = None
        self._later()
        assert subscription.waiting is not None  # noqa: S101 - as it was made
        return subscription.waiting

    def remove(self, name: bytes) -> None:
        """Unsubscribe from a name. No message of it is heard from now on."""
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
        """Subscribe to all names on a new connection; return a Deferred of their confirmation."""
        self._conversation = conversation
        self._sharded = sharded
        self._to_ask = dict.fromkeys(self._wanted)
        everything = self._all = Deferred()
        self._flush()
        return everything

    def lost(self) -> None:
        """Take note that the connection is over. All names are sent again on the next one."""
        self._conversation = None
        self._batch = {}
        self._to_leave.clear()

    def end(self, error: BrokerError) -> None:
        """Fail all names with an error, since there will be no other connection."""
        wanted, self._wanted = self._wanted, {}
        self._to_ask.clear()
        for subscription in wanted.values():
            subscription.fail(error)

    def pushed(self, push: Sequence[Any]) -> None:
        """Pass a published message to its subscriber, or take note of a confirmation."""
        if len(push) != _PUSHED:
            self.passed_over += 1
            return
        kind, name, payload = push
        # A value of another type, such as a list, cannot be looked up: it has no hash.
        if not type(kind) is type(name) is bytes:
            self.passed_over += 1
        elif kind in _PUBLISHED and type(payload) is bytes:
            subscription = self._wanted.get(name)
            # A name may have been removed and added again. Messages before its confirmation belong
            # to the first subscription.
            if subscription is not None and subscription.confirmed:
                try:
                    subscription.heard(payload)
                except Exception:
                    # One subscriber's error must not keep later messages from others.
                    _log.failure("a published message could not be taken")
        elif kind in _SUBSCRIBED:
            subscription = self._batch.pop(name, None)
            if subscription is not None:
                subscription.confirm()
                if not self._batch:
                    self._flush()
        elif kind not in _UNSUBSCRIBED:
            self.passed_over += 1

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
        """Handle a batch that failed: it was refused, or the connection is over.

        After the end of a connection all names are sent again on the next one.
        """
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
