"""One server, kept connected: what is asked of it, and what is subscribed to there."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..client.backoff import Backoff
from ..counting import Histogram
from ..errors import Away, BrokerError, Refused, Unknown
from ..log import PeerLogger
from .conversation import MOST_ANSWERED, PATIENCE, Conversation, Owner, Word
from .identity import OLDEST, identity_of
from .places import Address, Place
from .reaching import Reach, Unreachable, asked
from .scripting import Script, Scripts
from .subscriptions import Heard, Subscriptions

__all__ = ["Away", "Link", "Refused", "Script", "Unknown"]

LONGEST_DELAY = 5.0
"""Seconds between attempts to connect at most."""

_LOGIN = 15.0
"""Seconds that there are to connect and to log in."""

_LOOKING = 2.0
"""Seconds after which a server is asked again what it is, and sentinels whether it is still the
one: so that one is found out that is a replica now, or gone."""

_LAST_ANSWERS = 1.0
"""Seconds that what was asked has to be answered at the end."""

_NOT_FOR_WRITING = {"READONLY", "LOADING", "MASTERDOWN", "NOAUTH"}
"""Errors of a server that is no longer what it was, or not yet."""

_log = PeerLogger(namespace="wsservice")


class Link(Owner):
    """A server. Begins to be one with `start`.

    `name` is what the server is told of who this is. Raises `ConfigError` for a file of the
    place that cannot be used.
    """

    def __init__(
        self,
        place: Place,
        reactor: Any,
        *,
        name: str,
        password: str = "",
        most: int = MOST_ANSWERED,
        patience: int = PATIENCE,
        reach: Reach | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.place = place
        #: What is logged in with where the place has no password. May be changed.
        self.password = password
        #: Connected, logged in, and subscribed again to all there was.
        self.up = False
        #: Why it is not, in one printable line; None where it is.
        self.problem: str | None = "not started"
        #: What the server says it is, such as "Redis 7.0.15"; "" before.
        self.version = ""
        #: Are called when `up` has changed.
        self.watchers: list[Callable[[Link], None]] = []
        #: Connections that were made, and calls by what became of them.
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
        """Begin to connect, and to connect again whenever that is over."""
        if not self._running:
            self._running = True
            self.problem = "connecting"
            self._begin()

    def stop(self) -> Deferred[None]:
        """Ask nothing more, and end. Fires when what was asked is answered, or a second later."""
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
            # After what has no answer was told so.
            self._reactor.callLater(0, stopped.callback, None)

    # To ask

    def call(self, *words: Word) -> Deferred[Any]:
        """Ask the server. What is called in one turn of the reactor leaves in one write.

        Fails with `Away` where nothing was sent, `Refused` where it answered with an error,
        `Unknown` where no answer came. An answer may have errors (`Refused`) within.
        """
        answer: Deferred[Any] = Deferred()
        answered = partial(self._answered, answer)
        if self.up and self._conversation is not None:
            self._conversation.ask(words, answered)
        else:
            answered(Away(f"{self.problem}"))
        return answer

    def script(
        self, script: Script, keys: Sequence[str | bytes], arguments: Sequence[Word] = ()
    ) -> Deferred[Any]:
        """Call a script, as `call`. The server keeps it, and calls of one script their order."""
        answer: Deferred[Any] = Deferred()
        answered = partial(self._answered, answer)
        if self.up:
            self._scripts.call(script, (len(keys), *keys, *arguments), answered)
        else:
            answered(Away(f"{self.problem}"))
        return answer

    @property
    def publishes(self) -> bytes:
        """The command that publishes where `subscribe` hears: SPUBLISH where the server has it."""
        return b"SPUBLISH" if self._sharded else b"PUBLISH"

    def publish(self, name: bytes, payload: bytes) -> Deferred[int]:
        """Publish to who has subscribed to a name: fires with how many. Fails as `call`."""
        return self.call(self.publishes, name, payload)

    def subscribe(self, name: bytes, heard: Heard) -> Deferred[None]:
        """Hear what is published to a name, from then on that this fires, over all connections.

        Names of one turn are asked for together. Raises `ValueError` for one that is subscribed
        to. Fails with `Refused`, or with `Away` where it was given up before.
        """
        return self._subscriptions.add(name, heard)

    def unsubscribe(self, name: bytes) -> None:
        """Hear nothing more of it, at once."""
        self._subscriptions.remove(name)

    @property
    def subscribed(self) -> int:
        """How many names are subscribed to, confirmed or not."""
        return len(self._subscriptions)

    def counted(self) -> dict[str, Any]:
        """What was counted, in what JSON can say. The sum of several is one of all."""
        return {
            "connects": self.connects,
            "calls": dict(self.calls),
            "octets": list(self.octets),
            "seconds": self.seconds.state(),
        }

    def state(self) -> dict[str, int]:
        """How it is now, likewise: `links` is 1, and so is `up` where it is."""
        return {"links": 1, "up": int(self.up), "subscribed": self.subscribed}

    @property
    def octets(self) -> tuple[int, int]:
        """Octets received and sent, within TLS."""
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
            self._give_up(given.text)

    # To connect

    def _begin(self) -> None:
        self._timer = None
        self._attempt = ensureDeferred(self._open())
        self._attempt.addTimeout(_LOGIN, self._reactor, self._too_late)
        self._attempt.addErrback(self._not_opened)

    async def _open(self) -> None:
        password = self._reach.password = self.place.password or self.password
        self._address = await self._reach.address()
        conversation = await self._reach.connect_to(self._address, self, self._patience)
        self._conversation = conversation
        await self._log_in(conversation, password)
        await self._subscriptions.begin(conversation, self._sharded)
        self._opened(conversation)

    async def _log_in(self, conversation: Conversation, password: str) -> None:
        login = ("AUTH", self.place.user or "default", password) if password else ()
        try:
            said = await asked(conversation, "HELLO", "3", *login, "SETNAME", self._name)
        except Refused as error:
            if error.text.startswith("ERR unknown command"):
                raise Unreachable(f"it is older than version {OLDEST}, which is wanted") from None
            raise
        self._look_at(said)
        if self.place.database:
            await asked(conversation, "SELECT", str(self.place.database))
        # It may know who we are, and still read its data.
        await asked(conversation, "PING")

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
            if not conversation.octets_received:
                problem += "; does it speak TLS?" if self.place.tls else "; does it want TLS?"
        if not self._running:
            return
        if failure.check(BrokerError, CancelledError) is None:
            _log.failure("broker {place}", failure, place=str(self))
        self._again(problem)

    def _too_late(self, _result: object, _seconds: float) -> None:
        raise Unreachable(f"not connected within {_LOGIN:g} s")

    def _again(self, problem: str) -> None:
        self.problem = problem
        delay = self._backoff.delay()
        if problem != self._said:
            self._said = problem
            _log.warn("broker {place}: {problem}", place=str(self), problem=problem)
        self._timer = self._reactor.callLater(delay, self._begin)

    def _look_again(self) -> None:
        """See whether it is what it was: to one that is no master any more, nobody listens."""
        self._timer = self._reactor.callLater(_LOOKING, self._look_again)
        if self._conversation is not None:
            self._conversation.ask(("HELLO",), self._seen)
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
        # Without sentinels it goes on with the server that it has.
        looking.addErrback(lambda failure: failure.trap(BrokerError, CancelledError))

    # What comes

    def pushed(self, push: Sequence[Any]) -> None:
        """See `Owner`."""
        self._subscriptions.pushed(push)

    def took(self, seconds: float) -> None:
        """See `Owner`."""
        self.seconds.observe(seconds)

    def lost(self, conversation: Conversation, why: str) -> None:
        """See `Owner`."""
        if conversation is not self._conversation:
            return
        if self._attempt is not None:
            return  # which fails, of this
        self._conversation = None
        self._forget(conversation)
        self._forget_timer()
        if not self._running:
            self._end()
            return
        problem = self.problem or why
        self._set_down(problem)
        self._again(problem)

    def _give_up(self, problem: str) -> None:
        """Let what was asked be answered, and connect anew."""
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
                _log.failure("broker {place}: what follows from it failed", place=str(self))


def _outcome(error: BrokerError) -> str:
    if isinstance(error, Refused):
        return "refused"
    return "unknown" if isinstance(error, Unknown) else "away"
