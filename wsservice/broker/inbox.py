"""What clients send, appended to a stream: at least once, and in its order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..client.backoff import Backoff
from ..config import Config
from ..errors import BrokerError, Refused
from ..log import PeerLogger
from .engine import Engine
from .link import LONGEST_DELAY, Link, Script
from .waiting import FIELDS, Entry, Room, Sender, Waiting

REFUSE, DROP = "refuse", "drop"

_UNDER_WAY = Room(10_000, 64 * 1024 * 1024)
"""What may wait while the server is there, and takes it; of half of it on, who sends is read no
further. Of large messages there may be four."""

_REMEMBERED = 86_400
"""Seconds for which the server remembers which number of a node was the last."""

# A batch that was sent twice, since there was no answer, is appended once.
_APPEND = Script(
    """
local last = tonumber(redis.call('GET', KEYS[2]) or '') or 0
local size, node, service, remembered = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local count = tonumber(ARGV[5])
local names = {unpack(ARGV, 6, 5 + count)}
for first = 6 + count, #ARGV, count do
  if tonumber(ARGV[first]) > last then
    local said = {'XADD', KEYS[1], 'MAXLEN', '~', size, '*', 'node', node, 'service', service}
    for at = 1, count do
      said[#said + 1] = names[at]
      said[#said + 1] = ARGV[first + at - 1]
    end
    redis.call(unpack(said))
    last = tonumber(ARGV[first])
  end
end
return redis.call('SET', KEYS[2], string.format('%.0f', last), 'EX', remembered)
"""
)

_log = PeerLogger(namespace="wsservice")


class Inbox:
    """Appends what clients send to the stream of a configuration, at the server that has it."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        reactor: Any,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.name = config.inbox
        self.link = engine.of(config.inbox)
        #: Messages, by what became of them.
        self.appended = self.dropped = self.refused = 0
        self._node = engine.node
        self._service = engine.service
        self._keys = (config.inbox.encode(), engine.names.of("inbox", engine.node))
        self._reactor = reactor
        self._waiting = Waiting()
        self._backoff = Backoff(random, LONGEST_DELAY)
        self._problem: str | None = None
        self._sending = False
        self._held: deque[Callable[[], object]] = deque()
        self._call: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None
        self._is_over = False
        self._said = {DROP: 0, REFUSE: 0}
        self.prepare(config)()
        self.link.watchers.append(self._link_changed)
        _log.info("inbox: stream {name} at {link}", name=self.name, link=str(self.link))

    def prepare(self, config: Config) -> Callable[[], None]:
        """See `reloading.Part`: how much there may be, and what becomes of the rest."""

        away = Room(config.inbox_buffer, config.inbox_bytes)
        messages = max(_UNDER_WAY.messages, away.messages)
        octets = max(_UNDER_WAY.octets, away.octets, 4 * config.max_message_size)

        def commit() -> None:
            self._size = config.inbox_size
            self._drops = config.inbox_away == DROP
            self._away = away
            self._under_way = Room(messages, octets)
            self._half = Room(messages // 2, octets // 2)

        return commit

    # What there is to say of it

    @property
    def waiting(self) -> int:
        """Messages that are not appended yet."""
        return len(self._waiting)

    @property
    def figures(self) -> dict[str, int]:
        """Messages, by what became of them. The sum of several is one of all."""
        return {"appended": self.appended, "dropped": self.dropped, "refused": self.refused}

    @property
    def states(self) -> dict[str, int]:
        """How it is now, likewise."""
        return {"waiting": self.waiting}

    def check(self) -> str | None:
        """Why it is not as it should be, for /readyz; None if it is, but for the link."""
        return None if self._problem is None else f"inbox: {self._problem}"

    # Messages

    @property
    def refuses(self) -> bool:
        """Whether there is no room for even an empty message, so that nobody new is let in."""
        return not self._drops and not self._waiting.fits(self._room, 0)

    @property
    def _is_away(self) -> bool:
        return not self.link.up or self._problem is not None

    @property
    def _room(self) -> Room:
        return self._away if self._is_away else self._under_way

    @property
    def is_pressed(self) -> bool:
        """Whether the server is there and does not keep up, so that who sends is to wait."""
        return not self._is_away and not self._waiting.fits(self._half, 0)

    def wait(self, go_on: Callable[[], object]) -> None:
        """Have somebody told when it is so no more."""
        self._held.append(go_on)

    def _let_go(self) -> None:
        # One after another: each may have more to say.
        while self._held and not self.is_pressed:
            self._held.popleft()()

    def take(self, sender: Sender, payload: bytes, is_binary: bool) -> bool:
        """Append a message, soon. False where there is no room, and its sender is to be told so."""
        if self._waiting.fits(self._room, len(payload)) and not self._is_over:
            self._waiting.put(sender, payload, is_binary, self._reactor.seconds())
            if self._call is None and not self._sending:
                self._later(0)
            return True
        if self._drops:
            self.dropped += 1
            self._say(DROP, self.dropped, "dropped")
        else:
            self.refused += 1
            self._say(REFUSE, self.refused, "refused")
        return self._drops

    def _say(self, kind: str, count: int, what: str) -> None:
        """Say that messages were left out: when it begins, and then each time it was tenfold."""
        if count >= max(1, 10 * self._said[kind]):
            self._said[kind] = count
            _log.warn("inbox: {count} messages {what} so far", count=count, what=what)

    def _later(self, delay: float) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = self._reactor.callLater(delay, self._send)

    def _link_changed(self, link: Link) -> None:
        if not link.up:
            self._let_go()
        elif not self._sending:
            self._problem = None
            self._later(0)

    def _send(self) -> None:
        self._call = None
        if self._sending or not self.link.up:
            return
        batch = self._waiting.batch()
        if not batch:
            self._end()
            return
        self._sending = True
        who = (self._node, self._service)
        head = (self._size, *who, _REMEMBERED, len(FIELDS), *FIELDS)
        said = [value for each in batch for value in each]
        appending = self.link.script(_APPEND, self._keys, [*head, *said])
        appending.addCallbacks(lambda _: self._were_appended(batch), self._were_not).addErrback(
            lambda failure: _log.failure("inbox", failure)
        )

    def _were_appended(self, batch: list[Entry]) -> None:
        self._sending = False
        self._waiting.appended(batch)
        self.appended += len(batch)
        if self._problem is not None:
            _log.info("inbox: messages are appended again")
        self._problem = None
        self._backoff.reset()
        self._let_go()
        # What came meanwhile leaves with what else this read brings about.
        self._send()

    def _were_not(self, failure: Failure) -> None:
        failure.trap(BrokerError)
        self._sending = False
        if failure.check(Refused) is not None and self._problem != str(failure.value):
            self._problem = str(failure.value)
            _log.warn("inbox: cannot append, {why}", why=self._problem)
            self._let_go()
        self._later(self._backoff.delay() if self.link.up else LONGEST_DELAY)

    # The end

    def stop(self, within: float) -> Deferred[None]:
        """Append what waits, for so many seconds at most. Fires when that is done, or given up."""
        if not self._waiting:
            self._is_over = True
            return succeed(None)
        stopped = self._stopped = Deferred()
        deadline = self._reactor.callLater(within, self._give_up)
        stopped.addCallback(lambda _: deadline.cancel() if deadline.active() else None)
        if not self._sending:
            self._later(0)
        return stopped

    def _give_up(self) -> None:
        _log.warn(
            "inbox: {count} messages could not be appended before the end", count=self.waiting
        )
        self.dropped += self.waiting
        self._end()

    def _end(self) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped is None:
            return
        self._is_over = True
        self._held.clear()
        if self._call is not None and self._call.active():
            self._call.cancel()
        stopped.callback(None)
