"""Keep one server connected, with its commands, scripts and subscriptions."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ...errors import Away, BrokerError, Refused, Unknown
from ...log.peer import PeerLogger
from ...metrics import Histogram
from ...net.backoff import Backoff
from .address import Address, ServerPlace
from .connect import Reach, Unreachable, asked
from .connection import MOST_ANSWERED, PATIENCE, ConnectionOwner, Conversation, Word
from .identity import MOST_OF_IDENTITY, OLDEST, identity_of
from .scripting import LuaScript, Scripts
from .subscriptions import Heard, Subscriptions

__all__ = ["Away", "Link", "LuaScript", "Refused", "Unknown"]

LONGEST_DELAY = 5.0
"""The most seconds between attempts to connect."""

_LOGIN = 15.0
"""Seconds for an attempt to connect and log in."""

_LOOKING = 2.0
"""Seconds between two questions to a server for its role, and to sentinels for its address.

Without them, an old master took messages for eight seconds after a failover, and nobody heard them.
"""

_LAST_ANSWERS = 1.0
"""Seconds that answers have at the end."""

_NOT_FOR_WRITING = {"READONLY", "LOADING", "MASTERDOWN", "NOAUTH"}
"""Errors of a server that is no longer a master, or not ready yet. The link connects anew."""

_log = PeerLogger(namespace="wsservice")


class Link(ConnectionOwner):
    """A server that is kept connected from `start` to `stop`.

    `name` is the name of this client for the server's list of clients. `most` is the most octets of
    an answer, `patience` the seconds that one may take. Raises `ConfigError` for a file of the
    place that cannot be used.
    """

    def __init__(
        self,
        place: ServerPlace,
        reactor: Any,
        *,
        name: str,
        password: str | bytes = "",
        most: int = MOST_ANSWERED,
        patience: int = PATIENCE,
        reach: Reach | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.place = place
        #: The password if the place has none. It may be changed, for the next login.
        self.password = password
        #: True while connected, logged in, and subscribed again to all names.
        self.up = False
        #: Why it is not up, in one printable line, or None if it is.
        self.problem: str | None = "not started"
        #: The server's name and version, such as "Redis 7.0.15"; "" before it is known.
        self.version = ""
        #: Functions that are called when `up` has changed.
        self.watchers: list[Callable[[Link], None]] = []
        #: The number of connections that were made, and of calls by their outcome.
        self.connects = 0
        self.calls = {"answered": 0, "refused": 0, "unknown": 0, "away": 0}
        self.seconds = Histogram()
        self._reactor = reactor
        self._name = name
        self._patience = patience
        self._reach = reach or Reach(place, reactor, most)
        self._backoff = Backoff(random, LONGEST_DELAY)
        self._subscriptions = Subscriptions(reactor)
        self._conversation: Conversation | None = None
        self._address: Address | None = None
        self._sharded = False
        self._past = (0, 0)
        self._running = False
        self._attempt: Deferred[None] | None = None
        self._looking: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None
        self._said: str | None = None

    def __str__(self) -> str:
        return str(self.place)

    # Begin and end

    def start(self) -> None:
        """Begin to connect, and connect again after each end. Idempotent."""
        if not self._running:
            self._running = True
            self.problem = "connecting"
            self._begin()

    def stop(self) -> Deferred[None]:
        """End the link. The Deferred fires when all commands are answered, or a second later."""
        self._running = False
        self._forget_timer()
        for each in (self._attempt, self._looking):
            if each is not None:
                each.cancel()
        self._reach.close()
        conversation = self._conversation
        if not self.up or conversation is None:
            self._set_down("stopped")
            self._end()
            return succeed(None)
        stopped = self._stopped = Deferred()
        self._timer = self._reactor.callLater(_LAST_ANSWERS, conversation.abort, "stopped")
        self._set_down("stopped")
        conversation.end()
        return stopped

    def _end(self) -> None:
        self._subscriptions.end(Away(f"{self}: stopped"))
        if self._conversation is not None:
            self._conversation.abort("stopped")
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            # In the next turn, after commands without an answer have failed.
            self._reactor.callLater(0, stopped.callback, None)

    # Commands

    def call(self, *words: Word) -> Deferred[Any]:
        """Send a command, and return a Deferred of its answer.

        The commands of one turn of the reactor leave in one write. Fails with `Away` if nothing was
        sent, `Refused` if the answer is an error, `Unknown` if no answer came. Only a command that
        was never sent may be repeated without thought. Lists in an answer may have `Refused` in
        them.
        """
        answer: Deferred[Any] = Deferred()
        answered = partial(self._answered, answer)
        if self.up and self._conversation is not None:
            self._conversation.ask(words, answered)
        else:
            answered(Away(f"{self.problem}"))
        return answer

    def script(
        self, script: LuaScript, keys: Sequence[str | bytes], arguments: Sequence[Word] = ()
    ) -> Deferred[Any]:
        """Call a script like `call`. Calls of one script keep their order."""
        answer: Deferred[Any] = Deferred()
        answered = partial(self._answered, answer)
        if self.up:
            self._scripts.call(script, (len(keys), *keys, *arguments), answered)
        else:
            answered(Away(f"{self.problem}"))
        return answer

    @property
    def publishes(self) -> bytes:
        """The command to publish to `subscribe`: SPUBLISH if the server has it, or PUBLISH."""
        return b"SPUBLISH" if self._sharded else b"PUBLISH"

    def publish(self, name: bytes, payload: bytes) -> Deferred[int]:
        """Publish to the subscribers of a name; return a Deferred of their number.

        Fails as `call` does.
        """
        return self.call(self.publishes, name, payload)

    def subscribe(self, name: bytes, heard: Heard) -> Deferred[None]:
        """Subscribe to a name, over all connections to come.

        `heard` is called with each message from the moment that the Deferred fires. Names of one
        turn are sent together. Fails with `Refused`, or with `Away` if the name was unsubscribed
        before. Raises `ValueError` for a name that is subscribed to already.
        """
        return self._subscriptions.add(name, heard)

    def unsubscribe(self, name: bytes) -> None:
        """Unsubscribe from a name. No message of it is heard from now on."""
        self._subscriptions.remove(name)

    @property
    def subscribed(self) -> int:
        """The number of names that are subscribed to, confirmed or not."""
        return len(self._subscriptions)

    def counted(self) -> dict[str, Any]:
        """Return the counters, as JSON can hold them. Those of several workers can be added."""
        return {
            "connects": self.connects,
            "calls": dict(self.calls),
            "octets": list(self.octets),
            "seconds": self.seconds.state(),
            "passed_over": self._subscriptions.passed_over,
        }

    def state(self) -> dict[str, int]:
        """Return the current state, likewise: `links` is 1, and `up` is 1 or 0."""
        return {"links": 1, "up": int(self.up), "subscribed": self.subscribed}

    @property
    def octets(self) -> tuple[int, int]:
        """The octets received and sent, as they are within TLS."""
        received, sent = self._past
        if self._conversation is not None:
            received += self._conversation.octets_received
            sent += self._conversation.octets_sent
        return received, sent

    def _answered(self, answer: Deferred[Any], given: Any) -> None:
        if not isinstance(given, BrokerError):
            self.calls["answered"] += 1
            answer.callback(given)
            return
        self.calls[_outcome(given)] += 1
        answer.errback(given)
        if isinstance(given, Refused) and given.kind in _NOT_FOR_WRITING and self.up:
            # Another server may be the master by now, so the link looks for it.
            self._give_up(given.text)

    # To connect

    def _begin(self) -> None:
        self._timer = None
        self._attempt = ensureDeferred(self._open())
        self._attempt.addTimeout(_LOGIN, self._reactor, self._too_late)
        self._attempt.addErrback(self._not_opened).addErrback(self._go_on)

    async def _open(self) -> None:
        # At each attempt, since a reload may have changed the password.
        password = self._reach.password = self.place.password or self.password
        self._address = await self._reach.address()
        conversation = await self._reach.connect_to(self._address, self, self._patience)
        self._conversation = conversation
        await self._log_in(conversation, password)
        await self._subscriptions.begin(conversation, self._sharded)
        self._opened(conversation)

    async def _log_in(self, conversation: Conversation, password: str | bytes) -> None:
        # One command switches to RESP3, logs in and names the connection, in one round trip.
        login = ("AUTH", self.place.user or "default", password) if password else ()
        try:
            said = await asked(
                conversation,
                *("HELLO", "3", *login, "SETNAME", self._name),
                elements=MOST_OF_IDENTITY,
            )
        except Refused as error:
            if error.text.startswith("ERR unknown command"):
                raise Unreachable(f"it is older than version {OLDEST}, which is wanted") from None
            raise
        self._look_at(said)
        if self.place.database:
            await asked(conversation, "SELECT", str(self.place.database))
        # A server accepts a login while it still loads its data. It answers PING with an error.
        await asked(conversation, "PING")
        conversation.trust()

    def _look_at(self, said: Any) -> None:
        identity = identity_of(said)
        if identity.problem is not None:
            raise Unreachable(identity.problem)
        self.version = identity.name
        self._sharded = identity.is_sharded

    def _opened(self, conversation: Conversation) -> None:
        self._attempt = None
        self._backoff.reset()
        self._scripts = Scripts(conversation.ask)
        self.connects += 1
        self.up, self.problem, self._said = True, None, None
        _log.info("broker {place}: connected to {version}", place=str(self), version=self.version)
        self._timer = self._reactor.callLater(_LOOKING, self._look_again)
        self._tell()

    def _not_opened(self, failure: Failure) -> None:
        self._attempt = None
        conversation, self._conversation = self._conversation, None
        problem = failure.getErrorMessage()
        if conversation is not None:
            self._forget(conversation)
            conversation.abort("not logged in")
            problem += self._reach.hint(conversation)
        if not self._running:
            return
        if failure.check(BrokerError, CancelledError) is None and problem != self._said:
            _log.failure("broker {place}", failure, place=str(self))
        self._again(problem)

    def _go_on(self, failure: Failure) -> None:
        """Try again after any error, even one in the handling of a failed attempt."""
        _log.failure("broker {place}: an attempt to connect", failure, place=str(self))
        if self._running and self._timer is None:
            self._again(failure.getErrorMessage())

    def _too_late(self, _result: object, _seconds: float) -> None:
        raise Unreachable(f"not connected within {_LOGIN:g} s")

    def _again(self, problem: str) -> None:
        self.problem = problem
        delay = self._backoff.delay()
        # One line for each problem, not for each attempt.
        if problem != self._said:
            self._said = problem
            _log.warn("broker {place}: {problem}", place=str(self), problem=problem)
        self._timer = self._reactor.callLater(delay, self._begin)

    def _look_again(self) -> None:
        """Ask whether the server is still the master: nobody subscribes to another."""
        self._timer = self._reactor.callLater(_LOOKING, self._look_again)
        if self._conversation is not None:
            self._conversation.ask(("HELLO",), self._seen, elements=MOST_OF_IDENTITY)
        if self.place.master and (self._looking is None or self._looking.called):
            self._ask_sentinels()

    def _seen(self, said: Any) -> None:
        if isinstance(said, BrokerError) or not self.up:
            return
        try:
            self._look_at(said)
        except Unreachable as error:
            self._give_up(str(error))

    def _ask_sentinels(self) -> None:
        address = self._address

        def found(now: Address) -> None:
            if self.up and self._address == address != now:
                self._give_up(f"the sentinels say that it is {now}")

        looking: Deferred[Any] = ensureDeferred(self._reach.address())
        self._looking = looking.addCallback(found)
        # If no sentinel answers, the link goes on with its server.
        looking.addErrback(self._not_found)

    def _not_found(self, failure: Failure) -> None:
        if failure.check(BrokerError, CancelledError) is None:
            _log.failure("broker {place}: asking the sentinels", failure, place=str(self))

    # The methods of `Conversation`

    def pushed(self, push: Sequence[Any]) -> None:
        """Pass a push to the subscriptions."""
        self._subscriptions.pushed(push)

    def took(self, seconds: float) -> None:
        """Count the seconds that an answer took."""
        self.seconds.observe(seconds)

    def lost(self, conversation: Conversation, why: str) -> None:
        """Connect again after the end of a connection, unless the link was stopped."""
        if conversation is not self._conversation:
            return
        if self._attempt is not None:
            return  # the attempt to connect fails, and tries again by itself
        self._conversation = None
        self._forget(conversation)
        self._forget_timer()
        if not self._running:
            self._end()
            return
        # If the link gave the server up, its problem says more than the end that followed.
        problem = self.problem or why
        self._set_down(problem)
        self._again(problem)

    def _give_up(self, problem: str) -> None:
        """Wait for the answers of all commands, and connect anew."""
        conversation = self._conversation
        self._forget_timer()
        self._set_down(problem)
        if conversation is not None:
            conversation.end()

    def _forget(self, conversation: Conversation) -> None:
        received, sent = self._past
        received += conversation.octets_received
        self._past = (received, sent + conversation.octets_sent)
        self._subscriptions.lost()

    def _forget_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _set_down(self, problem: str) -> None:
        was_up, self.up, self.problem = self.up, False, problem
        if was_up:
            self._tell()

    def _tell(self) -> None:
        for watcher in tuple(self.watchers):
            try:
                watcher(self)
            except Exception:
                _log.failure("broker {place}: a watcher failed", place=str(self))


def _outcome(error: BrokerError) -> str:
    if isinstance(error, Refused):
        return "refused"
    return "unknown" if isinstance(error, Unknown) else "away"
