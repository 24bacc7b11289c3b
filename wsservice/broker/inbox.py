"""Append messages of clients to a stream of Redis: at least once, and in their order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..clock import wall_of
from ..config.config import Config
from ..errors import BrokerError, Refused
from ..log.peer import PeerLogger
from ..net.backoff import Backoff
from .engine import Engine
from .redis.link import LONGEST_DELAY, Link, LuaScript
from .waiting import FIELDS, LEAST, Entry, InboxSender, Room, Waiting, size_of

REFUSE, DROP = "refuse", "drop"

_UNDER_WAY = Room(10_000, 64 * 1024 * 1024)
"""The most messages and octets that may wait while the server is connected.

From half of it on, senders are not read any further. It is never less than four of the largest
messages.
"""

_REMEMBERED = 86_400
"""Seconds for which Redis remembers a node's last number."""

# If an answer is lost, the same batch is sent again. The script appends it once, since it knows the
# node's last number. The number has a sum: once a wrong number, too large, made the script count
# every message of a node as appended, and none was. With a wrong sum the whole batch is appended,
# so a message may come twice, but at least once.
_APPEND = LuaScript(
    """
local size, node, service, remembered = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local count = tonumber(ARGV[5])
local names = {unpack(ARGV, 6, 5 + count)}
local function counted(last)
  return string.format('%.0f %.0f', last, last * 3 % 9973)
end
local last = tonumber(ARGV[6 + count]) - 1
local kept = redis.pcall('GET', KEYS[2])
if type(kept) == 'string' then
  local number = tonumber(string.match(kept, '^(%d+) %d+$'))
  if number and number > last and kept == counted(number) then last = number end
end
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
return redis.call('SET', KEYS[2], counted(last), 'EX', remembered)
"""
)

_log = PeerLogger(namespace="wsservice")


class Inbox:
    """Appends messages of clients to the stream of a configuration, on the stream's server."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        reactor: Any,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.name = config.inbox
        self.link = engine.of(config.inbox)
        #: Messages by their outcome.
        self.appended = self.dropped = self.refused = 0
        self._node = engine.node
        self._service = engine.service
        self._keys = (config.inbox.encode(), engine.names.of("inbox", engine.node))
        self._reactor = reactor
        self._wall = wall_of(reactor)
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
        """Return a function that puts a configuration's limits into effect."""

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

    # Figures

    @property
    def waiting(self) -> int:
        """The number of messages that are not appended yet."""
        return len(self._waiting)

    @property
    def figures(self) -> dict[str, int]:
        """The messages by their outcome. The figures of several workers can be added."""
        return {"appended": self.appended, "dropped": self.dropped, "refused": self.refused}

    @property
    def states(self) -> dict[str, int]:
        """The current state. The figures of several workers can be added."""
        return {"waiting": self.waiting}

    def check(self) -> str | None:
        """Return why Redis refuses messages, for /readyz, or None. It does not check the link."""
        return None if self._problem is None else f"inbox: {self._problem}"

    # Messages

    @property
    def refuses(self) -> bool:
        """True if an empty message has no room, so that new connections are refused."""
        return not self._drops and not self._waiting.fits(self._room, LEAST)

    @property
    def _is_away(self) -> bool:
        return not self.link.up or self._problem is not None

    @property
    def _room(self) -> Room:
        return self._away if self._is_away else self._under_way

    @property
    def is_pressed(self) -> bool:
        """True if the server is connected and does not keep up, so that senders must wait.

        It is false while the server is away: waiting could then take for ever.
        """
        return not self._is_away and not self._waiting.fits(self._half, LEAST)

    def wait(self, go_on: Callable[[], object]) -> None:
        """Call a function once the inbox is not pressed any more."""
        self._held.append(go_on)

    def _let_go(self) -> None:
        # One at a time, since each connection may send so much that the inbox is pressed again.
        while self._held and not self.is_pressed:
            self._held.popleft()()

    def take(self, sender: InboxSender, payload: bytes, is_binary: bool) -> bool:
        """Queue a message to be appended.

        Returns False if there is no room and the sender's connection must be closed. Without room
        and with `--inbox-away drop`, the message is dropped and the result is True.
        """
        if self._waiting.fits(self._room, size_of(sender, payload)) and not self._is_over:
            self._waiting.put(sender, payload, is_binary, self._wall())
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
        """Log that messages were left out: the first, and then each time the count is tenfold."""
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
        # One batch at a time, so that the order holds when a connection is lost.
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
        # At once: messages that came meanwhile leave in the same write as the other commands that
        # this read causes.
        self._send()

    def _were_not(self, failure: Failure) -> None:
        failure.trap(BrokerError)
        self._sending = False
        # The batch stays at the head of the queue, so it is sent again before any other.
        if failure.check(Refused) is not None and self._problem != str(failure.value):
            self._problem = str(failure.value)
            _log.warn("inbox: cannot append, {why}", why=self._problem)
            self._let_go()
        self._later(self._backoff.delay() if self.link.up else LONGEST_DELAY)

    # The end

    def stop(self, within: float) -> Deferred[None]:
        """Append the waiting messages within `within` seconds.

        Returns a Deferred that fires when all are appended or the time is over.
        """
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
