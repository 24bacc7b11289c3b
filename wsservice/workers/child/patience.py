"""A connection that leaves a worker, but not in the middle of its handshake."""

from __future__ import annotations

from typing import Any

import attrs

_SHAKING = 0.1
"""Seconds between two checks that a connection has completed its handshake."""


@attrs.define(eq=False)
class Patient:
    """A connection that is closed once its handshake is done, so that no client is refused."""

    _member: Any
    _reactor: Any

    def go_away(self) -> None:
        """Close the connection with 1001, or wait for its handshake first."""
        if self._member.state == self._member.STATE_CONNECTING:
            self._reactor.callLater(_SHAKING, self.go_away)
        else:
            self._member.go_away()
