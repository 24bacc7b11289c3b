"""Describe the last message of one node that a server has taken. PURE."""

from __future__ import annotations

from typing import NamedTuple


class Standing(NamedTuple):
    """The record that Redis has of a node."""

    life: bytes = b""
    """The ids with which all data and the node's numbers began; empty while unknown."""
    last: int = 0
    """The node's last number since then."""


UNKNOWN = Standing()
"""The standing of a server before its first answer. Redis never takes a message after it, and
answers its true standing instead."""


class MisplacedError(Exception):
    """Redis did not take a message, since its standing is another. `healed` is as in `Appended`."""

    def __init__(self, standing: Standing, healed: bool = False) -> None:
        super().__init__("it comes after another")
        self.standing = standing
        self.healed = healed
