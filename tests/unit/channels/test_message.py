from __future__ import annotations

import pytest

from wsservice.channels.message import ChannelMessage, new_message
from wsservice.channels.query import ChannelNameError, Position


def test_a_new_message_has_no_place_yet() -> None:
    message = new_message("a", b"x", True)
    assert message == ChannelMessage("a", b"x", True, 0.0)
    assert message.position is None


def test_a_message_that_a_history_numbered_has_its_place() -> None:
    assert ChannelMessage("a", b"x", False, 2.0, 3, "e.1").position == Position(3, "e.1")


def test_a_payload_is_octets() -> None:
    with pytest.raises(TypeError, match="a payload is bytes, not str"):
        new_message("a", "x")  # type: ignore[arg-type]


def test_a_name_has_a_bound() -> None:
    with pytest.raises(ChannelNameError, match="give one of at most 255"):
        new_message("a" * 256, b"x")


def test_no_behaviour_publishes_on_the_way_to_a_user() -> None:
    with pytest.raises(ChannelNameError, match="begins with NUL"):
        new_message("\0tom", b"x")
    assert new_message("", b"x").channel == ""


def test_it_never_changes() -> None:
    with pytest.raises(AttributeError):
        new_message("a", b"x").payload = b"y"  # type: ignore[misc]
