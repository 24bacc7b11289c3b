"""Keep the list of nodes at the broker. Each node registers itself again and again.

Each node has a key that expires unless the node renews it; an index holds the names of all. Index
and keys have one hash tag, so that they are on one server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList

from ..broker.naming import Names
from ..broker.redis.scripting import LuaScript
from ..clock import monotonic_of
from ..directory.ids import is_node
from ..errors import BrokerError
from ..escape import escape_once
from .checking import MalformedError, parsed
from .facts import Facts

BEAT = 3.0
"""Seconds between two registrations of a node."""

EXPIRES = 10.0
"""Seconds after its last registration until a node is forgotten."""

_FRESH = 0.5
"""Seconds for which a list that was read is used again."""

_PATIENCE = 2.0
"""Seconds that the broker has to answer."""

MOST_NODES = 1000
"""The most nodes that are read."""

_MOST_OF_FACTS = 64 * 1024
"""The most octets of a node's facts."""

HOME = "cluster"
"""The name that picks the server of the registry."""

_SAY = LuaScript("""
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

_READ = LuaScript(
    """
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
""",
    4 * MOST_NODES,  # each row counts, and its three elements
)


class RegistryLink(Protocol):
    """A link to the broker, as the registry needs it."""

    up: bool

    def call(self, *words: bytes | str | int | float) -> Deferred[Any]:
        """Send a command. Fires with the answer, or fails with `BrokerError`."""

    def script(self, script: LuaScript, keys: Any, arguments: Any) -> Deferred[Any]:
        """Call a script. Fires with the answer, or fails with `BrokerError`."""


@attrs.frozen
class RegisteredNode:
    """A node. `seen` is the number of seconds since it last registered.

    `facts` are those of that time; None if they cannot be read.
    """

    facts: Facts | None
    seen: float


@attrs.frozen
class KnownNodes:
    """The nodes besides this one.

    `problem` says why the broker could not tell; `others` are then those it told last.
    """

    others: Mapping[str, RegisteredNode]
    problem: str | None = None


class Registry:
    """Register this `node`, and read which others are there."""

    def __init__(self, link: RegistryLink, names: Names, node: str, reactor: Any) -> None:
        self._link = link
        self._index = names.of("nodes", HOME)
        self._key = self._index + b":" + node.encode()
        self._node = node
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._known = KnownNodes({})
        self._until = -1.0
        #: The number of nodes, this one included, at its last beat; 0 if that failed.
        self.count = 0
        #: Malformed names and facts of nodes.
        self.malformed = 0

    async def say(self, facts: Facts) -> None:
        """Register this node, or renew its registration. Raises `BrokerError`."""
        said = json.dumps(facts.as_json(), separators=(",", ":"))
        arguments = (self._node, said, int(EXPIRES * 1000), MOST_NODES - 1)
        try:
            count = await self._link.script(_SAY, (self._index, self._key), arguments)
        except BrokerError:
            self.count = 0
            raise
        self.count = count if isinstance(count, int) else 0

    def leave(self) -> Deferred[None]:
        """Remove this node. Errors are ignored: the registration then expires."""
        said = [self._link.call("DEL", self._key)]
        said.append(self._link.call("ZREM", self._index, self._node))
        return DeferredList(said, consumeErrors=True).addCallback(lambda _: None)

    async def known(self) -> KnownNodes:
        """Return the other nodes of now. Raises nothing; see `Known.problem`."""
        if self._link.up and self._monotonic() < self._until:
            return self._known
        reading = self._link.script(_READ, (self._index,), (MOST_NODES - 1, _MOST_OF_FACTS))
        try:
            rows = await reading.addTimeout(_PATIENCE, self._reactor)
        except defer.TimeoutError:
            return self._last(f"the broker did not answer within {_PATIENCE:g} s")
        except BrokerError as error:
            return self._last(f"the broker failed: {error}")
        self._known = KnownNodes(self._entries(rows))
        self._until = self._monotonic() + _FRESH
        return self._known

    def _last(self, problem: str) -> KnownNodes:
        return attrs.evolve(self._known, problem=escape_once(problem))

    def _entries(self, rows: Any) -> dict[str, RegisteredNode]:
        found = {}
        for row in rows if isinstance(rows, list) else ():
            match row:
                case [bytes(name), bytes(said), int(left)] if is_node(name.decode("latin-1")):
                    seen = max(0.0, EXPIRES - left / 1000)
                    found[name.decode()] = RegisteredNode(self._facts(said), seen)
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
