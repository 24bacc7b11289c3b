"""What a connection is called: by its number, or, on whatever node it is, NODE.NUMBER."""

from __future__ import annotations

import re

import attrs

NODE = r"[A-Za-z0-9_-]{1,64}"
"""What a node may be called."""

NUMBER = r"[0-9]{1,20}"

TEXT = rf"(?:{NODE}\.)?{NUMBER}"
"""What a connection may be called, as a pattern."""

_NODE = re.compile(NODE, re.ASCII)
_ID = re.compile(rf"(?:({NODE})\.)?({NUMBER})", re.ASCII)


@attrs.frozen
class Id:
    """A connection's `number` on its `node`, which is "" for the one that is asked."""

    number: int
    node: str = ""

    @classmethod
    def of(cls, text: str) -> Id | None:
        """The connection of a name; None for what is none."""
        found = _ID.fullmatch(text)
        return None if found is None else cls(int(found[2]), found[1] or "")

    def __str__(self) -> str:
        return f"{self.node}.{self.number}" if self.node else str(self.number)


def is_node(text: object) -> bool:
    """Whether something is what a node may be called."""
    return isinstance(text, str) and _NODE.fullmatch(text) is not None
