"""Who is connected, and sending to many."""

from .following import FollowingHub
from .local import LocalHub, Member

__all__ = ["FollowingHub", "LocalHub", "Member"]
