"""Parse and format the ids of connections: NUMBER on this node, NODE.NUMBER on any node."""

from __future__ import annotations

import re

import attrs

NODE = r"[A-Za-z0-9_-]{1,64}"
"""The pattern of a node's name."""

NUMBER = r"[0-9]{1,20}"

TEXT = rf"(?:{NODE}\.)?{NUMBER}"
"""The pattern of a connection's id."""

_NODE = re.compile(NODE, re.ASCII)
_ID = re.compile(rf"(?:({NODE})\.)?({NUMBER})", re.ASCII)


@attrs.frozen
class Id:
    """The id of a connection: its `number` on a `node`. The `node` "" is the one that is asked."""

    number: int
    node: str = ""

    @classmethod
    def of(cls, text: str) -> Id | None:
        """Parse an id. Return None if `text` is malformed."""
        found = _ID.fullmatch(text)
        return None if found is None else cls(int(found[2]), found[1] or "")

    def __str__(self) -> str:
        return f"{self.node}.{self.number}" if self.node else str(self.number)


def is_node(text: object) -> bool:
    """Return True for a valid name of a node."""
    return isinstance(text, str) and _NODE.fullmatch(text) is not None
