"""Name the actions that a user may be allowed on a channel. PURE."""

from __future__ import annotations

import enum


class Action(enum.StrEnum):
    """Something that a user does on a channel. Each is a key of a rule, too."""

    SUBSCRIBE = "subscribe"
    """To be on the channel, and get what is published."""
    PUBLISH = "publish"
    HISTORY = "history"
    """To get messages that were published before."""
    PRESENCE = "presence"
    """To learn which users are on the channel."""
