"""Tickets in Redis, where every node and worker can claim them, each once.

A ticket is a key that expires. A script gets and deletes it in one step, so of two nodes that claim
it in the same millisecond one gets nothing. GETDEL would do the same, and needs Redis 6.2.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from ..auth.tickets import LASTS, MOST_BYTES, MOST_TICKETS, full
from ..clock import monotonic_of
from ..errors import BrokerError, TicketsError
from ..escape import escape_once
from .engine import Engine
from .redis.scripting import LuaScript

_PATIENCE = 2.0
"""Seconds that Redis has to answer. A client waits for it in its handshake."""

_KIND = "ticket"

_CLAIM = LuaScript("""
local content = redis.call('GET', KEYS[1])
if content then redis.call('DEL', KEYS[1]) end
return content
""")


class RedisTickets:
    """The tickets of all nodes that share a prefix in Redis.

    Each ticket is on the server that its digest picks. A node makes at most `most` of them in
    `LASTS` seconds, of at most `most_bytes` together, used or not: it does not learn which of them
    others claimed. After a failover a server may have lost a ticket, and may have got back one
    that was claimed in the last moment before.
    """

    def __init__(
        self,
        engine: Engine,
        reactor: Any,
        most: int = MOST_TICKETS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._engine = engine
        self._reactor = reactor
        self._seconds = monotonic_of(reactor)
        self._most = most
        self._most_bytes = most_bytes
        # When each ticket of this node ends, and its size in bytes.
        self._made: deque[tuple[float, int]] = deque()
        self._bytes = 0

    def put(self, digest: str, content: bytes) -> Deferred[None]:
        """Keep a ticket: see `TicketStore`."""
        now = self._seconds()
        while self._made and self._made[0][0] <= now:
            self._bytes -= self._made.popleft()[1]
        if len(self._made) >= self._most or self._bytes + len(content) > self._most_bytes:
            return fail(full())
        self._made.append((now + LASTS, len(content)))
        self._bytes += len(content)
        link = self._engine.of(digest)
        said = link.call("SET", self._name(digest), content, "PX", LASTS * 1000)
        return self._judged(said, str(link)).addCallback(lambda _: None)

    def claim(self, digest: str) -> Deferred[bytes | None]:
        """Take a ticket out: see `TicketClaims`."""
        link = self._engine.of(digest)
        said = self._judged(link.script(_CLAIM, [self._name(digest)]), str(link))
        return said.addCallback(_content)

    def _name(self, digest: str) -> bytes:
        return self._engine.names.of(_KIND, digest)

    def _judged(self, said: Deferred[Any], where: str) -> Deferred[Any]:
        # The command may be carried out all the same: the ticket is then used up, or never used.
        said.addTimeout(_PATIENCE, self._reactor)
        return said.addErrback(_failed, where)


def _failed(failure: Failure, where: str) -> Any:
    if failure.check(defer.TimeoutError):
        raise TicketsError(f"broker {where} did not answer within {_PATIENCE:g} s")
    failure.trap(BrokerError)
    raise TicketsError(f"broker {where}: {escape_once(failure.getErrorMessage())}")


def _content(said: Any) -> bytes | None:
    if said is None or isinstance(said, bytes):
        return said
    raise TicketsError("the broker gave an answer that makes no sense")
