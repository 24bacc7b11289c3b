"""The hub of a process whose history is kept elsewhere."""

from __future__ import annotations

from ..channels import Position
from ..envelopes import Published
from .local import LocalHub, Member


class FollowingHub(LocalHub):
    """A hub that hears what is published from whoever keeps the history, as does each of others.

    A channel's messages come in the order of their offsets, and so do, between
    them, the answers of `position` and `missed`, which return Deferreds here: an
    answer tells of all that came before it, and of nothing that comes after. But
    messages may be lost on their way. Where that shows, by a jump in the offsets or
    because it is said, whoever is on the channel falls behind, from the last message
    that it has, and fetches the rest: see `resuming`. So nothing is missed, and
    nothing comes twice.
    """

    def __init__(self) -> None:
        super().__init__()
        # Up to where those have a channel's messages who are not behind, where that is known.
        self._places: dict[str, Position] = {}

    @property
    def has_history(self) -> bool:
        """Yes, elsewhere."""
        return True

    def hear(self, message: Published, kept: bool) -> tuple[int, int]:
        """Send a message that comes with its position. `kept`: it is in the history, too.

        Returns to how many it was handed, those included that are behind and will
        find it in the history, and how many did not take it.
        """
        channel, position = message.channel, message.position
        if channel in self._channels and position is not None:
            if self._follows(channel, position):
                self._places[channel] = position
            else:
                self.lost_some(channel)
        live = len(self._channels.get(channel, ()))
        handed = self._send(message) if live else 0
        behind = len(self._behind.get(channel, ())) if self._behind and kept else 0
        return handed + behind, live - handed

    def _follows(self, channel: str, position: Position) -> bool:
        """Whether nothing was lost before a message."""
        known = self._places.get(channel)
        if known is None:
            return True
        if known.epoch != position.epoch:
            # The channel was forgotten, and began anew.
            return position.offset == 1
        return position.offset == known.offset + 1

    def lost_some(self, channel: str) -> bool:
        """Some of a channel was lost on its way here: who is on it falls behind.

        False where it is not known from where on: they came a moment ago, or there are none.
        """
        since = self._places.pop(channel, None)
        if since is None:
            return False
        members = self._channels.pop(channel)
        self._behind.setdefault(channel, {}).update(members)
        for member in members:
            member.fall_behind(channel, since)
        return True

    def learned(self, channel: str, position: Position) -> None:
        """Where a channel is now: those who are not behind, and are elsewhere, have lost some."""
        if channel not in self._channels:
            return
        if self._places.setdefault(channel, position) != position:
            self.lost_some(channel)

    def join(self, member: Member, behind: bool = False) -> None:
        fresh = [channel for channel in member.channels if not self.is_occupied(channel)]
        super().join(member, behind)
        for channel in fresh:
            self._came_to(channel)

    def catch_up(self, member: Member, channel: str, position: Position | None = None) -> None:
        if position is not None:
            self.learned(channel, position)
        super().catch_up(member, channel, position)
        if position is not None and channel in self._channels:
            self._places.setdefault(channel, position)

    def leave(self, member: Member) -> None:
        joined = self._joined(member)
        super().leave(member)
        for channel in joined:
            if channel not in self._channels:
                self._places.pop(channel, None)
            if not self.is_occupied(channel):
                self._left(channel)

    def _came_to(self, channel: str) -> None:
        """The first connection is on a channel."""

    def _left(self, channel: str) -> None:
        """The last one has left it."""
