"""Send one POST to the receiver, and return its outcome.

Only the status of the answer counts, and Retry-After of a failure.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.web.iweb import IPolicyForHTTPS

from ..client.web.asking import Asker, WebAnswer
from ..net.backoff import retry_after


@attrs.frozen
class PostOutcome:
    """The outcome of a POST. `problem` is a text for people, "" for success.

    `asked` is the number of seconds that the receiver asks to wait (Retry-After); None if it does
    not.
    """

    problem: str = ""
    asked: float | None = None


class Poster:
    """Post to one URL, as `Asker` asks it."""

    def __init__(self, url: str, reactor: Any, policy: IPolicyForHTTPS | None = None) -> None:
        self._asker = Asker(url, reactor, policy)

    def post(self, body: bytes, headers: Mapping[str, str]) -> Deferred[PostOutcome]:
        """Post a body. Never fails: errors are outcomes. Cancel it when the time is over."""
        outcome: Deferred[Any] = self._asker.ask("POST", headers, body)
        return outcome.addCallback(_outcome)


def _outcome(answer: WebAnswer) -> PostOutcome:
    if answer.status is None:
        return PostOutcome(answer.problem)
    if 200 <= answer.status <= 299:
        return PostOutcome()
    value = answer.headers.get("retry-after", "")
    return PostOutcome(
        f"answered {answer.status}", retry_after(value, time.time()) if value else None
    )
