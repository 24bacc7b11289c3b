"""Log what the callers of the admin face do, by the names of their tokens, and count it."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, Metric

from ..log.peer import PeerLogger
from .exchange import AdminRequest, Answer, Stream
from .tokens import Caller, Right

if TYPE_CHECKING:
    from .access import Access

_log = PeerLogger(namespace="wsservice")

Reply = Answer | Stream

_NO_NAME = "(none)"
"""The label of a token without a name, and of a face without tokens. No token has such a name."""


class Actions:
    """The requests of callers. A caller without a name is counted and not logged."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._refused: dict[tuple[str, str], int] = {}

    def took(self, caller: Caller, right: Right, asked: AdminRequest, reply: Reply) -> None:
        """Note a request that used a right. Reading is only counted, unless it is a trace."""
        key = (caller.name or _NO_NAME, right.value)
        self._counts[key] = self._counts.get(key, 0) + 1
        if caller.name and (isinstance(reply, Stream) or right is not Right.READ):
            # Without the query, and without the body, which may be secret.
            _log.info(
                "admin token {name}: {method} {path} was answered with {status}",
                name=caller.name,
                method=asked.method,
                path=asked.path,
                status=reply.status if isinstance(reply, Answer) else int(HTTPStatus.OK),
            )

    def refused(self, caller: Caller, right: Right, asked: AdminRequest) -> None:
        """Note a request for which its caller has no right."""
        key = (caller.name or _NO_NAME, right.value)
        self._refused[key] = self._refused.get(key, 0) + 1
        _log.warn(
            "admin token {name}: {method} {path} was refused, it has no right to {right}",
            name=caller.name,
            method=asked.method,
            path=asked.path,
            right=right.value,
        )

    def families(self) -> Iterator[Metric]:
        """Yield the counts, for Prometheus."""
        for name, text, counts in (
            ("requests", "Requests to the admin face that used a right.", self._counts),
            ("forbidden", "Requests whose token has no right to them.", self._refused),
        ):
            family = CounterMetricFamily(f"wsservice_admin_{name}", text, labels=["token", "right"])
            for labels, count in sorted(counts.items()):
                family.add_metric(labels, count)
            yield family


class ActionFigures:
    """The figures of callers and of wrong tokens, for `prometheus_client`."""

    def __init__(self, actions: Actions, access: Access) -> None:
        self._actions = actions
        self._guesses = access.guesses

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._actions.families()
        yield CounterMetricFamily(
            "wsservice_admin_wrong_tokens",
            "Requests to the admin face with a wrong token.",
            self._guesses.wrong,
        )
        yield CounterMetricFamily(
            "wsservice_admin_held_off",
            "Requests that were refused unread, as their address had tried too many wrong tokens.",
            self._guesses.held_off,
        )
