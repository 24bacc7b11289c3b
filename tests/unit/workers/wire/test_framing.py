from __future__ import annotations

import pytest

from wsservice.workers.wire import framing
from wsservice.workers.wire.framing import Frames, MessageError, TooLongError, framed

BODIES = [b"", b"a", b"x" * 70_000, b"{}"]


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1000, 1_000_000])
def test_bodies_come_as_they_were_framed_however_they_are_cut(size: int) -> None:
    octets = b"".join(map(framed, BODIES))
    frames = Frames()
    bodies = []
    for start in range(0, len(octets), size):
        bodies += frames.feed(octets[start : start + size])
    assert bodies == BODIES


def test_what_is_too_long_is_neither_said_nor_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "LONGEST", 10)
    assert Frames().feed(framed(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(TooLongError, match="11 octets are more than 10"):
        framed(b"x" * 11)
    assert not issubclass(TooLongError, MessageError)
    with pytest.raises(MessageError, match="11 octets are more than 10"):
        Frames().feed(b"\0\0\0\x0b")
