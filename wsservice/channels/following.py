"""Hold the connections of a process whose history is kept elsewhere."""

from __future__ import annotations

from ..config.keep import MOST_HISTORY, Keep
from .contract import Member
from .hub import LocalHub
from .keeping import Keeps
from .message import ChannelMessage
from .query import Position


class FollowingHub(LocalHub):
    """A hub that receives published messages from the keeper of the history, like other hubs.

    A channel's messages arrive in the order of their offsets. The answers of `position` and
    `missed` arrive between them: an answer covers all messages before it, and none after it.

    Messages may be lost on their way. A jump in the offsets shows that, or the keeper says so. Then
    the connections on the channel fall behind, from the last message that they have, and fetch the
    rest (see `resuming`). So no message is missed, and none comes twice.

    If messages may have been lost unseen, the position of a channel is in *doubt* until an answer
    tells it. No message follows a position in doubt, whatever its offset and epoch.
    """

    def __init__(self, keeps: Keeps | None = None) -> None:
        """`keeps` is what is kept of each channel, by default as much as a history can."""
        super().__init__()
        self.keeps = keeps or Keeps(Keep(MOST_HISTORY, 0.0))
        # The last position of each channel that connections which are not behind have, if known.
        self._places: dict[str, Position] = {}
        # Channels whose position is in doubt.
        self._doubted: set[str] = set()

    @property
    def has_history(self) -> bool:
        """True: the history is kept elsewhere."""
        return True

    def keep(self, channel: str) -> Keep:
        return self.keeps.of_channel(channel)

    def hear(self, message: ChannelMessage, kept: bool) -> tuple[int, int]:
        """Send a message that has its position. `kept` is True if it is in the history too.

        Returns the number of connections that took it, including those that are behind and will
        find it in the history, and the number of those that did not take it.
        """
        channel, position = message.channel, message.position
        if position is not None:
            self.follow(channel, position)
        live = len(self._channels.get(channel, ()))
        handed = self._send(message) if live else 0
        behind = len(self._behind.get(channel, ())) if self._behind and kept else 0
        return handed + behind, live - handed

    def follow(self, channel: str, position: Position) -> bool:
        """Go on to the position of a message.

        Returns False if no connection is on the channel, or if messages before it were lost; then
        the connections on the channel fall behind.
        """
        if channel not in self._channels:
            return False
        if self._follows(channel, position):
            self._places[channel] = position
            return True
        self.lost_some(channel)
        return False

    def doubt(self, channel: str) -> None:
        """Doubt the position of a channel, since messages may have been lost unseen."""
        if channel in self._places:
            self._doubted.add(channel)

    def _follows(self, channel: str, position: Position) -> bool:
        """Return True if no message was lost before one at a position."""
        known = self._places.get(channel)
        if known is None:
            return True
        if channel in self._doubted:
            return False
        if known.epoch != position.epoch:
            # The channel was forgotten and began anew. Its first message is the next one.
            return position.offset == 1
        return position.offset == known.offset + 1

    def lost_some(self, channel: str) -> bool:
        """Make the connections on a channel fall behind, since messages were lost on their way.

        Returns False if the last position is unknown: the connections came a moment ago, or there
        are none.
        """
        since = self._places.pop(channel, None)
        self._doubted.discard(channel)
        if since is None:
            return False
        members = self._channels.pop(channel)
        self._behind.setdefault(channel, {}).update(members)
        for member in members:
            member.fall_behind(channel, since)
        return True

    def learned(self, channel: str, position: Position) -> None:
        """Take the current position of a channel.

        If connections that are not behind have another one, they have lost messages.
        """
        if channel not in self._channels:
            return
        self._doubted.discard(channel)
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
                self._doubted.discard(channel)
            if not self.is_occupied(channel):
                self._left(channel)

    def _came_to(self, channel: str) -> None:
        """Do nothing. Overridden to act when the first connection joins a channel."""

    def _left(self, channel: str) -> None:
        """Do nothing. Overridden to act when the last connection leaves a channel."""
