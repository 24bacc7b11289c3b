"""Which nodes there are, as the broker has it: each says again and again that it is there.

There is a key for each node, which expires unless its node says so again, and an index of
them. All are on one server, under one hash tag.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList

from ..admin.ids import is_node
from ..broker.names import Names
from ..broker.scripting import Script
from ..errors import BrokerError
from ..escape import escape
from .checking import MalformedError, parsed
from .facts import Facts

BEAT = 3.0
"""Seconds from one time that a node says that it is there to the next."""

EXPIRES = 10.0
"""Seconds after the last time until it is forgotten."""

_FRESH = 0.5
"""Seconds for which what was read is good."""

_PATIENCE = 2.0
"""Seconds that the broker has to tell."""

MOST_NODES = 1000
"""Nodes that are looked at."""

_MOST_OF_FACTS = 64 * 1024
"""Octets of what a node says of itself."""

HOME = "cluster"
"""The name under which all of this is, on whichever server that is."""

_SAY = Script("""
local said = redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if said.err then
  -- Where memory is full, who is there already stays.
  if redis.call('PEXPIRE', KEYS[2], ARGV[3]) == 0 then return said end
else
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local count = 0
for _, node in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[4])) do
  count = count + redis.call('EXISTS', KEYS[1] .. ':' .. node)
end
return count
""")

_READ = Script("""
local found = {}
for _, node in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[1])) do
  local key = KEYS[1] .. ':' .. node
  local left = redis.call('PTTL', key)
  if left < 0 then
    redis.call('ZREM', KEYS[1], node)
  else
    local facts = redis.pcall('GET', key)
    if type(facts) ~= 'string' or #facts > tonumber(ARGV[2]) then facts = '' end
    found[#found + 1] = {node, facts, left}
  end
end
return found
""")


class Link(Protocol):
    """What is needed of a link to the broker."""

    up: bool

    def call(self, *words: bytes | str | int | float) -> Deferred[Any]:
        """Ask something."""

    def script(self, script: Script, keys: Any, arguments: Any) -> Deferred[Any]:
        """Call a script."""


@attrs.frozen
class Entry:
    """A node. `facts` is what it said of itself when it last said that it is there, None where
    that cannot be read; `seen` is how many seconds ago that was."""

    facts: Facts | None
    seen: float


@attrs.frozen
class Known:
    """The nodes besides this one. Where `problem` says why the broker was of no help, it is
    those of the last time."""

    others: Mapping[str, Entry]
    problem: str | None = None


class Registry:
    """Says that this `node` is there, and knows the others."""

    def __init__(self, link: Link, names: Names, node: str, reactor: Any) -> None:
        self._link = link
        self._index = names.of("nodes", HOME)
        self._key = self._index + b":" + node.encode()
        self._node = node
        self._reactor = reactor
        self._known = Known({})
        self._until = -1.0
        #: How many nodes there are, this one included, as of its last beat; 0: that failed.
        self.count = 0
        #: Nodes, and facts of nodes, in which there was no sense.
        self.malformed = 0

    async def say(self, facts: Facts) -> None:
        """Say that this node is there. Raises `BrokerError`."""
        said = json.dumps(facts.as_json(), separators=(",", ":"))
        arguments = (self._node, said, int(EXPIRES * 1000), MOST_NODES - 1)
        try:
            count = await self._link.script(_SAY, (self._index, self._key), arguments)
        except BrokerError:
            self.count = 0
            raise
        self.count = count if isinstance(count, int) else 0

    def leave(self) -> Deferred[None]:
        """Say that it is not there any more. Whatever hinders it, the others notice it later."""
        said = [self._link.call("DEL", self._key)]
        said.append(self._link.call("ZREM", self._index, self._node))
        return DeferredList(said, consumeErrors=True).addCallback(lambda _: None)

    async def known(self) -> Known:
        """The other nodes, as of now. Raises nothing."""
        if self._link.up and self._reactor.seconds() < self._until:
            return self._known
        reading = self._link.script(_READ, (self._index,), (MOST_NODES - 1, _MOST_OF_FACTS))
        try:
            rows = await reading.addTimeout(_PATIENCE, self._reactor)
        except defer.TimeoutError:
            return self._last(f"the broker did not answer within {_PATIENCE:g} s")
        except BrokerError as error:
            return self._last(f"the broker is of no help: {error}")
        self._known = Known(self._entries(rows))
        self._until = self._reactor.seconds() + _FRESH
        return self._known

    def _last(self, problem: str) -> Known:
        text = problem if problem.isprintable() else escape(problem)
        return attrs.evolve(self._known, problem=text)

    def _entries(self, rows: Any) -> dict[str, Entry]:
        found = {}
        for row in rows if isinstance(rows, list) else ():
            match row:
                case [bytes(name), bytes(said), int(left)] if is_node(name.decode("latin-1")):
                    seen = max(0.0, EXPIRES - left / 1000)
                    found[name.decode()] = Entry(self._facts(said), seen)
                case _:
                    self.malformed += 1
        found.pop(self._node, None)
        return found

    def _facts(self, said: bytes) -> Facts | None:
        try:
            return Facts.of(parsed(said, _MOST_OF_FACTS))
        except MalformedError:
            self.malformed += 1
            return None
