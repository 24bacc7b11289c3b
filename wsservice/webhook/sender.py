"""Send batches of events, one after another, until the receiver takes them."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from .. import __version__
from ..client.web import signing
from ..clock import monotonic_of, wall_of
from ..config.config import Config
from ..config.secretfile import read_secret
from ..errors import ConfigError
from ..log.peer import PeerLogger
from ..net.backoff import Backoff
from .posting import Poster, PostOutcome
from .queue import Batch, EventQueue

_GATHERED = 1.0
"""The most seconds that an event waits for others to share its batch."""

_PATIENCE = 900.0
"""Seconds after which a batch that is not taken is dropped, so that newer ones have their turn."""

_SECRET = "--webhook-secret-file"  # noqa: S105 - the option
_log = PeerLogger(namespace="wsservice")


class Posting(Protocol):
    """The sender of POST requests."""

    def post(self, body: bytes, headers: Mapping[str, str]) -> Deferred[PostOutcome]:
        """Post a body. Fires with the outcome, and may be cancelled."""


class Webhook:
    """Send events to a receiver.

    The log uses `name`; `key` signs the batches. `events` holds the kinds of events to send. `node`
    is the name of this node, as in `EventQueue`.
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
        self._monotonic = monotonic_of(reactor)
        self._wall = wall_of(reactor)
        self._id = secrets.token_hex(8)
        self._queue = EventQueue(self._id, node=node)
        self._backoff = Backoff(random)
        self._batch: Batch | None = None
        self._call: IDelayedCall | None = None
        self._posting: Deferred[PostOutcome] | None = None
        self._failures = 0
        self._dropped_said = 0
        self._is_stopping = False
        self._is_over = False
        self._stopped: list[Deferred[None]] = []
        #: Events that the receiver took, and attempts by outcome.
        self.delivered = 0
        self.attempts = {"taken": 0, "failed": 0}

    @property
    def dropped(self) -> int:
        """Events that were dropped."""
        return self._queue.dropped

    @property
    def waiting(self) -> int:
        """Events that the receiver has not taken yet."""
        return len(self._queue) + (0 if self._batch is None else self._batch.count)

    @property
    def seconds(self) -> float:
        """The time, in seconds since 1970."""
        return self._wall()

    def tell(self, event: bytes, peer: str = "") -> None:
        """Send an event within about a second.

        `peer` is the key of its peer: see `events.peer_of`.
        """
        if self._is_over:
            self._queue.dropped += 1
            return
        self._queue.put(event, peer)
        if self._posting is not None or self._batch is not None:
            return
        if self._queue.has_batch:
            self._send()
        elif self._call is None:
            self._later(_GATHERED)

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """See `Reloadable`: read the secret again. Raises `ConfigError`."""
        key = _key(config)

        def commit() -> list[str]:
            before, self._key = self._key, key
            return [] if before == key else ["the secret of --webhook"]

        return commit

    def start(self) -> None:
        """Start to send events. It may be called again after `stop`."""
        self._is_stopping = False
        self._is_over = False

    def stop(self, within: float) -> Deferred[None]:
        """Send what is queued, for at most `within` seconds.

        Fires when that is done or given up.
        """
        self._is_stopping = True
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
            self._batch = self._queue.take(self._monotonic())
        if self._batch is None:
            self._end()
            return
        batch = self._batch
        self._posting = maybeDeferred(self._post, batch)
        # `_posting` is set before the callbacks run, because the POST may already be over.
        self._posting.addErrback(self._not_posted).addCallback(self._done, batch)

    def _post(self, batch: Batch) -> Deferred[PostOutcome]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"wsservice/{__version__}",
            **signing.headers(
                self._key, f"{self._id}-{batch.number}", int(self.seconds), batch.body
            ),
        }
        return self._poster.post(batch.body, headers)

    def _not_posted(self, failure: Failure) -> PostOutcome:
        """Count an exception on this end as a failed attempt. Other attempts follow."""
        _log.failure("webhook {name}: cannot post", failure, name=self._name)
        return PostOutcome(f"failed: {type(failure.value).__name__}")

    def _done(self, outcome: PostOutcome, batch: Batch) -> None:
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
        if self._is_stopping or self._queue.has_batch:
            # In the next turn: a receiver that answers at once must not keep the reactor busy.
            self._later(0)
        elif len(self._queue):
            self._later(_GATHERED)

    def _failed(self, outcome: PostOutcome, batch: Batch) -> None:
        self._failures += 1
        self.attempts["failed"] += 1
        delay = self._backoff.delay(outcome.asked)
        if self._failures == 1:
            _log.warn(
                "webhook {name}: {why}; retrying, with a longer wait each time",
                name=self._name,
                why=outcome.problem,
            )
        if self._monotonic() - batch.began >= _PATIENCE:
            _log.warn(
                "webhook {name}: {why}; {count} events were not taken for {patience:g} s,"
                " and are dropped",
                name=self._name,
                why=outcome.problem,
                count=batch.count,
                patience=_PATIENCE,
            )
            self._drop_batch()
        if self._is_stopping:
            # The time to stop is shorter than the backoff, and a few attempts are enough.
            delay = min(delay, _GATHERED)
        self._later(delay)
        self._say_dropped()

    def _drop_batch(self) -> None:
        if self._batch is not None:
            self._queue.dropped += self._batch.count
            self._batch = None

    def _say_dropped(self) -> None:
        """Log the number of dropped events: at the first, and then at each tenfold."""
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
        if self._is_stopping:
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
            f"{_SECRET}: {config.webhook_secret_file} has no valid base64 behind whsec_;"
            " give a secret that has, or one without whsec_"
        ) from None


def check(config: Config) -> None:
    """Check a configuration as `open_webhook` does. Raises `ConfigError`."""
    if config.webhook:
        _key(config)


def open_webhook(config: Config, reactor: Any, node: str = "") -> Webhook:
    """Return the webhook of a configuration, on this `node`. Raises `ConfigError`."""
    parts = urlsplit(config.webhook)
    # The path is left out of the log: with some receivers, it is a secret.
    name = f"{parts.scheme}://{parts.netloc}"
    events = frozenset(config.webhook_events.split(","))
    return Webhook(name, _key(config), events, Poster(config.webhook, reactor), reactor, node=node)
