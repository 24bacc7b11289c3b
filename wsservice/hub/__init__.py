"""Who is connected, and sending to many."""

from .local import LocalHub, Member

__all__ = ["LocalHub", "Member"]
