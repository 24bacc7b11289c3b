from __future__ import annotations

import pytest

from wsservice.net.gathering import Gathering


class Writer:
    """A connection that writes what it gathered, or fails to."""

    def __init__(self, gathering: Gathering, error: Exception | None = None) -> None:
        self.gathering = gathering
        self.error = error
        self.behind: Writer | None = None
        self.sent = 0

    def put(self) -> None:
        self.gathering.gatherers.append(self)

    def send_gathered(self) -> None:
        self.sent += 1
        if self.behind is not None:
            self.behind.put()
        if self.error is not None:
            raise self.error


def test_each_connection_writes_once_at_the_end_of_the_block() -> None:
    gathering = Gathering()
    one, other = Writer(gathering), Writer(gathering)
    with gathering.together():
        one.put()
        other.put()
        assert one.sent == other.sent == 0
    assert one.sent == other.sent == 1
    assert not gathering.under_way
    assert gathering.gatherers == []


def test_a_block_within_another_leaves_the_writing_to_it() -> None:
    gathering = Gathering()
    writer = Writer(gathering)
    with gathering.together():
        with gathering.together():
            writer.put()
        assert writer.sent == 0
        assert gathering.under_way
    assert writer.sent == 1


def test_a_block_that_raises_writes_all_the_same() -> None:
    gathering = Gathering()
    writer = Writer(gathering)

    def fail() -> None:
        with gathering.together():
            writer.put()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert writer.sent == 1
    assert not gathering.under_way


def test_a_write_that_causes_another_waits_for_it() -> None:
    gathering = Gathering()
    tls, tcp = Writer(gathering), Writer(gathering)
    tls.behind = tcp
    with gathering.together():
        tls.put()
    assert (tls.sent, tcp.sent) == (1, 1)


def test_a_write_that_fails_keeps_no_other_connection_waiting() -> None:
    gathering = Gathering()
    bad, good = Writer(gathering, OSError("no")), Writer(gathering)
    gathering.under_way = True
    bad.put()
    good.put()
    with pytest.raises(OSError, match="no"):
        gathering.end()
    assert good.sent == 1
    assert not gathering.under_way
