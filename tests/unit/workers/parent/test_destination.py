from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from wsservice.config.config import Config
from wsservice.errors import JournalError
from wsservice.workers.parent.destination import message_log_of


def test_workers_that_write_by_themselves_send_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    for message_log, way in (("log", "log"), (str(path), "file")):
        destination, found = message_log_of(Config(message_log=message_log), MemoryReactorClock())
        assert found == way
        destination.write(b"a line\n")
        destination.reopen()
        destination.close()
        assert (destination.wanted, destination.dropped) == (False, 0)
    assert path.read_bytes() == b""


def test_the_parent_writes_to_a_device() -> None:
    destination, way = message_log_of(Config(message_log="/dev/null"), MemoryReactorClock())
    assert way == "records"
    assert destination.wanted
    destination.close()


def test_a_path_that_cannot_be_opened_is_said() -> None:
    with pytest.raises(JournalError):
        message_log_of(Config(message_log="/no/such/folder/x"), MemoryReactorClock())
