from __future__ import annotations

import io

import pytest

from wsservice.cli import largest


def test_a_message_may_have_as_many_octets_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest, "LARGEST", 3)
    assert largest.read_message(io.BytesIO(b"abc")) == b"abc"
    assert largest.read_message(io.BytesIO(b"abcd")) is None


def test_people_read_it_in_mebibytes() -> None:
    assert largest.shown() == "128 MiB"
