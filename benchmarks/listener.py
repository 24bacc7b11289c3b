"""A listener that moves between nodes, and returns for the messages that it missed."""

from __future__ import annotations

import base64
import json
import os
import random
import select
import socket
import threading
from collections.abc import Iterator, Sequence

from .errors import MeasurementError

_PATIENCE = 20.0
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10

_STAYS = (100, 1500)
"""After how many messages, from here to there, one goes to another node."""


class Client:
    """One connection, on a plain socket. Raises `OSError` where it is refused, or lost."""

    def __init__(self, port: int, path: str, *, envelopes: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        spoken = "Sec-WebSocket-Protocol: wsservice.v1\r\n" if envelopes else ""
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{spoken}"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self._read = b""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(head.partition(b"\r\n")[0].decode(errors="replace"))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Go, without a word."""
        self.socket.close()

    def readable(self, seconds: float) -> bool:
        """Return True if octets come within some seconds."""
        return bool(self._read or select.select([self.socket], [], [], seconds)[0])

    def messages(self) -> Iterator[bytes]:
        """The messages of what there is to be read now."""
        if not self._whole():
            self._more()
        while self._whole():
            opcode, payload = self._frame()
            if opcode == _PING:
                self._say(_PONG, payload)
            elif opcode == _CLOSE:
                raise ConnectionError(f"closed with {int.from_bytes(payload[:2], 'big')}")
            elif opcode == _TEXT:
                yield payload

    def _more(self) -> None:
        more = self.socket.recv(262144)
        if not more:
            raise ConnectionError("closed")
        self._read += more

    def _length(self) -> tuple[int, int]:
        """Octets of the next frame's head and of its payload."""
        word = self._read[1] & 127
        wide = {126: 2, 127: 8}.get(word, 0)
        return 2 + wide, int.from_bytes(self._read[2 : 2 + wide], "big") if wide else word

    def _whole(self) -> bool:
        # Of a long head's length, what is there is no more than all of it.
        return len(self._read) >= 2 and len(self._read) >= sum(self._length())

    def _frame(self) -> tuple[int, bytes]:
        head, length = self._length()
        opcode, payload = self._read[0] & 15, self._read[head : head + length]
        self._read = self._read[head + length :]
        return opcode, payload

    def _say(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))
        self.socket.sendall(bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked)


class Wanderer(threading.Thread):
    """Listens to a channel at one node, then at another, and resumes each time.

    `heard` has the text of the messages, in order. `gaps` counts the notices that some messages
    are gone, `moves` the reconnects.
    """

    def __init__(self, ports: Sequence[int], channel: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._ports = ports
        self._channel = channel
        self._random = random.Random(seed)
        self._place = ""
        self._over = threading.Event()
        self.joined = threading.Event()
        self.heard: list[str] = []
        self.gaps = 0
        self.moves = 0
        self.problem = ""

    def end(self) -> None:
        """Go, once what there is was heard."""
        self._over.set()
        self.join(_PATIENCE)
        if self.problem:
            raise MeasurementError(self.problem)

    def run(self) -> None:
        at = self._random.randrange(len(self._ports))
        while not self._over.is_set():
            try:
                self._stay(self._ports[at % len(self._ports)])
            except OSError:
                self._over.wait(0.02)  # it was lost, or nobody is let in now
            except (KeyError, ValueError) as error:
                self.problem = f"an envelope that is none: {error!r}"
                return
            at += 1
            self.moves += 1

    def _stay(self, port: int) -> None:
        with Client(port, f"/{self._channel}{self._place}", envelopes=True) as client:
            until = len(self.heard) + self._random.randint(*_STAYS)
            while not self._over.is_set() and len(self.heard) < until:
                if client.readable(0.1):
                    for message in client.messages():
                        self._hear(json.loads(message))

    def _hear(self, envelope: dict[str, object]) -> None:
        if "offset" in envelope:
            self._place = f"?since={envelope['offset']}&epoch={envelope['epoch']}"
            self.joined.set()
        self.gaps += "gap" in envelope
        if "data" in envelope:
            self.heard.append(str(envelope["data"]))
