"""Sends events, in batches, one after another, until they are taken."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from .. import __version__
from ..client.backoff import Backoff
from ..config import Config
from ..errors import ConfigError
from ..log import PeerLogger
from ..secretfile import read_secret
from . import signing
from .posting import Outcome, Poster
from .queue import Batch, EventQueue

_GATHERED = 1.0
"""Seconds that an event waits for others at most, where the receiver takes them."""

_PATIENCE = 900.0
"""Seconds after which a batch that is never taken is given up, so that others have their turn."""

_SECRET = "--webhook-secret-file"  # noqa: S105 - the option
_log = PeerLogger(namespace="wsservice")


class Posting(Protocol):
    """What posts."""

    def post(self, body: bytes, headers: Mapping[str, str]) -> Deferred[Outcome]:
        """Post it. Never fails; may be cancelled."""


class Webhook:
    """Events on their way to a receiver.

    `name` is what the log calls it, `key` that of the signature. Told are the
    events of kinds in `events`; `node` is as `EventQueue` has it.
    """

    def __init__(
        self,
        name: str,
        key: bytes,
        events: frozenset[str],
        poster: Posting,
        reactor: Any,
        random: Callable[[], float] = random.random,
        node: str = "",
    ) -> None:
        self.events = events
        self._name = name
        self._key = key
        self._poster = poster
        self._reactor = reactor
        self._id = secrets.token_hex(8)
        self._queue = EventQueue(self._id, node=node)
        self._backoff = Backoff(random)
        self._batch: Batch | None = None
        self._call: IDelayedCall | None = None
        self._posting: Deferred[Outcome] | None = None
        self._failures = 0
        self._dropped_said = 0
        self._until: float | None = None
        self._is_over = False
        self._stopped: list[Deferred[None]] = []
        #: Events that the receiver took, and attempts by how they ended.
        self.delivered = 0
        self.attempts = {"taken": 0, "failed": 0}

    @property
    def dropped(self) -> int:
        """Events that the receiver never took."""
        return self._queue.dropped

    @property
    def waiting(self) -> int:
        """Events that it has not taken yet."""
        return len(self._queue) + (0 if self._batch is None else self._batch.count)

    @property
    def seconds(self) -> float:
        """The time, in seconds since 1970."""
        return float(self._reactor.seconds())

    def tell(self, event: bytes) -> None:
        """Send an event, soon."""
        if self._is_over:
            self._queue.dropped += 1
            return
        self._queue.put(event)
        if self._posting is not None or self._batch is not None:
            return
        if self._queue.has_batch:
            self._send()
        elif self._call is None:
            self._later(_GATHERED)

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """See `reloading.Part`: the secret is read again."""
        key = _key(config)

        def commit() -> list[str]:
            before, self._key = self._key, key
            return [] if before == key else ["the secret of --webhook"]

        return commit

    def start(self) -> None:
        """Send what is told from now on, after a `stop` too."""
        self._until = None
        self._is_over = False

    def stop(self, within: float) -> Deferred[None]:
        """Send what waits, for so many seconds at most. Fires when that is done, or given up."""
        self._until = self.seconds + within
        if not self.waiting:
            self._end()
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        deadline = self._reactor.callLater(within, self._give_up)
        stopped.addCallback(lambda _: deadline.cancel() if deadline.active() else None)
        if self._posting is None:
            self._send()
        return stopped

    def _later(self, delay: float) -> None:
        self._call = self._reactor.callLater(delay, self._send)

    def _forget_call(self) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _send(self) -> None:
        self._forget_call()
        if self._batch is None:
            self._batch = self._queue.take(self.seconds)
        if self._batch is None:
            self._end()
            return
        batch = self._batch
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"wsservice/{__version__}",
            **signing.headers(
                self._key, f"{self._id}-{batch.number}", int(self.seconds), batch.body
            ),
        }
        self._posting = self._poster.post(batch.body, headers)
        self._posting.addCallback(self._done, batch)

    def _done(self, outcome: Outcome, batch: Batch) -> None:
        self._posting = None
        if self._batch is not batch:
            return  # given up meanwhile
        if outcome.problem:
            self._failed(outcome, batch)
            return
        self._batch = None
        self.delivered += batch.count
        self.attempts["taken"] += 1
        if self._failures:
            _log.info("webhook {name}: works again", name=self._name)
        self._failures = 0
        self._backoff.reset()
        self._say_dropped()
        self._next()

    def _next(self) -> None:
        if self._until is not None or self._queue.has_batch:
            # Not at once: a receiver that takes all of them must not keep the reactor.
            self._later(0)
        elif len(self._queue):
            self._later(_GATHERED)

    def _failed(self, outcome: Outcome, batch: Batch) -> None:
        self._failures += 1
        self.attempts["failed"] += 1
        delay = self._backoff.delay(outcome.asked)
        if self._failures == 1:
            _log.warn(
                "webhook {name}: {why}; it is tried again, more seldom each time",
                name=self._name,
                why=outcome.problem,
            )
        if self.seconds - batch.began >= _PATIENCE:
            _log.warn(
                "webhook {name}: {why}; {count} events were not taken for {patience:g} s,"
                " and are dropped",
                name=self._name,
                why=outcome.problem,
                count=batch.count,
                patience=_PATIENCE,
            )
            self._drop_batch()
        if self._until is not None:
            # There is less time than patience; more attempts than a few are no use.
            delay = min(delay, _GATHERED)
        self._later(delay)
        self._say_dropped()

    def _drop_batch(self) -> None:
        if self._batch is not None:
            self._queue.dropped += self._batch.count
            self._batch = None

    def _say_dropped(self) -> None:
        """Say that events were left out: when it begins, and then each time it was tenfold."""
        dropped = self._queue.dropped
        if dropped >= max(1, 10 * self._dropped_said):
            self._dropped_said = dropped
            _log.warn(
                "webhook {name}: {count} events dropped so far", name=self._name, count=dropped
            )

    def _give_up(self) -> None:
        self._forget_call()
        posting, self._posting = self._posting, None
        count = self.waiting
        self._drop_batch()
        self._queue.forget()
        if posting is not None:
            posting.cancel()
        if count:
            _log.warn(
                "webhook {name}: {count} events could not be sent before the end",
                name=self._name,
                count=count,
            )
        self._end()

    def _end(self) -> None:
        if self._until is not None:
            self._is_over = True
        stopped, self._stopped = self._stopped, []
        for each in stopped:
            each.callback(None)


def _key(config: Config) -> bytes:
    secret = read_secret(_SECRET, config.webhook_secret_file, "secret")
    try:
        return signing.key_of(secret)
    except ValueError:
        raise ConfigError(
            f"{_SECRET}: {config.webhook_secret_file} has no base64 behind whsec_;"
            " give a secret that has, or one without whsec_"
        ) from None


def check(config: Config) -> None:
    """Look for what a configuration says of it, as opening one does. Raises `ConfigError`."""
    if config.webhook:
        _key(config)


def open_webhook(config: Config, reactor: Any, node: str = "") -> Webhook:
    """The one that a configuration asks for, as `node` has it. Raises `ConfigError`."""
    parts = urlsplit(config.webhook)
    # Not its path, which is a secret with some receivers.
    name = f"{parts.scheme}://{parts.netloc}"
    events = frozenset(config.webhook_events.split(","))
    return Webhook(name, _key(config), events, Poster(config.webhook, reactor), reactor, node=node)
