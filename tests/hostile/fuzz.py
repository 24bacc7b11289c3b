"""`python -m tests.hostile.fuzz --runs N`: mutated traffic, sent to a server in memory.

Each run opens two connections, one that is read by the codec and one that is
left to Autobahn's own state machine, and sends both the same octets in the same
cuts: valid traffic, mutated. Both outcomes must be the same, without a
traceback, and no call may stay scheduled.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

from twisted.logger import globalLogPublisher

from wsservice.protocol import frames as codec

from ..support import (
    CLOSE,
    PEER,
    ByAutobahn,
    Client,
    Logged,
    Recorder,
    Served,
    close_payload,
    opening_request,
)

HANG = 60
"""Seconds after which a thousand runs, which take two, hang."""

SETTINGS: list[dict[str, Any]] = [
    {},
    {"max_message_size": 100, "max_fragments": 2},
    {"compression": True},
    {"compression": True, "max_message_size": 100, "max_fragments": 2},
]

_INTERESTING = b"\x00\x01\x7d\x7e\x7f\x80\x81\x82\x88\x89\x8a\xc1\xfe\xff"


class Traffic:
    """Makes octets from a number, the same for the same number."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def octets(self) -> bytes:
        """Some frames, most of them mutated."""
        chosen = self._random
        parts = [self._frames() for _ in range(chosen.randint(1, 4))]
        for _ in range(chosen.choice((0, 1, 1, 2, 5))):
            index = chosen.randrange(len(parts))
            parts[index] = self._mutated(parts[index])
        if chosen.random() < 0.2:
            chosen.shuffle(parts)
        return b"".join(parts)

    def cuts(self, size: int) -> list[int]:
        """Return the positions at which reads end."""
        chosen = self._random
        if chosen.random() < 0.1 and size < 200:
            return list(range(1, size + 1))
        places = [chosen.randint(0, size) for _ in range(chosen.choice((0, 0, 1, 2, 4)))]
        return [*sorted(places), size]

    def _frames(self) -> bytes:
        chosen = self._random
        make: Callable[[], bytes] = chosen.choice(
            (
                *(self._message,) * 4,
                self._fragments,
                self._control,
                self._compressed,
                self._close,
                self._noise,
            )
        )
        return make()

    def _frame(self, first: int, payload: bytes) -> bytes:
        return codec.encode(first, payload, self._random.randbytes(4))

    def _payload(self, text: bool) -> bytes:
        chosen = self._random
        size = chosen.choice((0, 1, 3, 40, 99, 100, 101, 125, 126, 127, 300))
        if chosen.random() < 0.01:
            size = chosen.choice((65535, 65536, 70000))
        if not text:
            return chosen.randbytes(size)
        letters = chosen.choices("abc é€😀", k=min(size, 60))
        return "".join(letters).encode()

    def _message(self) -> bytes:
        text = self._random.random() < 0.6
        return self._frame(0x81 if text else 0x82, self._payload(text))

    def _fragments(self) -> bytes:
        chosen = self._random
        text = chosen.random() < 0.6
        payload = self._payload(text)[:400]
        places = sorted(chosen.randint(0, len(payload)) for _ in range(chosen.randint(1, 3)))
        starts = [0, *places]
        made = b""
        for start, end in zip(starts, [*places, len(payload)], strict=True):
            first = (0 if made else 2 - text) | (0x80 if len(starts) == 1 else 0)
            starts = starts[1:]
            made += self._frame(first, payload[start:end])
            if chosen.random() < 0.2:
                made += self._control()
        return made

    def _control(self) -> bytes:
        chosen = self._random
        return self._frame(
            chosen.choice((0x89, 0x89, 0x8A)), chosen.randbytes(chosen.choice((0, 4, 125)))
        )

    def _compressed(self) -> bytes:
        deflate = zlib.compressobj(wbits=-12)
        text = self._random.random() < 0.6
        payload = deflate.compress(self._payload(text)) + deflate.flush(zlib.Z_SYNC_FLUSH)
        return self._frame(0xC1 if text else 0xC2, payload[:-4])

    def _close(self) -> bytes:
        chosen = self._random
        code = chosen.choice((1000, 1001, 1005, 1006, 1015, 2999, 3000, 4999, 5000, 65535))
        return self._frame(
            0x88, chosen.choice((b"", b"\x03", close_payload(code, b"why \xc3\xa9")))
        )

    def _noise(self) -> bytes:
        return self._random.randbytes(self._random.randint(1, 30))

    def _mutated(self, octets: bytes) -> bytes:
        chosen = self._random
        made = bytearray(octets)
        # Headers are where it matters, and they come first.
        place = min(int(chosen.expovariate(0.2)), len(made) - 1) if made else 0
        match chosen.randrange(7):
            case 0 if made:
                made[place] ^= 1 << chosen.randrange(8)
            case 1 if made:
                made[place] = chosen.choice(_INTERESTING)
            case 2:
                made[place:place] = chosen.randbytes(chosen.randint(1, 4))
            case 3:
                del made[place : place + chosen.randint(1, 4)]
            case 4:
                del made[chosen.randint(0, len(made)) :]
            case 5:
                made *= 2
            case _ if made:
                made[chosen.randrange(len(made))] = chosen.randrange(256)
        return bytes(made)


class Fuzzer:
    """Runs one after another, on the same servers."""

    def __init__(self) -> None:
        self._servers = [
            [Served(protocol, ping_interval=0, **settings) for protocol in (Recorder, ByAutobahn)]
            for settings in SETTINGS
        ]
        self._plain = opening_request()
        self._deflating = opening_request("/", "Sec-WebSocket-Extensions: permessage-deflate")
        self.logged = Logged()

    def run(self, number: int, seed: str = "") -> None:
        """One run. Raises `AssertionError` for what must not be."""
        traffic = Traffic(f"{seed}{number}")
        octets = traffic.octets()
        # A frame that its first read does not complete is looked into with the
        # next one, so what is wrong with the last one shows a read later.
        cuts = [*traffic.cuts(len(octets)), len(octets) + 1, len(octets) + 2]
        octets += bytes(2)
        settings = SETTINGS[number % len(SETTINGS)]
        request = self._deflating if settings.get("compression") else self._plain
        outcomes = [
            self._outcome(served, request, octets, cuts)
            for served in self._servers[number % len(SETTINGS)]
        ]
        told = f"run {number} of seed {seed!r}, {settings}: {octets.hex()} cut at {cuts}"
        assert outcomes[0] == outcomes[1], f"{outcomes[0]} is not {outcomes[1]}; {told}"
        assert not self.logged.failures, f"{self.logged.failures}; {told}"
        self.logged.events.clear()

    def _outcome(self, served: Served, request: bytes, octets: bytes, cuts: list[int]) -> Any:
        client: Client = served.connect(PEER)
        client.send(request)
        client.taken()
        start = 0
        for cut in cuts:
            client.send(octets[start:cut])
            start = cut
        for _ in range(100):
            if not client.protocol._reader.holds:
                break
            served.clock.advance(0)
        # Of a close frame the code: the reasons are worded differently.
        answered = [(op, data[:2] if op == CLOSE else data) for op, data in client.frames()]
        state = client.protocol.state
        client.lose()
        assert not served.clock.getDelayedCalls()
        assert not len(served.hub)
        return client.protocol.seen, answered, state, client.protocol.localCloseCode


def fuzz(runs: int, seed: str = "", told: Callable[[int], object] = lambda number: None) -> None:
    """Make `runs` runs. End the process if one hangs."""
    fuzzer = Fuzzer()
    globalLogPublisher.addObserver(fuzzer.logged)
    try:
        for number in range(runs):
            if number % 1000 == 0:
                faulthandler.dump_traceback_later(HANG, exit=True)
                told(number)
            fuzzer.run(number, seed)
    finally:
        faulthandler.cancel_dump_traceback_later()
        globalLogPublisher.removeObserver(fuzzer.logged)


def main() -> None:
    """Any number of runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", default="", help="other octets than without one")
    given = parser.parse_args()
    began = time.monotonic()

    def told(number: int) -> None:
        if number % 10_000 == 0:
            rate = number / (time.monotonic() - began)
            sys.stdout.write(f"{number} runs, {rate:.0f} in a second\n")
            sys.stdout.flush()

    fuzz(given.runs, given.seed, told)
    rate = given.runs / (time.monotonic() - began)
    sys.stdout.write(f"{given.runs} runs, {rate:.0f} in a second: all went alike\n")


if __name__ == "__main__":
    main()
