"""Behaviours for measurements that the service does not ship."""

from __future__ import annotations

import hashlib

from wsservice import ServerProtocol


class Broadcast(ServerProtocol):
    """Sends every message to all on the same path, and logs none."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.broadcast(payload, isBinary)


class Computing(ServerProtocol):
    """Answers every message with itself, after a fraction of a millisecond of computing."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        hashlib.pbkdf2_hmac("sha256", payload, b"", 400)
        self.sendMessage(payload, isBinary)
